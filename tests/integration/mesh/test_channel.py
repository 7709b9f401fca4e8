"""The channel builder, on connections that are slow to come about."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
from moorage.director.v1.application_pb2 import GetApplicationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub

from mesh.channel import LiveChannel
from tests.integration.mesh.conftest import Mesh

GET = GetApplicationRequest(application_id="0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a10")
PATIENCE = 2.5


async def test_a_handshake_that_takes_seconds_is_waited_for_and_not_begun_anew(mesh_server: Mesh) -> None:
    async with _slow(mesh_server.address) as (address, connections):
        live = LiveChannel(address, mesh_server.mint.identity("admin", "ann"))
        await live.stub(DirectorStub).GetApplication(GET, timeout=20, wait_for_ready=True)
        await live.close()
    assert connections == ["waited"]


async def test_a_listener_that_comes_late_is_found_soon(mesh_server: Mesh) -> None:
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    listener.close()
    await listener.wait_closed()
    live = LiveChannel(f"{host}:{port}", mesh_server.mint.identity("admin", "ann"))
    refused = asyncio.Event()
    watching = asyncio.create_task(_watch(live.channel, refused))
    call = asyncio.ensure_future(live.stub(DirectorStub).GetApplication(GET, timeout=5, wait_for_ready=True))
    await refused.wait()
    async with _relay(mesh_server.address, port):
        await call
    watching.cancel()
    await live.close()


async def _watch(channel: grpc.aio.Channel, refused: asyncio.Event) -> None:
    while (state := channel.get_state()) is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
        await channel.wait_for_state_change(state)
    refused.set()


@asynccontextmanager
async def _slow(target: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A relay that holds the server's first answer back until its client loses patience, or for `PATIENCE` seconds."""
    connections: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await _connected(target)
        up_writer.write(await reader.read(65536))
        answer = await up_reader.read(65536)
        try:
            async with asyncio.timeout(PATIENCE):
                gone = not await reader.read(65536)
        except TimeoutError:
            gone = False
        connections.append("gave up" if gone else "waited")
        writer.write(answer)
        await _joined(reader, writer, up_reader, up_writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    async with listener:
        yield f"{host}:{port}", connections


@asynccontextmanager
async def _relay(target: str, port: int) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await _connected(target)
        except BaseException:
            writer.close()
            raise
        await _joined(reader, writer, target_reader, target_writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", port)
    async with listener:
        yield


async def _connected(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = target.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    try:
        async with asyncio.TaskGroup() as copying:
            copying.create_task(_copied(reader, up_writer))
            copying.create_task(_copied(up_reader, writer))
    finally:
        writer.close()
        up_writer.close()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
    writer.close()
