"""The unit of work on PostgreSQL."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import psycopg
import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from mesh.database import Database, Limits, announce
from mesh.errors import Refusal
from tests.support.postgresql import PostgresqlServer
from tests.support.wait import eventually
from tests.unit.mesh.units import PATIENT, TOPIC, create, insert, insert_and_announce, values


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture
def open_database(url: str) -> Iterator[Callable[..., Database]]:
    """Opens the database, once for each instance that a test has."""
    opened: list[Database] = []

    def open(limits: Limits = PATIENT) -> Database:
        opened.append(Database.open(url, limits))
        return opened[-1]

    yield open
    for each in opened:
        each.close()


@pytest.fixture
def database(open_database: Callable[..., Database]) -> Database:
    return open_database()


def wait_for_the_lock(tx: Connection) -> None:
    tx.execute(text("SELECT pg_advisory_xact_lock(1)"))


async def locked(url: str) -> psycopg.AsyncConnection[tuple[object]]:
    """A connection that has the lock until it is closed."""
    holder = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await holder.execute("SELECT pg_advisory_lock(1)")
    return holder


async def someone_waits(holder: psycopg.AsyncConnection[tuple[object]]) -> None:
    query = b"SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    async def waits() -> bool:
        return (await (await holder.execute(query)).fetchone()) == (True,)

    await eventually("a unit waits for the lock", waits)


async def refused(database: Database, unit: Callable[[Connection], object]) -> None:
    with pytest.raises(Refusal) as caught:
        await database.write(unit)
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE
    assert caught.value.retry_after


async def succeeds(database: Database, unit: Callable[[Connection], object]) -> bool:
    """Not at once, perhaps, for on a busy machine it may take longer than the limits that a test sets."""
    try:
        await database.write(unit)
    except Refusal:
        return False
    return True


async def test_a_commit_is_noticed_even_when_its_caller_has_gone(database: Database, url: str) -> None:
    noticed = asyncio.Event()

    def slow(tx: Connection) -> None:
        wait_for_the_lock(tx)
        insert_and_announce(tx, 1)

    await database.write(create)
    await database.listen()
    database.on_commit(TOPIC, noticed.set)
    holder = await locked(url)
    task = asyncio.create_task(database.write(slow))
    await someone_waits(holder)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await holder.close()
    async with asyncio.timeout(20):
        await noticed.wait()
    assert await database.read(values) == [1]


async def test_a_unit_that_meets_others_in_a_deadlock_is_run_again_a_few_times(database: Database) -> None:
    tries: list[int] = []

    def deadlocked(tx: Connection, times: int) -> int:
        tries.append(insert(tx, 1))
        if len(tries) <= times:
            tx.execute(text("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$"))
        return len(tries)

    await database.write(create)
    assert await database.write(deadlocked, 2) == 3
    assert await database.read(values) == [1]
    tries.clear()
    await database.write(lambda tx: tx.execute(text("DELETE FROM parent")))
    await refused(database, lambda tx: deadlocked(tx, 100))
    assert 2 < len(tries) < 10
    assert await database.read(values) == []


async def test_a_unit_that_goes_on_after_a_failed_statement_is_not_taken_for_committed(database: Database) -> None:
    def goes_on(tx: Connection, announced: bool) -> None:
        insert(tx, 1)
        with pytest.raises(IntegrityError):
            insert(tx, 1)
        if announced:
            announce(tx, TOPIC)

    await database.write(create)
    for announced in (False, True):
        with pytest.raises(Exception, match=r"statement|aborted"):
            await database.write(goes_on, announced)
    assert await database.read(values) == []


async def test_a_statement_may_fail_in_a_nested_transaction(database: Database) -> None:
    def goes_on(tx: Connection) -> None:
        insert(tx, 1)
        with pytest.raises(IntegrityError), tx.begin_nested():
            insert(tx, 1)
        insert(tx, 2)

    await database.write(create)
    await database.write(goes_on)
    assert await database.read(values) == [1, 2]


async def test_all_statements_of_a_read_see_one_snapshot(database: Database, url: str) -> None:
    def looks_twice(tx: Connection) -> list[list[int]]:
        before = values(tx)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("INSERT INTO parent VALUES (2)")
        return [before, values(tx)]

    await database.write(create)
    await database.write(insert, 1)
    assert await database.read(looks_twice) == [[1], [1]]
    assert await database.read(values) == [1, 2]


async def test_an_announced_commit_is_noticed_by_every_instance_once(open_database: Callable[..., Database]) -> None:
    here, there = open_database(), open_database()
    noticed: dict[str, int] = {"here": 0, "there": 0}
    news = asyncio.Event()

    def count(where: str) -> None:
        noticed[where] += 1
        news.set()

    async def until(expected: dict[str, int]) -> None:
        async with asyncio.timeout(20):
            while noticed != expected:
                news.clear()
                await news.wait()

    def announced(tx: Connection, value: int, topic: str = TOPIC) -> None:
        insert(tx, value)
        announce(tx, topic)

    await here.write(create)
    await here.listen()
    await there.listen()
    here.on_commit(TOPIC, lambda: count("here"))
    there.on_commit(TOPIC, lambda: count("there"))
    await here.write(insert, 1)  # without a word
    await here.write(announced, 2, "another")
    await here.write(announced, 3)
    await until({"here": 1, "there": 1})
    await there.write(announced, 4)
    await until({"here": 2, "there": 2})


async def test_what_is_announced_and_not_committed_is_noticed_by_nobody(open_database: Callable[..., Database]) -> None:
    here, there = open_database(), open_database()
    noticed = asyncio.Event()

    def fails(tx: Connection) -> None:
        announce(tx, TOPIC)
        raise KeyError("on purpose")

    await here.write(create)
    await there.listen()
    there.on_commit(TOPIC, noticed.set)
    with pytest.raises(KeyError):
        await here.write(fails)
    await here.write(insert, 1)  # on the same connection; what failed is not announced by it
    await there.write(lambda tx: None)
    noticed.clear()
    assert await there.read(values) == [1]
    assert not noticed.is_set()


async def test_a_statement_that_takes_too_long_is_ended(open_database: Callable[..., Database]) -> None:
    database = open_database(replace(PATIENT, statement=0.1))
    await refused(database, lambda tx: tx.execute(text("SELECT pg_sleep(600)")))
    await eventually("it is used again", partial(succeeds, database, lambda tx: None))


async def test_a_lock_is_not_waited_for_too_long(open_database: Callable[..., Database], url: str) -> None:
    database = open_database(replace(PATIENT, lock=0.1))
    holder = await locked(url)
    await refused(database, wait_for_the_lock)
    await holder.close()
    await eventually("the lock is had", partial(succeeds, database, wait_for_the_lock))


async def test_a_unit_that_holds_its_connection_for_too_long_is_ended(
    open_database: Callable[..., Database], url: str
) -> None:
    database = open_database(replace(PATIENT, unit=0.2))
    holder = await locked(url)
    await refused(database, wait_for_the_lock)
    await holder.close()
    await eventually("it is used again", partial(succeeds, database, lambda tx: None))


async def test_a_unit_waits_for_a_connection_but_not_too_long(open_database: Callable[..., Database], url: str) -> None:
    database = open_database(replace(PATIENT, connections=3, wait=0.2))
    holder = await locked(url)
    first = asyncio.create_task(database.write(wait_for_the_lock))
    await someone_waits(holder)
    await refused(database, lambda tx: None)
    await holder.close()
    await first
    await eventually("it is used again", partial(succeeds, database, lambda tx: None))


async def test_no_more_connections_are_made_than_the_limit_says(database: Database, url: str) -> None:
    await database.write(create)
    await database.listen()
    units = (database.write, database.read, database.glance)
    await asyncio.gather(*(unit(lambda tx: values(tx)) for unit in units for _ in range(30)))
    count = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    assert await database.read(lambda tx: tx.execute(count).scalar_one()) <= PATIENT.connections + 1


async def test_a_server_that_takes_no_writes_fails_the_check(database: Database, url: str) -> None:
    await database.check()
    with psycopg.connect(url, autocommit=True) as administrator:
        name = administrator.info.dbname
        administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        end_all = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"
        )
        administrator.execute(end_all, [name])
    with pytest.raises(Refusal) as caught:
        await database.check()
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE
    await refused(database, create)
