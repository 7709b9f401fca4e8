"""Who is turned away, and when to come again."""

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from prometheus_client import REGISTRY

from director.stream.admission import LONGEST_WAIT, Admission
from director.stream.log_reader import Arrival
from director.stream.subscription import Subscription
from mesh.errors import Refusal


def reader() -> Subscription:
    return Subscription(Arrival("", None), lambda: 0, lambda: 60.0)


def filled(most: int, jitter: float = 0.5) -> tuple[Admission, list[Subscription]]:
    """One without room for anybody else, and who waits."""
    admission, waiting = Admission(most, 1.0, lambda: jitter), [reader() for _ in range(most)]
    for each in waiting:
        admission.check()
        admission.enter(each)
    return admission, waiting


def wait_of(admission: Admission) -> float:
    """Seconds that the next one is asked to wait."""
    with pytest.raises(Refusal) as refused:
        admission.check()
    assert refused.value.reason == Reason.REASON_NOT_READY
    assert refused.value.retry_after is not None
    return refused.value.retry_after.total_seconds()


def test_the_wait_grows_with_those_who_wait_here_and_those_who_were_turned_away() -> None:
    admission, _ = filled(10)
    assert [wait_of(admission) for _ in range(3)] == pytest.approx([1.1, 1.2, 1.3])


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 0.75), (0.5, 1.5), (1.0, 2.25)])
def test_each_wait_is_spread_by_half_of_it(jitter: float, wait: float) -> None:
    assert wait_of(filled(2, jitter)[0]) == pytest.approx(wait)


def test_nobody_is_asked_to_wait_longer_than_the_longest_wait() -> None:
    admission, _ = filled(1)
    assert max(wait_of(admission) for _ in range(100)) == LONGEST_WAIT


def test_whoever_comes_again_is_no_longer_waited_for() -> None:
    admission, waiting = filled(10)
    assert [wait_of(admission) for _ in range(2)] == pytest.approx([1.1, 1.2])
    admission.leave(waiting[:1])
    admission.check()
    admission.enter(reader())
    assert wait_of(admission) == pytest.approx(1.2)


def test_once_nobody_waits_the_next_wave_is_counted_from_the_beginning() -> None:
    admission, waiting = filled(10)
    for _ in range(50):
        wait_of(admission)
    admission.leave(waiting)
    for each in waiting:
        admission.check()
        admission.enter(each)
    assert wait_of(admission) == pytest.approx(1.1)


def test_who_waits_and_who_was_turned_away_are_metrics() -> None:
    def turned_away() -> float:
        return REGISTRY.get_sample_value("moorage_streams_turned_away_total") or 0.0

    before = turned_away()
    admission, waiting = filled(3)
    wait_of(admission)
    assert turned_away() == before + 1
    assert REGISTRY.get_sample_value("moorage_streams_waiting") == 3
    admission.leave(waiting)
    assert REGISTRY.get_sample_value("moorage_streams_waiting") == 0
