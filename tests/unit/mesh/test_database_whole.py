"""Transactions over a whole database: one snapshot, no end but their own, and no hindrance to others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mesh.database import Database
from mesh.database.whole import cause_of, open_whole, whole
from mesh.exits import Exit, Stopped
from tests.unit.mesh.units import create, insert, values


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    await database.write(create)
    yield database
    database.close()


def write_and_fail(url: str) -> None:
    with whole(open_whole(url, writes=True)) as tx:
        insert(tx, 1)
        raise RuntimeError


def insert_twice(url: str, value: str) -> None:
    with open_whole(url, writes=True).begin() as tx:
        tx.execute(text("CREATE TABLE words (word VARCHAR(40) PRIMARY KEY)"))
        for _ in range(2):
            tx.execute(text("INSERT INTO words VALUES (:value)"), {"value": value})


async def test_it_reads_one_snapshot_beside_whoever_writes(database: Database, database_url: str) -> None:
    await database.write(insert, 1)
    with whole(open_whole(database_url, writes=False)) as tx:
        assert values(tx) == [1]
        await database.write(insert, 2)
        assert values(tx) == [1]
    assert await database.read(values) == [1, 2]


async def test_one_that_reads_cannot_write(database: Database, database_url: str) -> None:
    with (
        pytest.raises(Stopped, match="the database cannot be used"),
        whole(open_whole(database_url, writes=False)) as tx,
    ):
        insert(tx, 1)


async def test_what_it_wrote_is_there_after_it_and_not_before(database: Database, database_url: str) -> None:
    with whole(open_whole(database_url, writes=True)) as tx:
        insert(tx, 1)
        assert await database.read(values) == []
    assert await database.read(values) == [1]


async def test_what_ends_in_an_error_leaves_nothing(database: Database, database_url: str) -> None:
    with pytest.raises(RuntimeError):
        write_and_fail(database_url)
    assert await database.read(values) == []


@pytest.mark.parametrize("engine_name", ["postgresql"], indirect=True)
@pytest.mark.parametrize("writes", [False, True])
async def test_the_server_limits_neither_a_statement_nor_the_time_between_two(database_url: str, writes: bool) -> None:
    with whole(open_whole(database_url, writes=writes)) as tx:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert tx.execute(text(f"SHOW {name}")).scalar() == "0"
        assert tx.execute(text("SHOW lock_timeout")).scalar() == "5s"


@pytest.mark.parametrize("writes", [False, True])
def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, writes: bool) -> None:
    with (
        pytest.raises(Stopped, match="unable to open") as caught,
        whole(open_whole(f"sqlite:///{tmp_path}/none.sqlite", writes=writes)),
    ):
        pass
    assert caught.value.code == Exit.SERVICE_FAILED
    assert not list(tmp_path.iterdir())


async def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/50% of it?#&.sqlite".replace("?", "%3F")
    database = Database.open(url)
    await database.write(create)
    with whole(open_whole(url, writes=True)) as tx:
        insert(tx, 1)
    assert await database.read(values) == [1]
    database.close()


def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(Stopped, match="the database cannot be used"),
        whole(open_whole(f"postgresql://moorage@/none?host={tmp_path}", writes=False)),
    ):
        pass


async def test_what_a_database_says_is_told_without_the_values_of_rows(database: Database, database_url: str) -> None:
    with pytest.raises(DBAPIError) as caught:
        insert_twice(database_url, "a secret")
    assert "secret" not in cause_of(caught.value)
    assert "unique" in cause_of(caught.value).lower()
