"""What is asked of the Provisioner: refused at once with a reason, or taken in whole and answered at once."""

import uuid

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import (
    OPERATION_KIND_CREATE,
    RUNTIME_STATE_DELETING,
    RUNTIME_STATE_PROVISIONING,
    RUNTIME_STATE_RUNNING,
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    ListRuntimesRequest,
)

from mesh.errors import Refusal, Violation
from provisioner import store
from provisioner.runtimes import ought_to_run
from tests.unit.provisioner.conftest import ADMIN, Provisioner
from tests.unit.provisioner.doubles import away

EDGE = CreateRuntimeRequest(name="edge-1")
REQUEST_ID = "0b7a3b0e-5b0e-4c0e-9d0e-2f6d3c1a9e11"


async def running(provisioner: Provisioner, name: str = "edge-1") -> str:
    """The id of a runtime whose creation has ended; nothing else is done for it."""
    operation = await provisioner.runtimes.create(CreateRuntimeRequest(name=name), ADMIN)
    runtime_id = str(uuid.uuid4())
    await provisioner.operations.registered(operation.operation_id, runtime_id)
    await provisioner.operations.finish(operation.operation_id)
    return runtime_id


async def names(provisioner: Provisioner, request: ListRuntimesRequest) -> tuple[list[str], str]:
    rows, token = await provisioner.runtimes.list(request)
    return [each.name for each in rows], token


async def test_a_creation_is_answered_before_anything_is_done(provisioner: Provisioner) -> None:
    operation = await provisioner.runtimes.create(EDGE, ADMIN)
    assert (operation.done, operation.kind, operation.steps) == (False, OPERATION_KIND_CREATE, ())
    assert provisioner.plane.runtimes == []
    [runtime] = (await provisioner.runtimes.list(ListRuntimesRequest())).rows
    assert (runtime.name, runtime.state, runtime.runtime_id) == ("edge-1", RUNTIME_STATE_PROVISIONING, None)


async def test_an_unknown_driver_is_refused_with_those_that_there_are(provisioner: Provisioner) -> None:
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.create(CreateRuntimeRequest(name="edge-1", driver="warp"), ADMIN)
    assert refused.value.name == "DRIVER_UNKNOWN"
    assert refused.value.metadata == {"drivers": "process"}
    assert refused.value.violations[0].field == "driver"


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(Reason.REASON_NAME_TAKEN, "taken", field="name"),
        Refusal(Reason.REASON_GROUP_NOT_FOUND, "no such group", violations=[Violation("group_ids[0]", "unknown")]),
        away("director"),
    ],
    ids=lambda refusal: refusal.name,
)
async def test_what_the_director_would_refuse_is_refused_at_once(provisioner: Provisioner, refusal: Refusal) -> None:
    provisioner.plane.refusals = {"check": [refusal]}
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.create(EDGE, ADMIN)
    assert refused.value is refusal
    assert await names(provisioner, ListRuntimesRequest()) == ([], "")


async def test_two_runtimes_of_one_name_are_not_created_at_once(provisioner: Provisioner) -> None:
    await provisioner.runtimes.create(EDGE, ADMIN)
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.create(EDGE, ADMIN)
    assert (refused.value.name, refused.value.violations[0].field) == ("NAME_TAKEN", "name")


async def test_a_repeated_creation_is_the_same_operation(provisioner: Provisioner) -> None:
    first = await provisioner.runtimes.create(CreateRuntimeRequest(name="edge-1", request_id=REQUEST_ID), ADMIN)
    again = await provisioner.runtimes.create(CreateRuntimeRequest(name="edge-1", request_id=REQUEST_ID), ADMIN)
    assert again.operation_id == first.operation_id


async def test_a_repeated_creation_does_not_need_the_director(provisioner: Provisioner) -> None:
    request = CreateRuntimeRequest(name="edge-1", request_id=REQUEST_ID)
    first = await provisioner.runtimes.create(request, ADMIN)
    provisioner.plane.refusals = {"check": [away("director")]}
    assert (await provisioner.runtimes.create(request, ADMIN)).operation_id == first.operation_id


async def test_a_request_id_with_another_request_is_refused(provisioner: Provisioner) -> None:
    await provisioner.runtimes.create(CreateRuntimeRequest(name="edge-1", request_id=REQUEST_ID), ADMIN)
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.create(CreateRuntimeRequest(name="edge-2", request_id=REQUEST_ID), ADMIN)
    assert (refused.value.name, refused.value.violations[0].field) == ("REQUEST_ID_REUSED", "request_id")


