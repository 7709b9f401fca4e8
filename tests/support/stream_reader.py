"""A reader of the configuration stream that trusts nothing: it holds what it was sent and checks each message."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Self

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    RESET_REASON_FOREIGN,
    RESET_REASON_UNSPECIFIED,
    ApplicationConfiguration,
    ResumePoint,
    WatchConfigurationRequest,
    WatchConfigurationResponse,
)

from mesh.configuration import application_sha256, content_sha256
from mesh.errors import Refusal


class StreamReader(ABC):
    """One runtime's reader; what it holds outlives its streams.

    A message that breaks the stream's contract fails an assertion in the task that reads: a revision that comes twice,
    goes back or is torn, a removal of what was not there, a content that does not have its hash.
    """

    def __init__(self, runtime_id: str) -> None:
        self.runtime_id = runtime_id
        self.plane_id = ""
        self.revision = 0
        self.credentials_revision = 0
        self.view: dict[str, ApplicationConfiguration] = {}
        self.messages: list[WatchConfigurationResponse] = []
        self.refusal: Refusal | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self._news = asyncio.Event()
        self._parts: list[WatchConfigurationResponse] = []
        self._first = True
        self._resumed = False
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def _stream(self, request: WatchConfigurationRequest) -> AsyncGenerator[WatchConfigurationResponse, None]:
        """One stream, to its end; one that is refused notes why."""

    def connect(self, *, resume: bool = False, point: ResumePoint | None = None) -> None:
        request = WatchConfigurationRequest(runtime_id=self.runtime_id, resume=point)
        if resume and self.plane_id:
            point = ResumePoint(plane_id=self.plane_id, revision=self.revision)
            request.resume.CopyFrom(point)
            request.credentials_revision = self.credentials_revision
        self.messages, self._parts, self._first, self.refusal = [], [], True, None
        self._resumed = point is not None
        self._task = asyncio.get_running_loop().create_task(self._read(request))
        self._task.add_done_callback(lambda _: self._news.set())

    async def disconnect(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def until(self, rule: Callable[[Self], bool], within: float = 10) -> None:
        """Wait until `rule` holds of this reader; fails where its stream ended before."""
        await self._until(lambda: rule(self) or self._ended_before(), within)

    @property
    def connected(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def kinds(self) -> list[int]:
        return [message.kind for message in self.messages]

    @property
    def content_sha256(self) -> str:
        """The hash of what it holds."""
        return hash_of(self.view)

    def _ended_before(self) -> bool:
        if self._task is not None and self._task.done():
            self._task.result()  # raises what was wrong with it
        assert self.connected, "the stream ended"
        return False

    async def _until(self, rule: Callable[[], bool], within: float = 30) -> None:
        async with asyncio.timeout(within):
            while not rule():
                self._news.clear()
                await self._news.wait()

    async def _read(self, request: WatchConfigurationRequest) -> None:
        async with contextlib.aclosing(self._stream(request)) as stream:
            async for message in stream:
                self._take(message)
                await self.reading.wait()

    def _take(self, message: WatchConfigurationResponse) -> None:
        self.messages.append(message)
        self._news.set()
        if self._parts:
            whole = {(part.revision, part.kind, part.plane_id, part.reset) for part in [*self._parts, message]}
            assert len(whole) == 1, "a revision is torn"
        self._parts.append(message)
        assert bool(message.content_sha256) != message.partial
        if message.partial:
            return
        parts, self._parts = self._parts, []
        if message.kind == CONFIGURATION_KIND_SNAPSHOT:
            self._begin_anew(message)
        else:
            assert not self._first or self._resumed, "a change of nothing"
            assert message.plane_id == self.plane_id
            may_repeat = self._first and message.kind == CONFIGURATION_KIND_BOOKMARK
            assert message.revision > self.revision or (may_repeat and message.revision == self.revision)
        self._first = False
        assert not any(part.credentials_revision for part in parts[:-1]), "told before the revision is whole"
        if message.credentials_revision:
            assert message.credentials_revision > self.credentials_revision, "told twice"
            self.credentials_revision = message.credentials_revision
        for part in parts:
            for application_id in part.removed_application_ids:
                assert message.kind == CONFIGURATION_KIND_DELTA
                assert self.view.pop(application_id, None) is not None, "removed what was not there"
            for application in part.applications:
                assert message.kind != CONFIGURATION_KIND_BOOKMARK
                self.view[application.application_id] = application
        self.plane_id, self.revision = message.plane_id, message.revision
        assert self.content_sha256 == message.content_sha256

    def _begin_anew(self, message: WatchConfigurationResponse) -> None:
        assert self._first, "a snapshot in the middle of a stream"
        assert self._resumed == (message.reset != RESET_REASON_UNSPECIFIED), "a snapshot to one that could resume"
        if message.plane_id == self.plane_id and message.reset != RESET_REASON_FOREIGN:
            assert message.revision >= self.revision, "the plane went back"
        self.view = {}
        self.credentials_revision = 0


def hash_of(view: Mapping[str, ApplicationConfiguration]) -> str:
    """The content hash of what a runtime sees."""
    return content_sha256({key: application_sha256(each) for key, each in view.items()})
