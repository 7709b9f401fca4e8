"""Databases are brought to the version of the code, on both engines."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text

from mesh import migration
from mesh.database import Database
from mesh.exits import Exit, Stopped
from mesh.migration import prepare
from tests.support.postgresql import PostgresqlServer
from tests.unit.mesh.units import PATIENT

FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

def upgrade():
    op.create_table("ships", sa.Column("name", sa.String(63), primary_key=True))
"""

SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    with op.batch_alter_table("ships") as ships:
        ships.add_column(sa.Column("berths", sa.Integer, nullable=False, server_default="1"))
"""

metadata = MetaData()
ships = Table(
    "ships",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("berths", Integer, nullable=False, server_default="1"),
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service's package with two migrations."""
    name = "harbour"
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    for folder in (tmp_path / name, versions.parent):
        (folder / "__init__.py").write_text('HEAD = "0002"\n')
    (versions / "0001_first.py").write_text(FIRST)
    (versions / "0002_second.py").write_text(SECOND)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database.open(database_url, PATIENT)
    yield database
    database.close()


def make_old(database: Database) -> None:
    """As the release before left it."""
    with database.engine.begin() as tx:
        tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
        tx.execute(text("CREATE TABLE ships (name VARCHAR(63) NOT NULL PRIMARY KEY)"))
        tx.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        tx.execute(text("INSERT INTO ships VALUES ('Argo')"))


def version(database: Database) -> str:
    with database.engine.begin() as tx:
        return str(tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def test_a_new_database_has_all_tables_at_once(database: Database, package: str) -> None:
    prepare(database.engine, metadata, package)
    with database.engine.begin() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []
    assert version(database) == "0002"


def test_an_old_database_is_migrated_and_keeps_its_rows(database: Database, package: str) -> None:
    make_old(database)
    prepare(database.engine, metadata, package)
    with database.engine.begin() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []
        assert tx.execute(select(ships)).all() == [("Argo", 1)]
    assert version(database) == "0002"


def test_a_migration_that_fails_leaves_all_as_it_was(database: Database, package: str, tmp_path: Path) -> None:
    make_old(database)
    second = tmp_path / package / "migrations" / "versions" / "0002_second.py"
    second.write_text(f"{SECOND}\n    op.execute('INSERT INTO nowhere VALUES (1)')\n")
    with pytest.raises(Stopped, match="cannot be used"):
        prepare(database.engine, metadata, package)
    with database.engine.begin() as tx:
        assert tx.execute(text("SELECT * FROM ships")).all() == [("Argo",)]
    assert version(database) == "0001"


def test_without_migrate_an_old_or_empty_database_is_refused_with_what_to_do(database: Database, package: str) -> None:
    for make in (lambda _: None, make_old):
        make(database)
        with pytest.raises(Stopped, match="run `moorage harbour migrate` first") as stopped:
            prepare(database.engine, metadata, package, migrate=False)
        assert stopped.value.code is Exit.SERVICE_FAILED
    prepare(database.engine, metadata, package)
    prepare(database.engine, metadata, package, migrate=False)


@pytest.mark.parametrize("oldest", ["NULL", "'0003'", "'0099'"])
def test_a_database_of_a_later_release_is_refused(database: Database, package: str, oldest: str) -> None:
    prepare(database.engine, metadata, package)
    with database.engine.begin() as tx:
        tx.execute(text(f"UPDATE alembic_version SET version_num = '0099', oldest = {oldest}"))
    with pytest.raises(Stopped, match="0099, which this release does not know"):
        prepare(database.engine, metadata, package)


@pytest.mark.check("trust-25")
@pytest.mark.parametrize("oldest", ["0001", "0002"])
@pytest.mark.parametrize("migrate", [False, True])
def test_a_database_of_a_later_release_that_says_that_this_one_works_on_it_is_left_as_it_is(
    database: Database, package: str, oldest: str, *, migrate: bool
) -> None:
    prepare(database.engine, metadata, package)
    with database.engine.begin() as tx:
        tx.execute(text(f"UPDATE alembic_version SET version_num = '0099', oldest = '{oldest}'"))
    prepare(database.engine, metadata, package, migrate=migrate)
    assert version(database) == "0099"


@pytest.mark.parametrize("old", [False, True])
def test_a_database_says_which_release_is_the_oldest_that_works_on_it(
    database: Database, package: str, tmp_path: Path, *, old: bool
) -> None:
    if old:
        make_old(database)
    constants = tmp_path / package / "migrations" / "__init__.py"
    constants.write_text('HEAD = "0002"\nOLDEST = "0001"\n')
    prepare(database.engine, metadata, package)
    with database.engine.begin() as tx:
        assert tx.execute(text("SELECT oldest FROM alembic_version")).scalar_one() == "0001"


@pytest.mark.parametrize("old", [False, True])
def test_instances_that_start_together_prepare_it_once(
    postgresql: PostgresqlServer, package: str, *, old: bool
) -> None:
    name = postgresql.create_database()
    databases = [Database.open(postgresql.url(name), PATIENT) for _ in range(4)]
    if old:
        make_old(databases[0])
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(prepare, each.engine, metadata, package) for each in databases]:
            done.result(50)
    with databases[0].engine.begin() as tx:
        tx.execute(insert(ships).values(name="Beagle"))
    assert version(databases[0]) == "0002"
    for each in databases:
        each.close()
    postgresql.drop_database(name)


def test_a_table_that_is_in_use_is_not_waited_for_too_long(
    postgresql: PostgresqlServer, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_TIMEOUT", 0.1)
    name = postgresql.create_database()
    database = Database.open(postgresql.url(name), PATIENT)
    make_old(database)
    with psycopg.connect(postgresql.url(name)) as other:
        other.execute("SELECT * FROM ships FOR UPDATE")
        with pytest.raises(Stopped, match="lock timeout"):
            prepare(database.engine, metadata, package)
        other.rollback()
    assert version(database) == "0001"
    database.close()
    postgresql.drop_database(name)
