"""A registry at real Directors, with readers of their stream and real agents; all speak to them over mTLS."""

import itertools
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    DeleteApplicationRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    Group,
    RemoveGroupMembersRequest,
)
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, GetRuntimeRequest, Runtime

from certs.identity import Identity
from director.store.retention import forget_changes
from mesh.channel import LiveChannel
from mesh.database import Database
from mesh.errors import Problem
from tests.integration.agent.plane import Agent
from tests.support.identities import Mint
from tests.support.stream_reader import StreamReader

PATIENCE = 30.0
"""Seconds that one call, or one change on its way to a reader, has; none is to take so long."""

_EVERYTHING = 2**62
"""A time, in microseconds since the epoch, that all of the log is older than."""


class Reader(StreamReader):
    """A Runtime's reader over a connection of its own to one of the Directors."""

    def __init__(self, runtime_id: str, channels: Sequence[LiveChannel]) -> None:
        super().__init__(runtime_id)
        self.channels = channels
        self.at = 0
        """Which of the Directors the next stream is asked of."""
        self.problem: Problem | None = None
        """Why its stream ended."""

    async def _stream(self, request: WatchConfigurationRequest) -> AsyncGenerator[WatchConfigurationResponse, None]:
        self.problem = None
        call = self.channels[self.at].stub(DirectorStub).WatchConfiguration(request)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            self.problem = Problem.of(error)
        finally:
            call.cancel()

    async def over(self) -> None:
        """Wait for the end of its stream; raises what the reader found wrong with it."""
        await self._until(lambda: not self.connected)
        await self.disconnect()

    async def until_or_over(self, rule: Callable[["Reader"], bool]) -> None:
        """Wait until `rule` holds of this reader, or its stream has ended."""
        await self._until(lambda: rule(self) or not self.connected)

    async def close(self) -> None:
        """End its stream, and its connections."""
        await self.disconnect()
        for each in self.channels:
            await each.close()


