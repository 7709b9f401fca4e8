"""An agent that knows several Directors spreads over them again: its streams end at their age."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from moorage.director.v1 import director_pb2
from moorage.director.v1.director_pb2_grpc import add_DirectorServicer_to_server

from agent.configuration import Configuration
from agent.status import Counts
from agent.stream import ConfigurationStream
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from mesh.server import MeshServer, Service
from tests.integration.agent.doubles import DirectorDouble
from tests.support.identities import Mint
from tests.support.wait import eventually

RUNTIME_ID = str(uuid.UUID(int=7))
DIRECTOR = director_pb2.DESCRIPTOR.services_by_name["Director"]
AGE = 0.3


class Two:
    """Two Directors on loopback. The second one comes later, as one does that is started again."""

    def __init__(self, folder: Path) -> None:
        self.mint = Mint(folder)
        self.doubles = [DirectorDouble() for _ in range(2)]  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
        self._servers = [self._server("127.0.0.1:0", double) for double in self.doubles]

    async def start(self) -> str:
        """Start the first, and have a port for the second; the list of both."""
        ports = [await each.start() for each in self._servers]
        await self._servers[1].stop()
        self._servers[1] = self._server(f"127.0.0.1:{ports[1]}", self.doubles[1])
        return ",".join(f"127.0.0.1:{port}" for port in ports)

    async def start_second(self) -> None:
        await self._servers[1].start()

    async def stop(self) -> None:
        for each in self._servers:
            await each.stop()

    def _server(self, address: str, double: DirectorDouble) -> MeshServer:
        service = Service(DIRECTOR, lambda server: add_DirectorServicer_to_server(double, server))
        return MeshServer(address, self.mint.identity("service", "director"), [service], connection_age=AGE)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    two = Two(tmp_path)
    yield two
    await two.stop()


async def test_a_director_that_comes_back_is_streamed_from_again_without_a_snapshot(two: Two) -> None:
    address = await two.start()
    live = LiveChannel(address, two.mint.identity("runtime", RUNTIME_ID))
    configurations: asyncio.Queue[Configuration] = asyncio.Queue()
    counts = Counts()
    stream = ConfigurationStream(
        RUNTIME_ID,
        lambda: live.channel,
        None,
        Backoff(timedelta(milliseconds=200), timedelta(seconds=10)),
        counts,
        on_configuration=configurations.put_nowait,
        on_connected=lambda _: None,
        on_counted=lambda: None,
    )
    streaming = asyncio.create_task(stream.run())
    await configurations.get()
    assert [double.streams.qsize() for double in two.doubles] == [1, 0]
    await two.start_second()

    async def moved() -> bool:
        return not two.doubles[1].streams.empty()

    await eventually("the second one streams, too", moved)
    assert counts.snapshots == 1
    streaming.cancel()
    await asyncio.wait({streaming})
    await live.close()
