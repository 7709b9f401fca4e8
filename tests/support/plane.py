"""Real planes for tests: `moorage up` as a child process, its homes, and what is left of it."""

import asyncio
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from agent.status import Status
from cli.demo.party import Party
from cli.plane.home import SERVICES
from cli.plane.plane_file import Plane, read_plane
from tests.support.command import Ended, run_command
from tests.support.wait import wait_for

MOORAGE = (sys.executable, "-m", "cli")

_LINES_SHOWN = 40


def moorage(
    *arguments: str, home: Path | None = None, stdin: str = "", timeout: float = 50
) -> subprocess.CompletedProcess[str]:
    """Run a `moorage` command to its end, with the plane in `home` as the one that it calls."""
    environ = {**os.environ, "MOORAGE_HOME": str(home)} if home else None
    return subprocess.run(
        [*MOORAGE, *arguments], env=environ, input=stdin, capture_output=True, text=True, timeout=timeout
    )


class Up:
    """A `moorage up` that is ready inside the `with` block, and stopped gracefully after it."""

    def __init__(self, home: Path, *options: str, port: str = "0") -> None:
        self.home = home
        self._command = [*MOORAGE, "up", "--home", str(home), "--port", port, "-o", "json", *options]
        self.process: subprocess.Popen[str]
        self.printed = ""

    def __enter__(self) -> Self:
        with (self.home.parent / f"{self.home.name}.up.log").open("a") as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = ""
        while line != "}\n":
            line = self.process.stdout.readline()
            assert line, f"the plane did not start: {self.said}"
            self.printed += line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._show_logs()
        self.stop()

    @property
    def plane(self) -> Plane:
        """Where it is, as it says in its home."""
        return read_plane(self.home / "plane.json")

    @property
    def said(self) -> str:
        """What it wrote to standard error so far."""
        return (self.home.parent / f"{self.home.name}.up.log").read_text()

    def moorage(self, *arguments: str, stdin: str = "") -> Ended:
        """Run a `moorage` command, as the administrator of this plane.

        A test that has no event loop running has it run in its own process, at a tenth of the cost.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_command(*arguments, stdin=stdin.encode(), home=self.home)
        done = moorage(*arguments, home=self.home, stdin=stdin)
        return Ended(done.returncode, done.stdout, done.stderr)

    @asynccontextmanager
    async def party(self, identity: Path | None = None) -> AsyncIterator[Party]:
        """Whoever has the identity in that folder, by default the administrator, calling this plane."""
        party = Party(identity or self.home / "identities" / "admin", self.plane)
        try:
            yield party
        finally:
            await party.close()

    def agent(self, runtime_id: str) -> "AgentProcess":
        """The agent of a Runtime that the plane has created."""
        return AgentProcess(self.home / "provisioner" / "runtimes" / runtime_id)

    def stop(self) -> int:
        """Stop it as Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(40)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _show_logs(self) -> None:
        for log in sorted(self.home.rglob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
            print(f"--- {log.relative_to(self.home)}", *lines, sep="\n")

    def kill(self, name: str) -> int:
        """Kill one of its processes, or `up` itself, with SIGKILL; the id that it had."""
        pid = self.plane.pids[name]
        kill(pid)
        return pid

    def kill_all(self) -> None:
        """Kill `up` and its services with SIGKILL, all in the same moment."""
        pids = self.plane.pids
        with ExitStack() as stack:
            ends = [stack.enter_context(watched(pid)) for pid in pids.values()]
            for pid in (pids["up"], *service_pids(self.plane)):
                os.kill(pid, signal.SIGKILL)
            for ended in ends:
                ended()

    def wait_for_pid(self, name: str, *, other_than: int) -> int:
        """Wait until `plane.json` names another process for a service; its id."""

        def look() -> int | None:
            pid = self.plane.pids.get(name)
            return pid if pid != other_than else None

        return wait_for(f"another {name} than process {other_than}", look)


class AgentProcess:
    """The agent that the `process` driver keeps in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pid(self) -> int:
        """Its process id, or that of the last one that ran."""
        return wait_for("the agent's process id", self._noted_pid)

    def _noted_pid(self) -> int | None:
        noted = (self.folder / "agent.stat").read_text()  # empty for the moment in which it is written anew
        return int(noted.split()[0]) if noted else None

    @property
    def status(self) -> Status | None:
        """What it says of itself; None before it has said anything."""
        try:
            return msgspec.json.decode((self.folder / "status.json").read_bytes(), type=Status)
        except FileNotFoundError:
            return None

    def kill(self) -> int:
        """Kill it with SIGKILL; the id that it had."""
        pid = self.pid
        kill(pid)
        return pid

    def wait_for_pid(self, *, other_than: int) -> int:
        """Wait until another process is the agent; its id."""
        return wait_for(
            f"another agent than process {other_than}", lambda: self.pid if self.pid != other_than else None
        )


def kill(pid: int) -> None:
    """Kill a process with SIGKILL, and wait for its end."""
    with watched(pid) as ended:
        os.kill(pid, signal.SIGKILL)
        ended()


def processes_of(home: Path) -> list[str]:
    """The command lines of all processes that have something of `home` in their arguments, save `up` itself."""
    return [line.replace(b"\0", b" ").decode() for line in _arguments_with(home).values()]


def pids_of(home: Path) -> list[int]:
    """The ids of the same processes."""
    return list(_arguments_with(home))


def _arguments_with(home: Path) -> dict[int, bytes]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(home) + b"/" in arguments:
                found[int(entry.name)] = arguments
    return found


@contextmanager
def watched(pid: int) -> Iterator["_Ended"]:
    """Something to wait for the end of a process with, whoever its parent is."""
    descriptor = os.pidfd_open(pid)
    try:
        yield _Ended(descriptor)
    finally:
        os.close(descriptor)


class _Ended:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, timeout: float = 30) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            assert selector.select(timeout), "the process did not end"


def service_pids(plane: Plane) -> Sequence[int]:
    """The process ids of the three services."""
    return [plane.pids[name] for name in SERVICES]
