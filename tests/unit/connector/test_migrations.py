"""The migrations lead to the tables that the code uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import connector.migrations
from connector import store
from connector.store.authorities import record_authority
from mesh.database import Database
from mesh.exits import Exit, Stopped
from mesh.migration import prepare


def test_head_names_the_newest_migration() -> None:
    scripts = ScriptDirectory(Path(*connector.migrations.__path__))

    assert scripts.get_heads() == [connector.migrations.HEAD]


def test_a_database_that_was_migrated_all_the_way_has_the_tables_of_the_metadata(empty: Database) -> None:
    at_version(empty, "")

    prepare(empty.engine, store.metadata, "connector")

    assert differences(empty) == []
    assert version(empty) == connector.migrations.HEAD


def test_a_new_database_is_at_the_head(empty: Database) -> None:
    prepare(empty.engine, store.metadata, "connector")

    assert differences(empty) == []
    assert version(empty) == connector.migrations.HEAD


def test_a_database_at_the_head_keeps_its_rows(empty: Database) -> None:
    prepare(empty.engine, store.metadata, "connector")
    with empty.engine.begin() as tx:
        record_authority(tx, bytes(32), b"chain")

    prepare(empty.engine, store.metadata, "connector")

    with empty.engine.begin() as tx:
        assert len(tx.execute(sqlalchemy.select(store.tables.authorities)).all()) == 1


def test_a_file_that_is_no_database_is_left_alone_and_named(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite"
    file.write_bytes(b"no database" * 1000)
    database = Database.open(f"sqlite:///{file}")

    with pytest.raises(Stopped, match=f"{file} cannot be used: file is not a database") as stopped:
        prepare(database.engine, store.metadata, "connector")

    assert stopped.value.code is Exit.SERVICE_FAILED
    assert file.read_bytes() == b"no database" * 1000
    database.close()


def test_a_new_database_whose_making_was_interrupted_is_made_by_the_next_start(empty: Database) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    last = store.metadata.sorted_tables[-1]
    sqlalchemy.event.listen(last, "after_create", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            prepare(empty.engine, store.metadata, "connector")
    finally:
        sqlalchemy.event.remove(last, "after_create", interrupt)
    assert sqlalchemy.inspect(empty.engine).get_table_names() == []

    prepare(empty.engine, store.metadata, "connector")

    assert version(empty) == connector.migrations.HEAD


def test_a_database_of_an_unknown_version_is_left_alone(empty: Database) -> None:
    at_version(empty, "9999")

    with pytest.raises(Stopped) as stopped:
        prepare(empty.engine, store.metadata, "connector")

    assert stopped.value.code is Exit.SERVICE_FAILED
    assert version(empty) == "9999"


def at_version(database: Database, number: str) -> None:
    with database.engine.begin() as tx:
        tx.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        if number:
            tx.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{number}')")


def version(database: Database) -> object:
    with database.engine.begin() as tx:
        return tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()


def differences(database: Database) -> list[object]:
    with database.engine.begin() as tx:
        return list(compare_metadata(MigrationContext.configure(tx), store.metadata))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(f"sqlite:///{tmp_path / 'connector.sqlite'}")
    yield database
    database.close()
