"""The Provisioner's tables and every statement on them: runtimes, and the operations that work on them.

Ids are UUIDs in canonical text. Times are whole microseconds since the Unix epoch, UTC. Nothing here is a secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moorage.provisioner.v1.runtime_pb2 import OperationKind, RuntimeState
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
    tuple_,
    update,
)

from mesh.database import announce

Transaction = Connection

OPERATIONS = "operations"
"""Announced when an operation moves on."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""All tables of the service. Constraints are named, so that a migration can change each of them."""

_ID = String(36)

operations = Table(
    "operations",
    metadata,
    Column("operation_id", _ID, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("runtime_key", _ID, nullable=False),
    Column("runtime_id", _ID),
    Column("request", LargeBinary, nullable=False),
    Column("caller", Text, nullable=False),
    Column("request_id", _ID),
    Column("create_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("error", LargeBinary),
    Column("response", LargeBinary),
    UniqueConstraint("caller", "kind", "request_id"),
    Index(None, "end_time"),
    Index(None, "create_time", "operation_id"),
)
"""Long-running operations (AIP-151). `request` is what was asked for, serialised. One without `end_time` has not ended;
with `error` (a `google.rpc.Status`) it has failed, or will have once what it did is undone."""

steps = Table(
    "steps",
    metadata,
    Column("operation_id", _ID, ForeignKey("operations.operation_id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(32), nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
)
"""The steps that operations have begun, in order."""

runtimes = Table(
    "runtimes",
    metadata,
    Column("runtime_key", _ID, primary_key=True),
    Column("runtime_id", _ID, unique=True),
    Column("name", String(63), nullable=False),
    Column("driver", String(63), nullable=False),
    Column("state", Integer, nullable=False),
    Column("operation_id", _ID, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Index(None, "name", "runtime_key"),
    Index(None, "state"),
)
"""Runtimes. `runtime_key` is the id of the operation that creates it: it has a `runtime_id` only once the Director has
given one. `operation_id` is the operation that worked on it last, whose record may be gone."""


@dataclass(frozen=True)
class Runtime:
    """A row of `runtimes`."""

    runtime_key: str
    runtime_id: str | None
    name: str
    driver: str
    state: RuntimeState.ValueType
    operation_id: str
    create_time: int


@dataclass(frozen=True)
class Step:
    """A row of `steps`, without the operation that it belongs to."""

    name: str
    start_time: int
    end_time: int | None


@dataclass(frozen=True)
class Operation:
    """A row of `operations`, with its steps in order."""

    operation_id: str
    kind: OperationKind.ValueType
    runtime_key: str
    runtime_id: str | None
    request: bytes
    caller: str
    request_id: str | None
    create_time: int
    end_time: int | None = None
    error: bytes | None = None
    response: bytes | None = None
    steps: tuple[Step, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.end_time is not None


def insert_operation(tx: Transaction, operation: Operation) -> None:
    """Keep a new operation, which has no steps yet."""
    values = {column.name: getattr(operation, column.name) for column in operations.columns}
    tx.execute(insert(operations).values(values))


def find_operation(tx: Transaction, operation_id: str) -> Operation | None:
    """The operation, or None."""
    return _first(
        _with_steps(tx, tx.execute(select(operations).where(operations.c.operation_id == operation_id)).all())
    )


def find_repeated(tx: Transaction, caller: str, kind: OperationKind.ValueType, request_id: str) -> Operation | None:
    """The operation that this caller's request with this id began, or None."""
    query = select(operations).where(
        operations.c.caller == caller, operations.c.kind == kind, operations.c.request_id == request_id
    )
    return _first(_with_steps(tx, tx.execute(query).all()))


def list_operations(tx: Transaction, after: tuple[int, str] | None, limit: int) -> Sequence[Operation]:
    """The first `limit` operations, newest first, that come after the one with this create time and id."""
    query = select(operations).order_by(operations.c.create_time.desc(), operations.c.operation_id.desc()).limit(limit)
    if after is not None:
        query = query.where(tuple_(operations.c.create_time, operations.c.operation_id) < after)
    return _with_steps(tx, tx.execute(query).all())


def unfinished(tx: Transaction) -> Sequence[tuple[str, OperationKind.ValueType]]:
    """Id and kind of each operation that has not ended, oldest first."""
    query = select(operations.c.operation_id, operations.c.kind).where(operations.c.end_time.is_(None))
    return [(row.operation_id, row.kind) for row in tx.execute(query.order_by(operations.c.create_time))]


def update_operation(tx: Transaction, operation_id: str, /, **values: Any) -> None:
    """Set columns of an operation."""
    tx.execute(update(operations).where(operations.c.operation_id == operation_id).values(values))
    announce(tx, OPERATIONS)


def delete_operation(tx: Transaction, operation_id: str) -> None:
    """Delete an operation and its steps."""
    tx.execute(delete(operations).where(operations.c.operation_id == operation_id))


def insert_step(tx: Transaction, operation_id: str, position: int, name: str, time: int) -> None:
    """Keep a step that begins at `time`."""
    values = {"operation_id": operation_id, "position": position, "name": name, "start_time": time}
    tx.execute(insert(steps).values(values))
    announce(tx, OPERATIONS)


def end_step(tx: Transaction, operation_id: str, name: str, time: int) -> None:
    """Note when a step was done."""
    ended = update(steps).where(steps.c.operation_id == operation_id, steps.c.name == name)
    tx.execute(ended.values(end_time=time))
    announce(tx, OPERATIONS)


def insert_runtime(tx: Transaction, runtime: Runtime) -> None:
    """Keep a new runtime."""
    values = {column.name: getattr(runtime, column.name) for column in runtimes.columns}
    tx.execute(insert(runtimes).values(values))


def find_runtime(tx: Transaction, runtime_id: str) -> Runtime | None:
    """The runtime with this id, or None."""
    row = tx.execute(select(runtimes).where(runtimes.c.runtime_id == runtime_id)).first()
    return Runtime(**row._mapping) if row else None


def get_runtime(tx: Transaction, runtime_key: str) -> Runtime:
    """The runtime with this key, which must be there."""
    row = tx.execute(select(runtimes).where(runtimes.c.runtime_key == runtime_key)).one()
    return Runtime(**row._mapping)


def find_unregistered(tx: Transaction, name: str, state: RuntimeState.ValueType) -> Runtime | None:
    """A runtime with this name and in this state that has no `runtime_id` yet, or None."""
    query = select(runtimes).where(runtimes.c.name == name, runtimes.c.state == state, runtimes.c.runtime_id.is_(None))
    row = tx.execute(query).first()
    return Runtime(**row._mapping) if row else None


def list_runtimes(tx: Transaction, after: tuple[str, str] | None, limit: int) -> Sequence[Runtime]:
    """The first `limit` runtimes, ordered by name and key, that come after the one with this name and key."""
    query = select(runtimes).order_by(runtimes.c.name, runtimes.c.runtime_key).limit(limit)
    if after is not None:
        query = query.where(tuple_(runtimes.c.name, runtimes.c.runtime_key) > after)
    return [Runtime(**row._mapping) for row in tx.execute(query)]


def registered(tx: Transaction, states: Sequence[RuntimeState.ValueType]) -> Sequence[tuple[Runtime, Sequence[Step]]]:
    """The runtimes in these states that have a `runtime_id`, each with the steps of the operation on it."""
    query = select(runtimes).where(runtimes.c.state.in_(states), runtimes.c.runtime_id.is_not(None))
    found = [Runtime(**row._mapping) for row in tx.execute(query)]
    by_operation = _steps_of(tx, [each.operation_id for each in found])
    return [(each, by_operation.get(each.operation_id, ())) for each in found]


def update_runtime(tx: Transaction, runtime_key: str, /, **values: Any) -> None:
    """Set columns of a runtime."""
    tx.execute(update(runtimes).where(runtimes.c.runtime_key == runtime_key).values(values))


def delete_runtime(tx: Transaction, runtime_key: str) -> None:
    """Delete a runtime."""
    tx.execute(delete(runtimes).where(runtimes.c.runtime_key == runtime_key))


def delete_runtime_in(tx: Transaction, runtime_key: str, state: RuntimeState.ValueType) -> None:
    """Delete a runtime if it is in this state."""
    tx.execute(delete(runtimes).where(runtimes.c.runtime_key == runtime_key, runtimes.c.state == state))


def delete_runtimes_named(tx: Transaction, name: str, state: RuntimeState.ValueType) -> None:
    """Delete the runtimes with this name that are in this state."""
    tx.execute(delete(runtimes).where(runtimes.c.name == name, runtimes.c.state == state))


def _with_steps(tx: Transaction, rows: Sequence[Row[Any]]) -> Sequence[Operation]:
    by_operation = _steps_of(tx, [row.operation_id for row in rows])
    return [Operation(**row._mapping, steps=tuple(by_operation.get(row.operation_id, ()))) for row in rows]


def _steps_of(tx: Transaction, operation_ids: Sequence[str]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    if operation_ids:
        query = select(steps).where(steps.c.operation_id.in_(operation_ids))
        for row in tx.execute(query.order_by(steps.c.operation_id, steps.c.position)):
            found.setdefault(row.operation_id, []).append(Step(row.name, row.start_time, row.end_time))
    return found


def _first(found: Sequence[Operation]) -> Operation | None:
    return found[0] if found else None
