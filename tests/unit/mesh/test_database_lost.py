"""What comes of the loss of a PostgreSQL server, and of its return."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from mesh.database import Database
from mesh.errors import Refusal
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually
from tests.unit.mesh.units import PATIENT, TOPIC, create, insert, values


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """One of its own: what happens to it would be felt by other tests."""
    server = PostgresqlServer.started()
    yield server
    server.remove()


@pytest.fixture
def url(server: PostgresqlServer) -> Iterator[str]:
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


async def unavailable(call: Callable[..., Any], *args: Any) -> None:
    with pytest.raises(Refusal) as caught:
        async with asyncio.timeout(30):
            await call(*args)
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE
    assert caught.value.retry_after


async def test_a_server_that_is_gone_is_unavailable_and_all_goes_on_when_it_is_back(
    server: PostgresqlServer, url: str
) -> None:
    database = Database.open(url, PATIENT)
    await database.listen()
    await database.write(create)
    for _ in range(2):
        await asyncio.gather(*(database.write(insert, value) for value in await fresh(database)))
        before = await database.read(values)
        noticed = asyncio.Event()
        database.on_commit(TOPIC, noticed.set)
        server.kill()
        await unavailable(database.write, insert, 0)
        await unavailable(database.read, values)
        await unavailable(database.glance, values)
        await unavailable(database.check)
        server.start()
        assert await database.read(values) == before
        assert await database.glance(values) == before
        await database.check()
        async with asyncio.timeout(30):
            await noticed.wait()  # what others committed meanwhile was heard by nobody
    database.close()


async def fresh(database: Database) -> range:
    """As many values that are not there yet as make every connection be used."""
    most = max(await database.read(values), default=0)
    return range(most + 1, most + 20)


async def test_a_server_that_stopped_to_answer_is_unavailable_before_long(server: PostgresqlServer, url: str) -> None:
    database = Database.open(url, replace(PATIENT, connect=1, wait=1, unit=1))

    async def used() -> bool:
        try:
            await database.write(lambda tx: tx.execute(text("CREATE TABLE IF NOT EXISTS parent (id INTEGER)")))
            await database.read(values)
            await database.glance(values)
            await database.check()
        except Refusal:  # on a busy machine it may take longer than these limits
            return False
        return True

    await eventually("the database is used", used, within=30)
    server.pause()
    try:
        await asyncio.gather(*(unavailable(database.write, insert, value) for value in range(6)))
        await unavailable(database.read, values)
        await unavailable(database.glance, values)
        await unavailable(database.check)
    finally:
        server.resume()
    await eventually("the database is used again", used, within=30)
    database.close()


async def test_a_commit_that_is_not_answered_is_not_taken_for_done(server: PostgresqlServer, url: str) -> None:
    def commits_slowly(tx: Connection) -> None:
        tx.execute(
            text("CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(600); END' LANGUAGE plpgsql")
        )
        deferred = "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON parent DEFERRABLE INITIALLY DEFERRED"
        tx.execute(text(f"{deferred} FOR EACH ROW EXECUTE FUNCTION slow()"))

    async def committing() -> bool:
        query = text("SELECT count(*) > 0 FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'")
        return bool(await database.read(lambda tx: tx.execute(query).scalar()))

    database = Database.open(url, PATIENT)
    await database.write(create)
    await database.write(commits_slowly)
    task = asyncio.create_task(unavailable(database.write, insert, 1))
    await eventually("the unit commits", committing)
    server.kill()
    await task
    server.start()
    assert await database.read(values) == []
    database.close()


async def test_a_unit_that_is_lost_after_its_caller_went_leaves_one_line_and_no_unseen_exception(
    server: PostgresqlServer, url: str
) -> None:
    async def at_work() -> bool:
        query = text("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        return bool(await database.read(lambda tx: tx.execute(query).scalar()))

    async def is_lost() -> bool:
        return "database unavailable" in [each["event"] for each in logged]

    unseen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    database = Database.open(url, PATIENT)
    caller = asyncio.create_task(database.write(lambda tx: tx.execute(text("SELECT pg_sleep(600)"))))
    await eventually("the unit is at work", at_work)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    with capture_logs() as logged:
        server.kill()
        try:
            await eventually("the unit is lost", is_lost)
        finally:
            server.start()
    assert await database.glance(lambda tx: tx.execute(text("SELECT 1")).scalar()) == 1
    gc.collect()
    assert unseen == []
    database.close()


async def test_a_unit_that_is_at_fault_after_its_caller_went_is_told_to_the_log(url: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def is_at_fault(_: Connection) -> None:
        begun.set()
        assert go_on.wait(50)
        raise LookupError("a fault of the unit")

    async def is_told() -> bool:
        return "a fault of the unit" in [str(each.get("exc_info")) for each in logged]

    database = Database.open(url, PATIENT)
    with capture_logs() as logged:
        caller = asyncio.create_task(database.write(is_at_fault))
        assert await asyncio.to_thread(begun.wait, 50)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
        await eventually("the fault is told", is_told)
    database.close()


async def test_a_database_that_is_not_there_yet_is_unavailable_and_then_used(server: PostgresqlServer) -> None:
    server.kill()
    database = Database.open(server.url(), PATIENT)
    await unavailable(database.read, lambda tx: tx.execute(text("SELECT 1")).scalar())
    server.start()
    assert await database.read(lambda tx: tx.execute(text("SELECT 1")).scalar()) == 1
    database.close()


async def test_a_server_that_starts_later_is_reached_as_soon_as_it_does(server: PostgresqlServer, url: str) -> None:
    server.kill()
    database = Database.open(url, PATIENT)
    with capture_logs() as logged:

        async def waits() -> bool:
            return "waiting for the database" in [each["event"] for each in logged]

        try:
            reached = asyncio.create_task(database.reach(50))
            await eventually("it says that it waits", waits)
        finally:
            server.start()
        assert await reached
    assert await database.read(lambda tx: tx.execute(text("SELECT 1")).scalar()) == 1
    database.close()


async def test_a_server_that_does_not_start_is_waited_for_no_longer_than_asked(
    server: PostgresqlServer, url: str
) -> None:
    server.kill()
    database = Database.open(url, PATIENT)
    try:
        assert not await database.reach(0.1)
    finally:
        server.start()
    database.close()


async def test_a_server_that_has_no_such_database_or_lets_nobody_in_is_not_waited_for(
    server: PostgresqlServer,
) -> None:
    server.require_password("nobody")
    for url in (server.url("nowhere"), server.url().replace("moorage@", "nobody:wrong@")):
        database = Database.open(url, PATIENT)
        async with asyncio.timeout(30):
            assert await database.reach(3600)
        await unavailable(database.check)
        database.close()


async def test_a_password_may_come_from_a_file_and_is_told_to_nobody(
    server: PostgresqlServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.require_password("guarded")
    with psycopg.connect(server.url(), autocommit=True) as administrator:
        administrator.execute("CREATE ROLE guarded LOGIN PASSWORD 'tell-nobody'")
    file = tmp_path / "passfile"
    file.write_text("*:*:*:guarded:tell-nobody\n")
    file.chmod(0o600)
    url = server.url().replace("moorage@", "guarded@")
    database = Database.open(f"{url}&passfile={file}", PATIENT)
    assert await database.read(lambda tx: tx.execute(text("SELECT current_user")).scalar()) == "guarded"
    database.close()

    database = Database.open(url.replace("guarded@", "guarded:tell-nobody-else@"), PATIENT)
    with pytest.raises(Refusal) as caught:
        await database.check()
    database.close()
    error: BaseException | None = caught.value
    while error is not None:
        assert "tell-nobody" not in f"{error!r} {error}"
        error = error.__cause__
    assert "tell-nobody" not in "".join(capsys.readouterr())
    assert "tell-nobody" not in repr(database.engine)
