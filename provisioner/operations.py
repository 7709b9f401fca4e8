"""Our own record of operations: how far each is, how it ended, and who waits for that.

It is kept apart from what DBOS remembers, so that an operation is there, whole, from the moment that it was asked for.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from google.longrunning.operations_pb2 import ListOperationsRequest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import (
    OPERATION_KIND_CREATE,
    RUNTIME_STATE_FAILED,
    RUNTIME_STATE_RUNNING,
)

from certs.clock import Clock
from mesh.database import Database
from mesh.errors import Refusal
from mesh.paging import Page, read_page
from provisioner import store
from provisioner.messages import operation_name, runtime_message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: datetime) -> int:
    """Whole microseconds since the epoch, as the tables keep times."""
    return (time - _EPOCH) // timedelta(microseconds=1)


class Operations:
    """The operations in `database`. The workflows note their progress here; callers read it and wait for the end."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: set[asyncio.Event] = set()
        self._stopping = False
        database.on_commit(store.OPERATIONS, self._wake)

    async def get(self, operation_id: str) -> store.Operation:
        """The operation as it is now; raises `Refusal` (OPERATION_NOT_FOUND)."""
        return await self._database.read(_get, operation_id)

    async def list(self, request: ListOperationsRequest) -> Page[store.Operation]:
        """The page of operations that is asked for, newest first; raises `Refusal` (PAGE_TOKEN_INVALID)."""
        return await self._database.read(_list, request)

    async def wait(self, operation_id: str, seconds: float) -> store.Operation:
        """The operation once it has ended, or as it is after `seconds`; raises `Refusal` (OPERATION_NOT_FOUND)."""
        moved = asyncio.Event()
        self._waiting.add(moved)
        try:
            operation = await self.get(operation_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not operation.done and not self._stopping:
                        await moved.wait()
                        moved.clear()
                        operation = await self.get(operation_id)
            return operation
        finally:
            self._waiting.discard(moved)

    def release(self) -> None:
        """Answer all who wait with how things stand, now and from now on: the service is about to stop."""
        self._stopping = True
        self._wake()

    async def delete(self, operation_id: str) -> None:
        """Delete the record of an operation that has ended, and the failed runtime that it left behind.

        Raises `Refusal`: OPERATION_NOT_FOUND, OPERATION_RUNNING.
        """
        await self._database.write(_delete, operation_id)

    async def begin(self, operation_id: str, step: str) -> tuple[store.Operation, store.Runtime]:
        """Note that a step begins, unless it began before; the operation as it was before the step, and its runtime."""
        return await self._database.write(_begin, operation_id, step, self._now())

    async def end_step(self, operation_id: str, step: str) -> None:
        """Note that a step is done."""
        await self._database.write(store.end_step, operation_id, step, self._now())

    async def registered(self, operation_id: str, runtime_id: str) -> None:
        """Note which runtime the Director has made for the operation."""
        await self._database.write(_registered, operation_id, runtime_id)

    async def fail(self, operation_id: str, error: Status) -> None:
        """Note why the operation fails; it has not ended yet."""
        await self._database.write(store.update_operation, operation_id, error=error.SerializeToString())

    async def finish(self, operation_id: str) -> None:
        """Note that the operation has ended: well, or with the error noted by `fail`."""
        await self._database.write(_finish, operation_id, self._now())

    def _wake(self) -> None:
        """Have all who wait look again: operations are few, and some operation moved on, here or elsewhere."""
        for moved in self._waiting:
            moved.set()

    def _now(self) -> int:
        return to_micros(self._clock())


def _get(tx: store.Transaction, operation_id: str) -> store.Operation:
    operation = store.find_operation(tx, operation_id)
    if operation is None:
        raise Refusal(Reason.REASON_OPERATION_NOT_FOUND, f"there is no {operation_name(operation_id)}", field="name")
    return operation


def _list(tx: store.Transaction, request: ListOperationsRequest) -> Page[store.Operation]:
    def read(after: tuple[int, str] | None, limit: int) -> Sequence[store.Operation]:
        return store.list_operations(tx, after, limit)

    return read_page(request, read, lambda each: (each.create_time, each.operation_id), types=(int, str))


def _delete(tx: store.Transaction, operation_id: str) -> None:
    operation = _get(tx, operation_id)
    if not operation.done:
        raise Refusal(Reason.REASON_OPERATION_RUNNING, f"{operation_name(operation_id)} has not ended")
    if operation.kind == OPERATION_KIND_CREATE and operation.error is not None:
        store.delete_runtime_in(tx, operation.runtime_key, RUNTIME_STATE_FAILED)
    store.delete_operation(tx, operation_id)


def _begin(tx: store.Transaction, operation_id: str, step: str, now: int) -> tuple[store.Operation, store.Runtime]:
    operation = _get(tx, operation_id)
    if all(each.name != step for each in operation.steps):
        store.insert_step(tx, operation_id, len(operation.steps), step, now)
    return operation, store.get_runtime(tx, operation.runtime_key)


def _registered(tx: store.Transaction, operation_id: str, runtime_id: str) -> None:
    operation = _get(tx, operation_id)
    store.update_operation(tx, operation_id, runtime_id=runtime_id)
    store.update_runtime(tx, operation.runtime_key, runtime_id=runtime_id)


def _finish(tx: store.Transaction, operation_id: str, now: int) -> None:
    operation = _get(tx, operation_id)
    if operation.done:
        return
    store.update_operation(tx, operation_id, end_time=now, response=_conclude(tx, operation))


def _conclude(tx: store.Transaction, operation: store.Operation) -> bytes | None:
    """Bring the runtime to the state that the operation leaves it in; the operation's response, where it ends well."""
    if operation.kind == OPERATION_KIND_CREATE:
        state = RUNTIME_STATE_RUNNING if operation.error is None else RUNTIME_STATE_FAILED
        store.update_runtime(tx, operation.runtime_key, state=state)
        return None if operation.error else _packed(runtime_message(store.get_runtime(tx, operation.runtime_key)))
    if operation.error is not None:
        return None
    store.delete_runtime(tx, operation.runtime_key)
    return _packed(Empty())


def _packed(message: Message) -> bytes:
    packed = AnyMessage()
    packed.Pack(message)
    return packed.SerializeToString()
