"""The unit of work on SQLite."""

import asyncio
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from mesh.database import Database, RolledBack
from mesh.errors import Refusal


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(f"sqlite:///{tmp_path}/state/x.sqlite")
    yield database
    database.close()


def create(tx: Connection) -> None:
    tx.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
    tx.execute(text("CREATE TABLE child (parent INTEGER REFERENCES parent (id))"))


def insert(tx: Connection, value: int) -> int:
    tx.execute(text("INSERT INTO parent VALUES (:value)"), {"value": value})
    return value


def values(tx: Connection) -> list[int]:
    return list(tx.execute(text("SELECT id FROM parent ORDER BY id")).scalars())


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


async def test_units_that_write_at_once_wait_their_turn_and_none_is_lost(database: Database) -> None:
    def increment(tx: Connection) -> None:
        highest = tx.execute(text("SELECT coalesce(max(id), 0) FROM parent")).scalar_one()
        insert(tx, highest + 1)

    await database.write(create)
    await asyncio.gather(*(database.write(increment) for _ in range(50)))
    assert await database.read(values) == list(range(1, 51))


async def test_a_commit_is_noticed_even_when_its_caller_has_gone(database: Database) -> None:
    begun, go_on, noticed = threading.Event(), threading.Event(), asyncio.Event()

    def slow(tx: Connection) -> None:
        begun.set()
        assert go_on.wait(10)
        insert(tx, 1)

    await database.write(create)
    database.on_commit(noticed.set)
    task = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    async with asyncio.timeout(10):
        await noticed.wait()
    assert await database.read(values) == [1]


async def test_a_read_or_a_failure_notices_nobody(database: Database) -> None:
    noticed = asyncio.Event()
    await database.write(create)
    database.on_commit(noticed.set)
    await database.read(values)
    await database.check()
    with pytest.raises(ZeroDivisionError):
        await database.write(lambda tx: 1 // 0)
    assert not noticed.is_set()


async def test_a_second_process_that_holds_the_lock_makes_writes_wait_and_not_fail(
    database: Database, tmp_path: Path
) -> None:
    await database.write(create)
    other = Database.open(f"sqlite:///{tmp_path}/state/x.sqlite")
    await asyncio.gather(*(each.write(insert, n) for n, each in enumerate([database, other] * 10, 1)))
    other.close()
    assert await database.read(values) == list(range(1, 21))


async def test_a_database_that_cannot_be_written_is_unavailable(tmp_path: Path, database: Database) -> None:
    def unwritable(tx: Connection) -> None:
        tx.execute(text("PRAGMA query_only = ON"))
        insert(tx, 1)

    await database.write(create)
    with pytest.raises(Refusal) as caught:
        await database.write(unwritable)
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE
    assert caught.value.retry_after
    assert await database.write(insert, 2) == 2


async def test_a_database_that_is_damaged_is_unavailable(tmp_path: Path, database: Database) -> None:
    await database.write(create)
    file = tmp_path / "state" / "x.sqlite"
    for each in (file, file.with_name("x.sqlite-wal")):
        each.write_bytes(b"no database" * 10_000)
    with pytest.raises(Refusal) as caught:
        await database.read(values)
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE


async def test_a_write_that_failed_fails_the_next_check_and_no_more(database: Database) -> None:
    def full(tx: Connection) -> None:
        tx.execute(text("PRAGMA max_page_count = 1"))
        for value in range(2000):
            insert(tx, value)

    await database.write(create)
    await database.check()
    with pytest.raises(Refusal):
        await database.write(full)
    with pytest.raises(Refusal) as caught:
        await database.check()
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE
    await database.check()


async def test_a_failure_is_told_without_the_values_of_its_statement(database: Database) -> None:
    await database.write(create)
    with pytest.raises(IntegrityError) as caught:
        await database.write(lambda tx: [insert(tx, 31415926) for _ in range(2)])
    assert "31415926" not in str(caught.value)


def test_the_file_is_for_its_owner_alone(database: Database, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "state" / "x.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a database"):
        Database.open(url)
