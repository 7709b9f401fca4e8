"""Group commit: units that wait at the same time are committed together, for a commit costs more than what they do.

While one group is being written to disk, those that come wait and are the next group. Nobody waits for others to come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from mesh.database.unit import RolledBack

MOST_TOGETHER = 64
"""Units in one transaction."""

Unit = Callable[[Connection], Any]


class Grouped:
    """`write(unit)` runs one unit in a transaction of its own; `is_fatal(error)` says which errors end it."""

    def __init__(
        self, write: Callable[[Unit], Awaitable[Any]], is_fatal: Callable[[BaseException | None], bool]
    ) -> None:
        self._write = write
        self._is_fatal = is_fatal
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    async def run(self, unit: Unit) -> Any:
        """Run a unit with those that wait beside it; answers once they are committed. What it raises is its own."""
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(unit, outcome))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        return await outcome

    async def _commit(self) -> None:
        try:
            while self._waiting:
                group = [each for each in self._waiting[:MOST_TOGETHER] if not each.outcome.done()]
                del self._waiting[:MOST_TOGETHER]
                if group:
                    await self._commit_group(group)
        finally:
            self._committing = None

    async def _commit_group(self, group: "Sequence[_Waiting]") -> None:
        try:
            outcomes = await self._outcomes(group)
        except asyncio.CancelledError:  # the process ends
            for each in group:
                each.outcome.cancel()
            raise
        except Exception as error:
            outcomes = [_Done(None, error)] * len(group)
        for each, done in zip(group, outcomes, strict=True):
            if each.outcome.done():
                continue  # its caller went
            if done.error is None:
                each.outcome.set_result(done.result)
            else:
                each.outcome.set_exception(done.error)

    async def _outcomes(self, group: "Sequence[_Waiting]") -> "Sequence[_Done]":
        if len(group) == 1:
            return [_Done(await self._write(group[0].unit), None)]
        # Most groups have no unit that fails, and need no savepoints. One that has is begun again, with them.
        outcomes: Sequence[_Done]
        try:
            outcomes = await self._write(lambda tx: [self._run_plainly(tx, each.unit) for each in group])
        except _OneFailed:
            outcomes = await self._write(lambda tx: [self._run_one(tx, each.unit) for each in group])
        return outcomes

    def _run_plainly(self, tx: Connection, unit: Unit) -> "_Done":
        try:
            return _Done(unit(tx), None)
        except Exception as error:
            if self._is_fatal(_cause(error)):
                raise
            raise _OneFailed from error

    def _run_one(self, tx: Connection, unit: Unit) -> "_Done":
        driver: Any = tx.connection.driver_connection
        driver.execute("SAVEPOINT unit")
        try:
            done = _Done(unit(tx), None)
        except RolledBack as rolled_back:
            done = _Done(rolled_back.result, None)
            driver.execute("ROLLBACK TO unit")
        except Exception as error:
            if self._is_fatal(_cause(error)):
                raise
            done = _Done(None, error)
            driver.execute("ROLLBACK TO unit")
        driver.execute("RELEASE unit")
        return done


def _cause(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


class _OneFailed(Exception):
    """A unit of the group failed, which is no reason for the others to."""


class _Waiting(NamedTuple):
    unit: Unit
    outcome: "asyncio.Future[Any]"


class _Done(NamedTuple):
    result: Any
    error: Exception | None
