"""Queries that read every table of a registry, and that fill those of an empty one."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    collate,
    delete,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DataError, IntegrityError

from director.store.changes import PlaneRow
from director.store.registry import Values
from director.store.tables import data_keys, documents, metadata, plane, replies, specifications
from mesh.database.whole import cause_of

TABLES: dict[str, Table] = {str(table.name): table for table in metadata.sorted_tables}
"""All of them by their names, each after those that its foreign keys name."""

_OF_A_FIRST_START = (plane, data_keys)

_LARGE = (specifications, documents, replies)
"""Tables of which a single row may have megabytes."""

_FETCHED = 200


class RowsRefused(Exception):
    """The database does not take rows; what it says of them, without their values."""


def find_plane(tx: Connection) -> PlaneRow | None:
    """The plane; None where no Director has ever begun one."""
    row = tx.execute(select(plane.c.plane_id, plane.c.revision, plane.c.horizon)).first()
    return PlaneRow(*row) if row is not None else None


def sealed_under(tx: Connection) -> list[str]:
    """By which keys of the provider the data keys are wrapped."""
    query = select(data_keys.c.provider_key_id).distinct().order_by(data_keys.c.provider_key_id)
    return list(tx.execute(query).scalars())


def read_rows(tx: Connection, table: Table) -> Iterator[Values]:
    """The rows of a table in the order of its primary key, the same on both engines; no more are held than a few."""
    query = select(table).order_by(*(_by_bytes(tx, column) for column in table.primary_key))
    fetched = 1 if table in _LARGE else _FETCHED
    for row in tx.execute(query, execution_options={"yield_per": fetched}):
        yield row._asdict()


def hold(tx: Connection) -> None:
    """Keep every Director from changing the registry until the transaction ends; on SQLite its begin does that."""
    if tx.dialect.name == "postgresql":
        tx.execute(text(f"LOCK TABLE {plane.name} IN EXCLUSIVE MODE"))


def is_empty(tx: Connection) -> bool:
    """Whether there is no more than what a Director's first start makes: a plane at revision 0, and data keys."""
    begun = find_plane(tx)
    if begun is not None and begun.revision:
        return False
    others = (table for table in TABLES.values() if table not in _OF_A_FIRST_START)
    return not any(tx.execute(select(literal(1)).select_from(table).limit(1)).first() for table in others)


def clear(tx: Connection) -> None:
    """Remove what a Director's first start made."""
    for table in _OF_A_FIRST_START:
        tx.execute(delete(table))


def add_rows(tx: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Write rows, each with all columns. Raises `RowsRefused`."""
    try:
        tx.execute(insert(table), [dict(row) for row in rows])
    except (IntegrityError, DataError) as error:
        raise RowsRefused(cause_of(error)) from error


def number_on(tx: Connection) -> None:
    """Have the tables that number their rows by themselves go on after those that they have now."""
    if tx.dialect.name != "postgresql":
        return  # SQLite takes the number after the highest
    for name, table in TABLES.items():
        column = table.autoincrement_column
        if column is not None:
            sequence = func.pg_get_serial_sequence(name, column.name)
            tx.execute(select(func.setval(sequence, func.max(column))).having(func.max(column).is_not(None)))


def _by_bytes(tx: Connection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column in the order that SQLite gives it."""
    if tx.dialect.name == "postgresql" and isinstance(column.type, String):
        return collate(column, "C")
    return column
