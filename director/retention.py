"""Forgetting in time: old changes, first answers and settled notices, so that the database does not grow for ever.

Each round also counts anew what the plane's row has the numbers of. Between two rounds the length of the change log is
looked at, too: it never has more revisions than are to be kept and those of the last `LOOK`, and of the moment that it
takes to forget these. Streams go on meanwhile. Each unit of work that shortens the log moves the horizon with it in one
commit, so a reading that finds the log too short for it knows that, and reads what it streams anew.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from certs.clock import Clock
from director.store import Transaction, replies
from director.store.changes import recount
from director.store.retention import forget_all_but, forget_changes, forget_notices
from director.times import to_micros
from mesh import telemetry
from mesh.database import Database

INTERVAL = timedelta(minutes=10)
"""Time between two rounds, give or take a fifth."""

LOOK = timedelta(seconds=10)
"""Time between two looks at how long the log is, give or take a fifth."""

MOST_REVISIONS = 1000
"""Revisions that one unit of work forgets: mutations wait for no longer than that takes."""

_log = telemetry.logger("retention")


@dataclass(frozen=True)
class Retention:
    """How long each thing is kept."""

    changes: timedelta
    """The change log, and with it memberships that have ended."""

    revisions: int
    """How many revisions the change log has at most, however young; 0 for as many as there are."""

    replies: timedelta
    """First answers to requests with a request id."""

    notices: timedelta
    """Notices that were delivered or given up."""


class Forgetting:
    """Goes round in the background. `start` it, and `stop` it."""

    def __init__(
        self, database: Database, retention: Retention, clock: Clock, jitter: Callable[[], float] = random.random
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go round from now on."""
        self._task = asyncio.create_task(self._go_round())

    async def stop(self) -> None:
        """End, with the unit of work at hand."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def forget(self) -> None:
        """One round; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        now = self._clock()
        await self.shorten()
        before = to_micros(now - self._retention.changes)
        while await self._database.write(forget_changes, before, MOST_REVISIONS):
            pass
        await self._database.write(
            _forget_the_rest, to_micros(now - self._retention.replies), to_micros(now - self._retention.notices)
        )
        if await self._database.write(recount):
            _log.info("counted anew")

    async def shorten(self) -> None:
        """Forget the revisions that are too many; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        kept = self._retention.revisions
        while kept and await self._database.write(forget_all_but, kept, MOST_REVISIONS):
            pass

    async def _go_round(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.shorten, LOOK))
            group.create_task(self._repeat(self.forget, INTERVAL))

    async def _repeat(self, work: Callable[[], Awaitable[None]], interval: timedelta) -> None:
        while True:
            await asyncio.sleep(interval.total_seconds() * (0.8 + 0.4 * self._jitter()))
            try:
                await work()
            except Exception as error:  # whatever it is: the next round must come
                _log.warning("could not forget", error=str(error) or type(error).__name__)


def _forget_the_rest(tx: Transaction, replies_before: int, notices_before: int) -> None:
    replies.drop_before(tx, replies_before)
    forget_notices(tx, notices_before)
