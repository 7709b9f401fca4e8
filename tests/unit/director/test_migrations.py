"""The Director's migrations end where its tables are, on both engines."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

import director.migrations
from director.migrations import HEAD
from director.store.tables import COUNTED, label_definitions, metadata, plane
from mesh.database import Database
from mesh.migration import prepare
from tests.support.postgresql import PostgresqlServer

VERSION = text("SELECT version_num FROM alembic_version")

ON_SQLITE = text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")

ON_POSTGRESQL = text(
    """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION SELECT table_name || '.' || column_name, concat_ws(' ', data_type, character_maximum_length, is_nullable,
        column_default, is_identity, collation_name) FROM information_schema.columns WHERE table_schema = 'public'
    """
)


@pytest.fixture
def databases(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    """Two with nothing in them."""
    if engine_name == "sqlite":
        urls = [f"sqlite:///{tmp_path}/{name}" for name in ("new", "old")]
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        urls = [server.url(server.create_database()) for _ in range(2)]
    new, old = (Database.open(url) for url in urls)
    yield new, old
    new.close()
    old.close()


def test_a_migrated_database_is_as_a_new_one(databases: tuple[Database, Database]) -> None:
    new, old = databases
    with old.engine.begin() as tx:
        tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    for database in databases:
        prepare(database.engine, metadata, "director")
    with new.engine.begin() as made, old.engine.begin() as migrated:
        for each in (made, migrated):
            assert compare_metadata(MigrationContext.configure(each), metadata) == []
            assert each.execute(VERSION).scalar_one() == HEAD
        assert _schema(made) == _schema(migrated)


def test_what_there_is_is_counted_by_the_migration(
    databases: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = databases[0]
    with database.engine.begin() as tx:
        tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    with monkeypatch.context() as before:
        before.setattr(director.migrations, "HEAD", "0001")
        prepare(database.engine, metadata, "director")
    definition = {"description": "", "schema": "", "create_time": 0, "update_time": 0, "revision": 1}
    with database.engine.begin() as tx:
        tx.execute(insert(plane).values(id=1, plane_id="p", revision=1, horizon=0))
        tx.execute(insert(label_definitions), [{"key": key, **definition} for key in ("a", "b", "c")])
    prepare(database.engine, metadata, "director")
    with database.engine.begin() as tx:
        assert tx.execute(select(*(plane.c[name] for name in COUNTED))).one() == (0, 0, 0, 3)


def _schema(tx: Connection) -> set[tuple[str, frozenset[str]]]:
    """What Alembic does not compare, such as the conditions of indexes and checks."""
    schema = ON_SQLITE if tx.dialect.name == "sqlite" else ON_POSTGRESQL
    own = (row for row in tx.execute(schema) if not row[0].startswith("alembic_version"))
    return {(name, _clauses(definition)) for name, definition in own}


def _clauses(sql: str) -> frozenset[str]:
    """The parts of a CREATE statement, in whatever order they stand."""
    parts = re.split(r",?\n|, (?![^(]*\))", sql.replace('"', ""))
    return frozenset(part.strip(" \t)") for part in parts) - {""}
