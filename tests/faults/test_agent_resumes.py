"""A real agent that knows several Directors: it loses the one that streams to it, and goes on at another."""

import asyncio
import json
import signal
import socket
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from agent.home import Home
from tests.integration.agent.plane import Agent
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(240)

WATCH = 'moorage_open_streams{method="/moorage.director.v1.Director/WatchConfiguration"}'
WITHIN = 60.0
"""Seconds that anything may take which is to happen."""


class Scene:
    """Two Directors, and the agent of a Runtime in a group, which is told of both."""

    def __init__(self, folder: Path, server: PostgresqlServer) -> None:
        self.directors = Directors(folder, server)
        for each in self.directors.processes:
            with socket.create_server(("127.0.0.1", 0)) as free:
                each.settings["metrics_listen"] = f"127.0.0.1:{free.getsockname()[1]}"
        self.agent = Agent(folder / "agent")
        self._config = folder / "agent.toml"
        self._group_id = ""

    async def start(self) -> None:
        await self.directors.start()
        client = self.directors.client()
        group = (await client.call("CreateGroup", CreateGroupRequest(group=Group(name="all")))).group
        self._group_id = group.group_id
        request = CreateRuntimeRequest(runtime=Runtime(name="berlin"), group_ids=[self._group_id])
        runtime_id = (await client.call("CreateRuntime", request)).runtime.runtime_id
        self.directors.mint.identity("runtime", runtime_id, folder=Home(self.agent.home).identity)
        listed = ",".join(each.settings["listen"] for each in self.directors.processes)
        settings = {"home": str(self.agent.home), "director": listed, "connector": "127.0.0.1:1"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        self._config.write_text("\n".join(["[agent]", *lines, ""]))
        await self.agent.start("--config", str(self._config), stdin="")
        await self.agent.status("it applied the first configuration", connected=True, state="APPLIED")

    async def close(self) -> None:
        if hasattr(self.agent, "process"):
            await self.agent.kill()
        await self.directors.close()

    async def at(self) -> int:
        """Which of the Directors streams to the agent."""

        async def look() -> list[int]:
            return [
                number
                for number, each in enumerate(self.directors.processes)
                if each.process and each.process.returncode is None and await asyncio.to_thread(streams_of, each)
            ]

        return (await eventually("one of them streams to it", look, WITHIN))[0]

    async def change(self, through: int) -> None:
        """Change what the Runtime sees, through one of the Directors."""
        client = self.directors.client(first=through)
        request = CreateApplicationRequest(application=Application(name=f"orders-{through}"))
        application_id = (await client.call("CreateApplication", request)).application.application_id
        joining = AddGroupMembersRequest(group_id=self._group_id, application_ids=[application_id])
        await client.call("AddGroupMembers", joining)

    async def had_deltas(self, count: int) -> bool:
        """Whether the agent had so many changes."""
        return bool(self.counts["deltas"] == count)

    @property
    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.agent.read_status()["counts"]
        return counts


def streams_of(director: Any) -> bool:
    """Whether it streams to anybody, as its metrics say."""
    with urllib.request.urlopen(f"http://{director.settings['metrics_listen']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return any(line.startswith(WATCH) and float(line.split()[-1]) > 0 for line in lines)


@pytest.fixture
async def scene(postgresql: PostgresqlServer, tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path, postgresql)
    try:
        await scene.start()
        yield scene
    finally:
        await scene.close()


async def test_an_agent_that_loses_one_director_after_the_other_goes_on_without_a_snapshot(scene: Scene) -> None:
    assert (scene.counts["snapshots"], scene.counts["deltas"]) == (1, 0)
    for deltas, end in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
        lost = await scene.at()
        left = 1 - lost
        await scene.directors.processes[lost].end(end)
        await scene.change(through=left)
        await eventually("the change came", partial(scene.had_deltas, deltas), WITHIN)
        assert await scene.at() == left
        assert (scene.counts["snapshots"], scene.counts["deltas"]) == (1, deltas)
        await scene.directors.processes[lost].start()
