"""The connections to PostgreSQL for units of one kind: few, kept open, and checked by a look before each use.

SQLAlchemy's own pool would take one out, reset it and put it back around each unit, at the cost of a small unit.
"""

import asyncio
import os
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import sqlalchemy
from psycopg.errors import ConnectionTimeout
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.pool import NullPool

from mesh.database.limits import Limits

KINDS = 3
"""Those that write, read and glance have an equal share of the connections each."""


def server_options(url: URL, limits: Limits, *settings: str) -> dict[str, Any]:
    """Parameters of libpq with which neither a connection nor a statement on it hangs; those of the URL stand above."""
    milliseconds = {"statement_timeout": limits.statement, "lock_timeout": limits.lock}
    # A transaction whose client died without a word would hold its locks until the keepalive finds out.
    milliseconds["idle_in_transaction_session_timeout"] = limits.unit
    options = [f"-c {name}={round(1000 * seconds)}" for name, seconds in milliseconds.items()]
    options += [f"-c {setting}" for setting in settings]
    options += [str(url.query["options"])] if "options" in url.query else []
    return wire_options(url, limits) | {"options": " ".join(options)}


def wire_options(url: str | URL, limits: Limits) -> dict[str, Any]:
    """Those of them with which a server that is gone without a word is found out."""
    parameters = {
        "application_name": "moorage",
        "connect_timeout": str(max(round(limits.connect), 2)),  # libpq takes 1 for 2
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(round(1000 * limits.unit)),
    }
    return {name: value for name, value in parameters.items() if name not in make_url(url).query}


def new_engine(url: URL, limits: Limits, isolation: str, *settings: str) -> Engine:
    """An engine that keeps no connection; `isolation` is that of its transactions."""
    return sqlalchemy.create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,  # an error's text goes to the log, and values do not belong there
        connect_args=server_options(url, limits, *settings),
        isolation_level=isolation,
        use_native_hstore=False,
    )


class Connections:
    """Each is used by one thread at a time. All else happens on the event loop."""

    def __init__(self, url: URL, limits: Limits, isolation: str, *, read_only: bool) -> None:
        self._engine = new_engine(url, limits, isolation, *(["default_transaction_read_only=on"] if read_only else []))
        event.listen(self._engine, "do_connect", _connect)
        self._limits = limits
        share = max(limits.connections // KINDS, 1)
        self._free = asyncio.Semaphore(share)
        self._threads = ThreadPoolExecutor(share, thread_name_prefix="database")
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._closed = False

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run `work(connection, *args)` on one of the connections, on a thread.

        Raises what `work` raises, and what psycopg raises, or SQLAlchemy of it, for a server that cannot be used.
        """
        try:
            async with asyncio.timeout(self._limits.wait):
                await self._free.acquire()
        except TimeoutError:
            raise ConnectionTimeout("all connections are in use") from None
        try:
            return await self._run(self._take(), work, *args)
        finally:
            self._free.release()

    def has(self, backend: int) -> bool:
        """Whether the server process of this id serves one of them."""
        return any(each.backend == backend for each in self._open)

    def close(self) -> None:
        """Cut those that are in use, and close all."""
        self._closed = True
        for each in self._open:
            each.cut()
        self._threads.shutdown(cancel_futures=True)
        while self._open:
            self._open.pop().close()

    async def _run(self, connection: "_Connection", work: Callable[..., Any], *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._limits.unit, connection.cut)
        try:
            return await loop.run_in_executor(self._threads, connection.run, work, *args)
        finally:
            deadline.cancel()
            self._give_back(connection)

    def _take(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()  # the one used last: what is needed stays warm
            if connection.quiet:
                return connection
            self._discard(connection)
        connection = _Connection(self._engine)
        self._open.add(connection)
        return connection

    def _give_back(self, connection: "_Connection") -> None:
        if connection.settled and not self._closed:
            self._idle.append(connection)
        else:
            self._discard(connection)

    def _discard(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        connection.close()


class _Connection:
    """One connection, made at its first use and then kept open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._driver: psycopg.Connection[Any] | None = None
        self._descriptor = -1
        self._readable = select.poll()
        self.backend = 0

    def run(self, work: Callable[..., Any], *args: Any) -> Any:
        if self._connection is None:
            _connecting.connection = self
            self._connection = self._engine.connect()
        return work(self._connection, *args)

    def made(self, driver: psycopg.Connection[Any]) -> None:
        """Note the driver's connection as soon as there is one, for SQLAlchemy asks the server this and that first."""
        self._descriptor = driver.fileno()
        self._readable.register(self._descriptor, select.POLLIN)
        self.backend = driver.pgconn.backend_pid
        self._driver = driver

    @property
    def quiet(self) -> bool:
        """Whether the server has said nothing since: what it says unasked is mostly that it ends the connection."""
        return not self._readable.poll(0)

    @property
    def settled(self) -> bool:
        """Whether it is alive, and outside of a transaction."""
        driver = self._driver
        return driver is not None and not driver.closed and driver.pgconn.transaction_status == TransactionStatus.IDLE

    def cut(self) -> None:
        """Make whoever waits for the server find it gone."""
        if self._driver is not None and not self._driver.closed:
            # To shut a descriptor down, its family need not be known.
            with socket.socket(socket.AF_UNIX, fileno=os.dup(self._descriptor)) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()


_connecting = threading.local()
"""`connection` is the one that this thread makes."""


def _connect(dialect: Any, record: Any, arguments: list[Any], parameters: dict[str, Any]) -> psycopg.Connection[Any]:
    driver = psycopg.connect(*arguments, **parameters)
    _connecting.connection.made(driver)
    return driver
