"""The stream of revocations: one loop that follows the log for all readers of this process.

The loop reads the database whenever the log has grown, and often enough beside that for a reader to know how old its
list is. A reader is woken by each reading and takes from the hub's memory whatever it was not sent yet, folded into one
change; there is no queue for it. One that fell behind what is in memory reads the database for itself, as it did when
it began.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1 import revocation_pb2 as pb
from moorage.connector.v1.revocation_pb2 import (
    LiveAuthorities,
    RevocationReason,
    RevocationResumePoint,
    RevocationsKind,
    RevocationsReset,
    WatchRevocationsResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from connector.store import Transaction
from connector.store.revocations import (
    TOPIC,
    Entry,
    Kind,
    LiveAuthority,
    Revoked,
    banned_identities,
    live_authorities,
    read_ledger,
    read_since,
    revoked_and_unexpired,
)
from mesh import telemetry
from mesh.database import Database
from mesh.errors import Refusal
from mesh.following import Follower

_LONGEST_RETRY = timedelta(seconds=2)
_log = telemetry.logger("revocation_stream")


class Hub:
    """Streams revocations to any number of readers. `start` it when the database is there; `stop` ends all streams.

    `bookmark_interval`: seconds after which readers that are sent nothing are told that nothing changed.
    `poll_interval`: seconds after which the log is looked at though nobody said that it grew.
    `page`: about how many certificates or identities one message names, at most.
    `most_kept`: rows of the log that are kept in memory.
    `jitter()`: 0 to 1.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        bookmark_interval: float = 3.0,
        poll_interval: float = 1.0,
        page: int = 5000,
        most_kept: int = 10_000,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._bookmark_interval = bookmark_interval
        self._page = page
        self._most_kept = most_kept
        self._jitter = jitter
        self._log = Follower(
            self._advance,
            "revocation stream",
            _log,
            poll_interval=poll_interval,
            longest_retry=_LONGEST_RETRY,
            random=jitter,
        )
        self._readers: set[_Reader] = set()
        self._memory: _Memory | None = None
        self._told_at = 0.0
        database.on_commit(TOPIC, self._log.wake)

    async def start(self) -> None:
        """Begin to follow the log."""
        await self._log.start()

    async def stop(self) -> None:
        """End every stream with NOT_READY, and refuse new ones."""
        await self._log.stop()
        for reader in self._readers:
            reader.end()

    async def watch(self, resume: RevocationResumePoint | None) -> AsyncGenerator[WatchRevocationsResponse, None]:
        """One stream, from the resume point on; without one, or where that cannot be, from a snapshot on.

        Raises `Refusal`: NOT_READY where the reader should come again, DATABASE_UNAVAILABLE.
        """
        if not self._log.is_followed:
            raise self._not_ready()
        reader = _Reader()
        self._readers.add(reader)  # before it reads: of what comes after that it is told
        try:
            opening = await self._database.read(_open, resume, self._clock(), self._page)
            for message in opening.messages:
                yield message
            reader.revision = opening.revision
            while True:
                await reader.woken()
                if reader.ended:
                    raise self._not_ready()
                for message in await self._news(opening.ledger_id, reader):
                    yield message
        finally:
            self._readers.discard(reader)

    async def _news(self, ledger_id: str, reader: "_Reader") -> Sequence[WatchRevocationsResponse]:
        memory = self._memory
        if memory is None or memory.revision < reader.revision:
            return ()  # a reading from before this reader's own
        if memory.revision == reader.revision:
            return (_bookmark(ledger_id, memory.revision),)
        entries = memory.since(reader.revision)
        if entries is not None:
            reader.revision = memory.revision
            return tuple(_delta(ledger_id, memory.revision, entries, memory.authorities, self._page))
        point = RevocationResumePoint(ledger_id=ledger_id, revision=reader.revision)
        opening = await self._database.read(_open, point, self._clock(), self._page)
        reader.revision = opening.revision
        return opening.messages

    async def _advance(self) -> None:
        if not self._readers:
            self._memory = None
            return
        before = self._memory
        reading = await self._database.read(_read, before.revision if before else None, self._clock())
        now = asyncio.get_running_loop().time()
        if before is None:
            self._memory = _Memory(reading, self._most_kept)
        else:
            before.take(reading)
        if before is None or reading.entries or now - self._told_at >= self._bookmark_interval:
            self._told_at = now
            for reader in self._readers:
                reader.wake()

    def _not_ready(self) -> Refusal:
        retry_after = timedelta(seconds=0.5 + self._jitter())
        return Refusal(Reason.REASON_NOT_READY, "the service does not stream now", retry_after=retry_after)


class _Reader:
    """One reader: how far it is, and whether there is anything to tell it."""

    def __init__(self) -> None:
        self.revision = 0
        self.ended = False
        self._event = asyncio.Event()

    async def woken(self) -> None:
        await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    def end(self) -> None:
        self.ended = True
        self._event.set()


class _Reading(NamedTuple):
    """What a look at the log found."""

    revision: int
    entries: Sequence[Entry]
    authorities: Sequence[LiveAuthority] | None
    """Those that are live; None where the entries say nothing of them."""


