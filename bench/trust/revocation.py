"""Revocation: from the call that revokes an identity to the end of the last stream that it has open."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psycopg
from moorage.connector.v1.identity_pb2 import RevocationAction, RevokeIdentityRequest
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest, WatchConfigurationResponse
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from bench.figures import Figure
from bench.trust import floor as bare
from bench.trust.processes import FREELY, floor
from certs.identity import Identity
from mesh.channel import OPTIONS
from tests.support.connectors import Connectors
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer

ROUNDS = 5
STREAMS = 500
"""Over both instances together, each over a connection of its own."""

TIMEOUT = 60.0
_WATCH = "/moorage.director.v1.Director/WatchConfiguration"
_OPTIONS = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
_SETTINGS = {"fsync": "on", "full_page_writes": "on"}


async def measure(home: Path) -> dict[str, Figure]:
    """`revoke.cut_ms`, of two Directors and a Connector on PostgreSQL."""
    await asyncio.to_thread(home.mkdir)
    server = PostgresqlServer.started(**_SETTINGS)
    async with AsyncExitStack() as stack:
        stack.callback(server.remove)
        directors, connectors = await _plane(stack, home, server)
        folder = directors.mint.identity("service", "director").folder
        floor_database = server.url(server.create_database())
        floors = [await stack.enter_async_context(floor("streams", folder, database=floor_database)) for _ in range(2)]
        database = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(floor_database, autocommit=True)
        )
        addresses = [each.settings["listen"] for each in directors.processes]
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(ROUNDS + 1):
            runtime_id, identity = await _runtime(directors, connectors, home / f"runtime-{number}")
            cut_floor = await _cut(
                floors, f"/{bare.SERVICE}/Watch", runtime_id, identity, partial(database.execute, _NOTIFY)
            )
            revoke = RevokeIdentityRequest(
                runtime_id=runtime_id,
                action=RevocationAction.REVOCATION_ACTION_BAN,
                reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE,
            )
            ban = partial(connectors.connector(0).RevokeIdentity, revoke)
            cut = await _cut(addresses, _WATCH, runtime_id, identity, ban)
            theirs += [cut_floor] if number else []  # the first round warms up
            ours += [cut] if number else []
    return {
        "revoke.cut_ms": Figure(
            statistics.median(ours),
            statistics.median(theirs),
            "ms",
            f"RevokeIdentity to the end of the last of its {STREAMS} streams over two Directors, beside a bare NOTIFY"
            " to the end of as many streams of two bare servers",
        )
    }


_NOTIFY = f"NOTIFY {bare.CHANNEL}".encode()


async def _plane(stack: AsyncExitStack, home: Path, server: PostgresqlServer) -> tuple[Directors, Connectors]:
    directors = Directors(home, server)
    stack.push_async_callback(directors.close)
    address = directors.processes[0].settings["listen"]
    connectors = Connectors(home, server, 1, directors.mint, director_address=address, **FREELY)
    stack.push_async_callback(connectors.close)
    for each in directors.processes:
        each.settings["connector_address"] = connectors.planes[0].settings["listen"]
    await directors.start()
    await connectors.start()
    return directors, connectors


async def _runtime(directors: Directors, connectors: Connectors, folder: Path) -> tuple[str, Identity]:
    request = CreateRuntimeRequest(runtime=Runtime(name=folder.name))
    runtime_id = (await directors.client(first=0).call("CreateRuntime", request)).runtime.runtime_id
    return runtime_id, await connectors.enrol(0, await connectors.token(runtime_id=runtime_id), folder)


async def _cut(
    addresses: Sequence[str], method: str, runtime_id: str, identity: Identity, revoke: Callable[[], Awaitable[object]]
) -> float:
    """Milliseconds from the beginning of `revoke` to the end of the last stream."""
    loaded = identity.load()
    request = WatchConfigurationRequest(runtime_id=runtime_id)
    async with AsyncExitStack() as stack:
        streams = []
        for number in range(STREAMS):
            credentials = grpc.ssl_channel_credentials(loaded.bundle_pem, loaded.key_pem, loaded.chain_pem)
            address = addresses[number % len(addresses)]
            channel = await stack.enter_async_context(grpc.aio.secure_channel(address, credentials, options=_OPTIONS))
            watch: Any = channel.unary_stream(
                method, WatchConfigurationRequest.SerializeToString, WatchConfigurationResponse.FromString
            )
            streams.append(watch(request))
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(each.read() for each in streams))  # it is open
            ends = [asyncio.create_task(_end(each)) for each in streams]
            begin = time.perf_counter()
            await revoke()
            last = max(await asyncio.gather(*ends))
        return (last - begin) * 1e3


async def _end(stream: Any) -> float:
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        ended = time.perf_counter()
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return ended
        raise
    raise AssertionError("a stream ended well")
