"""The unit of work on PostgreSQL: each runs on a thread, on a connection that is kept for units of its kind.

Nothing waits for ever: the server limits statements and locks, and a unit that has held its connection for too long
has it cut, which ends the unit as the loss of the server would.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import psycopg
from moorage.errors.v1.errors_pb2 import Reason
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database.connections import Connections, new_engine
from mesh.database.limits import Limits
from mesh.database.listener import CHANNEL, Listener
from mesh.database.reach import reach
from mesh.database.unit import Database, RolledBack, take_announcements, unavailable
from mesh.errors import Refusal

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 4
"""How often a unit is run in all, when it meets others in a deadlock."""

_FIRST_WAIT = timedelta(milliseconds=10)
_LONGEST_WAIT = timedelta(milliseconds=200)
_log = telemetry.logger("database")


class PostgresqlDatabase(Database):
    """A database of a PostgreSQL server. It may be used on one event loop."""

    def __init__(self, url: URL, limits: Limits) -> None:
        super().__init__()
        url = url.set(drivername="postgresql+psycopg")
        self.engine = new_engine(url, limits, "READ COMMITTED")
        self._reach = partial(reach, url, limits)
        self._writing = Connections(url, limits, "READ COMMITTED", read_only=False)
        self._reading = Connections(url, limits, "REPEATABLE READ", read_only=True)
        self._glancing = Connections(url, limits, "AUTOCOMMIT", read_only=True)
        self._kinds = (self._writing, self._reading, self._glancing)
        self._units: set[asyncio.Task[Any]] = set()
        self._listener = Listener(self.engine.dialect, url, limits, self._wake_after)
        self._listening: asyncio.Task[None] | None = None

    def on_commit(self, topic: str, notify: Callable[[], None]) -> None:
        """Have `notify()` called after each commit, here and elsewhere, that announced `topic`."""
        super().on_commit(topic, notify)
        with contextlib.suppress(RuntimeError):  # no loop runs yet: the first unit will find one
            self._listen()

    async def reach(self, within: float) -> bool:
        """Wait until the server takes connections, but no longer than `within` seconds; says whether it does."""
        return await self._reach(within)

    async def listen(self) -> None:
        """Wait until notices are heard, but no longer than connecting may take."""
        self._listen()
        await self._listener.up()

    async def write(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` in a transaction, READ COMMITTED."""

        async def write() -> T:
            try:
                result: T
                result, announced = await self._run(self._writing, _write, unit, args, kwargs)
            except Refusal as refusal:
                self._write_failed |= refusal.reason == Reason.REASON_DATABASE_UNAVAILABLE
                raise
            self._wake(announced)
            return result

        return await self._untorn(write())

    async def read(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` in a transaction, REPEATABLE READ and READ ONLY: all its statements see one snapshot."""
        result: T = await self._untorn(self._run(self._reading, _read, unit, args, kwargs))
        return result

    async def glance(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, ...)` outside of a transaction: a round trip for each statement and none beside."""
        result: T = await self._untorn(self._run(self._glancing, _read, unit, args, kwargs))
        return result

    async def check(self) -> None:
        """Raise `Refusal` (DATABASE_UNAVAILABLE) unless the server can be written and no write failed of late."""
        failed = self._failed_of_late()
        read_only = await self._untorn(self._run(self._writing, _read, _is_read_only, (), {}))
        if read_only or failed:
            raise unavailable()

    def close(self) -> None:
        """Close every connection at once; the units that run are rolled back."""
        if self._listening is not None and not self._listening.get_loop().is_closed():
            self._listening.cancel()
        for each in self._kinds:
            each.close()
        self.engine.dispose()

    async def _untorn(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, whether its caller waits for it or not."""
        if self._on_commit and self._listening is None:
            self._listen()
        task = asyncio.create_task(work)
        self._units.add(task)
        task.add_done_callback(self._units.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_see)
            raise

    async def _run(
        self, connections: Connections, run: Callable[..., Any], unit: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
        for tries_left in reversed(range(TRIES)):
            try:
                return await connections.run(run, unit, args, kwargs)
            except (DBAPIError, psycopg.Error) as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                if _met_others(cause) and tries_left:
                    await asyncio.sleep(backoff.next())
                elif _met_others(cause) or _is_of_the_database(cause):
                    _log.error("database unavailable", error=_told(cause))
                    raise unavailable() from error
                else:
                    _forget_values(error, cause)
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _listen(self) -> None:
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listener.run(self._is_own))

    def _wake(self, topics: Iterable[str]) -> None:
        if topics:
            asyncio.get_running_loop().call_soon(self._committed, topics)

    def _wake_after(self, topic: str | None) -> None:
        """A commit of another instance announced `topic`; or nobody knows what may have been announced."""
        self._wake(tuple(self._on_commit) if topic is None else (topic,))

    def _is_own(self, backend: int) -> bool:
        return self._writing.has(backend)


def _see(task: asyncio.Task[Any]) -> None:
    """Look at what became of a unit whose caller went: a refusal was for the caller alone, a fault is for the log."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, Refusal):
        _log.error("a unit of work failed", exc_info=error)


def _write(tx: Connection, unit: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Collection[str]]:
    """What the unit returned, and what it announced."""
    take_announcements(tx)  # those of a unit that failed
    driver = _driver(tx)
    with _transaction(tx, driver):
        try:
            result = unit(tx, *args, **kwargs)
        except RolledBack as rolled_back:
            driver.rollback()
            return rolled_back.result, ()
        announced = take_announcements(tx)
        if announced:
            # In one message with the commit, and so in one round trip; the commit that follows finds it done.
            notices = "".join(f"NOTIFY {CHANNEL}, '{topic}'; " for topic in announced)
            driver.execute(f"{notices}COMMIT".encode(), prepare=False)
        elif driver.pgconn.transaction_status == TransactionStatus.INERROR:
            # Its COMMIT would be a rollback that reports success.
            raise RuntimeError("a unit of work went on after a statement of it had failed")
        return result, announced


def _read(tx: Connection, unit: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    with _transaction(tx, _driver(tx)):
        return unit(tx, *args, **kwargs)


@contextlib.contextmanager
def _transaction(tx: Connection, driver: psycopg.Connection[Any]) -> Iterator[None]:
    """The driver begins a transaction by itself; it is ended there too: SQLAlchemy's way costs as much as a query."""
    try:
        yield
        driver.commit()
    except BaseException:
        with contextlib.suppress(psycopg.Error):  # the connection is gone, and the transaction with it
            driver.rollback()
        tx.rollback()  # what SQLAlchemy knows of it
        raise


def _driver(tx: Connection) -> psycopg.Connection[Any]:
    driver: psycopg.Connection[Any] = cast("psycopg.Connection[Any]", tx.connection.driver_connection)
    return driver


def _is_read_only(tx: Connection) -> bool:
    """Whether the server takes no writes: it is a standby, or was told so."""
    return bool(tx.execute(_READ_ONLY).scalar())


def _met_others(cause: BaseException | None) -> bool:
    """Whether the unit failed for others that ran beside it, and may do better when run again."""
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _MET_OTHERS


def _is_of_the_database(cause: BaseException | None) -> bool:
    """Whether it is the database that fails (away, full, locked, read-only), and not what was asked of it."""
    if not isinstance(cause, psycopg.Error):
        return False
    if cause.sqlstate is None:  # the client's own word: mostly that the server is not there, or no longer
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return cause.sqlstate in _UNAVAILABLE or cause.sqlstate[:2] in _UNAVAILABLE_CLASSES


def _told(cause: BaseException | None) -> str:
    """What happened, without the detail that has the values of the row which it happened to."""
    primary = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    return primary or str(cause)


def _forget_values(error: BaseException, cause: BaseException | None) -> None:
    """Have the text of an error that goes on say no more than `_told`: it goes to the log, and values do not."""
    for each in (error, cause):
        if each is not None:
            each.args = (_told(cause),)


_MET_OTHERS = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock."""

_UNAVAILABLE = frozenset({"25006", "55P03"})
"""A read-only transaction, and a lock that could not be had in time."""

_UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "53", "57", "58", "XX"})
"""Connection, authorization, no such database, resources, operator, system, internal (PostgreSQL, appendix A)."""

_READ_ONLY = text("SELECT current_setting('transaction_read_only') = 'on'")
