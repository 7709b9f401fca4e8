"""Hands operations that were asked for to the workflows that carry them out."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database import Database
from mesh.durable import Durable
from provisioner import store
from provisioner.workflows import NAMES

SWEEP_INTERVAL = timedelta(seconds=30)
"""How often every operation that has not ended is handed over again, should one be lost."""

_FIRST_RETRY = timedelta(seconds=0.5)

_log = telemetry.logger("operation")


class Dispatcher:
    """Starts a workflow for each operation, by the operation's id, so that none is ever carried out twice at once."""

    def __init__(self, database: Database, durable: Durable, sweep_interval: timedelta = SWEEP_INTERVAL) -> None:
        self._database = database
        self._sweep_interval = sweep_interval.total_seconds()
        self._durable = durable
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """There is a new operation."""
        self._asked.set()

    async def run(self) -> None:
        """Launch the durable work, then hand over operations until cancelled."""
        await self._durable.launch()
        backoff = Backoff(_FIRST_RETRY, SWEEP_INTERVAL)
        loop = asyncio.get_running_loop()
        handed: set[str] = set()
        sweep = loop.time() + self._sweep_interval
        while True:
            self._asked.clear()
            if loop.time() >= sweep:
                handed, sweep = set(), loop.time() + self._sweep_interval
            try:
                handed = await self._hand_over(handed)
            except Exception as error:
                _log.warning("operations cannot be handed over yet", error=str(error))
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sweep):
                    await self._asked.wait()

    async def _hand_over(self, already: set[str]) -> set[str]:
        unfinished = await self._database.read(store.unfinished)
        for operation_id, kind in unfinished:
            if operation_id not in already:
                await self._durable.start(NAMES[kind], operation_id, operation_id)
        return {operation_id for operation_id, _ in unfinished}
