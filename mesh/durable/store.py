"""The executors that share a database of DBOS, one row each. Time is the database server's, so clocks may differ.

It is a table of PostgreSQL alone: on SQLite there is one executor.
"""

from datetime import timedelta

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    false,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

_ADVISORY_LOCK = 0x6D6F6F72_64757261
"""The one that instances take turns by to create the table: "moordura"."""

executors = Table(
    "moorage_executors",
    MetaData(),
    Column("executor_id", Text, primary_key=True),
    Column("life", Text, nullable=False),
    Column("seen_time", DateTime(timezone=True), nullable=False),
    Column("departed", Boolean, nullable=False),
)
"""`life` is another for each process; `departed` is set by one that ended gracefully."""


def create(tx: Connection) -> None:
    """Create the table, unless it is there."""
    tx.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    executors.metadata.create_all(tx)


def beat(tx: Connection, executor_id: str, life: str) -> bool:
    """Note that the executor lives; says whether another life of it was noted last."""
    is_it = executors.c.executor_id == executor_id
    before = tx.execute(select(executors.c.life).where(is_it).with_for_update()).scalar()
    noted = {"life": life, "seen_time": func.now(), "departed": False}
    statement = insert(executors).values(executor_id=executor_id, **noted)
    tx.execute(statement.on_conflict_do_update(index_elements=[executors.c.executor_id], set_=noted))
    return before is not None and before != life


def depart(tx: Connection, executor_id: str, life: str) -> None:
    """Note that the executor has ended, unless another life of it has begun."""
    is_it = and_(executors.c.executor_id == executor_id, executors.c.life == life)
    tx.execute(update(executors).where(is_it).values(departed=True))


def gone(tx: Connection, silence: timedelta | None) -> list[str]:
    """The executors that departed and, where `silence` is given, those that were not noted for so long; ordered."""
    unheard = executors.c.seen_time < func.now() - silence if silence is not None else false()
    query = select(executors.c.executor_id).where(or_(executors.c.departed == true(), unheard))
    return list(tx.execute(query.order_by(executors.c.executor_id)).scalars())


def forget(tx: Connection, silence: timedelta) -> None:
    """Forget the executors that were not noted for so long."""
    tx.execute(delete(executors).where(executors.c.seen_time < func.now() - silence))