class StreamPlane:
    """The administrator of the Directors at `addresses`, and all that is in their registry.

    The administrator calls the first of them. `folder` is where the agents live.
    """

    def __init__(self, folder: Path, mint: Mint, addresses: Sequence[str]) -> None:
        self.folder = folder
        self.mint = mint
        self.addresses = addresses
        self._admin = LiveChannel(addresses[0], mint.identity("admin", "ann"))
        self._numbers = itertools.count()
        self._readers: list[Reader] = []
        self._agents: list[Agent] = []

    async def close(self) -> None:
        """End all streams, and kill the agents."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._admin.close)
            for reader in self._readers:
                stack.push_async_callback(reader.close)  # raises what the reader found wrong
            for agent in self._agents:
                stack.push_async_callback(agent.kill)

    async def call(self, method: str, request: Message, identity: Identity | None = None) -> Any:
        """Call the first Director, as the administrator unless told otherwise."""
        if identity is None:
            return await getattr(self._admin.stub(DirectorStub), method)(request, timeout=PATIENCE, wait_for_ready=True)
        channel = LiveChannel(self.addresses[0], identity)
        try:
            return await getattr(channel.stub(DirectorStub), method)(request, timeout=PATIENCE)
        finally:
            await channel.close()

    async def application(self, *group_ids: str, description: str = "") -> str:
        """A new Application in these groups; its id."""
        request = CreateApplicationRequest(application=Application(name=self._name(), description=description))
        application_id: str = (await self.call("CreateApplication", request)).application.application_id
        for each in group_ids:
            await self.join(each, applications=[application_id])
        return application_id

    async def api(self, application_id: str, description: str = "") -> Api:
        """A new API of an Application."""
        api = Api(
            application_id=application_id,
            name=self._name(),
            target_url="http://127.0.0.1:1/",
            description=description,
        )
        created: Api = (await self.call("CreateApi", CreateApiRequest(api=api))).api
        return created

    async def group(self, applications: Iterable[str] = (), runtimes: Iterable[str] = ()) -> str:
        """A new group of these; its id."""
        request = CreateGroupRequest(group=Group(name=self._name()), application_ids=applications, runtime_ids=runtimes)
        group_id: str = (await self.call("CreateGroup", request)).group.group_id
        return group_id

    async def runtime(self, *group_ids: str) -> str:
        """A new Runtime in these groups; its id."""
        request = CreateRuntimeRequest(runtime=Runtime(name=self._name()), group_ids=group_ids)
        runtime_id: str = (await self.call("CreateRuntime", request)).runtime.runtime_id
        return runtime_id

    async def describe(self, application_id: str, description: str) -> int:
        """Change an Application; the revision."""
        changed = Application(application_id=application_id, description=description)
        request = UpdateApplicationRequest(application=changed)
        revision: int = (await self.call("UpdateApplication", request)).application.revision
        return revision

    async def describe_api(self, api: Api, description: str) -> int:
        """Change an API; the revision."""
        changed = Api(application_id=api.application_id, api_id=api.api_id, description=description)
        revision: int = (await self.call("UpdateApi", UpdateApiRequest(api=changed))).api.revision
        return revision

    async def delete_application(self, application_id: str) -> None:
        await self.call("DeleteApplication", DeleteApplicationRequest(application_id=application_id, force=True))

    async def join(self, group_id: str, applications: Iterable[str] = (), runtimes: Iterable[str] = ()) -> None:
        """Add these to a group, in one revision."""
        request = AddGroupMembersRequest(group_id=group_id, application_ids=applications, runtime_ids=runtimes)
        await self.call("AddGroupMembers", request)

    async def leave(self, group_id: str, applications: Iterable[str] = (), runtimes: Iterable[str] = ()) -> None:
        """Take these out of a group, in one revision."""
        request = RemoveGroupMembersRequest(group_id=group_id, application_ids=applications, runtime_ids=runtimes)
        await self.call("RemoveGroupMembers", request)

    async def told_of(self, runtime_id: str) -> Runtime:
        """The Runtime as the operator sees it."""
        found: Runtime = (await self.call("GetRuntime", GetRuntimeRequest(runtime_id=runtime_id))).runtime
        return found

    def identity(self, runtime_id: str, **how: Any) -> Identity:
        """A new certificate of a Runtime."""
        return self.mint.identity("runtime", runtime_id, **how)

    def reader(self, runtime_id: str, identity: Identity | None = None) -> Reader:
        """A reader that is not connected yet, with a certificate of its own unless it is given one."""
        shown = identity or self.identity(runtime_id)
        reader = Reader(runtime_id, [LiveChannel(each, shown) for each in self.addresses])
        self._readers.append(reader)
        return reader

    async def connected(self, runtime_id: str) -> Reader:
        """A reader that has all that its Runtime sees."""
        reader = self.reader(runtime_id)
        reader.connect()
        await reader.until(lambda each: bool(each.plane_id), PATIENCE)
        return reader

    async def afresh(self, runtime_id: str, at: int = 0) -> Reader:
        """What one of the Directors shows a Runtime now: a reader that is gone again."""
        reader = self.reader(runtime_id)
        reader.at = at
        reader.connect()
        await reader.until(lambda each: bool(each.plane_id), PATIENCE)
        await self.let_go(reader)
        return reader

    async def let_go(self, reader: Reader) -> None:
        """Close a reader that is needed no more."""
        await reader.close()
        self._readers.remove(reader)

    async def up_to_date(self, *readers: Reader) -> None:
        """Wait until these hold exactly what the plane shows."""
        for reader in readers:
            shown = await self.afresh(reader.runtime_id)
            await reader.until(lambda each, shown=shown: each.view == shown.view, PATIENCE)  # type: ignore[misc]

    async def agent(self, runtime_id: str, **settings: Any) -> Agent:
        """A new agent of a Runtime, whose identity is in its home already."""
        agent = Agent(self.folder / f"agent-{next(self._numbers)}" / "home")
        self.identity(runtime_id, folder=agent.home / "identity")
        told = {"home": str(agent.home), "director": self.addresses[0], "connector": "127.0.0.1:1", **settings}
        lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
        (agent.home.parent / "agent.toml").write_text("\n".join(["[agent]", *lines, ""]))
        self._agents.append(agent)
        await self.start(agent)
        return agent

    async def start(self, agent: Agent) -> None:
        """Start an agent of this plane, once more if need be."""
        await agent.start("--config", str(agent.home.parent / "agent.toml"), stdin="")

    async def applied(self, agent: Agent, runtime_id: str, **expected: Any) -> dict[str, Any]:
        """The agent's status, once it runs what the plane shows now."""
        shown = await self.afresh(runtime_id)
        sha256 = shown.content_sha256
        return await agent.status("what the plane shows", state="APPLIED", content_sha256=sha256, **expected)

    def _name(self) -> str:
        return f"n-{next(self._numbers)}"


def compact(url: str) -> bool:
    """Forget the whole change log of a Director's database, as its own retention does, while it runs.

    Says whether there was anything to forget.
    """
    database = Database.open(url)
    try:
        with database.engine.begin() as tx:
            return forget_changes(tx, _EVERYTHING, 2**31)
    finally:
        database.close()
