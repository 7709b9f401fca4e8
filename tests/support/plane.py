"""Real planes for tests: `moorage up` as a child process, its homes, and what is left of it."""

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.plane.home import SERVICES
from cli.plane.plane_file import Plane, read_plane

MOORAGE = (sys.executable, "-m", "cli")


def moorage(*arguments: str, timeout: float = 50) -> subprocess.CompletedProcess[str]:
    """Run a `moorage` command to its end."""
    return subprocess.run([*MOORAGE, *arguments], capture_output=True, text=True, timeout=timeout)


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
        self.stop()

    @property
    def plane(self) -> Plane:
        """Where it is, as it says in its home."""
        return read_plane(self.home / "plane.json")

    @property
    def said(self) -> str:
        """What it wrote to standard error so far."""
        return (self.home.parent / f"{self.home.name}.up.log").read_text()

    def stop(self) -> int:
        """Stop it as Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(40)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self, name: str) -> int:
        """Kill one of its processes, or `up` itself, with SIGKILL; the id that it had."""
        pid = self.plane.pids[name]
        with watched(pid) as ended:
            os.kill(pid, signal.SIGKILL)
            ended()
        return pid

    def wait_for_pid(self, name: str, *, other_than: int) -> int:
        """Wait until `plane.json` names another process for a service; its id."""
        while True:
            pid = self.plane.pids.get(name, other_than)
            if pid != other_than:
                return pid


def processes_of(home: Path) -> list[str]:
    """The command lines of all processes that have something of `home` in their arguments, save `up` itself."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(home) + b"/" in arguments:
                lines.append(arguments.replace(b"\0", b" ").decode())
    return lines


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
