"""A reader of an Application's own view, which checks each step that it is sent."""

import asyncio
import contextlib
from functools import partial

from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_SNAPSHOT,
    GetApplicationConfigurationRequest,
    ServedRuntime,
    WatchApplicationConfigurationRequest,
    WatchApplicationConfigurationResponse,
)

from director.application_view import get_application_configuration
from director.serving.hub import ApplicationHub
from mesh.errors import Refusal
from tests.unit.director.plane import Plane

Held = tuple[dict[str, ServedRuntime], str]


class Reader:
    def __init__(self, plane: Plane, hub: ApplicationHub, application_id: str) -> None:
        self.revision = 0
        self.runtimes: dict[str, ServedRuntime] = {}
        self.eventing_runtime_id = ""
        self.messages: list[WatchApplicationConfigurationResponse] = []
        self.refusal: Refusal | None = None
        self._plane = plane
        self._parts: list[WatchApplicationConfigurationResponse] = []
        self._news = asyncio.Event()
        request = WatchApplicationConfigurationRequest(application_id=application_id)
        self._application_id = application_id
        self._task = asyncio.create_task(self._read(hub, request))

    async def until_true(self) -> None:
        """Wait until what was sent adds up to what a read gives now."""
        async with asyncio.timeout(20):
            while (self.runtimes, self.eventing_runtime_id) != self._read_once() or not self.messages:
                assert not self._task.done(), "the stream ended"
                self._news.clear()
                await self._news.wait()

    async def until_at(self, revision: int) -> None:
        """Wait until it was told of `revision`, or of a later one."""
        async with asyncio.timeout(20):
            while self.revision < revision:
                assert not self._task.done(), "the stream ended"
                self._news.clear()
                await self._news.wait()

    async def until_ended(self) -> Refusal:
        async with asyncio.timeout(20):
            await self._task
        assert self.refusal is not None
        return self.refusal

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _read_once(self) -> Held:
        unit = partial(get_application_configuration, trust_domain="plane.test")
        answer = self._plane.read(unit, GetApplicationConfigurationRequest(application_id=self._application_id))
        return {each.runtime_id: each for each in answer.runtimes}, answer.eventing_runtime_id

    async def _read(self, hub: ApplicationHub, request: WatchApplicationConfigurationRequest) -> None:
        try:
            async for message in hub.watch(request):
                self.messages.append(message)
                self._parts.append(message)
                if not message.partial:
                    self._take(self._parts)
                    self._parts = []
                    self._news.set()
        except Refusal as refusal:
            self.refusal = refusal
        finally:
            self._news.set()

    def _take(self, step: list[WatchApplicationConfigurationResponse]) -> None:
        last = step[-1]
        assert last.revision > self.revision, "a step that does not go on"
        if last.kind == CONFIGURATION_KIND_SNAPSHOT:
            self.runtimes = {}
        if last.kind == CONFIGURATION_KIND_BOOKMARK:
            assert not last.runtimes
            assert not last.removed_runtime_ids
        for message in step:
            assert (message.revision, message.kind) == (last.revision, last.kind)
            for runtime in message.runtimes:
                self.runtimes[runtime.runtime_id] = runtime
        for id in last.removed_runtime_ids:
            del self.runtimes[id]
        self.revision, self.eventing_runtime_id = last.revision, last.eventing_runtime_id
