"""Runtimes that fall silent or get stuck, and an operator who watches, with a real Director and real streams."""

import asyncio
import socket
from typing import Any
from urllib.request import urlopen

import pytest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_SNAPSHOT,
    REPORT_STATE_APPLIED,
    GetApplicationConfigurationRequest,
    ReportConfigurationRequest,
    WatchConfigurationRequest,
)
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime, WatchRuntimesRequest
from moorage.director.v1.runtime_state_pb2 import (
    RUNTIME_STATE_READY,
    RUNTIME_STATE_STALE,
    RuntimeState,
)

from tests.integration.director_registry.process import DirectorProcess
from tests.support.wait import eventually

SOON = {"runtime_stale_after": "1.5", "apply_deadline": "3.0"}


class Operator:
    """Watches the Runtimes, from the first message on."""

    def __init__(self, director: DirectorProcess) -> None:
        identity = director.mint.identity("viewer", "vic")
        self._stream: Any = director.stub(identity).WatchRuntimes(WatchRuntimesRequest(), timeout=60)
        self.runtimes: dict[str, Runtime] = {}

    async def sees(self, name: str, state: RuntimeState.ValueType, why: str = "") -> Runtime:
        """The Runtime, once it is in the state, for the reason."""
        while True:
            for each in self.runtimes.values():
                if each.name == name and each.state == state and why in each.state_reason:
                    return each
            message = await self._stream.read()
            if message.kind == CONFIGURATION_KIND_SNAPSHOT:
                assert not self.runtimes
            self.runtimes.update((each.runtime_id, each) for each in message.runtimes)


@pytest.fixture
async def director(stopped_director: DirectorProcess) -> DirectorProcess:
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    stopped_director.settings.update(SOON, metrics_listen=metrics)
    await stopped_director.start()
    return stopped_director


async def metric(director: DirectorProcess, sample: str) -> str:
    """The value of a sample of the metrics, by its name and labels; empty where there is none."""
    url = f"http://{director.settings['metrics_listen']}/metrics"
    text: str = await asyncio.to_thread(lambda: urlopen(url, timeout=10).read().decode())
    return next((line.split()[-1] for line in text.splitlines() if line.startswith(sample)), "")


async def test_a_runtime_turns_stale_by_silence_or_by_saying_nothing_and_back_by_itself(
    director: DirectorProcess,
) -> None:
    admin = director.stub()
    application, orders = await director.application("orders")
    group = CreateGroupRequest(group=Group(name="all"), application_ids=[application.application_id])
    group_id = (await admin.CreateGroup(group, timeout=10)).group.group_id
    request = CreateRuntimeRequest(runtime=Runtime(name="edge"), group_ids=[group_id])
    id = (await admin.CreateRuntime(request, timeout=10)).runtime.runtime_id
    agent = director.stub(director.mint.identity("runtime", id))
    operator = Operator(director)

    stream: Any = agent.WatchConfiguration(WatchConfigurationRequest(runtime_id=id), timeout=60)
    configuration = await stream.read()
    stuck = await operator.sees("edge", RUNTIME_STATE_STALE)
    assert f"what became of revision {configuration.revision}" in stuck.state_reason
    assert stuck.desired_revision > stuck.status.revision

    report = ReportConfigurationRequest(
        runtime_id=id,
        revision=configuration.revision,
        content_sha256=configuration.content_sha256,
        state=REPORT_STATE_APPLIED,
    )
    await agent.ReportConfiguration(report, timeout=10)
    ready = await operator.sees("edge", RUNTIME_STATE_READY)
    assert await metric(director, 'moorage_configuration_reports_total{state="APPLIED"}') == "1.0"

    async def is_counted() -> bool:
        return await metric(director, 'moorage_runtimes{state="READY"}') == "1.0"

    await eventually("the metrics have it", is_counted)
    assert ready.status.revision >= ready.desired_revision

    stream.cancel()
    await operator.sees("edge", RUNTIME_STATE_STALE, "neither called nor streamed for 1.5 s")
    view = GetApplicationConfigurationRequest(application_id=application.application_id)
    [served] = (await orders.GetApplicationConfiguration(view, timeout=10)).runtimes
    assert (served.state, served.ready) == (RUNTIME_STATE_STALE, False)

    again: Any = agent.WatchConfiguration(WatchConfigurationRequest(runtime_id=id), timeout=60)
    await again.read()
    await operator.sees("edge", RUNTIME_STATE_READY, "it was seen again")
    again.cancel()
