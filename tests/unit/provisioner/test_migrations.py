"""The migrations lead to the tables that the code uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from moorage.provisioner.v1.runtime_pb2 import RUNTIME_STATE_RUNNING

import provisioner.migrations
from mesh.database import Database
from mesh.exits import Exit, Stopped
from mesh.migration import prepare
from provisioner import store


def test_head_names_the_newest_migration() -> None:
    scripts = ScriptDirectory(Path(*provisioner.migrations.__path__))

    assert scripts.get_heads() == [provisioner.migrations.HEAD]


def test_a_database_that_was_migrated_all_the_way_has_the_tables_of_the_metadata(empty: Database) -> None:
    at_version(empty, "")

    prepare(empty.engine, store.metadata, "provisioner")

    assert differences(empty) == []
    assert version(empty) == provisioner.migrations.HEAD


def test_a_new_database_is_at_the_head(empty: Database) -> None:
    prepare(empty.engine, store.metadata, "provisioner")

    assert differences(empty) == []
    assert version(empty) == provisioner.migrations.HEAD


def test_a_database_at_the_head_keeps_its_rows(empty: Database) -> None:
    prepare(empty.engine, store.metadata, "provisioner")
    with empty.engine.begin() as tx:
        store.insert_runtime(tx, store.Runtime("key", "id", "edge-1", "process", RUNTIME_STATE_RUNNING, "operation", 1))

    prepare(empty.engine, store.metadata, "provisioner")

    with empty.engine.begin() as tx:
        assert len(tx.execute(sqlalchemy.select(store.runtimes)).all()) == 1


def test_a_database_of_an_unknown_version_is_left_alone(empty: Database) -> None:
    at_version(empty, "9999")

    with pytest.raises(Stopped) as stopped:
        prepare(empty.engine, store.metadata, "provisioner")

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
    database = Database.open(f"sqlite:///{tmp_path / 'provisioner.sqlite'}")
    yield database
    database.close()
