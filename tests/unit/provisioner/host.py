"""A machine with workloads of the process driver on it, and what tests ask of its processes."""

import asyncio
import os
import stat
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from moorage.errors.v1.errors_pb2 import Reason

from mesh.backoff import Backoff
from mesh.errors import Refusal
from provisioner.drivers.process import AgentSettings, ProcessDriver
from provisioner.drivers.supervisor import Supervisor

DEADLINE = 20.0
WORKLOAD = Path(__file__).with_name("workload.py")
RUNTIME = "f8e37fa1-8fc3-40ed-8a53-9627dd3b8675"


@dataclass
class Host:
    """A machine's worth of workloads: where they are, and what they say."""

    home: Path
    events: asyncio.StreamReader
    drivers: list[ProcessDriver] = field(default_factory=list)
    backoff: Backoff = field(default_factory=lambda: Backoff(timedelta(milliseconds=10), timedelta(milliseconds=10)))
    healthy: timedelta = timedelta(hours=1)
    invitations: list[str] = field(default_factory=list)
    closed: bool = False
    fault: Exception | None = None

    @property
    def folder(self) -> Path:
        return self.home / "runtimes" / RUNTIME

    def driver(
        self, *, director: str = "127.0.0.1:7443", hook: Sequence[str] = (), stop_on_close: bool = False
    ) -> ProcessDriver:
        driver = ProcessDriver(
            self.home / "runtimes",
            AgentSettings(director=director, connector="127.0.0.1:7444", hook=hook),
            environ={"PATH": os.environ["PATH"], "MOORAGE_PROVISIONER_LISTEN": "x", "NOTIFY_SOCKET": "/x", "LANG": "C"},
            stop_on_close=stop_on_close,
            stop_grace=DEADLINE,
            command=lambda configuration: (
                sys.executable,
                "-S",
                str(WORKLOAD),
                str(configuration),
                str(self.home / "events"),
            ),
            invite=self.invite,
            supervise=lambda program, note, on_ended: Supervisor(program, note, self.backoff, self.healthy, on_ended),
        )
        self.drivers.append(driver)
        return driver

    async def invite(self, runtime_id: str) -> str:
        self.invitations.append(runtime_id)
        if self.fault:
            raise self.fault
        if self.closed:
            raise Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "there is no such runtime")
        return "moor_again"

    async def started(self) -> int:
        """The process id of the next workload that says that it has started."""
        return await self.said("started")

    async def said(self, event: str) -> int:
        async with asyncio.timeout(DEADLINE):
            line = (await self.events.readline()).decode().split()
        assert line[0] == event
        return int(line[1])

    def say(self, event: str) -> None:
        """Put an event after all that workloads have told."""
        with (self.home / "events").open("a") as pipe:
            pipe.write(f"{event}\n")

    def ways(self, *ways: str) -> None:
        (self.folder / "ways").write_text(" ".join(ways))

    def configuration(self) -> dict[str, Any]:
        agent: dict[str, Any] = tomllib.loads((self.folder / "agent.toml").read_text())["agent"]
        return agent


async def has_ended(pid: int) -> None:
    """Wait until a process that need not be our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def of_process(pid: int, file: str) -> Path:
    return Path(f"/proc/{pid}/{file}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
