"""The database unit of work: plain synchronous functions `f(tx, ...)`, each run whole in one transaction.

Units never run on the event loop. On SQLite one thread writes, in turn, and a few others read beside it (WAL).
What a unit raises rolls it back and reaches the caller; a database that cannot be reached or written becomes
DATABASE_UNAVAILABLE.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import sqlalchemy
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from mesh import telemetry
from mesh.errors import Refusal

BUSY_TIMEOUT = timedelta(seconds=5)
"""How long SQLite waits for a lock that another process holds."""

READERS = 3
"""Threads that read, beside the one that writes."""

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_AFTER = timedelta(seconds=1)
_log = telemetry.logger("database")


class RolledBack(Exception):
    """Raised by a unit to undo all that it did and yet give `result` to its caller (`validate_only`, AIP-163)."""

    def __init__(self, result: Any) -> None:
        super().__init__("rolled back on purpose")
        self.result = result


class Database:
    """One service's own database. Make it with `open`, and `close` it."""

    def __init__(self, writing: Engine, reading: Engine) -> None:
        self.engine = writing
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._write_lane = _Lane(writing)
        self._read_lane = _Lane(reading)
        self._on_commit: list[Callable[[], None]] = []
        self._write_failed = False

    @classmethod
    def open(cls, url: str) -> Self:
        """Open `sqlite:///PATH`; a new file, and its folder, are for their owner's eyes only.

        Raises `ValueError` for any other URL, and `OSError` where the file cannot be made.
        """
        parsed = sqlalchemy.make_url(url)
        if parsed.get_backend_name() != "sqlite" or not parsed.database:
            raise ValueError(f"not a database that this version can use: {parsed.render_as_string()}")
        path = Path(parsed.database)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return cls(_sqlite_engine(path, writes=True), _sqlite_engine(path, writes=False))

    def on_commit(self, notify: Callable[[], None]) -> None:
        """Have `notify()` called on the event loop after each unit that committed through `write`."""
        self._on_commit.append(notify)

    async def write(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` in a transaction of its own and commit it.

        A caller that is cancelled does not tear the unit: it commits or rolls back whole, and a commit is
        noticed by those who asked for it.
        """
        loop = asyncio.get_running_loop()

        def run() -> T:
            try:
                result: T = self._write_lane.run(unit, *args, **kwargs)
            except Refusal as refusal:
                self._write_failed |= refusal.reason == Reason.REASON_DATABASE_UNAVAILABLE
                raise
            for notify in self._on_commit:
                loop.call_soon_threadsafe(notify)
            return result

        return await _on(self._writer, run)

    async def read(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)`, which must not write, on one consistent snapshot of the database."""
        return await _on(self._readers, lambda: self._read_lane.run(unit, *args, **kwargs))

    async def glance(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` as `read` does, for a unit that reads a few small rows by their keys.

        On SQLite it runs where it is called: handing it to a thread and back costs several times what it does.
        """
        result: T = self._read_lane.run(unit, *args, **kwargs)
        return result

    async def check(self) -> None:
        """Raise `Refusal` (DATABASE_UNAVAILABLE) unless the database can be locked now and no write failed of late.

        A full disk lets the lock be had. So a write that it failed since the check before makes this one fail.
        """
        failed, self._write_failed = self._write_failed, False
        await _on(self._writer, lambda: self._write_lane.run(lambda tx: None))
        if failed:
            raise _unavailable()

    def close(self) -> None:
        """Let the units that run end, then close every connection."""
        for executor, lane in ((self._writer, self._write_lane), (self._readers, self._read_lane)):
            executor.shutdown(wait=True, cancel_futures=True)
            lane.close()


class _Lane:
    """Runs units on one connection a thread: checking one out anew for each would cost as much as a small unit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._local = threading.local()
        self._open: set[Connection] = set()

    def run(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            connection = self._connection()
            with connection.begin():
                return unit(connection, *args, **kwargs)
        except RolledBack as rolled_back:
            return rolled_back.result
        except (DBAPIError, sqlite3.DatabaseError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if not _is_of_the_database(cause):
                raise
            self._drop()
            _log.error("database unavailable", error=str(cause))
            raise _unavailable() from error

    def close(self) -> None:
        while self._open:
            self._open.pop().close()
        self._engine.dispose()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._engine.connect()
            self._open.add(connection)
        return connection

    def _drop(self) -> None:
        connection: Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            self._open.discard(connection)
            connection.invalidate()
            connection.close()


async def _on(executor: Executor, run: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, run)


def _is_of_the_database(cause: BaseException | None) -> bool:
    """Whether it is the database that fails (locked, full, unreadable, damaged), and not what was asked of it."""
    return isinstance(cause, sqlite3.OperationalError) or type(cause) is sqlite3.DatabaseError


def _unavailable() -> Refusal:
    return Refusal(Reason.REASON_DATABASE_UNAVAILABLE, "the service cannot use its database", retry_after=_RETRY_AFTER)


def _sqlite_engine(path: Path, *, writes: bool) -> Engine:
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        hide_parameters=True,  # an error's text goes to the log, and values do not belong there
        connect_args={"check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        pragmas = {
            "busy_timeout": int(BUSY_TIMEOUT.total_seconds() * 1000),
            "journal_mode": "WAL",
            "synchronous": "FULL",
            "foreign_keys": "ON",
            "query_only": "OFF" if writes else "ON",
        }
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that begins by reading and then writes can find the database locked by another's write, with
        # no way to wait for it; one that takes the lock at its begin waits its turn.
        # Said to the driver itself: by way of SQLAlchemy it would cost as much as a small query.
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