async def test_request_ids_of_two_callers_have_nothing_to_do_with_each_other(provisioner: Provisioner) -> None:
    first = await provisioner.runtimes.create(CreateRuntimeRequest(name="edge-1", request_id=REQUEST_ID), ADMIN)
    other = await provisioner.runtimes.create(
        CreateRuntimeRequest(name="edge-2", request_id=REQUEST_ID), "spiffe://plane.test/admin/bob"
    )
    assert other.operation_id != first.operation_id


async def test_a_deletion_is_answered_before_anything_is_done(provisioner: Provisioner) -> None:
    runtime_id = await running(provisioner)
    operation = await provisioner.runtimes.delete(DeleteRuntimeRequest(runtime_id=runtime_id), ADMIN)
    assert (operation.done, operation.runtime_id) == (False, runtime_id)
    assert (await provisioner.runtimes.get(runtime_id)).state == RUNTIME_STATE_DELETING


async def test_a_repeated_deletion_is_the_same_operation_even_when_the_runtime_is_gone(
    provisioner: Provisioner,
) -> None:
    request = DeleteRuntimeRequest(runtime_id=await running(provisioner), request_id=REQUEST_ID)
    first = await provisioner.runtimes.delete(request, ADMIN)
    await provisioner.operations.finish(first.operation_id)
    assert (await provisioner.runtimes.delete(request, ADMIN)).operation_id == first.operation_id


async def test_a_runtime_that_is_worked_on_is_busy(provisioner: Provisioner) -> None:
    runtime_id = await running(provisioner)
    operation = await provisioner.runtimes.delete(DeleteRuntimeRequest(runtime_id=runtime_id), ADMIN)
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.delete(DeleteRuntimeRequest(runtime_id=runtime_id), ADMIN)
    assert refused.value.name == "RUNTIME_BUSY"
    assert refused.value.metadata == {"operation": f"operations/{operation.operation_id}"}


async def test_an_unknown_runtime_is_not_found(provisioner: Provisioner) -> None:
    unknown = str(uuid.uuid4())
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.get(unknown)
    assert (refused.value.name, refused.value.violations[0].field) == ("RUNTIME_NOT_FOUND", "runtime_id")


async def test_an_unknown_runtime_cannot_be_deleted(provisioner: Provisioner) -> None:
    request = DeleteRuntimeRequest(runtime_id=str(uuid.uuid4()))
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.delete(request, ADMIN)
    assert (refused.value.name, refused.value.violations[0].field) == ("RUNTIME_NOT_FOUND", "runtime_id")


async def test_runtimes_are_listed_by_name_a_page_at_a_time(provisioner: Provisioner) -> None:
    for name in ("edge-3", "edge-1", "edge-2"):
        await running(provisioner, name)
    first, token = await names(provisioner, ListRuntimesRequest(page_size=2))
    rest, end = await names(provisioner, ListRuntimesRequest(page_size=2, page_token=token))
    assert (first, rest, end) == (["edge-1", "edge-2"], ["edge-3"], "")


async def test_a_page_token_that_was_not_given_is_refused(provisioner: Provisioner) -> None:
    with pytest.raises(Refusal) as refused:
        await provisioner.runtimes.list(ListRuntimesRequest(page_token="made-up"))
    assert refused.value.name == "PAGE_TOKEN_INVALID"


async def test_what_ought_to_run_is_what_runs_or_was_started_and_is_not_on_its_way_down(
    provisioner: Provisioner,
) -> None:
    up = await running(provisioner, "up")
    down = await running(provisioner, "down")
    await provisioner.runtimes.delete(DeleteRuntimeRequest(runtime_id=down), ADMIN)
    begun = {}
    for name, steps in {
        "registered": ["register"],
        "prepared": ["register", "prepare"],
        "starting": ["register", "prepare", "start"],
        "reporting": ["register", "prepare", "start", "ready"],
        "undone": ["register", "prepare", "start", "remove"],
    }.items():
        operation = await provisioner.runtimes.create(CreateRuntimeRequest(name=name), ADMIN)
        begun[name] = str(uuid.uuid4())
        await provisioner.operations.registered(operation.operation_id, begun[name])
        for step in steps:
            await provisioner.operations.begin(operation.operation_id, step)
    ought = await provisioner.database.read(ought_to_run)
    assert {key: set(value) for key, value in ought.items()} == {"process": {up, begun["starting"], begun["reporting"]}}
    assert (await provisioner.runtimes.get(up)).state == RUNTIME_STATE_RUNNING
    assert len(await provisioner.database.read(store.unfinished)) == 6
