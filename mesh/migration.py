"""Bringing a service's database to the version of its code, before anything else touches it.

A service keeps its migrations in `PACKAGE/migrations/versions/`, as Alembic scripts, and names the newest in
`PACKAGE.migrations.HEAD`. A new database is made from the metadata at once, and one that is at the head is left as it
is: Alembic, which takes half a second to import, is needed for neither.
"""

import sqlite3
from importlib import import_module
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from mesh import telemetry
from mesh.exits import Exit, Stopped

_log = telemetry.logger("migration")

# Alembic's own table, declared here to be read and written without it.
_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def prepare(engine: Engine, metadata: MetaData, package: str) -> None:
    """Make the tables of a new database, or migrate those of an old one; all of it in one transaction.

    `package` is the service's, such as `connector`. Raises `Stopped` (SERVICE_FAILED) for a database of a version that
    this code does not know, and for one that cannot be used.
    """
    migrations = import_module(f"{package}.migrations")
    try:
        with engine.begin() as connection:
            _bring_to(connection, metadata, migrations.HEAD, Path(*migrations.__path__))
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise Stopped(
            Exit.SERVICE_FAILED,
            f"the database {engine.url.database} cannot be used: {cause}; mend that, or bring it back from a backup",
        ) from error


def _bring_to(connection: Connection, metadata: MetaData, head: str, folder: Path) -> None:
    if not inspect(connection).has_table(_version.name):
        metadata.create_all(connection)
        _version.create(connection)
        connection.execute(insert(_version).values(version_num=head))
        return
    current = connection.execute(select(_version.c.version_num)).scalar()
    if current != head:
        _migrate(connection, folder, current, head)


def _migrate(connection: Connection, folder: Path, current: str | None, head: str) -> None:
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
