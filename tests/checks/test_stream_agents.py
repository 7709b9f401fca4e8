"""Streaming, as far as an agent: real agents at a real Director, which serves all tests here."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.connector.v1.connector_pb2_grpc import add_ConnectorServicer_to_server
from moorage.director.v1.configuration_pb2 import REPORT_STATE_APPLIED, REPORT_STATE_APPLYING, REPORT_STATE_FAILED
from moorage.director.v1.runtime_pb2 import ListRuntimesRequest, Runtime
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from mesh.server import MeshServer, Service
from tests.integration.agent.doubles import ConnectorDouble
from tests.integration.agent.plane import CONNECTOR, Agent
from tests.integration.director_registry.process import DirectorProcess
from tests.support.stream_plane import StreamPlane
from tests.support.wait import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

QUIET = 1.5
"""Seconds in which an agent that tries again and again would have done so."""

SHORT_LIFE = timedelta(seconds=6)
"""How long a certificate lives that is to be renewed several times during a test."""


@pytest.mark.check("stream-01")
async def test_an_agent_reports_applied_with_the_revision_and_the_hash_that_it_was_sent(registry: StreamPlane) -> None:
    group = await registry.group()
    for _ in range(3):
        await registry.application(group)
    runtime = await registry.runtime(group)

    agent = await registry.agent(runtime)
    status = await registry.applied(agent, runtime, connected=True)
    told = await reported(registry, runtime, REPORT_STATE_APPLIED)

    assert status["counts"]["snapshots"] == 1
    assert (told.status.revision, told.status.content_sha256) == (status["revision"], status["content_sha256"])
    assert told.state == RuntimeState.RUNTIME_STATE_READY
    assert status["content_sha256"] == (await registry.afresh(runtime)).content_sha256


@pytest.mark.check("stream-11")
async def test_a_configuration_that_cannot_be_applied_is_told_to_the_operator_and_the_last_good_one_kept(
    registry: StreamPlane, tmp_path: Path
) -> None:
    group = await registry.group()
    application = await registry.application(group, description="good")
    runtime = await registry.runtime(group)
    script = 'echo "$MOORAGE_REVISION" >> taken; test ! -e refuse || { echo "no such listener" >&2; exit 3; }'
    agent = await registry.agent(runtime, hook=["/bin/sh", "-c", f"cd {tmp_path}; {script}"])
    good = (await registry.applied(agent, runtime))["content_sha256"]
    (tmp_path / "refuse").touch()

    refused = await registry.describe(application, "bad")
    told = await reported(registry, runtime, REPORT_STATE_FAILED)

    assert (told.status.revision, told.status.content_sha256) == (refused, good)
    assert [each.message for each in told.status.failures] == ["the hook ended with status 3: no such listener"]
    assert told.state == RuntimeState.RUNTIME_STATE_FAILED
    assert await failed_runtimes(registry) == [runtime]
    assert agent.shown(f"{application}.json")["description"] == "good"
    await asyncio.sleep(QUIET)
    counts = (await agent.status("the failure", state="FAILED", content_sha256=good))["counts"]
    assert (counts["snapshots"], counts["deltas"]) == (1, 1)  # it was not sent again, nor was it tried again
    assert (tmp_path / "taken").read_text().split().count(str(refused)) == 1

    (tmp_path / "refuse").unlink()
    await registry.describe(application, "mended")
    await registry.applied(agent, runtime)
    assert (await reported(registry, runtime, REPORT_STATE_APPLIED)).state == RuntimeState.RUNTIME_STATE_READY


@pytest.mark.check("stream-13")
async def test_an_agent_that_is_stuck_in_applying_holds_up_nobody_else_and_has_the_latest_once_it_goes_on(
    registry: StreamPlane, tmp_path: Path
) -> None:
    group = await registry.group()
    application = await registry.application(group)
    stuck, other = [await registry.runtime(group) for _ in range(2)]
    script = "while test -e hang; do sleep 0.05; done"
    agent = await registry.agent(stuck, hook=["/bin/sh", "-c", f"cd {tmp_path}; {script}"])
    free = await registry.agent(other)
    await registry.applied(agent, stuck)
    await registry.applied(free, other)
    await reported(registry, stuck, REPORT_STATE_APPLIED)
    (tmp_path / "hang").touch()

    first = await registry.describe(application, "one")
    told = await reported(registry, stuck, REPORT_STATE_APPLYING)
    await registry.describe(application, "two")
    await registry.describe(application, "three")

    await registry.applied(free, other, connected=True)
    assert told.status.revision == first
    assert (await registry.told_of(stuck)).status.state == REPORT_STATE_APPLYING
    (tmp_path / "hang").unlink()
    await registry.applied(agent, stuck)
    assert (await reported(registry, stuck, REPORT_STATE_APPLIED)).state == RuntimeState.RUNTIME_STATE_READY


@pytest.mark.check("stream-17")
async def test_an_agent_renews_its_certificate_over_and_over_and_needs_one_snapshot_for_all_its_streams(
    registry: StreamPlane,
) -> None:
    group = await registry.group()
    application = await registry.application(group)
    runtime = await registry.runtime(group)
    async with connector(registry, runtime) as address:
        agent = await registry.agent(runtime, connector=address)
        await registry.applied(agent, runtime, connected=True)
        agent.process.send_signal(signal.SIGHUP)  # from the hour that it begins with to a short life

        async def renewed_several_times() -> dict[str, Any] | None:
            await registry.describe(application, str(asyncio.get_running_loop().time()))
            status = agent.read_status()
            return status if status and status["counts"]["renewals"] >= 3 else None

        await eventually("three renewals", renewed_several_times, within=5 * SHORT_LIFE.total_seconds())
        status = await registry.applied(agent, runtime, connected=True)

    counts = status["counts"]
    assert counts["streams_opened"] >= 4
    assert (counts["snapshots"], counts["calls_failed"]) == (1, 0)


@pytest.mark.check("stream-20")
async def test_while_the_director_is_down_an_agent_starts_from_its_cache_and_goes_on_from_there(
    registry: StreamPlane, director: DirectorProcess
) -> None:
    agent, runtime, application = await one_that_ran(registry)
    held = agent.read_status()
    await agent.kill()
    async with down(director):
        await registry.start(agent)
        status = await agent.status("the cache", state="APPLIED", connected=False)
        assert (status["revision"], status["content_sha256"]) == (held["revision"], held["content_sha256"])
        assert status["started_at"] != held["started_at"]
        assert agent.shown(f"{application}.json")["description"] == "as it was"

    await registry.describe(application, "new")
    status = await registry.applied(agent, runtime, connected=True)
    assert (status["counts"]["snapshots"], status["counts"]["deltas"]) == (0, 1)


@pytest.mark.check("stream-20")
async def test_a_cache_that_was_tampered_with_is_refused_also_while_the_director_is_down(
    registry: StreamPlane, director: DirectorProcess
) -> None:
    agent, runtime, application = await one_that_ran(registry)
    await agent.kill()
    (agent.home / "status.json").unlink()
    current = agent.home / "configuration" / "current"
    file = current / f"{application}.json"
    file.chmod(0o600)
    file.write_text(file.read_text().replace("as it was", "as an evil one has it"))
    async with down(director):
        await registry.start(agent)
        status = await agent.status("nothing to begin with", state="WAITING", connected=False)
        assert status["revision"] is None
        assert not file.exists()
        assert "the configuration on disk is not what was applied, and was removed" in agent.log.read_text()

    status = await registry.applied(agent, runtime, connected=True)
    assert agent.shown(f"{application}.json")["description"] == "as it was"
    assert status["counts"]["snapshots"] == 1


async def one_that_ran(registry: StreamPlane) -> tuple[Agent, str, str]:
    """An agent that has applied what its Runtime sees, the Runtime, and the Application that it sees."""
    group = await registry.group()
    application = await registry.application(group, description="as it was")
    runtime = await registry.runtime(group)
    agent = await registry.agent(runtime)
    await registry.applied(agent, runtime)
    return agent, runtime, application


async def reported(registry: StreamPlane, runtime_id: str, state: Any) -> Runtime:
    """The Runtime, once its agent has reported this."""

    async def look() -> Runtime | None:
        told = await registry.told_of(runtime_id)
        return told if told.status.state == state else None

    return await eventually(f"the report {state}", look)


async def failed_runtimes(registry: StreamPlane) -> Sequence[str]:
    """The ids of the Runtimes that the operator finds to be FAILED."""
    request = ListRuntimesRequest(
        filter="state = RUNTIME_STATE_FAILED", read_mask=FieldMask(paths=["runtime_id", "state"])
    )
    return [each.runtime_id for each in (await registry.call("ListRuntimes", request)).runtimes]


@asynccontextmanager
async def connector(registry: StreamPlane, runtime_id: str) -> AsyncIterator[str]:
    """Where a Connector's double renews the certificate of one Runtime."""
    double = ConnectorDouble(registry.mint, runtime_id, SHORT_LIFE)  # type: ignore[abstract]  # no other method is called
    service = Service(CONNECTOR, lambda server: add_ConnectorServicer_to_server(double, server))
    server = MeshServer("127.0.0.1:0", registry.mint.identity("service", "connector"), [service])
    port = await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop()


@asynccontextmanager
async def down(director: DirectorProcess) -> AsyncIterator[None]:
    """No Director inside the block: it was killed, and is started again after it."""
    await director.end(signal.SIGKILL)
    try:
        yield
    finally:
        await director.start()
