"""The streams of Applications: each holds its view, and is sent what changed in it.

One reading of the change log serves all streams; an Application that is watched by several readers has one view. What
a reader is sent next is the difference between the view that it was sent last and the one that is true now, so a slow
reader skips what came in between.
"""

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

from director.latest import Reader
from director.serving.reading import Round, View, read_round
from director.serving.view import eventing_target, message_of
from director.store.changes import TOPIC
from mesh import telemetry
from mesh.database import Database
from mesh.errors import Refusal
from mesh.following import Follower

RUNTIMES_A_MESSAGE = 1000
"""How many Runtimes one message has at most: some 300 bytes each."""

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
        self._open_deadline = open_deadline
        self._jitter = jitter
        self._head: int | None = None
        self._views: dict[str, View] = {}
        self._readers: dict[str, set[Reader[View]]] = {}
        self._log = Follower(self._advance, "application hub", _log, poll_interval=poll_interval, random=jitter)
        database.on_commit(TOPIC, self._wake)

    async def start(self) -> None:
        """Begin to follow the log."""
        await self._log.start()

    async def stop(self) -> None:
        """End every stream with NOT_READY, and refuse new ones."""
        await self._log.stop()
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
        if not self._log.is_followed:
            raise self._not_ready("the service does not stream now")
        reader = Reader[View]()
        self._readers.setdefault(request.application_id, set()).add(reader)
        self._log.wake()
        try:
            async for message in self._messages(reader):
                yield message
        finally:
            self._leave(request.application_id, reader)

    async def _messages(self, reader: Reader[View]) -> AsyncGenerator[WatchApplicationConfigurationResponse, None]:
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
            self._log.wake()

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

    def _leave(self, application_id: str, reader: Reader[View]) -> None:
        readers = self._readers.get(application_id, set())
        readers.discard(reader)
        if not readers:
            self._readers.pop(application_id, None)
            self._views.pop(application_id, None)

    def _not_ready(self, why: str) -> Refusal:
        retry_after = timedelta(seconds=0.5 + self._jitter())
        return Refusal(Reason.REASON_NOT_READY, why, retry_after=retry_after)


def _no_such_application(application_id: str) -> Refusal:
    return Refusal(
        Reason.REASON_APPLICATION_NOT_FOUND, f"there is no application {application_id}", field="application_id"
    )
