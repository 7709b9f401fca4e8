"""Transactions over a whole database, for commands: nothing limits how long one takes, and none holds up a service.

On SQLite one that only reads has its snapshot beside whoever writes; one that writes keeps all other writers out.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from mesh.database.connections import new_engine
from mesh.database.limits import Limits
from mesh.exits import Exit, Stopped

_PATIENT = Limits(statement=0, unit=0)
"""On PostgreSQL zero is no limit. Connecting, and waiting for a lock, are limited all the same."""

_BUSY_TIMEOUT = 5000


def open_whole(url: str, *, writes: bool) -> Engine:
    """An engine for `whole`, of a database as `Database.open` takes it, which must be there; it keeps no connection.

    Transactions that only read are one consistent snapshot each.
    """
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, writes=writes)
    parsed = parsed.set(drivername="postgresql+psycopg")
    if writes:
        return new_engine(parsed, _PATIENT, "READ COMMITTED")
    return new_engine(parsed, _PATIENT, "REPEATABLE READ", "default_transaction_read_only=on")


@contextmanager
def whole(engine: Engine) -> Iterator[Connection]:
    """A transaction, committed at the end. Raises `Stopped` (SERVICE_FAILED) for a database that cannot be used."""
    try:
        with engine.begin() as tx:
            yield tx
    except (DBAPIError, sqlite3.Error) as error:
        raise Stopped(Exit.SERVICE_FAILED, f"the database cannot be used: {cause_of(error)}") from error


def cause_of(error: Exception) -> str:
    """What the database said, without the values of rows that PostgreSQL tells beside it."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    said = getattr(cause, "diag", None)
    return str(getattr(said, "message_primary", None) or cause)


def _sqlite(url: URL, *, writes: bool) -> Engine:
    # A URI, for that can say that the file is not to be made.
    file = URL.create("sqlite", database=f"file:{quote(url.database or '')}", query={"mode": "rw", "uri": "true"})
    engine = sqlalchemy.create_engine(
        file, poolclass=NullPool, hide_parameters=True, connect_args={"isolation_level": None}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
