"""The streams of operators: each is sent all Runtimes, then those that are new or changed.

One reading serves all streams. What a reader is sent next is the difference between what it was sent last and what is
true now, so a slow reader skips what came in between, and nothing is kept for it.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import timedelta

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ConfigurationKind,
)
from moorage.director.v1.runtime_pb2 import WatchRuntimesResponse
from moorage.errors.v1.errors_pb2 import Reason

from director.fleet.reading import Difference, Fleet, difference, read_fleet
from director.latest import Reader
from director.store.changes import TOPIC
from mesh import telemetry
from mesh.database import Database
from mesh.errors import Refusal
from mesh.following import Follower

MESSAGE_BYTES = 1024 * 1024
"""About the most that one message has; a Runtime of which a hundred resources failed has 200 KB."""

_log = telemetry.logger("fleet")


class RuntimeHub:
    """Streams the Runtimes to operators. Times are in seconds.

    `bookmark_interval`: after how long, at most, a reader that is sent nothing is told how far the log has come.
    `poll_interval`: after how long reports are looked for, which nobody tells of.
    `spacing`: between two readings, at least: one change may touch every Runtime.
    `open_deadline`: within which a stream has begun or is refused.
    """

    def __init__(
        self,
        database: Database,
        *,
        bookmark_interval: float = 60.0,
        poll_interval: float = 1.0,
        spacing: float = 0.25,
        open_deadline: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._bookmark_interval = bookmark_interval
        self._open_deadline = open_deadline
        self._jitter = jitter
        self._fleet: Fleet | None = None
        self._readers: set[Reader[Fleet]] = set()
        self._log = Follower(
            self._advance, "runtime hub", _log, poll_interval=poll_interval, spacing=spacing, random=jitter
        )
        database.on_commit(TOPIC, self.wake)

    async def start(self) -> None:
        """Begin to follow the log."""
        await self._log.start()

    async def stop(self) -> None:
        """End every stream with NOT_READY, and refuse new ones."""
        await self._log.stop()
        for reader in self._readers:
            reader.end(self._not_ready("the service is stopping"))

    def wake(self) -> None:
        """Say that something may have changed. On the event loop's thread."""
        if self._readers:  # without any, nobody is told
            self._log.wake()

    async def watch(self) -> AsyncGenerator[WatchRuntimesResponse, None]:
        """One stream. Raises `Refusal` (NOT_READY) where the reader should come again, here or elsewhere."""
        if not self._log.is_followed:
            raise self._not_ready("the service does not stream now")
        reader = Reader[Fleet]()
        self._readers.add(reader)
        self._log.wake()
        try:
            async for message in self._messages(reader):
                yield message
        finally:
            self._readers.discard(reader)

    async def _messages(self, reader: Reader[Fleet]) -> AsyncGenerator[WatchRuntimesResponse, None]:
        if not await reader.wait(self._open_deadline):
            raise self._not_ready("the service cannot read its change log now")
        sent = reader.view()
        told = sent.revision
        for message in _step(sent, Difference(list(sent.runtimes.values()), []), CONFIGURATION_KIND_SNAPSHOT):
            yield message
        bookmark_due = self._bookmark_due()
        while True:
            await reader.wait(max(bookmark_due - self._time(), 0.0))
            before, sent = sent, reader.view()
            news = difference(before, sent)
            if news.changed or news.removed:
                told, bookmark_due = sent.revision, self._bookmark_due()
                for message in _step(sent, news, CONFIGURATION_KIND_DELTA):
                    yield message
            elif self._time() >= bookmark_due:
                bookmark_due = self._bookmark_due()
                if sent.revision > told:
                    told = sent.revision
                    yield WatchRuntimesResponse(revision=told, kind=CONFIGURATION_KIND_BOOKMARK)

    def _bookmark_due(self) -> float:
        return self._time() + self._bookmark_interval * (0.5 + self._jitter() / 2)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def _advance(self) -> None:
        """Read what changed, and show it to all."""
        if not self._readers:
            self._fleet = None  # nobody is told anything: there is nothing to follow
            return
        self._fleet = await self._database.read(read_fleet, self._fleet)
        for reader in self._readers:
            reader.show(self._fleet, self._fleet.revision)

    def _not_ready(self, why: str) -> Refusal:
        retry_after = timedelta(seconds=0.5 + self._jitter())
        return Refusal(Reason.REASON_NOT_READY, why, retry_after=retry_after)


def _step(fleet: Fleet, news: Difference, kind: ConfigurationKind.ValueType) -> Iterator[WatchRuntimesResponse]:
    """The messages that bring the news, all but the last `partial`."""
    message, size = WatchRuntimesResponse(revision=fleet.revision, kind=kind, partial=True), 0
    for runtime in news.changed:
        length = runtime.ByteSize()
        if size and size + length > MESSAGE_BYTES:
            yield message
            message, size = WatchRuntimesResponse(revision=fleet.revision, kind=kind, partial=True), 0
        message.runtimes.append(runtime)
        size += length
    message.removed_runtime_ids.extend(news.removed)
    message.partial = False
    yield message
