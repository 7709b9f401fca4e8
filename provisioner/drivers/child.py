"""One process, in a session of its own, that outlives the process which started it and can be found again.

Which process it is stands in a file: the line of /proc/PID/stat, written by the process itself before it becomes the
program. So there is no moment at which it runs and cannot be found. A process is known by its id together with its
start time, since ids are used again (proc_pid_stat(5), fields 1 and 22).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

KILLED_WITHIN = 10.0
"""Seconds in which a process that was killed has ended, unless the kernel is busy with it."""

# The shell notes itself in "$0" and is then replaced by the program in "$@": same process id, same start time.
_NOTE_AND_BECOME = 'IFS= read -r stat </proc/$$/stat && printf "%s\\n" "$stat" >"$0" && exec "$@"'
_EXITED = frozenset("ZX")


@dataclass(frozen=True)
class Program:
    """What a child runs."""

    command: Sequence[str]
    """The program and its arguments; no secret is among them."""

    folder: Path
    """The working directory."""

    log: Path
    """Where its output is appended; made readable by its owner only."""

    environ: Mapping[str, str]
    """The whole environment; no secret is in it."""


class Child:
    """A process that runs, or ran, started by this process or by one before it."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self.status: int | None = None
        """Exit status as `subprocess` counts it, once it has ended; None for ever where its parent was another."""

    @classmethod
    def start(cls, program: Program, note: Path) -> Self:
        """Start `program` and have it noted in `note`; raises `OSError`."""
        log = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _NOTE_AND_BECOME, str(note), *program.command],
                cwd=program.folder,
                env=program.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
        # Its end is awaited and collected here, not by `subprocess`, which would complain of a process left running.
        process.returncode = 0
        return cls(process.pid, os.pidfd_open(process.pid))

    @classmethod
    def find(cls, note: Path) -> Self | None:
        """The process that is noted in `note`, if it still runs."""
        try:
            noted = _Stat.parse(note.read_text())
            pidfd = os.pidfd_open(noted.pid)
        except (OSError, ValueError, IndexError, OverflowError):  # ended, or a note that a full disk has cut short
            return None
        # Checked after the descriptor is open, which stands for the same process from then on.
        if _Stat.of(noted.pid) != noted:
            os.close(pidfd)
            return None
        return cls(noted.pid, pidfd)

    async def ended(self) -> None:
        """Wait until the process has ended, then end what is left of its group."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._pidfd, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._pidfd)
        self._signal_group(signal.SIGKILL)
        self._collect()

    async def stop(self, grace: float) -> None:
        """Ask the whole group to end, and kill it if it has not within `grace` seconds.

        Raises `TimeoutError` for a process that even so has not ended within `KILLED_WITHIN` seconds.
        """
        self._signal_group(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            self._signal_group(signal.SIGKILL)
            async with asyncio.timeout(KILLED_WITHIN):
                await self.ended()

    def release(self) -> None:
        """Let go of the process, which may run on."""
        os.close(self._pidfd)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _collect(self) -> None:
        with contextlib.suppress(ChildProcessError):  # another's child: whoever started it, or init, collects it
            _, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status)


class _Stat(NamedTuple):
    """What tells one process from another."""

    pid: int
    start_time: int

    @classmethod
    def parse(cls, line: str) -> Self:
        # The command in parentheses may hold spaces and parentheses of its own.
        head, _, tail = line.rpartition(")")
        return cls(int(head.split(" ", 1)[0]), int(tail.split()[19]))

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process as it is now; None when it has ended, even if nobody has collected it yet."""
        try:
            line = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        state = line.rpartition(")")[2].split()[0]
        return None if state in _EXITED else cls.parse(line)
