"""Units that are committed together with those that wait beside them; on PostgreSQL each by itself, to the same end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select

from mesh.database import Database, Prepared, RolledBack, announce
from mesh.errors import Refusal

metadata = MetaData()
numbers = Table("numbers", metadata, Column("number", Integer, primary_key=True))
ADD = Prepared(insert(numbers), ["number"])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database.open(database_url)
    metadata.create_all(opened.engine)
    yield opened
    opened.close()


def add(tx: Connection, number: int) -> int:
    ADD.run(tx, {"number": number})
    return number


def refuse(tx: Connection, number: int) -> None:
    add(tx, number)
    raise Refusal(Reason.REASON_NAME_TAKEN, "refused")


def answer_only(tx: Connection, number: int) -> None:
    add(tx, number)
    raise RolledBack(number)


async def there(database: Database) -> list[int]:
    query = select(numbers.c.number).order_by(numbers.c.number)
    return list(await database.read(lambda tx: tx.execute(query).scalars().all()))


async def test_of_many_at_once_each_gets_its_own_answer_once_it_is_there(database: Database) -> None:
    async def one(number: int) -> None:
        assert await database.write_grouped(add, number) == number
        assert number in await there(database)

    await asyncio.gather(*(one(number) for number in range(100)))

    assert await there(database) == list(range(100))


async def test_each_fails_alone(database: Database) -> None:
    await database.write_grouped(add, 7)
    units = [add, refuse, add, answer_only, add, add]

    outcomes = await asyncio.gather(
        *(database.write_grouped(unit, number) for number, unit in enumerate(units)),
        database.write_grouped(add, 7),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], Refusal)
    assert isinstance(outcomes[6], Exception), "there is a 7 already"
    assert [outcomes[n] for n in (0, 2, 3, 4, 5)] == [0, 2, 3, 4, 5]
    assert await there(database) == [0, 2, 4, 5, 7]


async def test_what_is_answered_is_there_though_another_met_a_database_that_fails(
    database: Database,
) -> None:
    def fail(tx: Connection) -> None:
        tx.exec_driver_sql("SELECT * FROM nowhere")

    outcomes = await asyncio.gather(
        *(database.write_grouped(add, number) for number in range(3)),
        database.write_grouped(fail),
        return_exceptions=True,
    )

    written = [each for each in outcomes if not isinstance(each, BaseException)]
    assert written == await there(database)
    assert isinstance(outcomes[3], Exception)
    assert await database.write_grouped(add, 9) == 9


async def test_a_commit_that_announced_a_topic_is_noticed(database: Database) -> None:
    noticed = asyncio.Event()
    database.on_commit("numbers", noticed.set)
    await database.listen()

    def add_and_tell(tx: Connection, number: int) -> None:
        add(tx, number)
        announce(tx, "numbers")

    await asyncio.gather(*(database.write_grouped(add_and_tell, number) for number in range(5)))

    async with asyncio.timeout(20):
        await noticed.wait()


async def test_a_caller_that_goes_holds_nobody_else_up(database: Database) -> None:
    calls = [asyncio.create_task(database.write_grouped(add, number)) for number in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    stayed = [number for number in outcomes if not isinstance(number, BaseException)]
    assert stayed == list(range(1, 20, 2))
    assert set(stayed) <= set(await there(database))
