"""A fleet: streams that a process of their own holds open, and what they received."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import NotReady

PATIENCE = 180.0
"""Seconds that anything may take before the benchmark gives up."""

_LONGEST_LINE = 256 * 1024 * 1024


class Receipt(NamedTuple):
    """One message as a reader received it."""

    at: int
    """Nanoseconds since the epoch."""
    revision: int
    size: int
    is_bookmark: bool


class Reader(NamedTuple):
    """Who reads a stream."""

    runtime_id: str
    key_pem: str
    chain_pem: str


class Fleet:
    """The streams of one process. Every method ends with `NotReady` where that takes longer than `PATIENCE`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def open(self) -> None:
        """Open all streams."""
        await self._do("open")

    async def wait(self, revision: int, which: Sequence[int] | None = None) -> list[int]:
        """When each of the readers (all, unless told which) had `revision`, or a later one."""
        at: list[int] = (await self._do("wait", revision=revision, which=which))["at"]
        return at

    async def reopened(self, after: int) -> list[int]:
        """When each stream was open again after the time `after`."""
        at: list[int] = (await self._do("reopened", after=after))["at"]
        return at

    async def take(self) -> list[list[Receipt]]:
        """What each reader received since the last time."""
        taken = (await self._do("take"))["receipts"]
        return [[Receipt(*each) for each in receipts] for receipts in taken]

    def freeze(self) -> None:
        """Have it read nothing more, though its connections stay."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it read on."""
        os.kill(self._process.pid, signal.SIGCONT)

    async def _do(self, command: str, **arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        try:
            async with asyncio.timeout(PATIENCE):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise NotReady(f"the streams did not {command} within {PATIENCE:.0f} s") from None
        if not line:
            raise NotReady(f"the process of the streams ended with {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def fleet(
    work: Path, address: str, path: str, bundle_pem: str, readers: Sequence[Reader]
) -> AsyncIterator[Fleet]:
    """Readers of the method `path` at `address`, which have opened nothing yet."""
    file = work / f"agents-{address.rpartition(':')[2]}-{len(readers)}.json"
    content = json.dumps({"address": address, "path": path, "bundle": bundle_pem, "readers": readers})
    await asyncio.to_thread(_write, file, content)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.stream.agents", str(file)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    try:
        yield Fleet(process)
    finally:
        process.kill()
        await process.wait()


def _write(file: Path, content: str) -> None:
    file.touch(mode=0o600)
    file.write_text(content)
