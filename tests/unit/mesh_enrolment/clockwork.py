"""Time that passes only when somebody sleeps."""

from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 1, tzinfo=UTC)


class Clockwork:
    """A clock, and the sleep that moves it on. `oversleep` is added to the next sleep: the host was suspended."""

    def __init__(self) -> None:
        self.now = START
        self.naps: list[float] = []
        self.oversleep = timedelta(0)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += timedelta(seconds=seconds) + self.oversleep
        self.oversleep = timedelta(0)

    @property
    def elapsed(self) -> timedelta:
        return self.now - START
