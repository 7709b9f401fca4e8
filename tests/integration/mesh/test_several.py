"""One channel to several instances: how calls go round, and what their certificates must have."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from moorage.director.v1.application_pb2 import GetApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub, add_DirectorServicer_to_server

from mesh.channel import LiveChannel
from mesh.server import MeshServer, Service
from tests.integration.mesh.conftest import DIRECTOR, SmallDirector, problem_of
from tests.support.identities import Mint
from tests.support.wait import eventually

GET = GetApplicationRequest(application_id="0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a10")


class Pair:
    """Two instances whose certificates have 127.0.0.1 and localhost, wherever on loopback they serve."""

    def __init__(self, mint: Mint) -> None:
        self.mint = mint
        self.directors = [SmallDirector() for _ in range(2)]  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
        self.servers: list[MeshServer] = []

    async def start(self, host: str = "127.0.0.1") -> str:
        """Serve at that address of this host; the list of both."""
        for director in self.directors:
            service = Service(DIRECTOR, lambda server, of=director: add_DirectorServicer_to_server(of, server))  # type: ignore[misc]
            server = MeshServer(f"{host}:0", self.mint.identity("service", "director"), [service])
            await server.start()
            self.servers.append(server)
        return ",".join(f"{host}:{each.port}" for each in self.servers)

    @property
    def calls(self) -> list[int]:
        return [len(each.connections) for each in self.directors]


@pytest.fixture
async def pair(mint: Mint) -> AsyncIterator[Pair]:
    pair = Pair(mint)
    yield pair
    for each in pair.servers:
        await each.stop()


@pytest.fixture
def mint(tmp_path_factory: pytest.TempPathFactory) -> Mint:
    return Mint(tmp_path_factory.mktemp("identities"))


async def test_calls_go_round_all_in_a_list_and_on_when_one_stops(pair: Pair) -> None:
    listed = await pair.start()
    async with AsyncExitStack() as stack:
        live = LiveChannel(listed, pair.mint.identity("admin", "ann"))
        stack.push_async_callback(live.close)
        stub = live.stub(DirectorStub)

        async def both_called() -> bool:
            await stub.GetApplication(GET, timeout=5, wait_for_ready=True)
            return all(pair.calls)

        await eventually("calls go to both", both_called)
        await pair.servers[0].stop()
        before = pair.calls[1]
        for _ in range(4):
            await stub.GetApplication(GET, timeout=5)
        assert pair.calls[1] == before + 4


async def test_an_instance_whose_certificate_lacks_the_first_address_is_not_called(pair: Pair) -> None:
    live = LiveChannel(await pair.start("127.0.0.2"), pair.mint.identity("admin", "ann"))
    problem = await problem_of(live.stub(DirectorStub).GetApplication(GET, timeout=5))
    await live.close()
    assert "Hostname Verification Check failed" in problem.message
    assert pair.calls == [0, 0]


async def test_of_a_name_every_address_is_called_by_that_name(pair: Pair) -> None:
    await pair.start()
    live = LiveChannel(f"dns:///localhost:{pair.servers[0].port}", pair.mint.identity("admin", "ann"))
    await live.stub(DirectorStub).GetApplication(GET, timeout=5, wait_for_ready=True)
    await live.close()
    assert pair.calls == [1, 0]
