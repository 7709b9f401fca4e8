"""The connections to PostgreSQL for units of one kind: few, kept open, and checked by a look before each use.

SQLAlchemy's own pool would take one out, reset it and put it back around each unit, at the cost of a small unit.
"""

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import ConnectionTimeout
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, make_url
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
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


class Connections:
    """`isolation` is that of their transactions."""

    def __init__(self, url: URL, limits: Limits, isolation: str, *, read_only: bool) -> None:
        settings = ["default_transaction_read_only=on"] if read_only else []
        self._engine = sqlalchemy_asyncio.create_async_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,  # an error's text goes to the log, and values do not belong there
            connect_args=server_options(url, limits, *settings),
            isolation_level=isolation,
            use_native_hstore=False,
        )
        self._limits = limits
        self._free = asyncio.Semaphore(max(limits.connections // KINDS, 1))
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._closed = False

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run `work(connection, *args)` on one of the connections.

        Raises what `work` raises, and what psycopg raises, or SQLAlchemy of it, for a server that cannot be used.
        """
        async with _in_time(self._limits.wait, "all connections are in use"):
            await self._free.acquire()
        try:
            connection = self._take() or await self._connect()
            deadline = asyncio.get_running_loop().call_later(self._limits.unit, connection.cut)
            try:
                return await connection.run(work, *args)
            finally:
                deadline.cancel()
                self._give_back(connection)
        finally:
            self._free.release()

    def has(self, backend: int) -> bool:
        """Whether the server process of this id serves one of them."""
        return any(each.backend == backend for each in self._open)

    def close(self) -> None:
        """Close those that are idle, and cut those that are in use."""
        self._closed = True
        for each in self._idle:
            self._discard(each)
        self._idle.clear()
        for each in self._open:
            each.cut()

    def _take(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()  # the one used last: what is needed stays warm
            if connection.quiet:
                return connection
            self._discard(connection)
        return None

    async def _connect(self) -> "_Connection":
        async with _in_time(self._limits.connect, "the server does not answer"):
            connection = _Connection(await self._engine.connect())
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
    """One connection that is kept open."""

    def __init__(self, connection: sqlalchemy_asyncio.AsyncConnection) -> None:
        self._connection = connection
        assert connection.sync_connection is not None  # noqa: S101 - it is connected
        driver: Any = connection.sync_connection.connection.driver_connection
        self._driver: AsyncConnection[Any] = driver
        self._descriptor = driver.fileno()
        self.backend: int = driver.pgconn.backend_pid
        self._readable = select.poll()
        self._readable.register(self._descriptor, select.POLLIN)

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await self._connection.run_sync(work, *args)

    @property
    def quiet(self) -> bool:
        """Whether the server has said nothing since: what it says unasked is mostly that it ends the connection."""
        return not self._readable.poll(0)

    @property
    def settled(self) -> bool:
        """Whether it is alive, and outside of a transaction."""
        return not self._driver.closed and self._driver.pgconn.transaction_status == TransactionStatus.IDLE

    def cut(self) -> None:
        """Make whoever waits for the server find it gone."""
        if not self._driver.closed:
            # To shut a descriptor down, its family need not be known.
            with socket.socket(socket.AF_UNIX, fileno=os.dup(self._descriptor)) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        _at_once(self._driver.close())
        _at_once(self._connection.invalidate())
        _at_once(self._connection.close())


@asynccontextmanager
async def _in_time(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ConnectionTimeout(otherwise) from None


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what never waits: closing a connection of psycopg is one call of libpq."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("closing a connection waits for something")
