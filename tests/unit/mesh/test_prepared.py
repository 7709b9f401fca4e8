"""Statements that the driver runs by itself: on both engines they do what SQLAlchemy would have them do."""

from collections.abc import AsyncIterator

import pytest
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    false,
    insert,
    select,
    update,
)

from mesh.database import Database, OneOf, Prepared, RolledBack
from mesh.errors import Refusal

THINGS = Table(
    "things",
    MetaData(),
    Column("id", String(36), primary_key=True),
    Column("number", BigInteger),
    Column("flag", Boolean, nullable=False, server_default=false()),
    Column("content", LargeBinary),
    Column("text", String, nullable=False, server_default="100 %"),
)
ROW = {"id": "one", "number": 2**40, "flag": True, "content": b"\0\xff", "text": "5 %"}
FIND = Prepared(select(THINGS).where(THINGS.c.id == bindparam("id")))
INSERT = Prepared(insert(THINGS), list(ROW))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.open(database_url)
    await database.write(lambda tx: THINGS.metadata.create_all(tx))
    yield database
    database.close()


async def test_a_row_comes_back_with_the_types_of_its_columns(database: Database) -> None:
    assert await database.write(INSERT.run, ROW) == 1
    assert await database.read(FIND.first, {"id": "one"}) == ROW
    assert await database.glance(FIND.first, {"id": "one"}) == ROW
    assert await database.read(FIND.first, {"id": "two"}) is None


async def test_columns_that_an_insert_does_not_name_have_their_defaults(database: Database) -> None:
    await database.write(Prepared(insert(THINGS), ["id"]).run, {"id": "one"})
    found = {"id": "one", "number": None, "flag": False, "content": None, "text": "100 %"}
    assert await database.read(FIND.first, {"id": "one"}) == found


async def test_many_rows_are_written_by_one_statement_each(database: Database) -> None:
    rows = [{**ROW, "id": f"{number}", "number": number} for number in range(5)]
    await database.write(INSERT.run_each, rows)
    assert [await database.read(FIND.first, {"id": row["id"]}) for row in rows] == rows


async def test_a_statement_says_how_many_rows_it_wrote(database: Database) -> None:
    await database.write(INSERT.run_each, [{**ROW, "id": f"{number}"} for number in range(3)])
    changed = update(THINGS).where(THINGS.c.id != bindparam("but")).values(number=bindparam("to"))
    assert await database.write(Prepared(changed).run, {"but": "1", "to": 7}) == 2
    assert await database.write(Prepared(delete(THINGS).where(THINGS.c.number == 7)).run, {}) == 2


@pytest.mark.parametrize("ids", [[], ["1"], ["1", "4", "none", "'; --"], ["0", "1", "2", "3", "4"]])
async def test_a_list_is_one_parameter(database: Database, ids: list[str]) -> None:
    rows = [{**ROW, "id": f"{number}"} for number in range(5)]
    await database.write(INSERT.run_each, rows)
    listed = Prepared(select(THINGS).where(OneOf(THINGS.c.id, "ids")).order_by(THINGS.c.id))
    assert await database.read(listed.all, {"ids": ids}) == [row for row in rows if row["id"] in ids]


async def test_what_an_update_returns_is_a_row(database: Database) -> None:
    await database.write(INSERT.run, ROW)
    counted = update(THINGS).values(number=THINGS.c.number + 1).returning(THINGS.c.number, THINGS.c.flag)
    assert await database.write(Prepared(counted).first, {}) == {"number": 2**40 + 1, "flag": True}


async def test_it_is_undone_with_its_unit(database: Database) -> None:
    def undone(tx: Connection, error: Exception) -> None:
        INSERT.run(tx, ROW)
        tx.execute(insert(THINGS).values(id="two"))
        raise error

    await database.write(undone, RolledBack(None))
    with pytest.raises(KeyError):
        await database.write(undone, KeyError("on purpose"))
    assert [await database.read(FIND.first, {"id": id}) for id in ("one", "two")] == [None, None]


async def test_what_the_database_refuses_is_refused_without_the_values(database: Database) -> None:
    await database.write(INSERT.run, ROW)
    with pytest.raises(Exception, match=r"(?i)unique") as caught:
        await database.write(INSERT.run, ROW)
    assert not isinstance(caught.value, Refusal)
    assert "one" not in str(caught.value).split()
    assert await database.write(INSERT.run, {**ROW, "id": "two"}) == 1


async def test_a_glance_of_it_writes_nothing(database: Database) -> None:
    with pytest.raises(Refusal) as caught:
        await database.glance(INSERT.run, ROW)
    assert caught.value.reason == Reason.REASON_DATABASE_UNAVAILABLE


async def test_a_parameter_that_stands_for_a_list_is_not_taken(database: Database) -> None:
    listed = Prepared(select(THINGS).where(THINGS.c.id.in_(bindparam("ids", expanding=True))))
    with pytest.raises(ValueError, match="list"):
        await database.read(listed.first, {"ids": ["one"]})
