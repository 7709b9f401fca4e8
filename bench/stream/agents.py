"""Many readers of streams in one process: `python -m bench.stream.agents FILE`, told what to do over standard input.

The file is JSON: `address`, `path` (of the streaming method), `bundle` (PEM), `readers` ([[runtime_id, key, chain]]).
Each line of standard input is a command as JSON and is answered by a line: see `Agents`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import mesh  # noqa: F401 - before grpc, for the same TLS as the plane has

import grpc  # isort: skip
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    ResumePoint,
    WatchConfigurationRequest,
    WatchConfigurationResponse,
)

from mesh.backoff import Backoff
from mesh.channel import OPTIONS
from mesh.errors import Problem

_AT_ONCE = 100
"""Streams that are opened at the same time, the first time."""

_FIRST_WAIT = timedelta(milliseconds=100)
_LONGEST_WAIT = timedelta(seconds=5)


class Reader:
    """One stream, begun again whenever it ends, from where it was."""

    def __init__(self, channel: grpc.aio.Channel, path: str, runtime_id: str, told: Callable[[], None]) -> None:
        self._watch: Any = channel.unary_stream(path, WatchConfigurationRequest.SerializeToString, None)
        self._runtime_id = runtime_id
        self._told = told
        self._last: WatchConfigurationResponse | None = None
        self.opened = 0
        """When the stream of now had its first message, in nanoseconds since the epoch; 0 while none is open."""
        self.receipts: list[tuple[int, int, int, bool]] = []
        """Of each message: when it came, its revision, its bytes, and whether it was a bookmark."""

    async def run(self) -> None:
        """Read until cancelled."""
        backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
        wait_for_ready = False
        while True:
            least = None
            try:
                await self._read(wait_for_ready)
            except grpc.aio.AioRpcError as error:
                least = Problem.of(error).retry_after
            self.opened = 0
            wait_for_ready = not wait_for_ready  # as the agent does: one try that tells, one that waits
            await asyncio.sleep(backoff.next(least))

    async def _read(self, wait_for_ready: bool) -> None:
        request = WatchConfigurationRequest(runtime_id=self._runtime_id)
        if self._last is not None and self._last.plane_id:
            request.resume.CopyFrom(ResumePoint(plane_id=self._last.plane_id, revision=self._last.revision))
        call = self._watch(request, wait_for_ready=wait_for_ready)
        try:
            async for raw in call:
                at = time.time_ns()
                message = self._last = WatchConfigurationResponse.FromString(raw)
                self.opened = self.opened or at
                is_bookmark = message.kind == CONFIGURATION_KIND_BOOKMARK
                self.receipts.append((at, message.revision, len(raw), is_bookmark))
                self._told()
        finally:
            call.cancel()


class Agents:
    """All readers, and the commands that they take."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = readers
        self.something = asyncio.Event()

    async def open(self, _: dict[str, Any]) -> dict[str, Any]:
        """Open every stream; answers once each has had its first message."""
        self._tasks = []
        for begin in range(0, len(self.readers), _AT_ONCE):
            some = self.readers[begin : begin + _AT_ONCE]
            self._tasks += [asyncio.create_task(each.run()) for each in some]
            await self._until(lambda some=some: all(each.opened for each in some))  # type: ignore[misc]  # a default binds it
        return {"opened": len(self.readers)}

    async def wait(self, command: dict[str, Any]) -> dict[str, Any]:
        """Wait until the readers `which` (None: all) have `revision`, or a later one; answers when each had it."""
        revision, which = command["revision"], command["which"]
        some = self.readers if which is None else [self.readers[each] for each in which]
        await self._until(lambda: all(each.receipts and each.receipts[-1][1] >= revision for each in some))
        return {"at": [next(receipt[0] for receipt in each.receipts if receipt[1] >= revision) for each in some]}

    async def reopened(self, command: dict[str, Any]) -> dict[str, Any]:
        """Wait until each reader has a stream that was opened `after` a time; answers with when."""
        after = command["after"]
        await self._until(lambda: all(each.opened > after for each in self.readers))
        return {"at": [each.opened for each in self.readers]}

    async def take(self, _: dict[str, Any]) -> dict[str, Any]:
        """What came since the last time, by reader; it is forgotten."""
        taken = [each.receipts for each in self.readers]
        for each in self.readers:
            each.receipts = []
        return {"receipts": taken}

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self.something.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.something.wait()
            # Looking through all of them for each message would take what is to be measured.
            await asyncio.sleep(0.01)


async def serve(told: dict[str, Any]) -> None:
    """Take commands until standard input ends. `told` is what the file says."""
    agents: Agents

    def something() -> None:
        agents.something.set()

    agents = Agents(
        [
            Reader(_channel(told["address"], told["bundle"], key, chain), told["path"], runtime_id, something)
            for runtime_id, key, chain in told["readers"]
        ]
    )
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command = json.loads(line)
        answer = await getattr(agents, command["do"])(command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _channel(address: str, bundle: str, key: str, chain: str) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(bundle.encode(), key.encode(), chain.encode())
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
