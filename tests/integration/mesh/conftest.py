"""A real server of the mesh with a small Director behind it, and callers of every kind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from moorage.director.v1 import director_pb2
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    CreateApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
)
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse
from moorage.director.v1.director_pb2_grpc import DirectorServicer, DirectorStub, add_DirectorServicer_to_server

from certs.identity import Identity
from mesh.call import Caller
from mesh.channel import LiveChannel
from mesh.errors import Problem
from mesh.health import Readiness
from mesh.pipeline import CallObserver
from mesh.revocations import Revocations
from mesh.server import MeshServer, Service
from mesh.uses import Uses
from tests.support.identities import Mint

DIRECTOR = director_pb2.DESCRIPTOR.services_by_name["Director"]


class MovableClock:
    """The host's time, moved on by as much as a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class SmallDirector(DirectorServicer):
    """Answers three methods, each in a way of interest to the pipeline."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.stuck = False
        self.flood = ""
        self.flooded = 0
        self.first = ""
        self.connections: list[str] = []
        self.resumed: list[bool] = []
        self.more = asyncio.Event()

    async def GetApplication(self, request: GetApplicationRequest, context: Any) -> GetApplicationResponse:
        self.connections.append(context.peer())
        self.resumed.append(context.auth_context()["ssl_session_reused"] == [b"true"])
        return GetApplicationResponse(application=Application(application_id=request.application_id))

    async def CreateApplication(self, request: CreateApplicationRequest, context: Any) -> CreateApplicationResponse:
        if self.fault:
            raise self.fault
        if self.stuck:
            await asyncio.Event().wait()
        return CreateApplicationResponse(application=request.application)

    async def WatchConfiguration(
        self, request: WatchConfigurationRequest, context: Any
    ) -> AsyncIterator[WatchConfigurationResponse]:
        yield WatchConfigurationResponse(revision=1, plane_id=self.first)
        while self.flood:
            self.flooded += 1
            yield WatchConfigurationResponse(plane_id=self.flood)
        if self.fault:
            raise self.fault
        await self.more.wait()
        yield WatchConfigurationResponse(revision=2)


class Witness(CallObserver):
    """Remembers who called, and who holds a stream."""

    def __init__(self) -> None:
        self.callers: list[str] = []
        self.streaming: list[str] = []

    def called(self, caller: Caller) -> None:
        self.callers.append(caller.name)

    def stream_began(self, caller: Caller) -> None:
        self.streaming.append(caller.name)

    def stream_ended(self, caller: Caller) -> None:
        self.streaming.remove(caller.name)


@dataclass
class Mesh:
    """The server at `address`, and channels to it."""

    address: str
    server: MeshServer
    director: SmallDirector
    clock: MovableClock
    mint: Mint
    server_identity: Identity
    readiness: Readiness
    away: set[str]
    witness: Witness
    revocations: Revocations
    used: list[str]
    channels: list[LiveChannel] = field(default_factory=list)

    def channel(self, kind: str, name: str, lifetime: timedelta = timedelta(hours=1)) -> LiveChannel:
        channel = LiveChannel(self.address, self.mint.identity(kind, name, lifetime))
        self.channels.append(channel)
        return channel

    def stub(self, kind: str, name: str, lifetime: timedelta = timedelta(hours=1)) -> Any:
        return self.channel(kind, name, lifetime).stub(DirectorStub)


@pytest.fixture
def max_age() -> timedelta | None:
    """How old the server's list of revocations may be; a test that parametrizes it says."""
    return None


@pytest.fixture
def connection_age() -> float | None:
    """How many seconds a connection to the server lasts; a test that parametrizes it says."""
    return None


@pytest.fixture
async def mesh_server(tmp_path: Path, max_age: timedelta | None, connection_age: float | None) -> AsyncIterator[Mesh]:
    mint, clock = Mint(tmp_path), MovableClock()
    director = SmallDirector()  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
    identity = mint.identity("service", "director")
    away: set[str] = set()

    async def database() -> None:
        if "database" in away:
            raise OSError("away, as the test asked for")

    readiness = Readiness(DIRECTOR.full_name, {"database": database})
    service = Service(DIRECTOR, lambda server: add_DirectorServicer_to_server(director, server))
    witness = Witness()
    revocations, used = Revocations(clock, max_age), list[str]()

    async def report(serials: Sequence[str]) -> None:
        used.extend(serials)

    uses = Uses(report)
    server = MeshServer(
        "127.0.0.1:0",
        identity,
        [service],
        readiness=readiness,
        clock=clock,
        observer=witness,
        revocations=revocations,
        uses=uses,
        connection_age=connection_age,
    )
    port = await server.start()
    mesh = Mesh(
        f"127.0.0.1:{port}", server, director, clock, mint, identity, readiness, away, witness, revocations, used
    )
    telling = asyncio.create_task(uses.run())
    yield mesh
    telling.cancel()
    for channel in mesh.channels:
        await channel.close()
    await server.stop()


async def problem_of(call: Awaitable[Any]) -> Problem:
    """The problem that `call` ends with; fails where it ends well."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Problem.of(caught.value)
