"""The stream of revocations: what a reader is sent, and how it goes on from where it was."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from moorage.connector.v1.identity_pb2 import RevocationAction
from moorage.connector.v1.revocation_pb2 import (
    RevocationReason,
    RevocationResumePoint,
    RevocationsKind,
    RevocationsReset,
    WatchRevocationsResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from connector.identities import restore, revoke
from connector.revocation_stream import Hub
from connector.revocations import revoke_certificates
from connector.store import metadata
from connector.store.authorities import retire
from connector.store.revocations import Entry, Kind, append, forget
from mesh.database import Database
from mesh.errors import Refusal
from mesh.revocations import Revocations
from tests.unit.connector.plane import ORIGIN, START, FixedClock
from tests.unit.connector.store.rows import AUTHORITY, DAY, LEDGER, OTHER_AUTHORITY, begun, certified

ANN, BOB = "spiffe://plane.test/admin/ann", "spiffe://plane.test/admin/bob"
BAN = RevocationAction.REVOCATION_ACTION_BAN
COMPROMISE = RevocationReason.REVOCATION_REASON_KEY_COMPROMISE
SNAPSHOT = RevocationsKind.REVOCATIONS_KIND_SNAPSHOT
DELTA = RevocationsKind.REVOCATIONS_KIND_DELTA
BOOKMARK = RevocationsKind.REVOCATIONS_KIND_BOOKMARK
COMPACTED, FOREIGN = RevocationsReset.REVOCATIONS_RESET_COMPACTED, RevocationsReset.REVOCATIONS_RESET_FOREIGN

Messages = AsyncGenerator[WatchRevocationsResponse, None]


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Database]:
    opened = Database.open(database_url)
    metadata.create_all(opened.engine)
    yield await begun(opened)
    opened.close()


@asynccontextmanager
async def serving(
    database: Database, *, page: int = 5000, most_kept: int = 10_000, bookmark_interval: float = 60.0
) -> AsyncIterator[Hub]:
    hub = Hub(
        database,
        FixedClock(),
        bookmark_interval=bookmark_interval,
        poll_interval=0.05,
        page=page,
        most_kept=most_kept,
    )
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def following(messages: Messages) -> WatchRevocationsResponse:
    async with asyncio.timeout(20):
        return await anext(messages)


async def news(messages: Messages) -> WatchRevocationsResponse:
    """The next message that is no bookmark."""
    while True:
        message = await following(messages)
        if message.kind != BOOKMARK:
            return message


async def exhausted(messages: Messages) -> None:
    while True:
        await following(messages)


async def revoked(database: Database, *serials: str) -> None:
    await database.write(revoke_certificates, ORIGIN, START, serials, COMPROMISE)


def serials_of(message: WatchRevocationsResponse) -> list[str]:
    return [each.serial_number for each in message.certificates]


def point(revision: int, ledger_id: str = LEDGER) -> RevocationResumePoint:
    return RevocationResumePoint(ledger_id=ledger_id, revision=revision)


async def test_a_new_reader_is_sent_all_that_counts_no_longer_and_the_live_authorities(ledger: Database) -> None:
    serial, expired = await certified(ledger, ANN), await certified(ledger, ANN, issue_time=START - 2 * DAY)
    await revoked(ledger, serial, expired)
    await ledger.write(revoke, ORIGIN, START, BOB, BAN, COMPROMISE)

    async with serving(ledger) as hub, aclosing(hub.watch(None)) as messages:
        snapshot = await following(messages)

    assert (snapshot.kind, snapshot.ledger_id, snapshot.revision) == (SNAPSHOT, LEDGER, 2)
    assert serials_of(snapshot) == [serial]
    assert snapshot.certificates[0].reason == COMPROMISE
    assert snapshot.certificates[0].not_after.ToDatetime(START.tzinfo) == START + DAY
    assert list(snapshot.banned_spiffe_ids) == [BOB]
    hashes = [each.authority_sha256 for each in snapshot.authorities.authorities]
    assert hashes == [AUTHORITY.hex(), OTHER_AUTHORITY.hex()]
    assert not snapshot.partial
    assert not snapshot.reset


async def test_each_change_is_told_once_and_in_order(ledger: Database) -> None:
    first, second = await certified(ledger, ANN), await certified(ledger, ANN)

    async with serving(ledger) as hub, aclosing(hub.watch(None)) as messages:
        await following(messages)
        await revoked(ledger, first)
        one = await news(messages)
        await revoked(ledger, second)
        two = await news(messages)

    assert [(each.kind, each.revision, serials_of(each)) for each in (one, two)] == [
        (DELTA, 1, [first]),
        (DELTA, 2, [second]),
    ]
    assert not one.HasField("authorities")


async def test_a_reader_resumes_with_what_came_since_and_with_nothing_where_nothing_did(ledger: Database) -> None:
    first, second = await certified(ledger, ANN), await certified(ledger, ANN)
    await revoked(ledger, first)
    await revoked(ledger, second)

    async with serving(ledger) as hub:
        async with aclosing(hub.watch(point(1))) as messages:
            since = await following(messages)
        async with aclosing(hub.watch(point(2))) as messages:
            nothing = await following(messages)

    assert (since.kind, since.revision, serials_of(since)) == (DELTA, 2, [second])
    assert (nothing.kind, nothing.revision) == (BOOKMARK, 2)


async def test_an_idle_reader_is_told_that_nothing_changed(ledger: Database) -> None:
    async with serving(ledger, bookmark_interval=0.01) as hub, aclosing(hub.watch(None)) as messages:
        await following(messages)
        told = [await following(messages) for _ in range(3)]

    assert [(each.kind, each.revision) for each in told] == [(BOOKMARK, 0)] * 3


async def test_no_bookmark_comes_while_the_database_cannot_be_read(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(ledger, bookmark_interval=0.01) as hub, aclosing(hub.watch(None)) as messages:
        await following(messages)

        async def away(*_: object) -> None:
            raise Refusal(Reason.REASON_DATABASE_UNAVAILABLE, "away")

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "read", away)
            waiting = asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait((waiting,), timeout=0.5)
            seen = len(done)
        async with asyncio.timeout(20):
            await waiting

    assert seen <= 1  # a reading that had begun before


async def test_a_revision_that_the_log_no_longer_reaches_back_to_is_answered_by_a_snapshot(ledger: Database) -> None:
    serials = [await certified(ledger, ANN) for _ in range(3)]
    for serial in serials:
        await revoked(ledger, serial)
    await ledger.write(forget, START + DAY, 2)

    async with serving(ledger) as hub:
        async with aclosing(hub.watch(point(1))) as messages:
            lost = await following(messages)
        async with aclosing(hub.watch(point(2))) as messages:
            kept = await following(messages)

    assert (lost.kind, lost.reset, lost.revision) == (SNAPSHOT, COMPACTED, 3)
    assert serials_of(lost) == sorted(serials)
    assert (kept.kind, serials_of(kept)) == (DELTA, serials[2:])


@pytest.mark.parametrize("foreign", [point(1), point(0, "00000000-0000-4000-8000-000000000002")])
async def test_a_revision_of_another_ledger_or_ahead_of_this_one_is_answered_by_a_snapshot(
    ledger: Database, foreign: RevocationResumePoint
) -> None:
    async with serving(ledger) as hub, aclosing(hub.watch(foreign)) as messages:
        message = await following(messages)

    assert (message.kind, message.reset, message.revision) == (SNAPSHOT, FOREIGN, 0)


async def test_a_long_list_comes_in_parts_of_one_revision_and_only_the_last_is_whole(ledger: Database) -> None:
    serials = [await certified(ledger, ANN) for _ in range(5)]

    async with serving(ledger, page=2) as hub:
        async with aclosing(hub.watch(None)) as messages:
            await following(messages)
            await revoked(ledger, *serials)
            deltas = [await news(messages) for _ in range(3)]
        async with aclosing(hub.watch(None)) as messages:
            snapshots = [await following(messages) for _ in range(3)]

    for parts in (deltas, snapshots):
        assert [(each.partial, each.revision) for each in parts] == [(True, 1), (True, 1), (False, 1)]
        assert [serial for each in parts for serial in serials_of(each)] == sorted(serials)
    assert [each.HasField("authorities") for each in snapshots] == [False, False, True]


async def test_of_an_identity_that_was_banned_and_restored_only_the_last_is_told(ledger: Database) -> None:
    for spiffe_id in (ANN, BOB):
        await ledger.write(revoke, ORIGIN, START, spiffe_id, BAN, COMPROMISE)
        await ledger.write(restore, ORIGIN, START, spiffe_id)
    await ledger.write(revoke, ORIGIN, START, BOB, BAN, COMPROMISE)

    async with serving(ledger) as hub, aclosing(hub.watch(point(0))) as messages:
        message = await following(messages)

    assert (list(message.banned_spiffe_ids), list(message.restored_spiffe_ids)) == ([BOB], [ANN])
    assert message.revision == 5


async def test_a_change_of_the_authorities_tells_all_that_are_live(ledger: Database) -> None:
    async with serving(ledger) as hub, aclosing(hub.watch(None)) as messages:
        await following(messages)
        await ledger.write(retire, {AUTHORITY}, START)
        await ledger.write(append, START, [Entry(Kind.AUTHORITIES)])
        message = await news(messages)

    assert [each.authority_sha256 for each in message.authorities.authorities] == [OTHER_AUTHORITY.hex()]


async def test_a_reader_that_paused_is_sent_what_it_missed_as_one_change(ledger: Database) -> None:
    serials = [await certified(ledger, ANN) for _ in range(9)]

    async with (
        serving(ledger, most_kept=3) as hub,
        aclosing(hub.watch(None)) as paused,
        aclosing(hub.watch(None)) as awake,
    ):
        await following(paused)
        await following(awake)
        for serial in serials:
            await revoked(ledger, serial)
            assert serials_of(await news(awake)) == [serial]
        message = await news(paused)

    assert (message.kind, message.revision, serials_of(message)) == (DELTA, 9, serials)


async def test_whatever_comes_while_a_reader_arrives_reaches_it(ledger: Database) -> None:
    serials = [await certified(ledger, ANN) for _ in range(20)]

    async def read(hub: Hub) -> set[str]:
        found: set[str] = set()
        async with aclosing(hub.watch(None)) as messages:
            while len(found) < len(serials):
                found.update(serials_of(await following(messages)))
        return found

    async with serving(ledger) as hub:
        readers = [asyncio.create_task(read(hub)) for _ in range(5)]
        for serial in serials:
            await revoked(ledger, serial)
            readers.append(asyncio.create_task(read(hub)))
        assert await asyncio.gather(*readers) == [set(serials)] * len(readers)


async def test_a_reader_of_another_instance_is_told_as_well(ledger: Database, database_url: str) -> None:
    serial = await certified(ledger, ANN)
    other = Database.open(database_url)
    try:
        async with serving(ledger) as hub, aclosing(hub.watch(None)) as messages:
            await following(messages)
            await revoked(other, serial)
            assert serials_of(await news(messages)) == [serial]
    finally:
        other.close()


async def test_a_service_takes_every_message(ledger: Database) -> None:
    revocations = Revocations(clock=FixedClock())
    async with serving(ledger, page=1) as hub, aclosing(hub.watch(None)) as messages:
        revocations.apply(await following(messages))
        for spiffe_id in (ANN, BOB):
            await certified(ledger, spiffe_id)
            await ledger.write(revoke, ORIGIN, START, spiffe_id, BAN, COMPROMISE)
        while not revocations.resume or revocations.resume.revision < 2:
            revocations.apply(await following(messages))

    assert revocations.resume == point(2)


async def test_streams_end_when_the_service_stops(ledger: Database) -> None:
    async with serving(ledger) as hub:
        messages = hub.watch(None)
        await following(messages)
        await hub.stop()
        for stream in (messages, hub.watch(None)):
            with pytest.raises(Refusal) as refused:
                await exhausted(stream)
            assert refused.value.reason == Reason.REASON_NOT_READY
