"""What no longer counts: the plane's one list of revocations, as a service holds it and asks it on every call.

`Revocations` is the list, `RevocationWatch` keeps it up to date. A service that loses the Connector goes on with the
list that it has, says how old that is (metric `moorage_revocations_age_seconds`, log), and answers nobody any more
where the operator set a limit to that age.
"""

import asyncio
import heapq
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.revocation_pb2 import (
    LiveAuthorities,
    LiveAuthority,
    RevocationResumePoint,
    RevocationsKind,
    RevokedCertificate,
    WatchRevocationsRequest,
    WatchRevocationsResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from certs import files
from certs.clock import Clock, system_clock
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.call import Caller
from mesh.channel import LiveChannel
from mesh.errors import Problem, Refusal, cause_of
from mesh.run import in_background

SILENCE = 15.0
"""Seconds without a message, three bookmarks, after which a stream of revocations is given up and begun anew."""

STALE_AFTER = timedelta(seconds=30)
"""How old the list is when the log begins to complain."""

FIRST_WAIT = 5.0
"""Seconds that a service which starts without a list waits for one, while the Connector answers at all."""

_LOOK = 1.0
_SAVE_INTERVAL = 0.25
_log = telemetry.logger("revocations")

Source = Callable[[RevocationResumePoint | None], AsyncGenerator[WatchRevocationsResponse, None]]
"""Gives the messages from a resume point on, or from a snapshot on where there is none."""


@dataclass
class _Held:
    """One state of the list. Serial numbers and key identifiers are lowercase hexadecimal, times Unix seconds."""

    ledger_id: str
    revision: int
    serials: dict[str, int] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    authorities: dict[str, int] | None = None
    ends: list[tuple[int, str]] = field(default_factory=list)
    """A heap of when each of `serials` may be forgotten."""

    def copy(self) -> "_Held":
        authorities = None if self.authorities is None else dict(self.authorities)
        return replace(self, serials=dict(self.serials), banned=set(self.banned), authorities=authorities, ends=[])

    def add(self, message: WatchRevocationsResponse) -> None:
        self.banned.difference_update(message.restored_spiffe_ids)
        self.banned.update(message.banned_spiffe_ids)
        for each in message.certificates:
            self.serials[each.serial_number] = each.not_after.seconds
            heapq.heappush(self.ends, (each.not_after.seconds, each.serial_number))
        if message.HasField("authorities"):
            self.authorities = {each.key_identifier: each.not_after.seconds for each in message.authorities.authorities}

    def forget(self, now: float) -> None:
        while self.ends and self.ends[0][0] < now:
            self.serials.pop(heapq.heappop(self.ends)[1], None)

    def message(self) -> WatchRevocationsResponse:
        certificates = (
            RevokedCertificate(serial_number=serial, not_after=Timestamp(seconds=end))
            for serial, end in self.serials.items()
        )
        authorities = (
            LiveAuthority(key_identifier=key, not_after=Timestamp(seconds=end))
            for key, end in (self.authorities or {}).items()
        )
        return WatchRevocationsResponse(
            ledger_id=self.ledger_id,
            revision=self.revision,
            kind=RevocationsKind.REVOCATIONS_KIND_SNAPSHOT,
            certificates=certificates,
            banned_spiffe_ids=sorted(self.banned),
            authorities=LiveAuthorities(authorities=authorities),
        )


async def followed(source: Source, stack: AsyncExitStack, *, max_age: float, cache: Path | None) -> "Revocations":
    """The list as a service keeps it until the stack unwinds; the first one is waited for where it can be had at once.

    `max_age` is in seconds, 0 for none.
    """
    revocations = Revocations(max_age=timedelta(seconds=max_age) if max_age else None, cache=cache)
    watch = RevocationWatch(source, revocations)
    in_background(stack, watch.run())
    await watch.first()
    return revocations


class Revocations:
    """The list. While a service never had one, everybody counts who has a certificate, unless it has a `max_age`.

    `cache` is a file in which it outlives the process. All is called on the event loop, save for `save`'s own work.
    """

    def __init__(
        self, clock: Clock = system_clock, max_age: timedelta | None = None, cache: Path | None = None
    ) -> None:
        self._clock = clock
        self._max_age = max_age
        self._cache = cache
        self._held: _Held | None = None
        self._coming: _Held | None = None
        self._heard: datetime | None = None
        self._stale = max_age is not None
        self._saved: tuple[str, int] | None = None
        self._listeners: list[Callable[[], None]] = []
        if cache is not None:
            self._load(cache)

    @property
    def resume(self) -> RevocationResumePoint | None:
        """From where the stream goes on; None where there is no list yet."""
        if self._held is None or not self._held.ledger_id:
            return None
        return RevocationResumePoint(ledger_id=self._held.ledger_id, revision=self._held.revision)

    def check(self, caller: Caller) -> None:
        """Raise `Refusal` where the caller's certificate no longer counts: CERTIFICATE_REVOKED, AUTHORITY_REVOKED."""
        held = self._held
        if held is None:
            return
        if caller.serial in held.serials or caller.uri in held.banned:
            raise Refusal(
                Reason.REASON_CERTIFICATE_REVOKED,
                f"the certificate {caller.serial} of {caller.uri} was revoked or superseded, or its identity banned",
                metadata={"serial_number": caller.serial},
            )
        if held.authorities is not None and caller.authority_key not in held.authorities:
            raise Refusal(
                Reason.REASON_AUTHORITY_REVOKED,
                f"the authority that signed the certificate {caller.serial} of {caller.uri} no longer counts",
                metadata={"serial_number": caller.serial, "authority_key_identifier": caller.authority_key},
            )

    def check_age(self) -> None:
        """Raise `Refusal` (REVOCATIONS_STALE) where the list is older than `max_age`."""
        if self._max_age is None:
            return
        age = self.age()
        if age is None or age > self._max_age:
            told = "was never had" if age is None else f"is {age.total_seconds():.0f} s old"
            raise Refusal(
                Reason.REASON_REVOCATIONS_STALE,
                f"the list of what was revoked {told}; {self._max_age.total_seconds():.0f} s is the most that is taken",
                retry_after=timedelta(seconds=random.uniform(1, 3)),  # noqa: S311 - spread, not secrecy
            )

    async def ready(self) -> None:
        """`check_age` for `Readiness`."""
        self.check_age()

    def age(self) -> timedelta | None:
        """How long ago the Connector last said what is revoked; None where it never did."""
        return None if self._heard is None else max(self._clock() - self._heard, timedelta(0))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever somebody may no longer pass who did before."""
        self._listeners.append(listener)

    def apply(self, message: WatchRevocationsResponse) -> None:
        """Take one message of the stream. Raises `ValueError` for one that does not follow on what is held."""
        now = self._clock()
        if message.kind == RevocationsKind.REVOCATIONS_KIND_SNAPSHOT:
            self._take_snapshot(message)
        else:
            held = self._held
            if held is None or held.ledger_id != message.ledger_id or message.revision < held.revision:
                raise ValueError("a change to a list of revocations that is not held")
            self._coming = None
            held.add(message)
            if not message.partial:
                held.revision = message.revision
        assert self._held is not None  # noqa: S101 - either was there or has just been taken
        self._held.forget(now.timestamp())
        if not message.partial:
            self._heard = now
        self._look_at_age()
        if message.certificates or message.banned_spiffe_ids or message.HasField("authorities"):
            self._tell()

    def look_at_age(self) -> None:
        """Tell the listeners where the list has grown too old since the last time."""
        if self._look_at_age():
            self._tell()

    def save(self) -> Callable[[], None] | None:
        """What is to be done, on any thread, so that the cache has the list; None where there is nothing to keep.

        A list that is as it was only has the file's time set: that is when it was last true.
        """
        if self._cache is None or self._held is None or self._heard is None:
            return None
        cache, heard, point = self._cache, self._heard.timestamp(), (self._held.ledger_id, self._held.revision)
        held = None if self._saved == point else self._held.copy()

        def write() -> None:
            if held is not None:
                files.replace(cache, held.message().SerializeToString(), files.PRIVATE)
                self._saved = point
            os.utime(cache, (heard, heard))

        return write

    def _take_snapshot(self, message: WatchRevocationsResponse) -> None:
        coming = self._coming
        if coming is None or (coming.ledger_id, coming.revision) != (message.ledger_id, message.revision):
            coming = self._coming = _Held(message.ledger_id, message.revision)
        coming.add(message)
        if not message.partial:
            self._held, self._coming = coming, None
            return
        # What it names counts no longer, whatever else is still to come; what it leaves out is not restored yet.
        if self._held is None:
            self._held = _Held("", -1)
        self._held.add(message)

    def _look_at_age(self) -> bool:
        before = self._stale
        try:
            self.check_age()
            self._stale = False
        except Refusal:
            self._stale = True
        return self._stale and not before

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _load(self, cache: Path) -> None:
        try:
            message = WatchRevocationsResponse.FromString(cache.read_bytes())
            heard = datetime.fromtimestamp(cache.stat().st_mtime, UTC)
            if message.kind != RevocationsKind.REVOCATIONS_KIND_SNAPSHOT or not message.ledger_id:
                raise DecodeError("it is no snapshot")
        except FileNotFoundError:
            return
        except (OSError, DecodeError) as error:
            _log.warning("the kept list of revocations cannot be used", file=str(cache), error=str(error))
            return
        self._take_snapshot(message)
        self._heard = heard
        self._saved = (message.ledger_id, message.revision)
        self._look_at_age()


class RevocationWatch:
    """Keeps a list up to date, from whatever tells of changes, for as long as the process lives."""

    def __init__(
        self,
        source: Source,
        revocations: Revocations,
        backoff: Backoff | None = None,
        *,
        silence: float = SILENCE,
        stale_after: timedelta = STALE_AFTER,
    ) -> None:
        self._source = source
        self._revocations = revocations
        self._backoff = backoff or Backoff(timedelta(milliseconds=100), timedelta(seconds=2))
        self._silence = silence
        self._stale_after = stale_after
        self._tried = asyncio.Event()
        self._heard = asyncio.Event()
        self._failing = False
        self._fresh = False
        telemetry.REVOCATIONS_AGE.set_function(self._age_seconds)

    async def first(self, within: float = FIRST_WAIT) -> None:
        """Wait, while `run` runs, until there is a list, or the first try to have one has failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._tried.wait()

    async def run(self) -> NoReturn:
        """Follow the source until cancelled; whatever fails is tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_saving())
            group.create_task(self._keep_looking())
            await self._keep_following()

    async def _keep_following(self) -> NoReturn:
        while True:
            self._fresh, orderly = False, False
            try:
                await self._follow()
                failure = "the stream ended"
            except Exception as error:  # whatever it is: the next try must come
                failure, orderly = cause_of(error), self._fresh and _asks_to_come_again(error)
            self._tried.set()
            if not self._failing and not orderly:
                self._failing = True
                _log.warning("revocations are not heard of", failure=failure)
            await asyncio.sleep(self._backoff.next())

    async def _follow(self) -> None:
        async with aclosing(self._source(self._revocations.resume)) as messages:
            while True:
                async with asyncio.timeout(self._silence):
                    message = await anext(messages, None)
                if message is None:
                    return
                self._revocations.apply(message)
                if not message.partial:
                    self._note_success()

    def _note_success(self) -> None:
        self._fresh = True
        self._backoff.reset()
        self._tried.set()
        self._heard.set()
        if self._failing:
            self._failing = False
            _log.info("revocations are heard of again")

    async def _keep_saving(self) -> NoReturn:
        while True:
            await self._heard.wait()
            self._heard.clear()
            write = self._revocations.save()
            if write is not None:
                try:
                    await asyncio.to_thread(write)
                except OSError as error:
                    _log.warning("the list of revocations is not kept", error=str(error))
            await asyncio.sleep(_SAVE_INTERVAL)

    async def _keep_looking(self) -> NoReturn:
        """Say in the log when the list has grown old, and when it is up to date again."""
        begun, told = asyncio.get_running_loop().time(), False
        while True:
            await asyncio.sleep(_LOOK)
            self._revocations.look_at_age()
            age = self._revocations.age()
            waited = timedelta(seconds=asyncio.get_running_loop().time() - begun)
            stale = (waited if age is None else age) > self._stale_after
            if stale != told:
                told = stale
                log = _log.warning if stale else _log.info
                seconds = None if age is None else round(age.total_seconds())
                log("the list of revocations is stale" if stale else "the list of revocations is fresh", age=seconds)

    def _age_seconds(self) -> float:
        age = self._revocations.age()
        return float("inf") if age is None else age.total_seconds()


def _asks_to_come_again(error: Exception) -> bool:
    return isinstance(error, grpc.RpcError) and Problem.of(error).is_reason(Reason.REASON_NOT_READY)


def of_connector(channel: LiveChannel) -> Source:
    """The Connector's stream, over a channel of a service."""

    async def watch(resume: RevocationResumePoint | None) -> AsyncGenerator[WatchRevocationsResponse, None]:
        stream = channel.stub(ConnectorStub).WatchRevocations(WatchRevocationsRequest(resume=resume))
        try:
            async for message in stream:
                yield message
        finally:
            stream.cancel()

    return watch
