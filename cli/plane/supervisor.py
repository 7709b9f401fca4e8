"""Keeps a few programs running: starts them, knows when they are ready, starts each again that dies, stops them all.

A program says that it is ready by systemd's notice (sd_notify: the datagram `READY=1` to `$NOTIFY_SOCKET`). It inherits
the reading end of a pipe, `$MOORAGE_LIFELINE_FD`, that ends when this process does, however it ends: then it stops.
"""

import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mesh.exits import Exit, Stopped

LIFELINE = "MOORAGE_LIFELINE_FD"

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 30.0
_STEADY_AFTER = 5.0
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_LOG_LOOK_EVERY = 30.0
_LOG_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True)
class Program:
    """What to run: `arguments` starting with the executable, its output appended to `log`.

    `environ` has variables of its own, above those that all programs get.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """The programs of one plane. Use on one event loop: `start`, then `stop`, also where `start` raised.

    `inherited` are descriptors that each program gets. `tell` is given one line on each death and return;
    `changed` is called whenever process ids have changed. Where they raise `OSError` (a terminal that is gone, a full
    disk), the programs are kept running all the same.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environ: Mapping[str, str],
        inherited: Sequence[int] = (),
        tell: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
    ) -> None:
        self._lifeline, self._lifeline_end = os.pipe()
        environ = {**environ, LIFELINE: str(self._lifeline)}
        descriptors = (self._lifeline, *inherited)
        self._tell = tell
        self._changed = changed
        self._chance = chance or random.Random()  # noqa: S311 - spreads restarts, guards nothing
        self._children = [_Child(program, environ, descriptors) for program in programs]
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each program that runs now."""
        return {child.name: child.pid for child in self._children if child.pid is not None}

    async def start(self, within: float) -> None:
        """Start all programs and wait until each is ready.

        Raises `Stopped` (SERVICE_FAILED) for one that is not ready `within` seconds, or ends by itself before.
        """
        loop = asyncio.get_running_loop()
        for child in self._children:
            child.open(loop)
            self._keepers.append(loop.create_task(self._keep(child)))
        ready = loop.create_task(self._all_ready())
        await asyncio.wait([ready, *self._keepers], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for keeper in self._keepers:
            if keeper.done():
                ready.cancel()
                keeper.result()
        if not ready.done():
            ready.cancel()
            late = next(child for child in self._children if not child.ready.is_set())
            raise _failed(late.program, f"was not ready within {within:g} s")

    def restart(self, name: str) -> None:
        """Have one program stop, to be started again. Nothing comes of it while the program does not run."""
        for child in self._children:
            if child.name == name:
                child.signal(signal.SIGTERM)

    async def stop(self, grace: float) -> None:
        """Stop all programs: SIGTERM, and SIGKILL for those that still run `grace` seconds later."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for child in self._children:
            child.signal(signal.SIGTERM)
        try:
            await self._wait_ended(grace)
        finally:
            self.kill()
            for child in self._children:
                child.close()
            for descriptor in (self._lifeline, self._lifeline_end):
                os.close(descriptor)
            self._say_changed()

    def kill(self) -> None:
        """End all programs at once."""
        for child in self._children:
            child.signal(signal.SIGKILL)

    async def _all_ready(self) -> None:
        for child in self._children:
            await child.ready.wait()

    async def _keep(self, child: "_Child") -> None:
        # For ever: a service that cannot run now may be able to later. The delay is short at first, so that one death
        # is hardly noticed, and grows up to a bound, so that a program that dies at once does not take the machine.
        delay = _FIRST_DELAY
        while True:
            began = time.monotonic()
            how = await self._run_once(child)
            if child.ready.is_set() and time.monotonic() - began > _STEADY_AFTER:
                delay = _FIRST_DELAY
            pause = delay * self._chance.uniform(0.5, 1.0)
            self._say(f"{child.name} {how}; starting it again in {pause * 1000:.0f} ms")
            delay = min(delay * 2, _LONGEST_DELAY)
            await asyncio.sleep(pause)

    async def _run_once(self, child: "_Child") -> str:
        # Says how it ended. What ends by itself before it was ever ready has been set up wrongly, and raises.
        try:
            child.spawn()
        except OSError as error:
            if not child.was_ready:
                raise _failed(child.program, f"cannot be started ({error.strerror})") from error
            return f"cannot be started ({error.strerror})"
        self._say_changed()
        status = await self._ended(child)
        self._say_changed()
        if status >= 0 and not child.was_ready:
            raise _failed(child.program, f"ended by itself with exit code {status}")
        return _how_it_ended(status)

    async def _ended(self, child: "_Child") -> int:
        while True:
            try:
                async with asyncio.timeout(_LOG_LOOK_EVERY):
                    return await child.ended()
            except TimeoutError:
                _limit_open(child.program.log)

    def _say(self, line: str) -> None:
        with suppress(OSError):
            self._tell(line)

    def _say_changed(self) -> None:
        with suppress(OSError):
            self._changed()

    async def _wait_ended(self, grace: float) -> None:
        running = [asyncio.ensure_future(child.ended()) for child in self._children if child.pid is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=grace)
            for each in late:
                each.cancel()


