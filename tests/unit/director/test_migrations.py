"""The Director's migrations end where its tables are."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from director.store.tables import metadata
from mesh.database import Database
from mesh.migration import prepare

SCHEMA = text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
VERSION = text("SELECT version_num FROM alembic_version")


def test_a_migrated_database_is_as_a_new_one(tmp_path: Path) -> None:
    new, old = Database.open(f"sqlite:///{tmp_path}/new"), Database.open(f"sqlite:///{tmp_path}/old")
    with old.engine.begin() as tx:
        tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    for database in (new, old):
        prepare(database.engine, metadata, "director")
    with new.engine.begin() as made, old.engine.begin() as migrated:
        assert compare_metadata(MigrationContext.configure(migrated), metadata) == []
        assert made.execute(VERSION).all() == migrated.execute(VERSION).all()
        # What Alembic does not compare, such as the conditions of indexes and checks.
        schemas = [{(row.name, _clauses(row.sql)) for row in tx.execute(SCHEMA)} for tx in (made, migrated)]
    assert schemas[0] == schemas[1]
    new.close()
    old.close()


def _clauses(sql: str) -> frozenset[str]:
    """The parts of a CREATE statement, in whatever order they stand."""
    return frozenset(line.strip().rstrip(",").replace('"', "") for line in sql.splitlines())
