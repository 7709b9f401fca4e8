"""From tables of ours to durable work: each thing that waits in one is handed to a workflow of its own.

A workflow is started under the thing's id, so however often it is asked for there is one. What waited while no Director
ran is handed over at the start.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from weakref import WeakValueDictionary

from director.store import Transaction
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database import Database
from mesh.durable import Durable

_LOOK_SPACING = 0.05
"""Seconds between two looks, at least: one look finds what many commits of a busy plane wrote."""

_SWEEP_INTERVAL = timedelta(minutes=5)
_log = telemetry.logger("durable")

Waiting = Callable[[Transaction], Sequence[tuple[str, ...]]]
"""A unit of work that reads what waits: the id of each thing, and then what its workflow has to know beside that."""


class HandOver:
    """Hands over what waits, again whenever `topic` is announced."""

    def __init__(
        self,
        database: Database,
        topic: str,
        workflow: str,
        waiting: Waiting,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._workflow = workflow
        self._waiting = waiting
        self._random = random
        self._work = asyncio.Event()
        database.on_commit(topic, self._work.set)

    async def run(self, durable: Durable) -> None:
        """Hand over to what is launched already, until cancelled."""
        backoff = Backoff(timedelta(seconds=0.5), timedelta(seconds=30), self._random)
        loop = asyncio.get_running_loop()
        handed: set[str] = set()
        sweep = loop.time() + _SWEEP_INTERVAL.total_seconds()
        while True:
            self._work.clear()  # before the look: what is written during it is for the next one
            looked = loop.time()
            if looked >= sweep:  # hand everything over once more, in case a workflow ended before its time
                handed, sweep = set(), looked + _SWEEP_INTERVAL.total_seconds()
            try:
                handed = await self._look(durable, handed)
            except Exception as error:
                _log.warning("what waits cannot be handed over yet", workflow=self._workflow, error=str(error))
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sweep):
                    await self._work.wait()
            await asyncio.sleep(looked + _LOOK_SPACING - loop.time())

    async def _look(self, durable: Durable, handed: set[str]) -> set[str]:
        """Start a workflow for what waits and was not handed over; returns what is handed over now."""
        waiting = await self._database.read(self._waiting)
        for id, *about in waiting:
            if id not in handed:
                await durable.start(self._workflow, id, id, *about)
        return {id for id, *_ in waiting}


class Lanes:
    """Turns to do something, so many at once, and of them so many for one Application: none holds up the others."""

    def __init__(self, in_all: int, of_one: int) -> None:
        self._slots = asyncio.Semaphore(in_all)
        self._of_one = of_one
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, application_id: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the context lasts."""
        lane = self._lanes.get(application_id)
        if lane is None:
            lane = self._lanes[application_id] = asyncio.Semaphore(self._of_one)
        async with lane, self._slots:
            yield
