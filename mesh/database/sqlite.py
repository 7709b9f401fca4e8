"""The unit of work on SQLite: one thread writes, in turn, and a few others read beside it (WAL).

Units never run on the event loop, save those that only glance.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from mesh import telemetry
from mesh.database.grouped import Grouped
from mesh.database.unit import Database, RolledBack, take_announcements, unavailable
from mesh.errors import Refusal

BUSY_TIMEOUT = timedelta(seconds=5)
"""How long SQLite waits for a lock that another process holds."""

READERS = 3
"""Threads that read, beside the one that writes."""

P = ParamSpec("P")
T = TypeVar("T")

_log = telemetry.logger("database")


class SqliteDatabase(Database):
    """One file, made if it is missing, for its owner's eyes only."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self.engine = _engine(path, writes=True)
        event.listen(self.engine, "begin", lambda connection: _driver(connection).execute("BEGIN IMMEDIATE"))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        # A transaction that begins by reading and then writes can find the database locked by another's write, with no
        # way to wait for it; one that takes the lock at its begin waits its turn.
        self._write_lane = _Lane(_engine(path, writes=True), "BEGIN IMMEDIATE")
        self._read_lane = _Lane(_engine(path, writes=False), "BEGIN")
        self._glance_lane = _Lane(_engine(path, writes=False), None)
        self._grouped = Grouped(self.write, _is_of_the_database)

    async def write(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` on the thread that writes."""
        loop = asyncio.get_running_loop()
        announced: list[str] = []
        is_committed = is_left = False

        def whole(tx: Connection) -> T:
            take_announcements(tx)  # those of a unit that failed
            result = unit(tx, *args, **kwargs)
            announced.extend(take_announcements(tx))
            return result

        def run() -> T:
            nonlocal is_committed
            try:
                result: T = self._write_lane.run(whole)
            except Refusal as refusal:
                self._write_failed |= refusal.reason == Reason.REASON_DATABASE_UNAVAILABLE
                raise
            is_committed = True
            if is_left:
                loop.call_soon_threadsafe(self._committed, announced)
            return result

        try:
            result = await _on(self._writer, run)
        except asyncio.CancelledError:
            is_left = True  # said before it is asked whether there is a commit, as the other thread does in turn
            if is_committed:
                self._committed(announced)
            raise
        self._committed(announced)  # to wake this thread for it alone would cost as much as the unit's statements
        return result

    async def write_grouped(
        self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `unit(tx, ...)` and commit it together with those that wait beside it."""
        result: T = await self._grouped.run(lambda tx: unit(tx, *args, **kwargs))
        return result

    async def read(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` on a thread that reads."""
        return await _on(self._readers, lambda: self._read_lane.run(unit, *args, **kwargs))

    async def glance(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` where it is called: handing it to a thread and back costs several times what it does.

        Each of its statements has a snapshot of its own: beginning a transaction, and ending it, would cost as much.
        """
        result: T = self._glance_lane.run(unit, *args, **kwargs)
        return result

    async def check(self) -> None:
        """Raise `Refusal` (DATABASE_UNAVAILABLE) unless the database can be locked now and no write failed of late."""
        failed = self._failed_of_late()
        await _on(self._writer, lambda: self._write_lane.run(lambda tx: None))
        if failed:
            raise unavailable()

    def close(self) -> None:
        """Let the units that run end, then close every connection."""
        for executor, lane in ((self._writer, self._write_lane), (self._readers, self._read_lane)):
            executor.shutdown(wait=True, cancel_futures=True)
            lane.close()
        self._glance_lane.close()
        self.engine.dispose()


class _Lane:
    """Runs units on one connection a thread: checking one out anew for each would cost as much as a small unit.

    For the same reason transactions are begun, by `begin`, and ended at the driver; without it there is none.
    """

    def __init__(self, engine: Engine, begin: str | None) -> None:
        self._engine = engine
        self._begin = begin
        self._local = threading.local()
        self._open: set[Connection] = set()

    def run(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return self._run(self._connection(), unit, *args, **kwargs)
        except RolledBack as rolled_back:
            return rolled_back.result
        except (DBAPIError, sqlite3.DatabaseError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if not _is_of_the_database(cause):
                raise
            self._drop()
            _log.error("database unavailable", error=str(cause))
            raise unavailable() from error

    def _run(self, connection: Connection, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._begin is None:
            return unit(connection, *args, **kwargs)
        driver = _driver(connection)
        driver.execute(self._begin)
        try:
            result = unit(connection, *args, **kwargs)
            driver.commit()
        except BaseException:
            driver.rollback()
            connection.rollback()  # what SQLAlchemy knows of the transaction
            raise
        return result

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


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _engine(path: Path, *, writes: bool) -> Engine:
    """An engine whose driver begins no transaction by itself."""
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

    return engine
