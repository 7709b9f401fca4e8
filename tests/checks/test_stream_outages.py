"""Streaming, while something ends: a certificate, a Director, its database."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import pytest_asyncio
from moorage.director.v1.configuration_pb2 import CONFIGURATION_KIND_DELTA, CONFIGURATION_KIND_SNAPSHOT

from tests.integration.agent.plane import Agent
from tests.integration.director_registry.process import DirectorProcess
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer
from tests.support.stream_plane import PATIENCE, Reader, StreamPlane

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

READERS = 8
CHANGES = 40
AGENTS = 6
PROBES = 4
"""Readers that try to connect all the while."""

OUTAGE = 1.0
"""Seconds between the end of a Director that was killed and its next start."""

SPREAD = 0.2
"""Seconds between the first and the last of the agents that are back, at least: they come by chance, not as one."""


@dataclass
class Pair:
    """Two Directors on a PostgreSQL that can be killed, for nobody else is on it, and their registry."""

    server: PostgresqlServer
    directors: Directors
    registry: StreamPlane


@pytest.mark.check("stream-17")
async def test_a_stream_ends_with_its_certificate_and_is_resumed_by_the_next_one_without_a_snapshot(
    registry: StreamPlane,
) -> None:
    group = await registry.group()
    application = await registry.application(group)
    runtime = await registry.runtime(group)
    identity = registry.identity(runtime, lifetime=timedelta(seconds=4))
    reader = registry.reader(runtime, identity)
    reader.connect()
    await reader.until(lambda each: bool(each.plane_id), PATIENCE)
    before = reader.revision

    await reader.over()
    late = datetime.now(UTC) - identity.load().not_after
    assert timedelta() <= late < timedelta(seconds=2)
    assert reader.problem is not None
    assert reader.problem.reason == "CERTIFICATE_EXPIRED"
    changed = await registry.describe(application, "meanwhile")

    registry.identity(runtime, folder=identity.folder)
    reader.connect(resume=True)
    await registry.up_to_date(reader)
    assert reader.kinds == [CONFIGURATION_KIND_DELTA]
    assert before < changed <= reader.revision


@pytest.mark.check("stream-19")
async def test_when_a_director_is_killed_its_agents_come_back_one_by_one_and_nobody_is_sent_an_empty_configuration(
    registry: StreamPlane, director: DirectorProcess
) -> None:
    group = await registry.group()
    application = await registry.application(group)
    runtimes = [await registry.runtime(group) for _ in range(AGENTS)]
    agents = await asyncio.gather(*(registry.agent(each) for each in runtimes))
    for agent, runtime in zip(agents, runtimes, strict=True):
        await registry.applied(agent, runtime, connected=True)
    probes = [registry.reader(await registry.runtime(group)) for _ in range(PROBES)]
    last = await registry.describe(application, "the last before it")

    killed = datetime.now(UTC)
    await director.end(signal.SIGKILL)
    probing = [asyncio.create_task(probed(each)) for each in probes]
    await asyncio.sleep(OUTAGE)
    await director.start()

    for codes in await asyncio.gather(*probing):
        assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
    for probe in probes:
        assert probe.kinds == [CONFIGURATION_KIND_SNAPSHOT]
        assert probe.revision >= last
        assert set(probe.view) == {application}
    await registry.describe(application, "after it")
    for agent, runtime in zip(agents, runtimes, strict=True):
        status = await registry.applied(agent, runtime, connected=True)
        assert status["counts"]["snapshots"] == 1
    back = [connected_after(agent, killed) for agent in agents]
    assert max(back) - min(back) > timedelta(seconds=SPREAD)


@pytest.mark.check("stream-18")
async def test_the_streams_of_a_director_that_is_stopped_go_on_at_another_and_lose_nothing(pair: Pair) -> None:
    registry = pair.registry
    group = await registry.group()
    application = await registry.application(group)
    readers = [registry.reader(await registry.runtime(group)) for _ in range(READERS)]
    for number, reader in enumerate(readers):
        reader.at = number % 2
        reader.connect()
    await registry.up_to_date(*readers)
    drained = [each for each in readers if each.at == 1]

    changing = asyncio.create_task(changes(registry, application))
    assert await pair.directors.processes[1].end(signal.SIGTERM) == 0
    waits = set()
    for reader in drained:
        await reader.over()
        assert reader.problem is not None
        assert (reader.problem.code, reader.problem.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        waits.add(reader.problem.retry_after)
        reader.at = 0
        reader.connect(resume=True)
    await changing
    await registry.up_to_date(*readers)

    assert None not in waits
    assert len(waits) == len(drained)  # they do not come back all at once
    assert all(each.kinds and CONFIGURATION_KIND_SNAPSHOT not in each.kinds for each in drained)
    assert all(each.kinds.count(CONFIGURATION_KIND_SNAPSHOT) == 1 for each in readers if each not in drained)
    await pair.directors.processes[1].start()


@pytest.mark.check("stream-19")
async def test_a_director_that_is_not_ready_refuses_a_stream_and_never_sends_an_empty_configuration(
    pair: Pair,
) -> None:
    registry = pair.registry
    group = await registry.group()
    application = await registry.application(group)
    reader = await registry.connected(await registry.runtime(group))
    newcomer = registry.reader(await registry.runtime(group))
    pair.server.kill()
    try:
        newcomer.connect()
        await newcomer.over()
        assert newcomer.problem is not None
        assert (newcomer.problem.code, newcomer.problem.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        assert newcomer.problem.retry_after is not None
        assert not newcomer.messages
    finally:
        pair.server.start()

    assert set(await probed(newcomer)) <= {grpc.StatusCode.UNAVAILABLE}
    assert set(newcomer.view) == {application}
    await registry.describe(application, "after it")
    await registry.up_to_date(reader, newcomer)
    assert reader.kinds == [CONFIGURATION_KIND_SNAPSHOT, CONFIGURATION_KIND_DELTA]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Both are ready."""
    folder, server = tmp_path_factory.mktemp("pair"), PostgresqlServer.started()
    directors = Directors(folder, server)
    registry = StreamPlane(folder, directors.mint, [each.settings["listen"] for each in directors.processes])
    async with AsyncExitStack() as stack:
        stack.callback(server.remove)
        stack.push_async_callback(directors.close)
        stack.push_async_callback(registry.close)
        await directors.start()
        yield Pair(server, directors, registry)


async def changes(registry: StreamPlane, application: str) -> None:
    """Change an Application for as long as a Director takes to stop, and a little longer."""
    for number in range(CHANGES):
        await registry.describe(application, str(number))
        await asyncio.sleep(0.05)


async def probed(reader: Reader) -> Sequence[grpc.StatusCode]:
    """Try to connect until there is a whole configuration; with which status each of the tries before that failed."""
    codes: list[grpc.StatusCode] = []
    async with asyncio.timeout(PATIENCE):
        while True:
            reader.connect()
            await reader.until_or_over(lambda each: bool(each.plane_id))
            if reader.plane_id:
                return codes
            assert reader.problem is not None
            assert not reader.messages
            codes.append(reader.problem.code)
            await asyncio.sleep(0.05)


def connected_after(agent: Agent, time: datetime) -> datetime:
    """When an agent first said after a time that it is connected."""
    lines = (json.loads(line) for line in agent.log.read_text().splitlines() if line.startswith("{"))
    said = (datetime.fromisoformat(each["timestamp"]) for each in lines if each.get("event") == "connected")
    return next(each for each in said if each > time)
