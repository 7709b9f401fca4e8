"""The Provisioner's gRPC shape: message in, one call, message out."""

from dataclasses import dataclass
from typing import Any

import grpc
from google.longrunning.operations_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    ListOperationsResponse,
    Operation,
    WaitOperationRequest,
)
from google.longrunning.operations_pb2_grpc import OperationsServicer
from google.protobuf.empty_pb2 import Empty
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.provisioner_pb2_grpc import ProvisionerServicer
from moorage.provisioner.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    GetRuntimeRequest,
    GetRuntimeResponse,
    ListRuntimesRequest,
    ListRuntimesResponse,
)

from mesh.call import current_caller
from mesh.errors import Refusal
from provisioner.messages import operation_id, operation_message, runtime_message
from provisioner.operations import Operations
from provisioner.runtimes import Runtimes

LONGEST_WAIT = 60.0
"""Seconds that WaitOperation takes at most, whatever was asked for; the caller then asks again."""

MAX_PAGE_SIZE = 1000

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class ProvisionerService(ProvisionerServicer):
    """Serves `moorage.provisioner.v1.Provisioner`."""

    runtimes: Runtimes

    async def CreateRuntime(self, request: CreateRuntimeRequest, context: Context) -> Operation:
        """Begin to create a Runtime; see `Runtimes.create`."""
        return operation_message(await self.runtimes.create(request, str(current_caller().spiffe_id)))

    async def DeleteRuntime(self, request: DeleteRuntimeRequest, context: Context) -> Operation:
        """Begin to delete a Runtime; see `Runtimes.delete`."""
        return operation_message(await self.runtimes.delete(request, str(current_caller().spiffe_id)))

    async def GetRuntime(self, request: GetRuntimeRequest, context: Context) -> GetRuntimeResponse:
        """Read one Runtime."""
        return GetRuntimeResponse(runtime=runtime_message(await self.runtimes.get(request.runtime_id)))

    async def ListRuntimes(self, request: ListRuntimesRequest, context: Context) -> ListRuntimesResponse:
        """Read a page of Runtimes."""
        rows, next_page_token = await self.runtimes.list(request)
        return ListRuntimesResponse(runtimes=map(runtime_message, rows), next_page_token=next_page_token)


@dataclass(frozen=True)
class OperationsService(OperationsServicer):
    """Serves `google.longrunning.Operations` (AIP-151). Its requests carry no rules, so they are checked here."""

    operations: Operations

    async def GetOperation(self, request: GetOperationRequest, context: Context) -> Operation:
        """Read one operation."""
        return operation_message(await self.operations.get(operation_id(request.name)))

    async def ListOperations(self, request: ListOperationsRequest, context: Context) -> ListOperationsResponse:
        """Read a page of operations, newest first."""
        if request.name not in {"", "operations"}:
            raise _invalid("name", "name must be empty or `operations`: all operations are in one list")
        if request.filter:
            raise _invalid("filter", "operations cannot be filtered")
        if not 0 <= request.page_size <= MAX_PAGE_SIZE:
            raise _invalid("page_size", f"page_size must be from 0 to {MAX_PAGE_SIZE}")
        rows, next_page_token = await self.operations.list(request)
        return ListOperationsResponse(operations=map(operation_message, rows), next_page_token=next_page_token)

    async def WaitOperation(self, request: WaitOperationRequest, context: Context) -> Operation:
        """Answer once the operation has ended, or as it is when the timeout is over."""
        timeout = request.timeout
        seconds = timeout.seconds + timeout.nanos / 1e9 if request.HasField("timeout") else LONGEST_WAIT
        if seconds < 0:
            raise _invalid("timeout", "timeout must not be negative")
        return operation_message(await self.operations.wait(operation_id(request.name), min(seconds, LONGEST_WAIT)))

    async def DeleteOperation(self, request: DeleteOperationRequest, context: Context) -> Empty:
        """Delete the record of an operation that has ended."""
        await self.operations.delete(operation_id(request.name))
        return Empty()

    async def CancelOperation(self, request: CancelOperationRequest, context: Context) -> Empty:
        """Refuse: what has begun goes on to its end, or is undone."""
        operation = await self.operations.get(operation_id(request.name))
        raise Refusal(
            Reason.REASON_OPERATION_NOT_CANCELLABLE, f"operations/{operation.operation_id} cannot be cancelled"
        )


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(Reason.REASON_FIELD_INVALID, message, field=field)
