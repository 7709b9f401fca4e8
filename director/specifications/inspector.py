"""The Director's side of the inspecting child process."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat
from moorage.errors.v1.errors_pb2 import Reason

from director.specifications.inspected import InspectedSpecification
from mesh.errors import Refusal

MAX_INSPECTED_BYTES = 16 << 20
"""Bytes of the largest document that is looked into: one that was fetched, or sent by a stream."""

CPU_SECONDS = 20.0
"""How long one document may be computed upon; the host's other work does not count."""

FETCHED_CPU_SECONDS = 120.0
"""The same for one that nobody waits for: it was fetched, and may be larger than what comes in a call."""

START_SECONDS = 30.0
"""How long the child may take to start."""

# -P: nothing in the current directory must stand in for a module.
CHILD = (sys.executable, "-P", "-m", "director.specifications")
"""The command of the child."""

_RETRY_AFTER = timedelta(seconds=5)
_STOP_SECONDS = 5.0
_WAIT_PER_CPU = 2.25  # the child ends itself long before if it is the document that takes so much


class Inspector:
    """Looks into documents, one at a time, in a child process that starts with the first and ends with `close`."""

    def __init__(
        self,
        cpu_seconds: float = CPU_SECONDS,
        *,
        wait_seconds: float | None = None,
        command: Sequence[str] = CHILD,
    ) -> None:
        """`wait_seconds`: how long an answer is waited for; None: a good while longer than `cpu_seconds`."""
        self._cpu_seconds = cpu_seconds
        self._wait_seconds = cpu_seconds * _WAIT_PER_CPU if wait_seconds is None else wait_seconds
        self._command = command
        self._turn = asyncio.Lock()
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._child: asyncio.subprocess.Process | None = None

    async def inspect(self, sent: Specification) -> InspectedSpecification:
        """Find out what is wrong with a document that came in a call; as `inspect_content`."""
        return await self.inspect_content(sent.format, sent.data or sent.content.encode())

    async def inspect_content(self, format: SpecificationFormat.ValueType, content: bytes) -> InspectedSpecification:
        """Find out what is wrong with a document; one that cannot be looked into has that as its problem.

        Raises what is no fault of the document: `ChildDidNotStart`, and `Refusal` (NOT_READY) where the host is too
        busy to tell; and `ValueError` for more than `MAX_INSPECTED_BYTES`.
        """
        if len(content) > MAX_INSPECTED_BYTES:
            raise ValueError(f"a document of {len(content)} bytes is not looked into")
        async with self._turn:
            # What ends this early leaves the child in the middle of an answer: it is kept only once it has answered.
            child, self._child = self._child or await self._started(), None
            try:
                problems = await _ask(child, [format, len(content), self._cpu_seconds], self._wait_seconds, content)
                self._child = child
            except TimeoutError as error:
                raise Refusal(
                    Reason.REASON_NOT_READY,
                    f"the document could not be looked into within {self._wait_seconds:g} seconds",
                    retry_after=_RETRY_AFTER,
                ) from error
            except (EOFError, ConnectionError):
                problems = [await self._why_ended(child)]
            finally:
                if self._child is None:
                    await _stop(child)
        return InspectedSpecification.of(format, content, problems)

    async def close(self) -> None:
        """End the child."""
        async with self._turn:
            starting, self._starting = self._starting, None
            child, self._child = self._child, None
            if starting is not None:
                starting.cancel()
                await asyncio.wait({starting})
                if not starting.cancelled() and starting.exception() is None:
                    child = starting.result()
            if child is not None:
                await _stop(child)

    async def _why_ended(self, child: asyncio.subprocess.Process) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                if await child.wait() == -signal.SIGPROF:
                    return f"it could not be checked: it takes more than {self._cpu_seconds:g} s of computing"
        return "it could not be checked: it makes the parser fail"

    async def _started(self) -> asyncio.subprocess.Process:
        # A caller that gives up leaves the start to the next one: where all were in a hurry, none would get there.
        self._starting = self._starting or asyncio.create_task(self._start())
        await asyncio.wait({self._starting})
        starting, self._starting = self._starting, None
        return starting.result()

    async def _start(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            await _ask(child, None, START_SECONDS)
        except (TimeoutError, EOFError, ConnectionError) as error:
            await _stop(child)
            raise ChildDidNotStart(f"{' '.join(self._command)}: {type(error).__name__}") from error
        except asyncio.CancelledError:
            await _stop(child)
            raise
        return child


class ChildDidNotStart(Exception):
    """The inspecting child process cannot be started; the message holds its command."""


async def _ask(child: asyncio.subprocess.Process, question: Any, seconds: float, content: bytes = b"") -> Any:
    """Write a line and a document, read a line.

    Raises `TimeoutError`, and `EOFError` or `ConnectionError` where the child ended.
    """
    assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - for the type checker: both are pipes
    async with asyncio.timeout(seconds):
        child.stdin.write(json.dumps(question).encode() + b"\n")
        child.stdin.write(content)
        await child.stdin.drain()
        line = await child.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return json.loads(line)


async def _stop(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    async with asyncio.timeout(_STOP_SECONDS):
        await child.wait()
