"""The unit of work, on both engines."""

import asyncio
from collections.abc import Iterator

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, column, select, table, text, update
from sqlalchemy.exc import IntegrityError

from mesh.database import Database, RolledBack, announce
from mesh.errors import Refusal
from tests.unit.mesh.units import TOPIC, create, insert, insert_and_announce, values


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database.open(database_url)
    yield database
    database.close()


async def test_what_a_unit_writes_is_there_for_the_next_read(database: Database) -> None:
    await database.write(create)
    assert await database.write(insert, 7) == 7
    assert await database.read(values) == [7]


async def test_a_glance_sees_what_a_read_sees_and_writes_as_little(database: Database) -> None:
    await database.write(create)
    await database.write(insert, 7)
    assert await database.glance(values) == [7]
    with pytest.raises(Refusal):
        await database.glance(insert, 8)
    assert await database.glance(values) == [7]


async def test_what_a_unit_raises_undoes_it_and_reaches_the_caller(database: Database) -> None:
    def fails(tx: Connection) -> None:
        insert(tx, 1)
        raise KeyError("on purpose")

    await database.write(create)
    with pytest.raises(KeyError):
        await database.write(fails)
    assert await database.read(values) == []


async def test_a_unit_can_undo_itself_and_still_answer(database: Database) -> None:
    def tries(tx: Connection) -> int:
        raise RolledBack(insert(tx, 1))

    await database.write(create)
    assert await database.write(tries) == 1
    assert await database.read(values) == []


async def test_a_read_that_writes_is_refused(database: Database) -> None:
    await database.write(create)
    with pytest.raises(Refusal) as caught:
        await database.read(insert, 1)
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE


async def test_foreign_keys_are_held(database: Database) -> None:
    await database.write(create)
    with pytest.raises(IntegrityError):
        await database.write(lambda tx: tx.execute(text("INSERT INTO child VALUES (1)")))


async def test_units_that_write_at_once_and_lock_what_they_read_lose_nothing(database: Database) -> None:
    counter = table("parent", column("id"))

    def increment(tx: Connection) -> None:
        value = tx.execute(select(counter).with_for_update()).scalar_one()
        tx.execute(update(counter).values(id=value + 1))

    await database.write(create)
    await database.write(insert, 0)
    await asyncio.gather(*(database.write(increment) for _ in range(50)))
    assert await database.read(values) == [50]


async def test_only_a_commit_that_announced_the_topic_is_noticed(database: Database) -> None:
    noticed = asyncio.Event()
    await database.write(create)
    await database.listen()
    database.on_commit(TOPIC, noticed.set)
    await database.read(values)
    await database.check()
    for failure in (ZeroDivisionError(), KeyError()):
        with pytest.raises(type(failure)):
            await database.write(announcing, failure)
    await database.write(announcing, RolledBack(None))
    await database.write(insert, 1)
    await database.write(lambda tx: announce(tx, "another"))
    assert not noticed.is_set()
    await database.write(insert_and_announce, 2)
    async with asyncio.timeout(20):
        await noticed.wait()


def announcing(tx: Connection, failure: Exception) -> None:
    announce(tx, TOPIC)
    raise failure


async def test_a_failure_is_told_without_the_values_of_its_statement(database: Database) -> None:
    await database.write(create)
    with pytest.raises(IntegrityError) as caught:
        await database.write(lambda tx: [insert(tx, 31415926) for _ in range(2)])
    assert "31415926" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a database"):
        Database.open(url)
