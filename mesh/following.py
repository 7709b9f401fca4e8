"""Following a log: one loop that reads it whenever it has grown, and often enough beside that to miss nothing."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

from structlog.typing import FilteringBoundLogger

from mesh.backoff import Backoff

_FIRST_RETRY = timedelta(milliseconds=100)
_LONGEST_RETRY = timedelta(seconds=5)


class Follower:
    """Calls `advance()` when it is woken, and after `poll_interval` seconds where nobody wakes it; one at a time.

    A wake that comes while it reads is for the next reading. A reading that raises is logged, and tried again after a
    wait. Between two readings `spacing` seconds pass at least. `random()` is 0 to 1.
    """

    def __init__(
        self,
        advance: Callable[[], Awaitable[None]],
        name: str,
        log: FilteringBoundLogger,
        *,
        poll_interval: float,
        spacing: float = 0.0,
        longest_retry: timedelta = _LONGEST_RETRY,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._advance = advance
        self._name = name
        self._log = log
        self._poll_interval = poll_interval
        self._spacing = spacing
        self._backoff = Backoff(_FIRST_RETRY, longest_retry, random)
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_followed(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._task is not None

    def wake(self) -> None:
        """Say that the log may have grown. On the event loop's thread."""
        self._work.set()

    async def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow(), name=self._name)

    async def stop(self) -> None:
        """Follow no longer; a reading under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_interval):
                    await self._work.wait()
            self._work.clear()  # before the reading: what comes during it is for the next one
            try:
                await self._advance()
            except Exception as error:  # whatever it is: the next reading must come
                wait = self._backoff.next()
                self._log.warning("the log could not be followed", of=self._name, retry_in=wait, exc_info=error)
                await asyncio.sleep(wait)
                self._work.set()
            else:
                self._backoff.reset()
                if self._spacing:
                    await asyncio.sleep(self._spacing)
