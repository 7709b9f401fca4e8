"""Trust, once somebody is revoked: everywhere, at once, and for good."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub

from mesh.channel import LiveChannel
from mesh.errors import Problem
from tests.support.postgresql import PostgresqlServer
from tests.support.services import Services, reason_of
from tests.support.wait import eventually

STREAMS = 5
"""Streams of the party to each process."""


@pytest.mark.check("trust-18", "stream-16")
async def test_whoever_is_revoked_is_cut_off_everywhere_within_a_second_and_stays_so(
    services: Services, tmp_path: Path
) -> None:
    """Streams end at two Directors, two Connectors and a Provisioner; neither connections nor restarts help."""
    runtime_id, identity = await services.runtime(tmp_path / "runtime")
    channels = services.channels(identity)
    streams = [await opened(service, channel, runtime_id) for service, channel in channels for _ in range(STREAMS)]

    began = time.perf_counter()
    ends = [asyncio.create_task(ended(stream)) for stream in streams]
    await services.ban(runtime_id)
    for reason, at in await asyncio.gather(*ends):
        assert reason == "CERTIFICATE_REVOKED"
        assert at - began < 1
    assert await refusals(channels) == {"CERTIFICATE_REVOKED"}

    await services.kill()
    await services.start()

    assert await refusals(channels) == {"CERTIFICATE_REVOKED"}


@pytest.mark.check("trust-18")
async def test_whoever_is_revoked_stays_so_where_services_come_back_without_a_connector(
    services: Services, tmp_path: Path
) -> None:
    """The Directors and the Provisioner keep the list on disk: there is nobody else to say it."""
    runtime_id, identity = await services.runtime(tmp_path / "runtime")
    channels = [each for each in services.channels(identity) if each[0] != "connector"]
    await services.ban(runtime_id)

    async def kept() -> bool:
        name = str(identity.load().spiffe_id).encode()
        return all(each.exists() and name in each.read_bytes() for each in services.caches)

    await eventually("all have it on disk", kept)
    await services.kill()
    await services.start(connectors=False)

    assert await refusals(channels) == {"CERTIFICATE_REVOKED"}


@pytest.fixture
async def services(tmp_path: Path, postgresql: PostgresqlServer) -> AsyncIterator[Services]:
    """All of them, ready."""
    made = Services(tmp_path, postgresql)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def opened(service: str, channel: LiveChannel, runtime_id: str) -> Any:
    """A stream of the party that has begun."""
    stub: Any = channel.stub(DirectorStub if service == "director" else HealthStub)
    if service == "director":
        stream = stub.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id))
    else:
        stream = stub.Watch(HealthCheckRequest())
    await stream.read()
    return stream


async def ended(stream: Any) -> tuple[str, float]:
    """Why a stream ended, and when."""
    try:
        async with asyncio.timeout(20):
            while await stream.read() != grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        return Problem.of(error).reason, time.perf_counter()
    return "", time.perf_counter()


async def refusals(channels: Sequence[tuple[str, LiveChannel]]) -> set[str]:
    """Why each of the services refuses a call."""
    return {await reason_of(channel) for _, channel in channels}
