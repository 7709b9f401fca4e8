"""The executors of one application on PostgreSQL: this one says that it lives, and finds those that do not any more.

A claim that comes too early, for an executor that was only slow, does no harm but to repeat a step: DBOS lets one of
the two remember it, and the other gives way.
"""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from mesh import telemetry
from mesh.database import Database, Limits
from mesh.durable import store

BEATS = 6
"""How often an executor says that it lives in the time after which its silence means that it does not."""

FORGOTTEN = timedelta(days=1)
"""After this nothing of an executor that has gone can be left to claim."""

_DEPARTURE = 1.0
"""Seconds that saying farewell may take: without it the others wait for the silence."""

_log = telemetry.logger("durable")

Claim = Callable[[Sequence[str]], Awaitable[None]]
"""Takes over what these executors had begun."""


class Executors:
    """`silence`: after how long without a sign of life an executor counts as dead. It belongs to one event loop."""

    def __init__(self, url: str, executor_id: str, silence: timedelta) -> None:
        self._url = url
        self._executor_id = executor_id
        self._silence = silence
        self._life = str(uuid.uuid4())
        self._database: Database | None = None

    async def join(self) -> None:
        """Say for the first time that this executor lives. Raises `Refusal` where the database cannot be used."""
        self._database = Database.open(self._url, Limits(connections=1))
        await self._database.write(store.create)
        await self._database.write(store.beat, self._executor_id, self._life)

    async def follow(self, claim: Claim) -> None:
        """Say again and again that this one lives, and claim what others have left, until cancelled."""
        assert self._database is not None  # noqa: S101 - it has joined
        loop = asyncio.get_running_loop()
        unbroken_since = beaten = loop.time()
        while True:
            try:
                await self._beat(self._database)
                if loop.time() - beaten > self._silence.total_seconds() / 2:
                    unbroken_since = loop.time()
                beaten = loop.time()
                # While the database was away nobody could be noted. Who claims on that account must have given all
                # others time to be.
                patient = beaten - unbroken_since > self._silence.total_seconds()
                await self._claim(self._database, claim, self._silence if patient else None)
            except Exception as error:  # whatever it is: the next round must come
                _log.warning("whether other executors live is not known", error=str(error))
            await asyncio.sleep(self._silence.total_seconds() / BEATS * random.uniform(0.8, 1.2))  # noqa: S311

    async def leave(self) -> None:
        """Say that this one has ended, so that others claim at once what it had begun."""
        if self._database is None:
            return
        with contextlib.suppress(Exception):  # they will find out
            async with asyncio.timeout(_DEPARTURE):
                await self._database.write(store.depart, self._executor_id, self._life)
        self._database.close()

    async def _beat(self, database: Database) -> None:
        if await database.write(store.beat, self._executor_id, self._life):
            _log.error("another process is the same executor; set another instance_id", executor=self._executor_id)

    async def _claim(self, database: Database, claim: Claim, silence: timedelta | None) -> None:
        gone = await database.write(store.gone, silence)  # by the same connection: there is but one
        others = [each for each in gone if each != self._executor_id]
        if others:
            await claim(others)
            await database.write(store.forget, FORGOTTEN)
