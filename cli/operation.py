"""`moorage operation`: what the Provisioner works on, and what became of it (AIP-151)."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cli.connection import Connection
from cli.options import Span, connected
from cli.output import as_dict, enum_name, tell
from cli.search import page_size_option
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    from google.longrunning.operations_pb2 import Operation
    from moorage.provisioner.v1.runtime_pb2 import RuntimeOperationMetadata

TITLES = ("NAME", "KIND", "STATE", "STEP", "RUNTIME_ID", "CREATED")

LONGEST_ASK = 1.0
"""Seconds that one WaitOperation lasts, so that steps show while they are under way."""
PAUSE = 0.05
"""Seconds between two, since a service that stops answers all at once."""


@click.group()
def operation() -> None:
    """Operations: what the Provisioner works on, and what became of it."""


_OPERATION = click.argument("operation")
wait_timeout_option = click.option(
    "--wait-timeout", type=Span(), default="5m", show_default=True, help="How long to wait for the end."
)


@operation.command()
@_OPERATION
@connected
async def get(plane: Connection, operation: str) -> None:
    """Show one operation, named as `operations/UUID` or by the UUID alone."""
    from google.longrunning.operations_pb2 import GetOperationRequest

    request = GetOperationRequest(name=_name(operation))
    show(plane, await plane.operations.call(plane.operations.stub.GetOperation, request))


@operation.command("list")
@page_size_option
@connected
async def list_(plane: Connection, page_size: int | None) -> None:
    """Show every operation that is on record."""
    from google.longrunning.operations_pb2 import ListOperationsRequest

    request = ListOperationsRequest(name="operations", page_size=page_size or 0)
    pages = plane.operations.pages(plane.operations.stub.ListOperations, request)
    found = [each async for page in pages for each in page.operations]
    if plane.output.is_structured:
        plane.output.data({"operations": [_as_dict(each) for each in found]})
    else:
        plane.output.table(TITLES, map(_row, found))


@operation.command()
@_OPERATION
@wait_timeout_option
@connected
async def wait(plane: Connection, operation: str, wait_timeout: timedelta) -> None:
    """Wait until an operation has ended, and show it. Fails as the operation did."""
    show(plane, await ended(plane, _name(operation), wait_timeout))


def show(plane: Connection, operation: "Operation") -> None:
    """Print an operation."""
    if plane.output.is_structured:
        plane.output.data(_as_dict(operation))
    else:
        plane.output.table(TITLES, [_row(operation)])


async def ended(plane: Connection, name: str, within: timedelta) -> "Operation":
    """The operation once it has ended well; tells of its steps meanwhile.

    Raises `grpc.aio.AioRpcError` as the operation failed, and `Stopped` (DEADLINE) where it has not ended in time.
    """
    from google.longrunning.operations_pb2 import WaitOperationRequest

    clock = asyncio.get_running_loop().time
    deadline = clock() + within.total_seconds()
    told = 0
    while (left := deadline - clock()) > 0:
        request = WaitOperationRequest(name=name)
        request.timeout.FromTimedelta(timedelta(seconds=min(LONGEST_ASK, plane.timeout / 2, left)))
        operation: Operation = await plane.operations.call(plane.operations.stub.WaitOperation, request)
        metadata = _metadata(operation)
        for position, step in list(enumerate(metadata.steps, 1))[told:]:
            tell(f"{name}: step {position} of {metadata.total_steps}: {step.name}")
        told = len(metadata.steps)
        if operation.done:
            _raise_failure(operation)
            return operation
        await asyncio.sleep(PAUSE)
    raise Stopped(
        Exit.DEADLINE,
        f"{name} goes on after {within.total_seconds():g} s: wait further with `moorage operation wait {name}`",
    )


def _name(reference: str) -> str:
    return reference if reference.startswith("operations/") else f"operations/{reference}"


def _metadata(operation: "Operation") -> "RuntimeOperationMetadata":
    from moorage.provisioner.v1.runtime_pb2 import RuntimeOperationMetadata

    metadata = RuntimeOperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def _raise_failure(operation: "Operation") -> None:
    # A failed operation is told like the failed call that it stands for: both are a google.rpc.Status.
    if not operation.HasField("error"):
        return
    import grpc
    from google.rpc.status_pb2 import Status

    from mesh.errors import Problem

    status = Status.FromString(operation.error.SerializeToString())
    details = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    raise grpc.aio.AioRpcError(Problem.from_status(status).code, grpc.aio.Metadata(), details, details=status.message)


def _row(operation: "Operation") -> tuple[str, ...]:
    from moorage.provisioner.v1.runtime_pb2 import OperationKind

    metadata = _metadata(operation)
    kind = enum_name(metadata.kind, OperationKind.DESCRIPTOR)
    state = "FAILED" if operation.HasField("error") else "DONE" if operation.done else "RUNNING"
    step = f"{len(metadata.steps)}/{metadata.total_steps} {metadata.steps[-1].name}" if metadata.steps else ""
    return operation.name, kind, state, step, metadata.runtime_id, metadata.create_time.ToJsonString()


def _as_dict(operation: "Operation") -> dict[str, object]:
    # What is packed in an operation can only be written as JSON once its types are known.
    from google.protobuf import empty_pb2  # noqa: F401
    from google.rpc import error_details_pb2  # noqa: F401
    from moorage.provisioner.v1 import runtime_pb2  # noqa: F401

    return as_dict(operation)
