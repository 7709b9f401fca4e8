"""A Director that starts before its PostgreSQL does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from mesh.exits import Exit
from tests.support.directors import Directors
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(180)

WITHIN = 50.0
"""Seconds that anything may take which is to happen: less than a Director waits."""


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    """A server that can be killed: nobody else is on it."""
    server = PostgresqlServer.started()
    yield server
    server.remove()


@pytest.fixture
async def directors(server: PostgresqlServer, tmp_path: Path) -> AsyncIterator[Directors]:
    """One Director that was never started; its server is away."""
    directors = Directors(tmp_path, server, count=1)
    server.kill()
    try:
        yield directors
    finally:
        await directors.close()


async def test_a_director_that_starts_before_its_database_is_ready_by_itself_when_it_comes(
    directors: Directors, server: PostgresqlServer
) -> None:
    [director] = directors.processes
    director.process = await director.launch()

    async def waits() -> bool:
        return "waiting for the database" in director.log

    async def is_ready() -> bool:
        try:
            return await directors.health(0) == "SERVING"
        except grpc.aio.AioRpcError:  # it does not listen yet
            return False

    await eventually("it waits", waits, WITHIN)
    server.start()
    await eventually("it is ready", is_ready, WITHIN)


async def test_a_director_whose_database_does_not_come_ends_and_says_what_is_wrong(directors: Directors) -> None:
    [director] = directors.processes
    director.settings["database_wait"] = "0.1"
    director.process = await director.launch()
    async with asyncio.timeout(WITHIN):
        assert await director.process.wait() == Exit.SERVICE_FAILED
    assert "cannot be used: connection" in director.log.splitlines()[-1]


async def test_a_director_whose_database_does_not_exist_ends_without_waiting_for_it(
    directors: Directors, server: PostgresqlServer
) -> None:
    [director] = directors.processes
    director.settings["database"] = server.url("nowhere")
    server.start()
    director.process = await director.launch()
    async with asyncio.timeout(WITHIN):
        assert await director.process.wait() == Exit.SERVICE_FAILED
    assert "waiting for the database" not in director.log
    assert '"nowhere" does not exist' in director.log.splitlines()[-1]
