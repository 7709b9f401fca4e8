"""Workflows remember their steps in PostgreSQL too."""

import asyncio
from collections.abc import Iterator

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
