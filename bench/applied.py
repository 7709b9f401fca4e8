"""From commit to applied: an API is changed, and a real agent has it on disk and in use."""

import asyncio
import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.longrunning.operations_pb2 import WaitOperationRequest
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, WatchConfigurationRequest
from moorage.director.v1.director_pb2_grpc import DirectorStub
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.provisioner.v1.provisioner_pb2_grpc import ProvisionerStub
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, DeleteRuntimeRequest, Runtime

from bench.bare import BareStub
from bench.figures import Figure
from bench.processes import NotReady, bare, plane
from certs.identity import Identity
from mesh.channel import open_channel

CHANGES = 60
TIMEOUT = 60.0


async def measure(work: Path) -> dict[str, Figure]:
    """`applied.p50`: the Director's commit to the agent's swap, beside call to stream message of a bare server."""
    home = work / "applied"
    with plane(home) as (at, _):
        admin = Identity(home / "identities" / "admin").load()
        async with (
            bare(home / "identities" / "director") as (bare_address, _, _),
            open_channel(at.director, admin) as director_channel,
            open_channel(at.provisioner, admin) as provisioner_channel,
            open_channel(bare_address, admin) as bare_channel,
        ):
            director = DirectorStub(director_channel)
            api, runtime_id = await _story(director, provisioner_channel)
            status = home / "provisioner" / "runtimes" / runtime_id / "status.json"
            ours = [await _applied(director, api, status, number) for number in range(CHANGES)]
            floor = await _broadcasts(BareStub(bare_channel), runtime_id)
            provisioner = ProvisionerStub(provisioner_channel)
            delete = await provisioner.DeleteRuntime(DeleteRuntimeRequest(runtime_id=runtime_id))
            await _end(provisioner_channel, delete)
    return {
        "applied.p50": Figure(
            statistics.median(ours) * 1e3,
            statistics.median(floor) * 1e3,
            "ms",
            "commit of UpdateApi to in use at a real agent (written, synced, swapped), beside a bare call passed "
            "on to a stream",
        )
    }


async def _story(director: Any, provisioner_channel: Any) -> tuple[Api, str]:
    create = CreateApplicationRequest(application=Application(name="benchmark"))
    application = (await director.CreateApplication(create)).application
    wanted = Api(application_id=application.application_id, name="orders", target_url="http://127.0.0.1:1")
    api: Api = (await director.CreateApi(CreateApiRequest(api=wanted))).api
    group = CreateGroupRequest(group=Group(name="benchmark"), application_ids=[application.application_id])
    group_id = (await director.CreateGroup(group)).group.group_id
    provisioner: Any = ProvisionerStub(provisioner_channel)
    operation = await provisioner.CreateRuntime(CreateRuntimeRequest(name="benchmark", group_ids=[group_id]))
    ended = await _end(provisioner_channel, operation)
    runtime = Runtime()
    if not ended.response.Unpack(runtime):
        raise NotReady(f"the runtime did not come up: {ended.error.message}")
    return api, runtime.runtime_id


async def _end(channel: Any, operation: Any) -> Any:
    operations: Any = OperationsStub(channel)
    request = WaitOperationRequest(name=operation.name)
    request.timeout.FromSeconds(int(TIMEOUT))
    return await operations.WaitOperation(request, timeout=TIMEOUT + 5)


async def _applied(director: Any, api: Api, status: Path, number: int) -> float:
    """Seconds from the Director's commit to the agent's swap, both by this machine's clock."""
    changed = Api(application_id=api.application_id, api_id=api.api_id, description=f"change {number}")
    stored = (await director.UpdateApi(UpdateApiRequest(api=changed, update_mask=FieldMask(paths=["description"])))).api
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        seen = json.loads(await asyncio.to_thread(status.read_text))
        if (seen["revision"] or 0) >= stored.revision:
            passed: timedelta = datetime.fromisoformat(seen["applied_at"]) - stored.update_time.ToDatetime(UTC)
            return passed.total_seconds()
        await asyncio.sleep(0.02)
    raise NotReady(f"revision {stored.revision} was not applied within {TIMEOUT:.0f} s")


async def _broadcasts(floor: BareStub, runtime_id: str) -> list[float]:
    times = []
    stream = floor.watch(WatchConfigurationRequest(runtime_id=runtime_id))
    await stream.read()
    for number in range(1, CHANGES + 1):
        begin = time.perf_counter()
        await floor.report(ReportConfigurationRequest(revision=number))
        while (await stream.read()).revision < number:
            pass
        times.append(time.perf_counter() - begin)
    stream.cancel()
    return times
