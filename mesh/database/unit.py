"""The contract of the unit of work, for both engines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import Connection, Engine

from mesh.database.limits import Limits
from mesh.errors import Refusal

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_AFTER = timedelta(seconds=1)
_ANNOUNCED = "moorage.announced"


class RolledBack(Exception):
    """Raised by a unit to undo all that it did and yet give `result` to its caller (`validate_only`, AIP-163)."""

    def __init__(self, result: Any) -> None:
        super().__init__("rolled back on purpose")
        self.result = result


class Database(ABC):
    """One service's own database. Make it with `open`, and `close` it.

    Units run on either engine, so they lock what they read in order to write it (`with_for_update`), and a statement
    that may fail without failing the unit stands in `tx.begin_nested()`. On PostgreSQL a unit that met a deadlock is
    run again from its beginning, so a unit changes nothing but the database.
    """

    engine: Engine
    """For migrations, which run before anything else does; it keeps no connection open."""

    def __init__(self) -> None:
        self._on_commit: dict[str, list[Callable[[], None]]] = {}
        self._write_failed = False

    @staticmethod
    def open(url: str, limits: Limits | None = None) -> "Database":
        """Open `sqlite:///PATH` or `postgresql://USER@HOST/NAME`, on which the parameters of libpq may follow.

        A new SQLite file, and its folder, are for their owner's eyes only. A PostgreSQL server is not yet connected
        to; `?host=/FOLDER` names one by the folder of its socket, `?passfile=FILE` a file with the password. Raises
        `ValueError` for any other URL, and `OSError` where the file cannot be made.
        """
        parsed = sqlalchemy.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            from mesh.database.sqlite import SqliteDatabase

            return SqliteDatabase(Path(parsed.database))
        if parsed.get_backend_name() == "postgresql" and parsed.database:
            from mesh.database.postgresql import PostgresqlDatabase

            return PostgresqlDatabase(parsed, limits or Limits())
        raise ValueError(f"not a database that this version can use: {parsed.render_as_string()}")

    def on_commit(self, topic: str, notify: Callable[[], None]) -> None:
        """Have `notify()` called on the event loop after each unit that announced `topic` and committed.

        On PostgreSQL also after those of other instances, and after a time in which their notices may have been missed.
        """
        self._on_commit.setdefault(topic, []).append(notify)

    async def reach(self, within: float) -> bool:
        """Wait until the server takes connections, but no longer than `within` seconds; says whether it does."""
        return True  # there is no server of SQLite

    async def listen(self) -> None:  # noqa: B027 - there is nothing to listen to on SQLite
        """Wait until the notices of other instances are heard, but no longer than connecting may take."""

    @abstractmethod
    async def write(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` in a transaction of its own and commit it.

        A caller that is cancelled does not tear the unit: it commits or rolls back whole, and a commit is
        noticed by those who asked for it.
        """

    async def write_grouped(
        self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `unit(tx, ...)` as `write` does, for small units of which many come at once.

        On SQLite, which writes one transaction at a time, those that wait together are committed together; each fails
        alone. A unit whose caller went before it began may not be run at all.
        """
        return await self.write(unit, *args, **kwargs)

    @abstractmethod
    async def read(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)`, which must not write, on one consistent snapshot of the database."""

    @abstractmethod
    async def glance(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` as `read` does, for a unit that reads a few small rows by their keys.

        It is the cheapest way to read. On PostgreSQL each statement of the unit has a snapshot of its own.
        """

    @abstractmethod
    async def check(self) -> None:
        """Raise `Refusal` (DATABASE_UNAVAILABLE) unless the database can be used now and no write failed of late.

        A full disk lets the database be used. So a write that it failed since the check before makes this one fail.
        """

    @abstractmethod
    def close(self) -> None:
        """Close every connection. SQLite lets the units that run end; on PostgreSQL they are rolled back."""

    def _committed(self, topics: Iterable[str]) -> None:
        """Tell those who asked for it that a unit committed which announced these. On the event loop's thread."""
        for topic in topics:
            for notify in self._on_commit.get(topic, ()):
                notify()

    def _failed_of_late(self) -> bool:
        """Whether a write failed since this was asked last."""
        failed, self._write_failed = self._write_failed, False
        return failed


def announce(tx: Connection, topic: str) -> None:
    """Have the commit of this unit, which runs in `write`, noticed by whoever asked for `topic`, on every instance.

    A topic is a word of lowercase letters.
    """
    tx.info.setdefault(_ANNOUNCED, set()).add(topic)


def take_announcements(tx: Connection) -> Collection[str]:
    """What was announced in this unit; the next unit on the connection begins without it."""
    announced: Collection[str] = tx.info.pop(_ANNOUNCED, ())
    return announced


def unavailable() -> Refusal:
    """What callers get for a database that cannot be used."""
    return Refusal(Reason.REASON_DATABASE_UNAVAILABLE, "the service cannot use its database", retry_after=_RETRY_AFTER)
