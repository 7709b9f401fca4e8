"""The unit of work on SQLite."""

import asyncio
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, text

from mesh.database import Database
from mesh.errors import Refusal
from tests.unit.mesh.units import TOPIC, create, insert, insert_and_announce, values


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(f"sqlite:///{tmp_path}/state/x.sqlite")
    yield database
    database.close()


async def test_a_commit_is_noticed_even_when_its_caller_has_gone(database: Database) -> None:
    begun, go_on, noticed = threading.Event(), threading.Event(), asyncio.Event()

    def slow(tx: Connection) -> None:
        begun.set()
        assert go_on.wait(10)
        insert_and_announce(tx, 1)

    await database.write(create)
    database.on_commit(TOPIC, noticed.set)
    task = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    async with asyncio.timeout(10):
        await noticed.wait()
    assert await database.read(values) == [1]


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


def test_the_file_is_for_its_owner_alone(database: Database, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "state" / "x.sqlite").stat().st_mode) == 0o600
