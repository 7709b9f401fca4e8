"""The streams of Applications: each holds its view, and is sent what changed in it.

One reading of the change log serves all streams; an Application that is watched by several readers has one view. What
a reader is sent next is the difference between the view that it was sent last and the one that is true now, so a slow
reader skips what came in between.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import timedelta

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ConfigurationKind,
    WatchApplicationConfigurationRequest,
    WatchApplicationConfigurationResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from director.serving.reading import Round, View, read_round
from director.serving.view import eventing_target, message_of
from director.store.changes import TOPIC
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database import Database
from mesh.errors import Refusal

RUNTIMES_A_MESSAGE = 1000
"""How many Runtimes one message has at most: some 300 bytes each."""

_FIRST_RETRY, _LONGEST_RETRY = timedelta(milliseconds=100), timedelta(seconds=5)
_log = telemetry.logger("applications")


class ApplicationHub:
    """Streams Applications their own views. Times are in seconds.

    `bookmark_interval`: after how long, at most, a reader that is sent nothing is told how far the log has come.
    `poll_interval`: after how long the log is looked at though nobody said that it grew.
    `open_deadline`: within which a stream has begun or is refused.
    """

    def __init__(
        self,
        database: Database,
        trust_domain: str,
        *,
        bookmark_interval: float = 60.0,
        poll_interval: float = 5.0,
        open_deadline: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._trust_domain = trust_domain
        self._bookmark_interval = bookmark_interval
        self._poll_interval = poll_interval
        self._open_deadline = open_deadline
        self._jitter = jitter
        self._head: int | None = None
        self._views: dict[str, View] = {}
        self._readers: dict[str, set[_Reader]] = {}
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        database.on_commit(TOPIC, self._wake)

    async def start(self) -> None:
        """Begin to follow the log."""
        self._task = asyncio.create_task(self._follow(), name="application hub")

    async def stop(self) -> None:
        """End every stream with NOT_READY, and refuse new ones."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for readers in self._readers.values():
            for reader in readers:
                reader.end(self._not_ready("the service is stopping"))

    async def watch(
        self, request: WatchApplicationConfigurationRequest
    ) -> AsyncGenerator[WatchApplicationConfigurationResponse, None]:
        """One stream.

        Raises `Refusal`: APPLICATION_NOT_FOUND as soon as it is not in the registry, NOT_READY where the reader should
        come again, here or elsewhere.
        """
        if self._task is None:
            raise self._not_ready("the service does not stream now")
        reader = _Reader()
        self._readers.setdefault(request.application_id, set()).add(reader)
        self._work.set()
        try:
            async for message in self._messages(reader):
                yield message
        finally:
            self._leave(request.application_id, reader)

    async def _messages(self, reader: "_Reader") -> AsyncGenerator[WatchApplicationConfigurationResponse, None]:
        if not await reader.wait(self._open_deadline):
            raise self._not_ready("the service cannot read its change log now")
        sent: View | None = None
        revision = 0
        while True:
            view = reader.view()
            if view is not sent:
                revision = reader.revision
                for message in self._step(revision, sent, view):
                    yield message
                sent = view
            elif not await reader.wait(self._bookmark_interval * (0.5 + self._jitter() / 2)):
                head = self._head or 0
                if head > revision:
                    revision = head
                    yield self._message(revision, CONFIGURATION_KIND_BOOKMARK, view)

    def _step(self, revision: int, before: View | None, now: View) -> Iterator[WatchApplicationConfigurationResponse]:
        held = before.served if before else {}
        changed = [each for id, each in now.served.items() if held.get(id) != each]
        removed = [id for id in held if id not in now.served]
        kind = CONFIGURATION_KIND_DELTA if before else CONFIGURATION_KIND_SNAPSHOT
        for first in range(0, max(len(changed), 1), RUNTIMES_A_MESSAGE):
            message = self._message(revision, kind, now)
            message.runtimes.extend(
                message_of(each, self._trust_domain) for each in changed[first : first + RUNTIMES_A_MESSAGE]
            )
            message.partial = first + RUNTIMES_A_MESSAGE < len(changed)
            if not message.partial:
                message.removed_runtime_ids.extend(removed)
            yield message

    def _message(
        self, revision: int, kind: ConfigurationKind.ValueType, view: View
    ) -> WatchApplicationConfigurationResponse:
        target = eventing_target(view.chosen, view.served.values())
        return WatchApplicationConfigurationResponse(revision=revision, kind=kind, eventing_runtime_id=target)

    def _wake(self) -> None:
        if self._readers:  # without any, there is nothing to follow
            self._work.set()

    async def _follow(self) -> None:
        backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_interval):
                    await self._work.wait()
            self._work.clear()  # before the reading: what comes during it is for the next one
            try:
                await self._advance()
            except Exception as error:
                wait = backoff.next()
                _log.warning("the change log could not be followed", retry_in=wait, exc_info=error)
                await asyncio.sleep(wait)
                self._work.set()
            else:
                backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)

    async def _advance(self) -> None:
        """Read what changed, and tell those whom it concerns."""
        if not self._readers:
            self._head = None  # nobody is told anything: there is nothing to follow
            return
        arriving = self._readers.keys() - self._views.keys()
        self._take_in(await self._database.read(read_round, dict(self._views), arriving, self._head))

    def _take_in(self, round: Round) -> None:
        self._head = round.revision
        for application_id, view in round.views.items():
            readers = self._readers.get(application_id)
            if readers is None:
                continue  # it left during the reading
            if view is None:
                self._views.pop(application_id, None)
                for reader in readers:
                    reader.end(_no_such_application(application_id))
                continue
            if self._views.get(application_id) != view:
                self._views[application_id] = view
            for reader in readers:
                reader.show(self._views[application_id], round.revision)
        for application_id, readers in self._readers.items():
            if application_id in self._views:
                for reader in readers:
                    if not reader.begun:
                        reader.show(self._views[application_id], round.revision)

    def _leave(self, application_id: str, reader: "_Reader") -> None:
        readers = self._readers.get(application_id, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(application_id, None)
            self._views.pop(application_id, None)

    def _not_ready(self, why: str) -> Refusal:
        retry_after = timedelta(seconds=0.5 + self._jitter())
        return Refusal(Reason.REASON_NOT_READY, why, retry_after=retry_after)


class _Reader:
    """What the hub and one reader share, on the event loop's thread."""

    def __init__(self) -> None:
        self.revision = 0
        self._view: View | None = None
        self._end: Refusal | None = None
        self._changed = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether there is anything to be sent from."""
        return self._view is not None

    def show(self, view: View, revision: int) -> None:
        """Have the reader look at `view`, true at `revision`."""
        if self._view is not view:
            self._view, self.revision = view, revision
            self._changed.set()

    def end(self, refusal: Refusal) -> None:
        """End the stream, for a reason that the reader is told."""
        self._end = refusal
        self._changed.set()

    def view(self) -> View:
        """What is true now. Raises `Refusal` where the stream is ended."""
        self._changed.clear()
        if self._end is not None or self._view is None:
            raise self._end or Refusal(Reason.REASON_NOT_READY, "the stream has not begun")
        return self._view

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to look at; says whether there is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        return self._changed.is_set()


def _no_such_application(application_id: str) -> Refusal:
    return Refusal(
        Reason.REASON_APPLICATION_NOT_FOUND, f"there is no application {application_id}", field="application_id"
    )
