"""Streaming, as the operator sees it: Runtimes that are silent, or that are long in applying, turn STALE."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.configuration_pb2 import REPORT_STATE_FAILED, ReportConfigurationRequest, ResourceFailure
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.director.v1.runtime_state_pb2 import RuntimeState

from certs.identity import Identity
from certs.token import OneTimeToken
from mesh.enrolment import enrol
from tests.integration.director_registry.process import DirectorProcess
from tests.support.plane import Up
from tests.support.stream_plane import StreamPlane
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(150)

STALE = RuntimeState.RUNTIME_STATE_STALE

READY = RuntimeState.RUNTIME_STATE_READY
SOON = 2.0
"""Seconds after which a Runtime is STALE in these tests."""

KEEPALIVE = 75.0 + 10.0
"""Seconds after which a party that is silent is asked for a sign of life, and that it has for it."""


@pytest.mark.check("stream-13")
async def test_an_agent_that_is_stuck_in_applying_is_flagged_after_its_deadline_and_nobody_else(
    tmp_path: Path,
) -> None:
    # For as long as a Runtime may be silent, a Director that has just started takes none for STALE.
    async with started(tmp_path, apply_deadline=str(SOON), runtime_stale_after=str(SOON)) as registry:
        group = await registry.group()
        application = await registry.application(group)
        stuck, other = [await registry.runtime(group) for _ in range(2)]
        script = "while test -e hang; do sleep 0.05; done"
        agent = await registry.agent(stuck, hook=["/bin/sh", "-c", f"cd {tmp_path}; {script}"])
        free = await registry.agent(other)
        for each, runtime in ((agent, stuck), (free, other)):
            await registry.applied(each, runtime)
            await turned(registry, runtime, READY)
        (tmp_path / "hang").touch()

        await registry.describe(application, "new")
        flagged = await turned(registry, stuck, STALE)

        assert MessageToDict(flagged)["stateReason"]
        await registry.applied(free, other, connected=True)
        assert (await registry.told_of(other)).state == READY
        (tmp_path / "hang").unlink()
        await registry.applied(agent, stuck)
        await turned(registry, stuck, READY)


@pytest.mark.check("stream-14")
async def test_a_runtime_whose_agent_is_gone_turns_stale_and_is_ready_again_when_it_is_back(tmp_path: Path) -> None:
    async with started(tmp_path, runtime_stale_after=str(SOON)) as registry:
        gone, there = [await registry.runtime() for _ in range(2)]
        agents = {each: await registry.agent(each) for each in (gone, there)}
        for runtime, agent in agents.items():
            await registry.applied(agent, runtime, connected=True)
            await turned(registry, runtime, READY)

        await agents[gone].kill()
        silent = await turned(registry, gone, STALE)

        assert MessageToDict(silent)["stateReason"]
        assert (await registry.told_of(there)).state == READY  # it says nothing either, and holds its stream
        await registry.start(agents[gone])
        await turned(registry, gone, READY)


@pytest.mark.slow
@pytest.mark.check("stream-14")
async def test_a_runtime_whose_agent_is_frozen_turns_stale_once_its_stream_is_closed(tmp_path: Path) -> None:
    async with started(tmp_path, runtime_stale_after=str(SOON)) as registry:
        runtime = await registry.runtime()
        agent = await registry.agent(runtime)
        await registry.applied(agent, runtime, connected=True)
        await turned(registry, runtime, READY)

        os.kill(agent.process.pid, signal.SIGSTOP)
        try:
            await turned(registry, runtime, STALE, within=KEEPALIVE + 10)
        finally:
            os.kill(agent.process.pid, signal.SIGCONT)
        await turned(registry, runtime, READY)


@pytest.mark.check("stream-11")
async def test_the_operator_sees_by_moorage_status_which_runtime_failed_and_why(tmp_path: Path) -> None:
    with Up(tmp_path / "home") as up:
        async with up.party() as admin:
            request = CreateRuntimeRequest(runtime=Runtime(name="outpost"))
            runtime = (await admin.director.CreateRuntime(request)).runtime.runtime_id
            token = (await admin.connector.IssueToken(IssueTokenRequest(runtime_id=runtime))).token
            await enrol(OneTimeToken.decode(token), Identity(tmp_path / "outpost"))
        async with up.party(tmp_path / "outpost") as own:
            failure = ResourceFailure(message="no such listener")
            report = ReportConfigurationRequest(runtime_id=runtime, state=REPORT_STATE_FAILED, failures=[failure])
            assert (await own.director.ReportConfiguration(report)).accepted

        shown = await asyncio.to_thread(up.moorage, "runtime", "get", "outpost", "-o", "json")
        assert "RUNTIME_STATE_FAILED" in shown.stdout
        assert "no such listener" in shown.stdout
        status = await asyncio.to_thread(up.moorage, "status")
        assert "outpost" in status.stdout
        assert "FAILED" in status.stdout
        assert "no such listener" in status.stdout


@asynccontextmanager
async def started(folder: Path, **settings: str) -> AsyncIterator[StreamPlane]:
    """The registry of a Director with these settings."""
    process = DirectorProcess(folder)
    process.settings |= settings
    registry = StreamPlane(folder, process.mint, [process.settings["listen"]])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.close)
        stack.push_async_callback(registry.close)
        await process.start()
        yield registry


async def turned(registry: StreamPlane, runtime_id: str, state: Any, within: float = 20) -> Runtime:
    """The Runtime, once it is in this state."""

    async def look() -> Runtime | None:
        told = await registry.told_of(runtime_id)
        return told if told.state == state else None

    return await eventually(f"the state {state}", look, within)
