"""kill -9 of each process of a plane at rest: it comes back by itself, and what was acknowledged is there."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import GetOperationRequest, Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, GetApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    GetApplicationRequest,
    ListApplicationsRequest,
)
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, RuntimeOperationMetadata
from moorage.provisioner.v1.runtime_pb2 import GetRuntimeRequest as GetProvisionedRequest

from certs.identity import Identity
from certs.token import OneTimeToken
from cli.demo.party import Party
from cli.plane.home import SERVICES
from mesh.enrolment import enrol
from tests.support.plane import Up, pids_of, processes_of
from tests.support.wait import eventually

URL = "https://orders.example"


@dataclass(frozen=True)
class Resting:
    """A plane at rest: an Application with an API, and a Runtime that it serves, whose agent is READY."""

    up: Up
    application_id: str
    api_id: str
    runtime_id: str
    operation: str


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resting]:
    with Up(tmp_path_factory.mktemp("kill") / "home") as up:
        yield asyncio.run(_at_rest(up))


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_that_is_killed_at_rest_comes_back_with_all_that_was_acknowledged(
    service: str, resting: Resting, tmp_path: Path
) -> None:
    up = resting.up
    async with up.party() as admin:
        written = await _new_application(admin)
        api = await _new_api(admin, written.application_id)
        token = (await admin.connector.IssueToken(IssueTokenRequest(application_id=written.application_id))).token
        provisioned = await _provisioned(admin, resting)

        killed = up.kill(service)
        assert up.wait_for_pid(service, other_than=killed) != killed

        request = GetApplicationRequest(application_id=written.application_id)
        assert (await admin.call(lambda admin: admin.director.GetApplication, request)).application == written
        get_api = GetApiRequest(application_id=api.application_id, api_id=api.api_id)
        assert (await admin.call(lambda admin: admin.director.GetApi, get_api)).api == api
        await enrol(OneTimeToken.decode(token), Identity(tmp_path / "identity"))
        assert Identity(tmp_path / "identity").load().spiffe_id.name == written.application_id
        assert await _provisioned(admin, resting) == provisioned


@pytest.mark.parametrize("service", SERVICES)
async def test_after_a_service_was_killed_at_rest_new_work_is_done_as_before(
    service: str, resting: Resting, tmp_path: Path
) -> None:
    up = resting.up
    killed = up.kill(service)
    async with up.party() as admin:
        written = await _new_application(admin)
        request = IssueTokenRequest(application_id=written.application_id)
        token = (await admin.call(lambda admin: admin.connector.IssueToken, request)).token
        await enrol(OneTimeToken.decode(token), Identity(tmp_path / "identity"))
        await _has_what_is_changed_now(resting, admin)
        await _create_runtime(admin, f"edge-{service}", [])
        up.wait_for_pid(service, other_than=killed)


async def test_an_agent_that_is_killed_comes_back_and_has_what_changed_meanwhile(resting: Resting) -> None:
    agent = resting.up.agent(resting.runtime_id)
    async with resting.up.party() as admin:
        await _has_what_is_changed_now(resting, admin)
        killed = agent.kill()
        await _has_what_is_changed_now(resting, admin)
        assert agent.pid != killed
        request = GetRuntimeRequest(runtime_id=resting.runtime_id)
        runtime = (await admin.director.GetRuntime(request)).runtime
        assert runtime.state == RuntimeState.RUNTIME_STATE_READY


async def test_an_agent_runs_on_while_the_provisioner_is_away_and_is_kept_running_after_it(resting: Resting) -> None:
    up, agent = resting.up, resting.up.agent(resting.runtime_id)
    async with up.party() as admin:
        await _has_what_is_changed_now(resting, admin)
        before = agent.pid
        killed = up.kill("provisioner")
        await _has_what_is_changed_now(resting, admin)
        up.wait_for_pid("provisioner", other_than=killed)
        await _provisioned(admin, resting)
        assert agent.pid == before
        agent.kill()
        agent.wait_for_pid(other_than=before)
        await _has_what_is_changed_now(resting, admin)


async def test_an_agent_that_dies_while_the_provisioner_is_away_is_started_again_by_the_next_one(
    resting: Resting,
) -> None:
    up, agent = resting.up, resting.up.agent(resting.runtime_id)
    async with up.party() as admin:
        await _has_what_is_changed_now(resting, admin)
        up.kill("provisioner")
        killed = agent.kill()
        agent.wait_for_pid(other_than=killed)
        await _has_what_is_changed_now(resting, admin)


async def test_when_up_is_killed_nothing_of_it_stays_and_the_next_one_recovers_all(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Up(home) as up:
        resting = await _at_rest(up)
        async with up.party() as admin:
            written = await _new_application(admin)
        up.kill("up")
        await _nothing_runs(home)
    with Up(home) as up:
        await _is_recovered(up, resting, written)
    assert processes_of(home) == []


async def test_an_agent_whose_identity_ended_while_the_plane_was_away_is_let_in_again(tmp_path: Path) -> None:
    home, short_lives = tmp_path / "home", tmp_path / "short.toml"
    short_lives.write_text("[connector]\nruntime_lifetime = 8.0\n")
    with Up(home, "--config", str(short_lives)) as up:
        resting = await _at_rest(up)
        identity = Identity(up.agent(resting.runtime_id).folder / "identity")
    ended = identity.load().not_after

    async def is_over() -> bool:
        return datetime.now(UTC) > ended

    await eventually("the end of the agent's identity", is_over)
    with Up(home, "--config", str(short_lives)) as up:
        async with up.party() as admin:
            await _has_what_is_changed_now(replace(resting, up=up), admin)


async def test_when_all_is_killed_at_once_the_next_up_takes_over_the_agent_that_was_left(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Up(home) as up:
        resting = await _at_rest(up)
        async with up.party() as admin:
            written = await _new_application(admin)
        agent = up.agent(resting.runtime_id)
        left = agent.pid
        up.kill_all()
        assert pids_of(home) == [left]
    with Up(home) as up:
        await _is_recovered(up, resting, written)
        assert agent.pid == left
        assert len([line for line in processes_of(home) if " agent " in line]) == 1
    assert processes_of(home) == []


@pytest.mark.parametrize("step", ["register", "ready"])
async def test_an_operation_is_ended_by_the_next_up_where_the_first_was_killed_in_the_midst_of_it(
    step: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with Up(home) as up:
        async with up.party() as admin:
            operation = await admin.provisioner.CreateRuntime(CreateRuntimeRequest(name="edge"))
            await eventually(f"the step {step}", lambda: _has_begun(admin, operation.name, step))
        up.kill("up")
    with Up(home) as up:
        async with up.party() as admin:
            runtime_id = await _done(admin, operation)
            request = GetRuntimeRequest(runtime_id=runtime_id)
            runtime = (await admin.director.GetRuntime(request)).runtime
            assert (runtime.name, runtime.state) == ("edge", RuntimeState.RUNTIME_STATE_READY)
    assert processes_of(home) == []


async def test_no_acknowledged_write_is_lost_and_no_revision_left_out_while_the_director_is_killed_three_times(
    tmp_path: Path,
) -> None:
    acknowledged: list[Application] = []
    with Up(tmp_path / "home") as up:
        async with up.party() as admin, _writing(admin, acknowledged, writers=4):
            for _ in range(3):
                await _more(acknowledged, 25)
                killed = up.kill("director")
                up.wait_for_pid("director", other_than=killed)
            await _more(acknowledged, 25)
        async with up.party() as admin:
            stored = {each.application_id: each for each in await _applications(admin)}
    assert [each for each in acknowledged if stored.get(each.application_id) != each] == []
    assert len(stored) == len(acknowledged)
    revisions = sorted(each.revision for each in acknowledged)
    assert revisions == list(range(1, len(acknowledged) + 1))


async def _at_rest(up: Up) -> Resting:
    async with up.party() as admin:
        application = await _new_application(admin)
        api = await _new_api(admin, application.application_id)
        group = await admin.director.CreateGroup(
            CreateGroupRequest(group=Group(name="shop"), application_ids=[application.application_id])
        )
        operation = await admin.provisioner.CreateRuntime(
            CreateRuntimeRequest(name="edge", group_ids=[group.group.group_id])
        )
        runtime_id = await _done(admin, operation)
        return Resting(up, application.application_id, api.api_id, runtime_id, operation.name)


async def _new_application(admin: Party) -> Application:
    application = Application(name=f"a-{uuid.uuid4()}")
    request = CreateApplicationRequest(application=application, request_id=str(uuid.uuid4()))
    return (await admin.call(lambda admin: admin.director.CreateApplication, request)).application


async def _new_api(admin: Party, application_id: str) -> Api:
    api = Api(application_id=application_id, name="orders", target_url=URL)
    return (await admin.director.CreateApi(CreateApiRequest(api=api))).api


async def _create_runtime(admin: Party, name: str, group_ids: list[str]) -> str:
    request = CreateRuntimeRequest(name=name, group_ids=group_ids, request_id=str(uuid.uuid4()))
    return await _done(admin, await admin.call(lambda admin: admin.provisioner.CreateRuntime, request))


async def _done(admin: Party, operation: Operation) -> str:
    """Wait for the good end of an operation that creates a Runtime; the Runtime's id."""
    request = WaitOperationRequest(name=operation.name, timeout=Duration(seconds=40))
    ended = await admin.call(lambda admin: admin.operations.WaitOperation, request, deadline=50, attempt_deadline=45)
    assert ended.HasField("response"), ended
    return _metadata(ended).runtime_id


