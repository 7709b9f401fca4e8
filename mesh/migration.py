"""Bringing a service's database to the version of its code, before anything else touches it.

A service keeps its migrations in `PACKAGE/migrations/versions/`, as Alembic scripts whose numbers grow, and names the
newest in `PACKAGE.migrations.HEAD`. A new database is made from the metadata at once, and one that is at the head is
left as it is: Alembic, which takes half a second to import, is needed for neither.

While instances are replaced one by one, some of the release before run, and restart, on the schema of the new one. That
names the oldest version whose code can, in `PACKAGE.migrations.OLDEST`, and the database says so to them: the names of
later versions tell them nothing. Without it only the code of the same version works.
"""

import sqlite3
from importlib import import_module
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from mesh import telemetry
from mesh.exits import Exit, Stopped

_log = telemetry.logger("migration")

# Alembic's own table, declared here to be read and written without it, and with a column more.
_version = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True), Column("oldest", String(32))
)


LOCK_TIMEOUT = 5
"""Seconds that a migration on PostgreSQL waits for a table: whoever wants the table meanwhile waits behind it."""

STATEMENT_TIMEOUT = 900
"""Seconds that one statement of a migration may take on PostgreSQL, and that other instances wait for its end."""

_ADVISORY_LOCK = 0x6D6F6F72616765
"""The key of the lock under which one instance at a time migrates: "moorage"."""


def prepare(engine: Engine, metadata: MetaData, package: str, *, migrate: bool = True) -> None:
    """Make the tables of a new database, or migrate those of an old one; all of it in one transaction.

    `package` is the service's, such as `connector`. Instances that start together on one PostgreSQL server do it once.
    A database of a later version that this code works on is left as it is. Without `migrate`, only what is there is
    looked at. Raises `Stopped` (SERVICE_FAILED) for a database of a version that this code does not know, for one that
    cannot be used, and, without `migrate`, for one that is of an earlier version.
    """
    migrations = import_module(f"{package}.migrations")
    try:
        with engine.begin() as connection:
            if _is_usable(connection, migrations.HEAD):
                return
        if not migrate:
            raise Stopped(
                Exit.SERVICE_FAILED,
                f"the database {engine.url.database} is not of this release: run `moorage {package} migrate` first",
            )
        with engine.begin() as connection:  # another one: who waits for a turn must hold nothing
            if connection.dialect.name == "postgresql":
                _take_turns(connection)
            if not _is_usable(connection, migrations.HEAD):  # nor has another instance made it so meanwhile
                _bring_to(connection, metadata, migrations.HEAD, Path(*migrations.__path__))
                _note_oldest(connection, getattr(migrations, "OLDEST", migrations.HEAD))
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


def _is_usable(connection: Connection, head: str) -> bool:
    """Whether the schema is that of the code, or a later one that says that this code works on it."""
    current = _version_of(connection)
    if current is None or current == head:
        return current == head
    if not _says_oldest(connection):
        return False
    oldest: str | None = connection.execute(select(_version.c.oldest)).scalar()
    if oldest is None or not oldest <= head < current:
        return False
    _log.info("the database is of a later version", version=current, this_release=head)
    return True


def _bring_to(connection: Connection, metadata: MetaData, head: str, folder: Path) -> None:
    current = _version_of(connection)
    if current is None:
        metadata.create_all(connection)
        _version.create(connection)
        connection.execute(insert(_version).values(version_num=head))
    else:
        _migrate(connection, folder, current, head)


def _note_oldest(connection: Connection, oldest: str) -> None:
    if not _says_oldest(connection):
        connection.execute(text(f"ALTER TABLE {_version.name} ADD COLUMN oldest VARCHAR(32)"))
    connection.execute(update(_version).values(oldest=oldest))


def _says_oldest(connection: Connection) -> bool:
    return any(column["name"] == "oldest" for column in inspect(connection).get_columns(_version.name))


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
