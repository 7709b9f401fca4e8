"""The Director's side of the inspecting child process."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from moorage.director.v1.specification_pb2 import Specification

from director.specifications.inspected import InspectedSpecification

INSPECTION_SECONDS = 20.0
"""How long one document may take; one that takes longer is told to have a problem."""

START_SECONDS = 30.0
"""How long the child may take to start."""

CHILD = (sys.executable, "-m", "director.specifications")
"""The command of the child."""

_STOP_SECONDS = 5.0


class Inspector:
    """Looks into documents, one at a time, in a child process that starts with the first and ends with `close`."""

    def __init__(self, inspection_seconds: float = INSPECTION_SECONDS, command: Sequence[str] = CHILD) -> None:
        self._inspection_seconds = inspection_seconds
        self._command = command
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None

    async def inspect(self, sent: Specification) -> InspectedSpecification:
        """Find out what is wrong with a document; one that cannot be looked into has that as its problem.

        Raises `ChildDidNotStart`, which is no fault of the document.
        """
        async with self._turn:
            # What ends this early leaves the child in the middle of an answer: it is kept only once it has answered.
            child, self._child = self._child or await self._start(), None
            try:
                problems = await _ask(child, [sent.format, sent.content], self._inspection_seconds)
                self._child = child
            except TimeoutError:
                problems = [f"it could not be checked within {self._inspection_seconds:g} seconds"]
            except (EOFError, ConnectionError):
                problems = ["it could not be checked: it makes the parser fail"]
            finally:
                if self._child is None:
                    await _stop(child)
        return InspectedSpecification.of(sent, problems)

    async def close(self) -> None:
        """End the child."""
        async with self._turn:
            child, self._child = self._child, None
            if child is not None:
                await _stop(child)

    async def _start(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            await _ask(child, None, START_SECONDS)
        except (TimeoutError, EOFError, ConnectionError) as error:
            await _stop(child)
            raise ChildDidNotStart(f"{' '.join(self._command)}: {type(error).__name__}") from error
        return child


class ChildDidNotStart(Exception):
    """The inspecting child process cannot be started; the message holds its command."""


async def _ask(child: asyncio.subprocess.Process, question: Any, seconds: float) -> Any:
    """Write a line, read a line; raises `TimeoutError`, and `EOFError` or `ConnectionError` where the child ended."""
    assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - for the type checker: both are pipes
    async with asyncio.timeout(seconds):
        child.stdin.write(json.dumps(question).encode() + b"\n")
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
