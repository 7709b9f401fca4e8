"""Bringing a service's database to the version of its code, before anything else touches it.

A service keeps its migrations in `PACKAGE/migrations/versions/`, as Alembic scripts, and names the newest in
`PACKAGE.migrations.HEAD`. A new database is made from the metadata at once, and one that is at the head is left as it
is: Alembic, which takes half a second to import, is needed for neither.
"""

import sqlite3
from importlib import import_module
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from mesh import telemetry
from mesh.exits import Exit, Stopped

_log = telemetry.logger("migration")

# Alembic's own table, declared here to be read and written without it.
_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


LOCK_TIMEOUT = 5
"""Seconds that a migration on PostgreSQL waits for a table: whoever wants the table meanwhile waits behind it."""

STATEMENT_TIMEOUT = 900
"""Seconds that one statement of a migration may take on PostgreSQL, and that other instances wait for its end."""

_ADVISORY_LOCK = 0x6D6F6F72616765
"""The key of the lock under which one instance at a time migrates: "moorage"."""


def prepare(engine: Engine, metadata: MetaData, package: str, *, migrate: bool = True) -> None:
    """Make the tables of a new database, or migrate those of an old one; all of it in one transaction.

    `package` is the service's, such as `connector`. Instances that start together on one PostgreSQL server do it once.
    Without `migrate`, only what is there is looked at. Raises `Stopped` (SERVICE_FAILED) for a database of a version
    that this code does not know, for one that cannot be used, and, without `migrate`, for one that is not at the head.
    """
    migrations = import_module(f"{package}.migrations")
    try:
        with engine.begin() as connection:
            if _version_of(connection) == migrations.HEAD:
                return
            if not migrate:
                raise Stopped(
                    Exit.SERVICE_FAILED,
                    f"the database {engine.url.database} is not of this release: run `moorage {package} migrate` first",
                )
            if connection.dialect.name == "postgresql":
                _take_turns(connection)
            _bring_to(connection, metadata, migrations.HEAD, Path(*migrations.__path__))
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise Stopped(
            Exit.SERVICE_FAILED,
            f"the database {engine.url.database} cannot be used: {cause}; mend that, or bring it back from a backup",
        ) from error


def _take_turns(connection: Connection) -> None:
    """Wait until no other instance migrates, which may take as long as a migration does."""
    settings = (
        f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'; SET LOCAL idle_in_transaction_session_timeout = 0"
    )
    connection.execute(text(f"{settings}; SET LOCAL lock_timeout = 0"))
    connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    connection.execute(text(f"SET LOCAL lock_timeout = {round(1000 * LOCK_TIMEOUT)}"))


def _version_of(connection: Connection) -> str | None:
    """The version of the schema; an empty text for one that is before all versions, `None` where there is no schema."""
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.execute(select(_version.c.version_num)).scalar() or ""


def _bring_to(connection: Connection, metadata: MetaData, head: str, folder: Path) -> None:
    current = _version_of(connection)
    if current is None:
        metadata.create_all(connection)
        _version.create(connection)
        connection.execute(insert(_version).values(version_num=head))
    elif current != head:
        _migrate(connection, folder, current, head)


def _migrate(connection: Connection, folder: Path, current: str, head: str) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.script.revision import RevisionError

    scripts = ScriptDirectory(folder)
    try:
        pending = list(scripts.iterate_revisions(head, current or "base"))
    except RevisionError as error:
        raise Stopped(
            Exit.SERVICE_FAILED,
            f"the database is of version {current}, which this release does not know: run the one that wrote it",
        ) from error
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        for script in reversed(pending):
            script.module.upgrade()
            context.stamp(scripts, script.revision)
            _log.info("migrated", to=script.revision)