async def _has_begun(admin: Party, name: str, step: str) -> bool:
    operation = await admin.operations.GetOperation(GetOperationRequest(name=name))
    return step in [each.name for each in _metadata(operation).steps]


def _metadata(operation: Operation) -> RuntimeOperationMetadata:
    metadata = RuntimeOperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


async def _provisioned(admin: Party, resting: Resting) -> list[object]:
    """What the Provisioner knows of the Runtime, and of the operation that made it."""
    return [
        await admin.call(
            lambda admin: admin.provisioner.GetRuntime, GetProvisionedRequest(runtime_id=resting.runtime_id)
        ),
        await admin.call(lambda admin: admin.operations.GetOperation, GetOperationRequest(name=resting.operation)),
    ]


async def _has_what_is_changed_now(resting: Resting, admin: Party) -> None:
    """Change the API, and wait until the agent runs exactly what the Director would send now."""
    api = Api(application_id=resting.application_id, api_id=resting.api_id, description=str(uuid.uuid4()))
    request = UpdateApiRequest(api=api, update_mask=FieldMask(paths=["description"]))
    revision = (await admin.call(lambda admin: admin.director.UpdateApi, request)).api.revision

    async def has_it() -> bool:
        status = resting.up.agent(resting.runtime_id).status
        return (
            status is not None
            and status.state == "APPLIED"
            and (status.revision or 0) >= revision
            and status.content_sha256 == await _content_sha256(admin, resting.runtime_id)
        )

    await eventually(f"revision {revision} at the agent", has_it, within=30)


