"""The durable workflows of a process."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from certs.clock import Clock, system_clock
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.durable.engine import Engine
from mesh.durable.run import Json, Workflow

_FIRST_RETRY = timedelta(seconds=0.5)
_LONGEST_RETRY = timedelta(seconds=10)
_log = telemetry.logger("durable")


class Durable:
    """The durable workflows of this process. There can be one instance launched at a time.

    `name`: of the application, 3 characters or more, the same after each restart.
    `url`: `sqlite:///PATH` (made if missing, readable by its owner only) or a `postgresql://` URL.
    `workflows`: by the name under which they are remembered.
    `keep`: how long one that has succeeded is remembered; after that its id counts as new.
    `instance`: which of those on one PostgreSQL this is, the same after each restart. On SQLite there is one.
    `silence`: after how long without a sign of life an instance's workflows are gone on with by the others.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        workflows: Mapping[str, Workflow],
        keep: timedelta = timedelta(hours=1),
        instance: str = "",
        silence: timedelta = timedelta(seconds=30),
        clock: Clock = system_clock,
    ) -> None:
        self._new_engine = partial(Engine, name, instance, url, workflows, keep, silence, clock)
        self._engine: Engine | None = None

    @property
    def launched(self) -> bool:
        """Whether workflows can be started; those of an earlier life resume by themselves."""
        return self._engine is not None

    async def launch(self) -> None:
        """Import and start DBOS and resume what was interrupted. Call it in the background, after READY.

        Tries again, backing off up to 10 s, until it succeeds or is cancelled.
        """
        backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)
        while self._engine is None:
            engine = self._new_engine()
            try:
                await engine.launch()
            except asyncio.CancelledError:
                await engine.stop()
                raise
            except Exception as error:
                _log.warning("durable work could not start", error=str(error))
                await asyncio.sleep(backoff.next())
            else:
                self._engine = engine

    async def start(self, workflow: str, workflow_id: str, *args: Json) -> None:
        """Start a workflow by its name. Idempotent: one that runs, or has succeeded, under `workflow_id` is left alone.

        One that DBOS itself gave up on is begun anew. Raises `RuntimeError` when not launched.
        """
        await self._launched().call(self._launched().start(workflow, workflow_id, args))

    async def stop(self, deadline: float) -> None:
        """Interrupt what runs, to be resumed after the next launch, and release the database, within `deadline` s."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            async with asyncio.timeout(deadline):
                await engine.stop()
        except TimeoutError:
            _log.warning("durable work did not stop in time", deadline=deadline)

    def _launched(self) -> "Engine":
        if self._engine is None:
            raise RuntimeError("durable work is not launched")
        return self._engine
