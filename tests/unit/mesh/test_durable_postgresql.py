"""Workflows remember their steps in PostgreSQL too, where the instances go on with what one of them has left."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.durable import Durable, Run
from tests.support.postgresql import PostgresqlServer

DEADLINE = 20.0
"""Seconds that any wait here may take."""


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


async def test_a_workflow_interrupted_by_a_stop_goes_on_after_the_next_launch(url: str) -> None:
    lines: list[str] = []
    at_second, done, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def first() -> str:
        lines.append("first")
        return "kept"

    async def second() -> None:
        lines.append("second")
        at_second.set()
        await gate.wait()

    async def end() -> None:
        done.set()

    async def work(run: Run) -> None:
        lines.append(await run.step("first", first))
        await run.step("second", second)
        await run.step("end", end)

    for reached in (at_second, done):
        durable = Durable(name="moorage-test", url=url, workflows={"work": work})
        async with asyncio.timeout(DEADLINE):
            await durable.launch()
            await durable.start("work", "id-1")
            await reached.wait()
        await durable.stop(DEADLINE)
        gate.set()
    assert lines == ["first", "kept", "second", "kept", "second"]


async def test_what_an_instance_left_when_it_ended_gracefully_is_gone_on_with_by_another(url: str) -> None:
    lines: list[str] = []
    at_second, done, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(run: Run) -> None:
        await run.step("first", first)
        await run.step("second", second)
        await run.step("end", end)

    async def first() -> None:
        lines.append("first")

    async def second() -> None:
        lines.append("second")
        at_second.set()
        await gate.wait()

    async def end() -> None:
        done.set()

    one = Durable(name="moorage-test", url=url, workflows={"work": work}, instance="one")
    async with asyncio.timeout(DEADLINE):
        await one.launch()
        await one.start("work", "id-1")
        await at_second.wait()
    await one.stop(DEADLINE)
    gate.set()
    # By its silence nobody would be found out while this test lasts.
    long = timedelta(seconds=3 * DEADLINE)
    two = Durable(name="moorage-test", url=url, workflows={"work": work}, instance="two", silence=long)
    async with asyncio.timeout(DEADLINE):
        await two.launch()
        await two.start("work", "id-1")  # which leaves it alone, for it is one's
        await done.wait()
    await two.stop(DEADLINE)
    assert lines == ["first", "second", "second"]


async def test_what_an_instance_left_when_it_was_killed_is_gone_on_with_by_another(url: str) -> None:
    lines: list[str] = []
    done = asyncio.Event()

    async def work(run: Run) -> None:
        await run.step("first", first)
        await run.step("second", second)

    async def first() -> None:
        lines.append("first")

    async def second() -> None:
        lines.append("second")
        done.set()

    async with asyncio.timeout(DEADLINE):
        script = Path(__file__).with_name("durable_child.py")
        child = await asyncio.create_subprocess_exec(
            sys.executable, script, url, "one", "hang", stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"first\n"
        assert await child.stdout.readline() == b"second\n"
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
    soon = timedelta(seconds=0.5)
    two = Durable(name="moorage-test", url=url, workflows={"work": work}, instance="two", silence=soon)
    async with asyncio.timeout(DEADLINE):
        await two.launch()
        await done.wait()
    await two.stop(DEADLINE)
    assert lines == ["second"]
