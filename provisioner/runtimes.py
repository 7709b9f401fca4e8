"""What is asked of the Provisioner: each request becomes one operation, kept together with its runtime in one write."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import (
    OPERATION_KIND_CREATE,
    OPERATION_KIND_DELETE,
    RUNTIME_STATE_DELETING,
    RUNTIME_STATE_FAILED,
    RUNTIME_STATE_PROVISIONING,
    RUNTIME_STATE_RUNNING,
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    ListRuntimesRequest,
    OperationKind,
)

from certs.clock import Clock
from mesh.database import Database
from mesh.errors import Refusal
from mesh.paging import Page, read_page
from provisioner import plan, store
from provisioner.messages import operation_name
from provisioner.operations import to_micros
from provisioner.plane import Plane

DEFAULT_DRIVER = "process"


@dataclass(frozen=True)
class Runtimes:
    """The runtimes in `database`. `asked` is called when there is a new operation to carry out."""

    database: Database
    plane: Plane
    drivers: Collection[str]
    clock: Clock
    new_id: Callable[[], str]
    asked: Callable[[], None]

    async def create(self, request: CreateRuntimeRequest, caller: str) -> store.Operation:
        """Begin to create a Runtime.

        Raises `Refusal`: DRIVER_UNKNOWN, REQUEST_ID_REUSED, DEPENDENCY_UNAVAILABLE, and as the Director does.
        """
        driver = request.driver or DEFAULT_DRIVER
        if driver not in self.drivers:
            known = ", ".join(sorted(self.drivers))
            raise Refusal(
                Reason.REASON_DRIVER_UNKNOWN,
                f"there is no driver {driver}; there is {known}",
                field="driver",
                metadata={"drivers": known},
            )
        operation = self._new_operation(OPERATION_KIND_CREATE, request, caller)
        repeated = await self.database.read(_repeated, operation)
        if repeated is not None:
            return repeated
        await self.plane.check(request)
        runtime = store.Runtime(
            runtime_key=operation.operation_id,
            runtime_id=None,
            name=request.name,
            driver=driver,
            state=RUNTIME_STATE_PROVISIONING,
            operation_id=operation.operation_id,
            create_time=operation.create_time,
        )
        kept = await self.database.write(_create, operation, runtime)
        self.asked()
        return kept

    async def delete(self, request: DeleteRuntimeRequest, caller: str) -> store.Operation:
        """Begin to delete a Runtime. Raises `Refusal`: RUNTIME_NOT_FOUND, RUNTIME_BUSY, REQUEST_ID_REUSED."""
        operation = self._new_operation(OPERATION_KIND_DELETE, request, caller)
        kept = await self.database.write(_delete, operation, request.runtime_id)
        self.asked()
        return kept

    async def get(self, runtime_id: str) -> store.Runtime:
        """The runtime; raises `Refusal` (RUNTIME_NOT_FOUND)."""
        return await self.database.read(_get, runtime_id)

    async def list(self, request: ListRuntimesRequest) -> Page[store.Runtime]:
        """The page of runtimes that is asked for, ordered by name."""
        return await self.database.read(_list, request)

    def _new_operation(
        self, kind: OperationKind.ValueType, request: CreateRuntimeRequest | DeleteRuntimeRequest, caller: str
    ) -> store.Operation:
        operation_id = self.new_id()
        return store.Operation(
            operation_id=operation_id,
            kind=kind,
            runtime_key=operation_id,
            runtime_id=None,
            request=request.SerializeToString(deterministic=True),
            caller=caller,
            request_id=request.request_id or None,
            create_time=to_micros(self.clock()),
        )


def ought_to_run(tx: store.Transaction) -> Mapping[str, Sequence[str]]:
    """Ids of the runtimes whose workload ought to run, by driver."""
    ought: dict[str, list[str]] = {}
    for runtime, steps in store.registered(tx, (RUNTIME_STATE_PROVISIONING, RUNTIME_STATE_RUNNING)):
        if runtime.runtime_id and (runtime.state == RUNTIME_STATE_RUNNING or plan.was_started(steps)):
            ought.setdefault(runtime.driver, []).append(runtime.runtime_id)
    return ought


def _create(tx: store.Transaction, operation: store.Operation, runtime: store.Runtime) -> store.Operation:
    repeated = _repeated(tx, operation)
    if repeated is not None:
        return repeated
    # The Director does not know yet of one that is only about to be registered.
    other = store.find_unregistered(tx, runtime.name, RUNTIME_STATE_PROVISIONING)
    if other is not None:
        raise Refusal(
            Reason.REASON_NAME_TAKEN,
            f"{operation_name(other.operation_id)} is creating a runtime with the name {runtime.name}",
            field="name",
        )
    # What failed was undone and holds nothing any more: its name is free.
    store.delete_runtimes_named(tx, runtime.name, RUNTIME_STATE_FAILED)
    store.insert_operation(tx, operation)
    store.insert_runtime(tx, runtime)
    return operation


def _delete(tx: store.Transaction, operation: store.Operation, runtime_id: str) -> store.Operation:
    repeated = _repeated(tx, operation)
    if repeated is not None:
        return repeated
    runtime = _get(tx, runtime_id)
    last = store.find_operation(tx, runtime.operation_id)
    if last is not None and not last.done:
        name = operation_name(last.operation_id)
        raise Refusal(
            Reason.REASON_RUNTIME_BUSY,
            f"{name} on runtime {runtime_id} has not ended",
            metadata={"operation": name},
        )
    begun = replace(operation, runtime_key=runtime.runtime_key, runtime_id=runtime_id)
    store.insert_operation(tx, begun)
    store.update_runtime(tx, runtime.runtime_key, state=RUNTIME_STATE_DELETING, operation_id=begun.operation_id)
    return begun


def _repeated(tx: store.Transaction, operation: store.Operation) -> store.Operation | None:
    """The operation that the same request began before (AIP-155)."""
    if operation.request_id is None:
        return None
    earlier = store.find_repeated(tx, operation.caller, operation.kind, operation.request_id)
    if earlier is not None and earlier.request != operation.request:
        message = f"request id {operation.request_id} came with another request before"
        raise Refusal(Reason.REASON_REQUEST_ID_REUSED, message, field="request_id")
    return earlier


def _get(tx: store.Transaction, runtime_id: str) -> store.Runtime:
    runtime = store.find_runtime(tx, runtime_id)
    if runtime is None:
        raise Refusal(
            Reason.REASON_RUNTIME_NOT_FOUND, f"no runtime {runtime_id} was provisioned here", field="runtime_id"
        )
    return runtime


def _list(tx: store.Transaction, request: ListRuntimesRequest) -> Page[store.Runtime]:
    def read(after: tuple[str, ...] | None, limit: int) -> Sequence[store.Runtime]:
        return store.list_runtimes(tx, (after[0], after[1]) if after else None, limit)

    return read_page(request, read, lambda runtime: (runtime.name, runtime.runtime_key), types=(str, str))
