"""The list of revocations as a service holds it, told by hand-made messages."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moorage.connector.v1.revocation_pb2 import RevocationsKind

from certs.spiffe import SpiffeId
from mesh.call import Caller
from mesh.errors import Refusal
from mesh.revocations import Revocations
from tests.support.revocations import BOOKMARK, DELTA, NOT_AFTER, OTHER_LEDGER, SNAPSHOT, message, snapshot

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def revocations(clock: HandClock) -> Revocations:
    return Revocations(clock)


def test_without_a_list_everybody_counts(revocations: Revocations) -> None:
    revocations.check(caller("01"))
    revocations.check_age()


def test_a_serial_of_the_snapshot_is_refused_and_others_pass(revocations: Revocations) -> None:
    revocations.apply(snapshot(serials=["01"]))

    assert refused(revocations, caller("01")) == "CERTIFICATE_REVOKED"
    revocations.check(caller("02"))


def test_a_serial_of_a_delta_is_refused(revocations: Revocations) -> None:
    revocations.apply(snapshot())
    revocations.apply(message(DELTA, 2, serials=["01"]))

    assert refused(revocations, caller("01")) == "CERTIFICATE_REVOKED"


def test_every_certificate_of_a_banned_identity_is_refused_until_it_is_restored(revocations: Revocations) -> None:
    revocations.apply(snapshot(banned=[str(caller("01").spiffe_id)]))
    assert refused(revocations, caller("01")) == refused(revocations, caller("02")) == "CERTIFICATE_REVOKED"

    revocations.apply(message(DELTA, 2, restored=[str(caller("01").spiffe_id)]))
    revocations.check(caller("01"))


def test_what_an_authority_signed_that_is_not_live_is_refused(revocations: Revocations) -> None:
    revocations.apply(snapshot(authorities=["aa", "bb"]))
    revocations.check(caller("01", authority_key="bb"))

    revocations.apply(message(DELTA, 2, authorities=["aa"]))

    revocations.check(caller("01", authority_key="aa"))
    assert refused(revocations, caller("01", authority_key="bb")) == "AUTHORITY_REVOKED"
    assert refused(revocations, caller("01", authority_key="")) == "AUTHORITY_REVOKED"


def test_a_delta_without_authorities_leaves_them_as_they_are(revocations: Revocations) -> None:
    revocations.apply(snapshot(authorities=["aa"]))
    revocations.apply(message(DELTA, 2, serials=["01"]))

    assert refused(revocations, caller("02", authority_key="bb")) == "AUTHORITY_REVOKED"


def test_a_snapshot_takes_the_place_of_what_was_held(revocations: Revocations) -> None:
    revocations.apply(snapshot(serials=["01"], banned=["spiffe://plane.test/admin/ann"]))
    revocations.apply(message(SNAPSHOT, 9, ledger=OTHER_LEDGER, serials=["02"], authorities=["aa"]))

    revocations.check(caller("01"))
    assert refused(revocations, caller("02")) == "CERTIFICATE_REVOKED"
    assert revocations.resume is not None
    assert (revocations.resume.ledger_id, revocations.resume.revision) == (OTHER_LEDGER, 9)


def test_a_part_of_a_snapshot_refuses_at_once_and_restores_nothing(revocations: Revocations) -> None:
    revocations.apply(snapshot(serials=["01"]))
    revocations.apply(message(SNAPSHOT, 5, serials=["02"], partial=True))

    assert refused(revocations, caller("01")) == refused(revocations, caller("02")) == "CERTIFICATE_REVOKED"
    assert revocations.resume is not None
    assert revocations.resume.revision == 1

    revocations.apply(message(SNAPSHOT, 5, serials=["03"], authorities=["aa"]))
    revocations.check(caller("01"))
    assert refused(revocations, caller("02")) == refused(revocations, caller("03")) == "CERTIFICATE_REVOKED"
    assert revocations.resume.revision == 5


def test_the_part_of_a_first_snapshot_refuses_at_once_and_is_nothing_to_resume_from(revocations: Revocations) -> None:
    revocations.apply(message(SNAPSHOT, 5, serials=["02"], partial=True))

    assert refused(revocations, caller("02")) == "CERTIFICATE_REVOKED"
    assert revocations.resume is None
    assert revocations.age() is None


def test_a_snapshot_that_was_broken_off_is_no_part_of_the_next(revocations: Revocations) -> None:
    revocations.apply(message(SNAPSHOT, 5, serials=["02"], partial=True))
    revocations.apply(message(SNAPSHOT, 6, serials=["03"], authorities=["aa"]))

    revocations.check(caller("02"))
    assert refused(revocations, caller("03")) == "CERTIFICATE_REVOKED"


def test_a_part_of_a_delta_refuses_at_once_and_moves_no_resume_point(revocations: Revocations) -> None:
    revocations.apply(snapshot())
    revocations.apply(message(DELTA, 3, serials=["01"], partial=True))

    assert refused(revocations, caller("01")) == "CERTIFICATE_REVOKED"
    assert revocations.resume is not None
    assert revocations.resume.revision == 1


def test_a_bookmark_moves_the_resume_point(revocations: Revocations) -> None:
    revocations.apply(snapshot(serials=["01"]))
    revocations.apply(message(BOOKMARK, 7))

    assert revocations.resume is not None
    assert revocations.resume.revision == 7
    assert refused(revocations, caller("01")) == "CERTIFICATE_REVOKED"


@pytest.mark.parametrize("kind", [DELTA, BOOKMARK])
def test_a_change_to_a_list_that_is_not_held_is_no_change(
    revocations: Revocations, kind: RevocationsKind.ValueType
) -> None:
    with pytest.raises(ValueError, match="not held"):
        revocations.apply(message(kind, 2))
    revocations.apply(message(SNAPSHOT, 5, authorities=["aa"]))
    for of in (message(kind, 6, ledger=OTHER_LEDGER), message(kind, 4)):
        with pytest.raises(ValueError, match="not held"):
            revocations.apply(of)

    assert revocations.resume is not None
    assert revocations.resume.revision == 5


def test_a_serial_is_forgotten_once_its_certificate_is_over(revocations: Revocations, clock: HandClock) -> None:
    revocations.apply(snapshot(serials=["01"]))
    clock.now = NOT_AFTER
    revocations.apply(message(BOOKMARK, 1))
    assert refused(revocations, caller("01")) == "CERTIFICATE_REVOKED"

    clock.now += timedelta(seconds=1)
    revocations.apply(message(BOOKMARK, 1))

    revocations.check(caller("01"))


def test_the_age_counts_from_the_last_whole_message(revocations: Revocations, clock: HandClock) -> None:
    assert revocations.age() is None
    revocations.apply(snapshot())
    clock.now += timedelta(seconds=9)
    revocations.apply(message(DELTA, 2, serials=["01"], partial=True))
    assert revocations.age() == timedelta(seconds=9)

    revocations.apply(message(BOOKMARK, 2))
    assert revocations.age() == timedelta(0)


def test_with_a_most_age_nobody_is_answered_before_the_first_list(clock: HandClock) -> None:
    with pytest.raises(Refusal) as caught:
        Revocations(clock, timedelta(seconds=10)).check_age()

    assert caught.value.name == "REVOCATIONS_STALE"
    assert caught.value.retry_after is not None


def test_with_a_most_age_a_list_is_good_for_just_so_long(clock: HandClock) -> None:
    revocations = Revocations(clock, timedelta(seconds=10))
    revocations.apply(snapshot())
    clock.now += timedelta(seconds=10)
    revocations.check_age()

    clock.now += timedelta(seconds=1)
    with pytest.raises(Refusal, match="11 s old"):
        revocations.check_age()


def test_listeners_are_told_of_what_may_end_somebody(revocations: Revocations) -> None:
    told: list[str] = []
    revocations.on_change(lambda: told.append("told"))

    revocations.apply(snapshot())
    revocations.apply(message(DELTA, 2, serials=["01"], partial=True))
    revocations.apply(message(DELTA, 2, banned=["spiffe://plane.test/admin/ann"]))
    revocations.apply(message(DELTA, 3, authorities=["aa"]))
    assert len(told) == 4

    revocations.apply(message(DELTA, 4, restored=["spiffe://plane.test/admin/ann"]))
    revocations.apply(message(BOOKMARK, 5))
    assert len(told) == 4


def test_listeners_are_told_once_that_the_list_is_too_old(clock: HandClock) -> None:
    revocations = Revocations(clock, timedelta(seconds=10))
    revocations.apply(snapshot())
    told: list[str] = []
    revocations.on_change(lambda: told.append("told"))
    clock.now += timedelta(seconds=11)

    revocations.look_at_age()
    revocations.look_at_age()

    assert told == ["told"]


def test_the_list_outlives_the_process(tmp_path: Path, clock: HandClock) -> None:
    cache = tmp_path / "revocations"
    first = Revocations(clock, cache=cache)
    first.apply(snapshot(serials=["01"], banned=["spiffe://plane.test/admin/bob"], authorities=["aa"]))
    save(first)
    clock.now += timedelta(seconds=30)

    second = Revocations(clock, cache=cache)

    assert refused(second, caller("01")) == "CERTIFICATE_REVOKED"
    assert refused(second, caller("02", name="bob")) == "CERTIFICATE_REVOKED"
    assert refused(second, caller("02", authority_key="bb")) == "AUTHORITY_REVOKED"
    assert second.resume == first.resume
    assert second.age() == timedelta(seconds=30)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600


def test_a_list_that_only_grew_older_is_kept_with_its_new_age(tmp_path: Path, clock: HandClock) -> None:
    cache = tmp_path / "revocations"
    first = Revocations(clock, cache=cache)
    first.apply(snapshot(serials=["01"]))
    save(first)
    written = cache.stat().st_ino
    clock.now += timedelta(minutes=5)
    first.apply(message(BOOKMARK, 1))
    save(first)

    assert cache.stat().st_ino == written
    assert Revocations(clock, cache=cache).age() == timedelta(0)


@pytest.mark.parametrize("content", [b"", b"\xff garbage", b"\x0a\x01x\x10\x05\x18\x02"])
def test_a_file_that_is_no_kept_list_is_none(tmp_path: Path, clock: HandClock, content: bytes) -> None:
    cache = tmp_path / "revocations"
    cache.write_bytes(content)

    assert Revocations(clock, cache=cache).resume is None


def caller(serial: str, *, name: str = "ann", authority_key: str = "aa") -> Caller:
    return Caller(SpiffeId("plane.test", f"/admin/{name}"), serial, NOW + timedelta(hours=1), authority_key)


def refused(revocations: Revocations, of: Caller) -> str:
    with pytest.raises(Refusal) as caught:
        revocations.check(of)
    return caught.value.name


def save(revocations: Revocations) -> None:
    write = revocations.save()
    assert write is not None
    write()
