"""Time that passes only when somebody sleeps."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 1, tzinfo=UTC)


class Clockwork:
    """A clock, and the sleep that moves it on.

    `oversleep` is added to the next sleep: the host was suspended. Each of `interruptions` happens, in turn, in a sleep
    that then lasts until it is given up, and in which no time passes. `meanwhile` happens once, in the next sleep.
    """

    def __init__(self) -> None:
        self.now = START
        self.naps: list[float] = []
        self.oversleep = timedelta(0)
        self.interruptions: list[Callable[[], None]] = []
        self.meanwhile: Callable[[], None] | None = None

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        if self.interruptions:
            self.interruptions.pop(0)()
            await asyncio.Event().wait()
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        self.now += timedelta(seconds=seconds) + self.oversleep
        self.oversleep = timedelta(0)

    @property
    def elapsed(self) -> timedelta:
        return self.now - START
