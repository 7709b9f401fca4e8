"""Hearing of commits of other instances: one connection that listens (PostgreSQL's LISTEN and NOTIFY)."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import URL, Dialect

from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database.connections import server_options
from mesh.database.limits import Limits

CHANNEL = "moorage_commit"
"""On which announced commits are told, by their topics. Services that share a database hear one another."""

QUIET = 30.0
"""Seconds without a notice after which the connection is tried."""

_FIRST_WAIT = timedelta(milliseconds=200)
_LONGEST_WAIT = timedelta(seconds=10)
_log = telemetry.logger("database")


class Listener:
    """Calls `wake(topic)` for what other instances announced, and `wake(None)` after each time it could not listen."""

    def __init__(self, dialect: Dialect, url: URL, limits: Limits, wake: Callable[[str | None], None]) -> None:
        _, parameters = dialect.create_connect_args(url)
        self._parameters: dict[str, Any] = {**parameters, **server_options(url, limits)}
        self._limits = limits
        self._wake = wake
        self._up = asyncio.Event()

    async def up(self) -> None:
        """Wait until it listens, but no longer than connecting may take."""
        try:
            async with asyncio.timeout(self._limits.connect):
                await self._up.wait()
        except TimeoutError:
            _log.warning("other instances are not heard yet")

    async def run(self, is_own: Callable[[int], bool]) -> None:
        """Listen until cancelled, connecting anew whenever needed; `is_own` tells the server processes of this one."""
        backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
        while True:
            try:
                async with asyncio.timeout(self._limits.connect):
                    connection = await AsyncConnection.connect(**self._parameters, autocommit=True)
                try:
                    await self._listen(connection, is_own, backoff)
                finally:
                    await connection.close()
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._up.clear()
                _log.warning("other instances are not heard", error=str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next())

    async def _listen(self, connection: AsyncConnection[Any], is_own: Callable[[int], bool], backoff: Backoff) -> None:
        await self._ask(connection, f"LISTEN {CHANNEL}".encode())
        backoff.reset()
        self._up.set()
        self._wake(None)  # whatever was committed before this may have been missed
        while True:
            async for notice in connection.notifies(timeout=QUIET):
                if not is_own(notice.pid):
                    self._wake(notice.payload)
            await self._ask(connection, b"SELECT 1")

    async def _ask(self, connection: AsyncConnection[Any], statement: bytes) -> None:
        async with asyncio.timeout(self._limits.statement):
            await connection.execute(statement)