class _Memory:
    """The end of the log, up to `revision`."""

    def __init__(self, reading: _Reading, most: int) -> None:
        self.revision = reading.revision
        self.authorities: Sequence[LiveAuthority] = ()
        self._base = reading.revision
        self._entries: list[Entry] = []
        self._most = most

    def take(self, reading: _Reading) -> None:
        """Move on to a reading that began where this one is."""
        self.revision = reading.revision
        if reading.authorities is not None:
            self.authorities = reading.authorities
        self._entries.extend(reading.entries)
        if len(self._entries) > self._most:
            self._base = self._entries[-self._most].revision  # it may be there in part
            self._entries = [each for each in self._entries if each.revision > self._base]

    def since(self, revision: int) -> Sequence[Entry] | None:
        """What came after a revision; None where that is no longer known here."""
        if revision < self._base:
            return None
        return [each for each in self._entries if each.revision > revision]


class _Opening(NamedTuple):
    """What a stream begins with."""

    ledger_id: str
    revision: int
    messages: Sequence[WatchRevocationsResponse]


def _read(tx: Transaction, since: int | None, now: datetime) -> _Reading:
    revision = read_ledger(tx).revision
    entries = read_since(tx, since) if since not in (None, revision) else []
    changed = any(each.kind == Kind.AUTHORITIES for each in entries)
    return _Reading(revision, entries, live_authorities(tx, now) if changed else None)


def _open(tx: Transaction, resume: RevocationResumePoint | None, now: datetime, page: int) -> _Opening:
    ledger_id, revision, horizon = read_ledger(tx)
    reset = RevocationsReset.REVOCATIONS_RESET_UNSPECIFIED
    if resume is not None:
        if resume.ledger_id != ledger_id or resume.revision > revision:
            reset = RevocationsReset.REVOCATIONS_RESET_FOREIGN
        elif resume.revision < horizon:
            reset = RevocationsReset.REVOCATIONS_RESET_COMPACTED
        elif resume.revision == revision:
            return _Opening(ledger_id, revision, [_bookmark(ledger_id, revision)])
        else:
            entries = read_since(tx, resume.revision)
            messages = list(_delta(ledger_id, revision, entries, live_authorities(tx, now), page))
            return _Opening(ledger_id, revision, messages)
    snapshot = _pages(
        ledger_id,
        revision,
        RevocationsKind.REVOCATIONS_KIND_SNAPSHOT,
        revoked_and_unexpired(tx, now),
        banned_identities(tx),
        (),
        live_authorities(tx, now),
        page,
    )
    messages = list(snapshot)
    for message in messages:
        message.reset = reset
    return _Opening(ledger_id, revision, messages)


def _bookmark(ledger_id: str, revision: int) -> WatchRevocationsResponse:
    return WatchRevocationsResponse(
        ledger_id=ledger_id, revision=revision, kind=RevocationsKind.REVOCATIONS_KIND_BOOKMARK
    )


def _delta(
    ledger_id: str, revision: int, entries: Sequence[Entry], authorities: Sequence[LiveAuthority], page: int
) -> Iterator[WatchRevocationsResponse]:
    """What entries of the log come to in the end: of an identity that was banned and restored, only the last counts."""
    banned: dict[str, bool] = {}
    for entry in entries:
        if entry.spiffe_id is not None:
            banned[entry.spiffe_id] = entry.kind == Kind.BAN
    changed = any(entry.kind == Kind.AUTHORITIES for entry in entries)
    return _pages(
        ledger_id,
        revision,
        RevocationsKind.REVOCATIONS_KIND_DELTA,
        [entry.revoked for entry in entries if entry.revoked],
        sorted(each for each, is_banned in banned.items() if is_banned),
        sorted(each for each, is_banned in banned.items() if not is_banned),
        authorities if changed else None,
        page,
    )


def _pages(
    ledger_id: str,
    revision: int,
    kind: RevocationsKind.ValueType,
    revoked: Sequence[Revoked],
    banned: Sequence[str],
    restored: Sequence[str],
    authorities: Sequence[LiveAuthority] | None,
    page: int,
) -> Iterator[WatchRevocationsResponse]:
    """The messages that make up a revision: each list is cut alike, and the last has the authorities."""
    count = max(1, *(-(-len(each) // page) for each in (revoked, banned, restored)))
    for number in range(count):
        part = slice(number * page, (number + 1) * page)
        is_last = number == count - 1
        message = WatchRevocationsResponse(
            ledger_id=ledger_id,
            revision=revision,
            kind=kind,
            certificates=[_certificate(each) for each in revoked[part]],
            banned_spiffe_ids=banned[part],
            restored_spiffe_ids=restored[part],
            partial=not is_last,
        )
        if is_last and authorities:  # with none at all, nobody could be told that there is one again
            message.authorities.CopyFrom(LiveAuthorities(authorities=[_authority(each) for each in authorities]))
        yield message


def _certificate(revoked: Revoked) -> pb.RevokedCertificate:
    return pb.RevokedCertificate(
        serial_number=revoked.serial_number,
        not_after=_timestamp(revoked.not_after),
        reason=RevocationReason.ValueType(revoked.reason),
    )


def _authority(authority: LiveAuthority) -> pb.LiveAuthority:
    return pb.LiveAuthority(
        authority_sha256=authority.authority_sha256.hex(),
        key_identifier=authority.key_identifier.hex(),
        not_after=_timestamp(authority.not_after),
    )


def _timestamp(end: datetime) -> Timestamp:
    # A certificate ends on a whole second, and there may be 100,000 of them.
    return Timestamp(seconds=int(end.timestamp()))
