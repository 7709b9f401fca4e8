"""kill -9 of each process in the middle of the demo's steps: it comes back by itself, and the story goes on."""

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import ListOperationsRequest
from moorage.provisioner.v1.runtime_pb2 import RuntimeOperationMetadata

from cli.demo.party import Party
from cli.plane.plane_file import Plane, read_plane
from mesh.exits import Exit, Stopped
from tests.support.plane import MOORAGE, processes_of, watched
from tests.support.wait import eventually


@dataclass
class Telling:
    """A demo that is being told, and who was killed in it so far."""

    home: Path
    killed: list[int] = field(default_factory=list)

    async def pid_of(self, name: str) -> int | None:
        """The process id of a service, of `up` or of the `agent`; None while there is none, or only the killed one."""
        if name == "agent":
            pid = self._agent_pid()
        else:
            plane = self.plane()
            pid = plane.pids.get(name) if plane else None
        return pid if pid not in self.killed else None

    def plane(self) -> Plane | None:
        """Where the plane is; None while it is not up."""
        try:
            return read_plane(self.home / "plane.json")
        except Stopped:
            return None

    def agent_files(self, name: str) -> list[Path]:
        """The files with that name in the folders of agents."""
        return list(self.home.glob(f"provisioner/runtimes/*/{name}"))

    def _agent_pid(self) -> int | None:
        noted = "".join(file.read_text() for file in self.agent_files("agent.stat"))
        return int(noted.split()[0]) if noted else None


Moment = Callable[[Telling], Awaitable[bool]]
"""Whether the moment has come."""


async def at_once(telling: Telling) -> bool:
    """As soon as the step is let go."""
    return True


def while_the_operation_is_at(step: str) -> Moment:
    """As soon as an operation of the Provisioner has begun that step."""

    async def has_begun(telling: Telling) -> bool:
        plane = telling.plane()
        if plane is None:
            return False
        admin = Party(telling.home / "identities" / "admin", plane)
        try:
            listed = await admin.call(lambda admin: admin.operations.ListOperations, ListOperationsRequest())
        finally:
            await admin.close()
        metadata = RuntimeOperationMetadata()
        return any(
            operation.metadata.Unpack(metadata) and step in [each.name for each in metadata.steps]
            for operation in listed.operations
        )

    return has_begun


async def while_the_agent_enrols(telling: Telling) -> bool:
    """As soon as the agent has made its key, and before it has its certificate."""
    return bool(telling.agent_files("identity/pending.key"))


async def when_the_agent_is_enrolled(telling: Telling) -> bool:
    """As soon as the agent has its certificate, and before it has reported."""
    return bool(telling.agent_files("identity/tls.crt"))


STORIES: Mapping[str, Mapping[str, Sequence[Moment]]] = {
    "director": {
        "application": [at_once],
        "api": [at_once],
        "runtime": [while_the_operation_is_at("register"), while_the_operation_is_at("ready")],
        "change": [at_once],
        "renewal": [at_once],
        "revocation": [at_once],
        "delete": [at_once],
    },
    "connector": {
        "pair": [at_once],
        "runtime": [while_the_operation_is_at("prepare"), while_the_agent_enrols],
        "renewal": [at_once],
        "token": [at_once],
        "revocation": [at_once],
    },
    "provisioner": {
        "runtime": [
            at_once,
            while_the_operation_is_at("prepare"),
            while_the_operation_is_at("start"),
            while_the_operation_is_at("ready"),
        ],
        "change": [at_once],
        "renewal": [at_once],
        "delete": [at_once, while_the_operation_is_at("stop")],
    },
    "agent": {
        "runtime": [while_the_operation_is_at("start"), while_the_agent_enrols, when_the_agent_is_enrolled],
        "change": [at_once],
        "renewal": [at_once],
    },
    "up": {
        "api": [at_once],
        "runtime": [while_the_operation_is_at("ready")],
        "renewal": [at_once],
    },
}
"""Who is killed in which steps, and in which moments of them, one after the other."""

LIFETIMES = {"up": "25"}
"""Seconds that the agent's certificate lives, where the demo's own choice is too few: while `up` starts again, all that
could renew it is away."""


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", STORIES)
async def test_the_story_goes_on_when_one_is_killed_in_the_middle_of_its_steps(name: str, tmp_path: Path) -> None:
    telling = Telling(tmp_path / "home")
    report = tmp_path / "demo.json"
    async with _told(telling, report, "--runtime-lifetime", LIFETIMES.get(name, "15")) as demo:
        while step := await _announced(demo):
            moments = STORIES[name].get(step, ())
            _go_on(demo)
            for moment in moments:
                await _kill(name, telling, step, moment)
        assert await demo.wait() == Exit.OK, await _said(demo)
    assert json.loads(report.read_text())["ok"] is True
    assert len(telling.killed) == sum(map(len, STORIES[name].values()))
    assert processes_of(telling.home) == []


@asynccontextmanager
async def _told(telling: Telling, report: Path, *options: str) -> AsyncIterator[Process]:
    arguments = ("demo", "--home", str(telling.home), "--report", str(report), "--step-by-step", *options)
    demo = await asyncio.create_subprocess_exec(*MOORAGE, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        yield demo
    finally:
        if demo.returncode is None:
            demo.terminate()
            await demo.communicate()


async def _announced(demo: Process) -> str:
    """The name of the step that the demo is about to take; empty when the story is over."""
    assert demo.stdout is not None
    line = await demo.stdout.readline()
    return str(json.loads(line)["step"]) if line else ""


def _go_on(demo: Process) -> None:
    assert demo.stdin is not None
    demo.stdin.write(b"\n")


async def _said(demo: Process) -> str:
    assert demo.stderr is not None
    return (await demo.stderr.read()).decode()


async def _kill(name: str, telling: Telling, step: str, moment: Moment) -> None:
    """Kill the process that is `name` now, in that moment of the step."""
    await eventually(f"the moment of step {step} to kill {name}", lambda: moment(telling), within=30)
    pid = await eventually(f"a {name} to kill in step {step}", lambda: telling.pid_of(name), within=30)
    with watched(pid) as ended:
        os.kill(pid, signal.SIGKILL)
        ended()
    telling.killed.append(pid)
