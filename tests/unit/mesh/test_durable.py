"""Workflows remember their steps: over a graceful stop, over kill -9, and over being started twice."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mesh.durable import Durable, Run, Workflow
from tests.support.wait import wait_for

DEADLINE = 20.0
"""Seconds that any wait here may take."""


@asynccontextmanager
async def launched(home: Path, workflow: Workflow, keep: timedelta = timedelta(hours=1)) -> AsyncIterator[Durable]:
    url = f"sqlite:///{home}/durable.sqlite"
    durable = Durable(name="moorage-test", url=url, workflows={"work": workflow}, keep=keep)
    async with asyncio.timeout(DEADLINE):
        await durable.launch()
    try:
        yield durable
    finally:
        await durable.stop(DEADLINE)


def remembered(home: Path) -> int:
    """How many rows there are about workflows and their steps."""
    with contextlib.closing(sqlite3.connect(home / "durable.sqlite")) as database:
        tables = ("workflow_status", "operation_outputs")
        counts = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    return sum(counts)


class Notebook:
    """What ran, kept beside the workflow's own memory. Workflows write from the thread of DBOS."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def note(self, line: str) -> None:
        self.lines.append(line)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, line: str, times: int = 1) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.lines.count(line) < times:
                self._changed.clear()
                await self._changed.wait()


async def test_the_steps_run_on_the_loop_of_the_service(tmp_path: Path) -> None:
    home, notebook = asyncio.get_running_loop(), Notebook()

    async def where() -> bool:
        return asyncio.get_running_loop() is home

    async def work(run: Run, name: str) -> None:
        at_home = await run.step("where", where)
        notebook.note(f"{name} {run.workflow_id} {at_home}")

    async with launched(tmp_path, work) as durable:
        await durable.start("work", "id-1", "first")
        await notebook.until("first id-1 True")


async def test_a_workflow_that_is_started_twice_runs_once(tmp_path: Path) -> None:
    notebook, gate = Notebook(), asyncio.Event()

    async def held() -> None:
        notebook.note("held")
        await gate.wait()

    async def work(run: Run) -> None:
        await run.step("held", held)
        notebook.note("done")

    async with launched(tmp_path, work) as durable:
        await durable.start("work", "id-1")
        await notebook.until("held")
        await durable.start("work", "id-1")
        gate.set()
        await notebook.until("done")
        await durable.start("work", "id-1")
        await durable.start("work", "id-2")
        await notebook.until("done", times=2)
    assert notebook.lines.count("held") == 2


async def test_a_workflow_interrupted_by_a_stop_goes_on_after_the_next_launch(tmp_path: Path) -> None:
    notebook, gate = Notebook(), asyncio.Event()

    async def first() -> str:
        notebook.note("first")
        return "kept"

    async def second() -> None:
        notebook.note("second")
        await gate.wait()

    async def work(run: Run) -> None:
        kept = await run.step("first", first)
        await run.step("second", second)
        notebook.note(f"done, {kept}")

    async with launched(tmp_path, work) as durable:
        await durable.start("work", "id-1")
        await notebook.until("second")
    gate.set()
    async with launched(tmp_path, work):
        await notebook.until("done, kept")
    assert notebook.lines == ["first", "second", "second", "done, kept"]


async def test_a_workflow_that_failed_is_begun_anew_when_it_is_started_again(tmp_path: Path) -> None:
    notebook = Notebook()

    async def work(run: Run) -> None:
        notebook.note("tried")
        if notebook.lines.count("tried") == 1:
            raise ValueError("the first time only")
        notebook.note("done")

    async with launched(tmp_path, work) as durable:
        await durable.start("work", "id-1")
        async with asyncio.timeout(DEADLINE):
            while "done" not in notebook.lines:
                await asyncio.sleep(0.05)
                await durable.start("work", "id-1")


async def test_what_has_succeeded_is_forgotten_in_time(tmp_path: Path) -> None:
    notebook = Notebook()

    async def first() -> None:
        notebook.note("ran")

    async def work(run: Run) -> None:
        await run.step("first", first)

    async with launched(tmp_path, work, keep=timedelta(milliseconds=20)) as durable:
        await durable.start("work", "id-1")
        await asyncio.to_thread(wait_for, "nothing is remembered", lambda: remembered(tmp_path) == 0)
    assert notebook.lines == ["ran"]


async def test_what_is_remembered_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    async def work(run: Run) -> None: ...

    async with launched(tmp_path, work):
        mode = (tmp_path / "durable.sqlite").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_nothing_can_be_started_before_the_launch(tmp_path: Path) -> None:
    async def work(run: Run) -> None: ...

    durable = Durable(name="moorage-test", url=f"sqlite:///{tmp_path}/durable.sqlite", workflows={"work": work})
    with pytest.raises(RuntimeError):
        await durable.start("work", "id-1")


async def test_a_workflow_interrupted_by_kill_9_goes_on_in_the_next_process(tmp_path: Path) -> None:
    script = Path(__file__).with_name("durable_child.py")

    async def run(*arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            f"sqlite:///{tmp_path}/durable.sqlite",
            "one",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )

    async with asyncio.timeout(DEADLINE):
        child = await run("hang")
        assert child.stdout is not None
        assert await child.stdout.readline() == b"first\n"
        assert await child.stdout.readline() == b"second\n"
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        child = await run()
        output, _ = await child.communicate()
    assert output.splitlines() == [b"second", b"done"]


async def test_a_launch_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    async def work(run: Run) -> None: ...

    durable = Durable(name="moorage-test", url=f"sqlite:///{tmp_path}/durable.sqlite", workflows={"work": work})
    launching = asyncio.create_task(durable.launch())
    await asyncio.sleep(0)
    launching.cancel()
    with capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await launching
    assert not any(each.name.startswith("durable-") for each in threading.enumerate())
    assert logged == []
