"""An operator that watches the Runtimes, and checks each step that it is sent."""

import asyncio
import contextlib

from moorage.director.v1.configuration_pb2 import CONFIGURATION_KIND_BOOKMARK, CONFIGURATION_KIND_SNAPSHOT
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, ListRuntimesRequest, Runtime, WatchRuntimesResponse

from director.fleet.hub import RuntimeHub
from director.runtimes import get_runtime, list_runtimes
from mesh.errors import Refusal
from tests.unit.director.plane import Plane


class Reader:
    def __init__(self, plane: Plane, hub: RuntimeHub) -> None:
        self.revision = -1
        self.runtimes: dict[str, Runtime] = {}
        self.messages: list[WatchRuntimesResponse] = []
        self.refusal: Refusal | None = None
        self._plane = plane
        self._hub = hub
        self._parts: list[WatchRuntimesResponse] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read(hub))

    async def until_true(self) -> None:
        """Wait until what was sent adds up to what reads give now."""
        async with asyncio.timeout(20):
            while not self.messages or self._parts or self.runtimes != self._read_each():
                assert not self._task.done(), "the stream ended"
                self._news.clear()
                self._hub.wake()  # of a report nobody tells
                await self._news.wait()

    async def until_at(self, revision: int) -> None:
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

    def _read_each(self) -> dict[str, Runtime]:
        listed = self._plane.read(list_runtimes, ListRuntimesRequest(page_size=1000)).runtimes
        ids = [each.runtime_id for each in listed]
        return {id: self._plane.read(get_runtime, GetRuntimeRequest(runtime_id=id)).runtime for id in ids}

    async def _read(self, hub: RuntimeHub) -> None:
        try:
            async for message in hub.watch():
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

    def _take(self, step: list[WatchRuntimesResponse]) -> None:
        last = step[-1]
        assert last.revision >= self.revision, "a step that goes back"
        if last.kind == CONFIGURATION_KIND_SNAPSHOT:
            assert step[0] is self.messages[0], "a snapshot in the middle of a stream"
            self.runtimes = {}
        if last.kind == CONFIGURATION_KIND_BOOKMARK:
            assert last.revision > self.revision
            assert not last.runtimes
            assert not last.removed_runtime_ids
        for message in step:
            assert (message.revision, message.kind) == (last.revision, last.kind)
            for runtime in message.runtimes:
                assert self.runtimes.get(runtime.runtime_id) != runtime, "what did not change was sent"
                self.runtimes[runtime.runtime_id] = runtime
        for id in last.removed_runtime_ids:
            del self.runtimes[id]
        self.revision = last.revision
