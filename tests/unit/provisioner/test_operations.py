"""Operations by AIP-151: read, listed, waited for, deleted once they have ended, and never cancelled."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.longrunning.operations_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    Operation,
    WaitOperationRequest,
)
from google.protobuf.duration_pb2 import Duration
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, ListRuntimesRequest

from mesh.errors import Refusal
from mesh.paging import PageToken
from provisioner import store
from provisioner.messages import operation_name
from provisioner.service import OperationsService
from tests.unit.provisioner.conftest import ADMIN, Provisioner

CONTEXT: Any = None
"""The service makes no use of it."""

DEADLINE = 10.0


@pytest.fixture
def service(provisioner: Provisioner) -> OperationsService:
    return OperationsService(provisioner.operations)


async def asked(provisioner: Provisioner, name: str = "edge-1") -> store.Operation:
    return await provisioner.runtimes.create(CreateRuntimeRequest(name=name), ADMIN)


async def failed(provisioner: Provisioner) -> store.Operation:
    operation = await asked(provisioner)
    status = Refusal(Reason.REASON_DRIVER_FAILED, "the disk is full").to_status()
    await provisioner.operations.fail(operation.operation_id, status)
    await provisioner.operations.finish(operation.operation_id)
    return operation


def calls_on(service: OperationsService, name: str) -> Sequence[Callable[[], Awaitable[object]]]:
    """Every call that names an operation."""
    return (
        lambda: service.GetOperation(GetOperationRequest(name=name), CONTEXT),
        lambda: service.WaitOperation(WaitOperationRequest(name=name), CONTEXT),
        lambda: service.DeleteOperation(DeleteOperationRequest(name=name), CONTEXT),
        lambda: service.CancelOperation(CancelOperationRequest(name=name), CONTEXT),
    )


def wait_request(operation: store.Operation, timeout: timedelta | None = None) -> WaitOperationRequest:
    request = WaitOperationRequest(name=operation_name(operation.operation_id))
    if timeout is not None:
        request.timeout.FromTimedelta(timeout)
    return request


async def test_an_operation_that_was_asked_for_can_be_read(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    name = operation_name(operation.operation_id)
    message = await service.GetOperation(GetOperationRequest(name=name), CONTEXT)
    assert (message.name, message.done, message.WhichOneof("result")) == (name, False, None)


async def test_an_operation_that_failed_has_its_error_once_it_has_ended(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    request = GetOperationRequest(name=operation_name(operation.operation_id))
    status = Refusal(Reason.REASON_DRIVER_FAILED, "the disk is full").to_status()
    await provisioner.operations.fail(operation.operation_id, status)
    assert (await service.GetOperation(request, CONTEXT)).WhichOneof("result") is None
    await provisioner.operations.finish(operation.operation_id)
    assert (await service.GetOperation(request, CONTEXT)).error == status


@pytest.mark.parametrize(
    "name",
    ["", "operations/", "operations/1", "runtimes/x", "operations/f8e37fa1-8fc3-40ed-8a53-9627dd3b8675/steps"],
)
async def test_a_name_that_is_none_of_an_operation_is_refused(service: OperationsService, name: str) -> None:
    for call in calls_on(service, name):
        with pytest.raises(Refusal) as refused:
            await call()
        assert (refused.value.name, refused.value.violations[0].field) == ("FIELD_INVALID", "name")


async def test_an_unknown_operation_is_not_found(service: OperationsService) -> None:
    name = f"operations/{uuid.uuid4()}"
    for call in calls_on(service, name):
        with pytest.raises(Refusal) as refused:
            await call()
        assert refused.value.name == "OPERATION_NOT_FOUND"


async def test_operations_are_listed_newest_first_a_page_at_a_time(
    provisioner: Provisioner, service: OperationsService
) -> None:
    names = [operation_name((await asked(provisioner, f"edge-{n}")).operation_id) for n in range(3)]
    first = await service.ListOperations(ListOperationsRequest(page_size=2), CONTEXT)
    rest = await service.ListOperations(ListOperationsRequest(page_size=2, page_token=first.next_page_token), CONTEXT)
    assert [each.name for each in (*first.operations, *rest.operations)] == names[::-1]
    assert rest.next_page_token == ""


async def test_a_page_token_around_what_is_no_time_is_refused(service: OperationsService) -> None:
    token = PageToken.encode(("yesterday", "x"), ListOperationsRequest())
    with pytest.raises(Refusal) as refused:
        await service.ListOperations(ListOperationsRequest(page_token=token), CONTEXT)
    assert refused.value.name == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ListOperationsRequest(filter="done"), "filter"),
        (ListOperationsRequest(page_size=-1), "page_size"),
        (ListOperationsRequest(page_size=1001), "page_size"),
        (ListOperationsRequest(name="runtimes"), "name"),
    ],
)
async def test_what_a_list_cannot_do_is_refused(
    service: OperationsService, request_: ListOperationsRequest, field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await service.ListOperations(request_, CONTEXT)
    assert (refused.value.name, refused.value.violations[0].field) == ("FIELD_INVALID", field)


async def test_waiting_for_what_has_ended_answers_at_once(provisioner: Provisioner, service: OperationsService) -> None:
    operation = await failed(provisioner)
    async with asyncio.timeout(DEADLINE):
        assert (await service.WaitOperation(wait_request(operation), CONTEXT)).done


async def test_whoever_waits_is_answered_the_moment_that_the_operation_ends(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    waiting = [asyncio.create_task(service.WaitOperation(wait_request(operation), CONTEXT)) for _ in range(3)]
    await provisioner.operations.get(operation.operation_id)
    await provisioner.operations.finish(operation.operation_id)
    async with asyncio.timeout(DEADLINE):
        answers: list[Operation] = await asyncio.gather(*waiting)
    assert [each.done for each in answers] == [True, True, True]


async def test_waiting_ends_with_its_timeout_and_tells_how_things_stand(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    async with asyncio.timeout(DEADLINE):
        message = await service.WaitOperation(wait_request(operation, timedelta(milliseconds=20)), CONTEXT)
    assert not message.done


@pytest.mark.parametrize("timeout", [Duration(seconds=-1), Duration(nanos=-1)])
async def test_a_negative_timeout_is_refused(
    provisioner: Provisioner, service: OperationsService, timeout: Duration
) -> None:
    operation = await asked(provisioner)
    request = WaitOperationRequest(name=operation_name(operation.operation_id), timeout=timeout)
    with pytest.raises(Refusal) as refused:
        await service.WaitOperation(request, CONTEXT)
    assert (refused.value.name, refused.value.violations[0].field) == ("FIELD_INVALID", "timeout")


async def test_a_service_that_stops_answers_those_who_wait(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    waiting = asyncio.create_task(service.WaitOperation(wait_request(operation), CONTEXT))
    await provisioner.operations.get(operation.operation_id)
    provisioner.operations.release()
    async with asyncio.timeout(DEADLINE):
        assert not (await waiting).done


async def test_a_record_can_be_deleted_once_its_operation_has_ended(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await failed(provisioner)
    await service.DeleteOperation(DeleteOperationRequest(name=operation_name(operation.operation_id)), CONTEXT)
    assert not (await service.ListOperations(ListOperationsRequest(), CONTEXT)).operations


async def test_a_failed_runtime_goes_with_the_record_of_its_operation(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await failed(provisioner)
    await service.DeleteOperation(DeleteOperationRequest(name=operation_name(operation.operation_id)), CONTEXT)
    assert not (await provisioner.runtimes.list(ListRuntimesRequest())).rows


async def test_a_runtime_that_runs_outlives_the_record_of_its_operation(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    await provisioner.operations.finish(operation.operation_id)
    await service.DeleteOperation(DeleteOperationRequest(name=operation_name(operation.operation_id)), CONTEXT)
    assert len((await provisioner.runtimes.list(ListRuntimesRequest())).rows) == 1


async def test_the_record_of_an_operation_that_runs_is_kept(
    provisioner: Provisioner, service: OperationsService
) -> None:
    operation = await asked(provisioner)
    with pytest.raises(Refusal) as refused:
        await service.DeleteOperation(DeleteOperationRequest(name=operation_name(operation.operation_id)), CONTEXT)
    assert refused.value.name == "OPERATION_RUNNING"


async def test_no_operation_can_be_cancelled(provisioner: Provisioner, service: OperationsService) -> None:
    operation = await asked(provisioner)
    with pytest.raises(Refusal) as refused:
        await service.CancelOperation(CancelOperationRequest(name=operation_name(operation.operation_id)), CONTEXT)
    assert refused.value.name == "OPERATION_NOT_CANCELLABLE"
