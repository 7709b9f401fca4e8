"""DBOS with its thread and loop."""

import asyncio
import contextlib
import logging
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from certs.clock import Clock
from mesh import telemetry
from mesh.durable.executors import Executors
from mesh.durable.run import Json, Workflow

if TYPE_CHECKING:
    from dbos import DBOS, DBOSConfig

T = TypeVar("T")

APPLICATION_VERSION = "1"
"""Pinned on purpose: DBOS resumes only what carries the version that runs, and an upgrade must strand nothing. Code
of workflows therefore stays able to resume what an older release began."""

_SQLITE = "sqlite:///"
_CONNECTIONS = 5
"""That DBOS may have to PostgreSQL, beside the one on which it listens."""

_QUICK, _CALM = 10.0, 5.0
"""DBOS passes on what it recovers by a queue. Seconds after the launch in which it looks there each second, and seconds
between two looks later on, when only what others have left can come: each look costs some milliseconds. For queues and
schedules that were added meanwhile it would look each second as well; there never are any."""

_BATCH = 500
_log = telemetry.logger("durable")


class Engine:
    """DBOS with its thread and loop, from launch to stop.

    The loop is ours and DBOS is launched on it, because DBOS then runs every workflow there, fresh and resumed alike,
    and because cancelling our own tasks leaves a workflow PENDING: DBOS's own shutdown would record some as failed.
    """

    def __init__(
        self,
        name: str,
        instance: str,
        url: str,
        workflows: Mapping[str, Workflow],
        keep: timedelta,
        silence: timedelta,
        clock: Clock,
    ) -> None:
        self._name = name
        self._url = url
        alone = url.startswith(_SQLITE)
        self._executor_id = name if alone else f"{name}:{instance}"
        self._executors = None if alone else Executors(url, self._executor_id, silence)
        self._workflows = workflows
        self._keep = keep
        self._clock = clock
        self._registered: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {}
        self._home = asyncio.get_running_loop()
        self._away: asyncio.AbstractEventLoop | None = None
        self._stopping: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, name=f"durable-{name}", daemon=True)
        self._up: Future[None] = Future()
        self._down: Future[None] = Future()
        self._bodies: set[asyncio.Task[Any]] = set()

    async def launch(self) -> None:
        """Start all of it; raises what DBOS raises."""
        self._thread.start()
        # Shielded: whoever waits may be cancelled, and what is being launched is then stopped, not abandoned.
        await asyncio.shield(asyncio.wrap_future(self._up))

    async def stop(self) -> None:
        """Interrupt what runs, and wait for the end of the thread."""
        if not self._stopping.done():
            self._stopping.set_result(None)
        await asyncio.shield(asyncio.wrap_future(self._down))
        self._thread.join()  # that was the last thing it did
        await asyncio.gather(*self._bodies, return_exceptions=True)

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop of DBOS."""
        assert self._away is not None  # noqa: S101 - set before anybody is given the engine
        future = asyncio.run_coroutine_threadsafe(work, self._away)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RuntimeError("durable work was stopped") from None

    async def start(self, workflow: str, workflow_id: str, args: tuple[Json, ...]) -> None:
        """Start a workflow, on the loop of DBOS."""
        from dbos import DBOS, SetWorkflowID

        status = await DBOS.get_workflow_status_async(workflow_id)
        if status is not None:
            if status.status not in _GIVEN_UP:
                return
            _log.warning("a workflow is begun anew", workflow_id=workflow_id, status=status.status)
            await DBOS.delete_workflow_async(workflow_id)
        with SetWorkflowID(workflow_id):
            await DBOS.start_workflow_async(self._registered[workflow], *args)

    async def at_home(self, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the body of a step on the service's loop, from the loop of DBOS."""

        async def tracked() -> T:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine always runs in a task
            self._bodies.add(task)
            task.add_done_callback(self._bodies.discard)
            return await body()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(tracked(), self._home))

    def _live(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except Exception as error:
            if not self._up.done():
                self._up.set_exception(error)
            else:
                _log.exception("durable work ended")
        finally:
            self._down.set_result(None)

    async def _serve(self) -> None:
        dbos, instance = _configured(self._name, self._executor_id, self._url)
        try:
            if self._executors is not None:
                await self._executors.join()  # before anything is begun in its name
            for name, workflow in self._workflows.items():
                self._registered[name] = self._register(dbos, name, workflow)
            dbos.launch()
            self._away = asyncio.get_running_loop()
            self._up.set_result(None)
            beside = [asyncio.create_task(self._forget_succeeded(dbos)), asyncio.create_task(_calm_down(instance))]
            if self._executors is not None:
                beside.append(asyncio.create_task(self._executors.follow(partial(_recover, dbos))))
            await asyncio.wrap_future(self._stopping)
        finally:
            await _cancel_others()
            dbos.destroy(destroy_registry=True)
            if self._executors is not None:
                await self._executors.leave()  # after all has ended that was begun in its name

    async def _forget_succeeded(self, dbos: type["DBOS"]) -> None:
        while True:
            await asyncio.sleep(self._keep.total_seconds() * random.uniform(0.2, 0.3))  # noqa: S311 - spread, not secrecy
            before = (self._clock() - self._keep).isoformat()
            try:
                while succeeded := await dbos.list_workflows_async(
                    status="SUCCESS", completed_before=before, limit=_BATCH, load_input=False, load_output=False
                ):
                    await dbos.delete_workflows_async([each.workflow_id for each in succeeded])
            except Exception as error:
                _log.warning("workflows that succeeded cannot be forgotten yet", error=str(error))

    def _register(self, dbos: type["DBOS"], name: str, workflow: Workflow) -> Callable[..., Coroutine[Any, Any, None]]:
        from dbos import WorkflowSerializationFormat

        engine = self

        async def run(*args: Json) -> None:
            await workflow(_DbosRun(engine, dbos), *args)

        # Without a limit of attempts: whoever restarts the process is the one to back off.
        return dbos.workflow(
            name=name, max_recovery_attempts=None, serialization_type=WorkflowSerializationFormat.PORTABLE
        )(run)


class _DbosRun:
    """`Run` on DBOS."""

    def __init__(self, engine: Engine, dbos: type["DBOS"]) -> None:
        self._engine = engine
        self._dbos = dbos
        self.workflow_id = dbos.workflow_id or ""

    async def step(self, name: str, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def at_home() -> T:
            return await self._engine.at_home(body)

        return await self._dbos.run_step_async({"name": name}, at_home)

    async def sleep(self, seconds: float) -> None:
        await self._dbos.sleep_async(seconds)


_GIVEN_UP = frozenset({"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


async def _recover(dbos: type["DBOS"], executor_ids: Sequence[str]) -> None:
    """Have what these executors had begun gone on with by those that live."""
    # Internal by its name, and yet what the library has for this: the one public way, to resume a workflow by its id,
    # does not look whose it is by now.
    await asyncio.to_thread(dbos._recover_pending_workflows, list(executor_ids))


async def _calm_down(instance: "DBOS") -> None:
    # Internal by its name: no setting says how often DBOS looks into a queue of its own.
    await asyncio.sleep(_QUICK)
    instance._registry.get_internal_queue()._polling_interval_sec = _CALM
    instance._sys_db.list_queues = _none  # type: ignore[method-assign]
    instance._sys_db.list_schedules = _none  # type: ignore[method-assign]


def _none(**_: object) -> list[Any]:
    return []


def _configured(name: str, executor_id: str, url: str) -> tuple[type["DBOS"], "DBOS"]:
    # With a handler of its own, DBOS adds none that would write to the console; its lines go where all others go.
    log = logging.getLogger("dbos")
    log.addHandler(logging.NullHandler())
    from dbos import DBOS

    if url.startswith(_SQLITE):
        _make_private(Path(url.removeprefix(_SQLITE)))
    instance = DBOS(
        config={
            "name": name,
            "system_database_url": url,
            "executor_id": executor_id,
            "application_version": APPLICATION_VERSION,
            "log_level": "WARNING",
            # How often it looks whether it is to stop; nothing here waits for its notifications.
            "notification_listener_polling_interval_sec": 0.5,
            **_connections(url),
        }
    )
    # Internal by its name as well: nothing here is delayed or has a deadline, for which DBOS would look every second.
    instance._background_jobs_stop_event.set()
    return DBOS, instance


def _connections(url: str) -> "DBOSConfig":
    """What DBOS must know of a PostgreSQL server beside its URL, so as not to take all of it, nor to hang with it."""
    if url.startswith(_SQLITE):
        return {}
    from mesh.database.connections import wire_options
    from mesh.database.limits import Limits

    return {
        "sys_db_pool_size": _CONNECTIONS,
        "db_engine_kwargs": {"connect_args": wire_options(url, Limits()), "hide_parameters": True},
    }


def _make_private(path: Path) -> None:
    """Make the SQLite file, readable by its owner only, with a write-ahead log: fewer flushes for each commit."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


async def _cancel_others() -> None:
    """Cancel what runs on this loop. DBOS records nothing of a cancelled task, so its workflow resumes later."""
    logging.getLogger("dbos").setLevel(logging.ERROR)  # it would warn of each
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
