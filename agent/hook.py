"""The operator's command that takes a new configuration into use."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

MAX_REASON = 1500
"""How many characters of the command's last words are reported."""

_REAP_SECONDS = 5.0


class HookFailed(Exception):
    """The command did not take the configuration; the message says why, for the operator."""


class Hook:
    """Runs `command` once for each configuration, without a shell; an empty command takes everything.

    It finds the configuration in its working folder and in `MOORAGE_CONFIGURATION`, the revision in `MOORAGE_REVISION`,
    and the rest in `environ`. Exit status 0 says that it runs the configuration now; any other, that it goes on with
    the one before. At `timeout` seconds, and when the agent stops, it is killed with all that it started. It may run
    again for a configuration that it has taken already: an agent that was killed does not know how far its hook came.
    """

    def __init__(self, command: Sequence[str], timeout: float, environ: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._timeout = timeout
        self._environ = dict(environ)

    @property
    def is_set(self) -> bool:
        """Whether there is a command."""
        return bool(self._command)

    async def run(self, revision: int, folder: Path) -> None:
        """Raises `HookFailed`."""
        if not self.is_set:
            return
        with tempfile.TemporaryFile() as stderr:  # not a pipe: what the command leaves running could hold it open
            process = await self._started(revision, folder, stderr)
            try:
                async with asyncio.timeout(self._timeout):
                    status = await process.wait()
            except TimeoutError:
                raise HookFailed(_reason(f"the hook took longer than {self._timeout:g} s", stderr)) from None
            finally:
                if process.returncode is None:
                    await _kill(process)
            if status:
                raise HookFailed(_reason(f"the hook {_ending(status)}", stderr))

    async def _started(self, revision: int, folder: Path, stderr: IO[bytes]) -> asyncio.subprocess.Process:
        # Whoever is cancelled here would know nothing of a process that is just being made.
        starting = asyncio.create_task(self._start(revision, folder, stderr))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(HookFailed):
                await _kill(await starting)
            raise

    async def _start(self, revision: int, folder: Path, stderr: IO[bytes]) -> asyncio.subprocess.Process:
        environ = {**self._environ, "MOORAGE_REVISION": str(revision), "MOORAGE_CONFIGURATION": str(folder)}
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                cwd=folder,
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise HookFailed(f"the hook {self._command[0]} cannot be started: {cause}") from error


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):  # stuck in the kernel: it ends whenever that lets go of it
        async with asyncio.timeout(_REAP_SECONDS):
            await process.wait()


def _ending(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _reason(what: str, stderr: IO[bytes]) -> str:
    end = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, end - 4 * MAX_REASON))
    tail = stderr.read(4 * MAX_REASON).decode("utf-8", "replace").strip()
    words = "".join(each if each.isprintable() or each == "\n" else " " for each in tail)[-MAX_REASON:]
    return f"{what}: {words}" if words else what