class _Child:
    """One program: its process, if it runs, and the socket on which it says that it is ready."""

    def __init__(self, program: Program, environ: Mapping[str, str], descriptors: Sequence[int]) -> None:
        self.program = program
        self.name = program.name
        self.ready = asyncio.Event()
        self.was_ready = False
        # In the abstract namespace (unix(7)): no file that a sudden end leaves behind, no limit on the home's length.
        self._address = f"moorage-{secrets.token_hex(16)}"
        self._environ = {**environ, **program.environ, "NOTIFY_SOCKET": f"@{self._address}"}
        self._descriptors = descriptors
        self._process: subprocess.Popen[bytes] | None = None
        self._notices: socket.socket | None = None
        self._ended: asyncio.Future[int] | None = None
        self._pidfd: int | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._notices.bind(f"\0{self._address}")
        loop.add_reader(self._notices, self._take_notice)

    def spawn(self) -> None:
        self.ready.clear()
        _limit(self.program.log)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                pass_fds=self._descriptors,
                process_group=0,  # a Ctrl-C in the terminal is for `moorage up` alone, which then stops them
            )
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._reap)

    async def ended(self) -> int:
        """Wait for the end of the process; its exit code, or minus the signal that ended it."""
        assert self._ended is not None  # noqa: S101 - called after spawn
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        if self._notices is not None:
            asyncio.get_running_loop().remove_reader(self._notices)
            self._notices.close()
        if self._process is not None:
            self._process.wait()
            self._reap()

    def _take_notice(self) -> None:
        assert self._notices is not None  # noqa: S101 - it is what is read
        with suppress(BlockingIOError):
            if b"READY=1" in self._notices.recv(4096).split(b"\n"):
                self.was_ready = True
                self.ready.set()

    def _reap(self) -> None:
        if self._pidfd is None or self._process is None or self._ended is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = None
        self._ended.set_result(self._process.wait())


def _limit(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _limit_open(log: Path) -> None:
    # The program has it open, to append; so it is emptied in its place. What it says in between is lost.
    with suppress(OSError):
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def _failed(program: Program, how: str) -> Stopped:
    said = _in_words(_last_line(program.log))
    return Stopped(
        Exit.SERVICE_FAILED,
        f"{program.name} {how}; " + (f"it said last: {said}; " if said else "") + f"see {program.log}",
    )


def _last_line(log: Path) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    return ""


def _in_words(line: str) -> str:
    # Services log JSON objects (mesh.telemetry); what ended them they say in plain words.
    try:
        fields = json.loads(line)
        return ": ".join(str(fields[name]) for name in ("event", "error", "exception") if name in fields)
    except (ValueError, TypeError, KeyError):
        return line


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    return (
        f"was ended by {signal.Signals(-status).name}"
        if -status in set(signal.Signals)
        else f"was ended by signal {-status}"
    )
