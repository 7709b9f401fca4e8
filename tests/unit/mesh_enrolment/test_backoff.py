"""How long to wait before trying again."""

from datetime import timedelta

from mesh.backoff import Backoff


def test_waits_double_up_to_the_bound() -> None:
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=5), lambda: 0.0)

    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_each_wait_is_cut_by_up_to_half() -> None:
    backoff = Backoff(timedelta(seconds=4), timedelta(seconds=4), iter([0.0, 0.5, 0.999]).__next__)

    assert [round(backoff.next(), 1) for _ in range(3)] == [4.0, 3.0, 2.0]


def test_a_wait_is_never_shorter_than_the_other_side_asked_for() -> None:
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=1), lambda: 0.0)

    assert backoff.next(at_least=timedelta(seconds=30)) == 30
    assert backoff.next() == 1


def test_after_a_success_waits_start_again_from_the_first() -> None:
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=60), lambda: 0.0)
    backoff.next()
    backoff.next()

    backoff.reset()

    assert backoff.next() == 1