async def _content_sha256(admin: Party, runtime_id: str) -> str:
    stream = admin.director.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id), timeout=10)
    try:
        return (await anext(aiter(stream))).content_sha256
    finally:
        stream.cancel()


async def _nothing_runs(home: Path) -> None:
    async def nothing() -> bool:
        return not pids_of(home)

    await eventually("the end of every process", nothing)


async def _is_recovered(up: Up, before: Resting, written: Application) -> None:
    """All that was there is there, and a change reaches the Runtime's agent."""
    resting = Resting(up, before.application_id, before.api_id, before.runtime_id, before.operation)
    async with up.party() as admin:
        request = GetApplicationRequest(application_id=written.application_id)
        assert (await admin.director.GetApplication(request)).application == written
        await _has_what_is_changed_now(resting, admin)


@asynccontextmanager
async def _writing(admin: Party, acknowledged: list[Application], *, writers: int) -> AsyncIterator[None]:
    """Write all the while inside the block; each write that was begun is acknowledged at its end."""
    ended = asyncio.Event()

    async def write() -> None:
        while not ended.is_set():
            acknowledged.append(await _new_application(admin))

    async with asyncio.TaskGroup() as writing:
        for _ in range(writers):
            writing.create_task(write())
        try:
            yield
        finally:
            ended.set()


async def _more(acknowledged: list[Application], count: int) -> None:
    """Wait for so many more writes."""
    enough = len(acknowledged) + count

    async def came() -> bool:
        return len(acknowledged) >= enough

    await eventually(f"{count} more writes", came)


async def _applications(admin: Party) -> list[Application]:
    applications: list[Application] = []
    token = ""
    while True:
        page = await admin.director.ListApplications(ListApplicationsRequest(page_size=100, page_token=token))
        applications += page.applications
        if not (token := page.next_page_token):
            return applications
