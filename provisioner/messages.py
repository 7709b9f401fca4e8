"""Rows as messages of the contract."""

import re

from google.longrunning.operations_pb2 import Operation
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import OperationStep, Runtime, RuntimeOperationMetadata

from mesh.errors import Refusal
from provisioner import store
from provisioner.plan import total_steps

_NAME = re.compile(r"operations/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")


def operation_name(operation_id: str) -> str:
    """The resource name of an operation."""
    return f"operations/{operation_id}"


def operation_id(name: str) -> str:
    """The id in a resource name; raises `Refusal` (FIELD_INVALID)."""
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise Refusal(Reason.REASON_FIELD_INVALID, "name must be operations/ and a UUID in lower case", field="name")
    return matched[1]


def operation_message(operation: store.Operation) -> Operation:
    """An operation as `google.longrunning` has it: its error or response is set once it is done."""
    metadata = AnyMessage()
    metadata.Pack(_metadata(operation))
    message = Operation(name=operation_name(operation.operation_id), metadata=metadata, done=operation.done)
    if operation.done and operation.error is not None:
        message.error.CopyFrom(Status.FromString(operation.error))
    elif operation.done and operation.response is not None:
        message.response.CopyFrom(AnyMessage.FromString(operation.response))
    return message


def runtime_message(runtime: store.Runtime) -> Runtime:
    """A runtime as the contract has it."""
    return Runtime(
        runtime_id=runtime.runtime_id or "",
        name=runtime.name,
        driver=runtime.driver,
        state=runtime.state,
        operation=operation_name(runtime.operation_id),
        create_time=_timestamp(runtime.create_time),
    )


def _metadata(operation: store.Operation) -> RuntimeOperationMetadata:
    return RuntimeOperationMetadata(
        runtime_id=operation.runtime_id or "",
        kind=operation.kind,
        steps=[
            OperationStep(name=each.name, start_time=_timestamp(each.start_time), end_time=_timestamp(each.end_time))
            for each in operation.steps
        ],
        create_time=_timestamp(operation.create_time),
        end_time=_timestamp(operation.end_time),
        total_steps=total_steps(operation),
    )


def _timestamp(micros: int | None) -> Timestamp | None:
    if micros is None:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)
