"""How long to wait before trying again: longer each time, up to a bound, and never all at once."""

import random
from collections.abc import Callable
from datetime import timedelta


class Backoff:
    """Waits that double from `first` up to `most`, each cut by up to half at random so that callers spread out."""

    def __init__(self, first: timedelta, most: timedelta, random: Callable[[], float] = random.random) -> None:
        self._first = first
        self._most = most
        self._random = random
        self._ceiling = first

    def next(self, at_least: timedelta | None = None) -> float:
        """Seconds to wait before the next try; `at_least` is what the other side asked for (`RetryInfo`)."""
        wait = self._ceiling * (1 - self._random() / 2)
        self._ceiling = min(self._ceiling * 2, self._most)
        return max(wait, at_least or wait).total_seconds()

    def reset(self) -> None:
        """Start again from `first`, after a success."""
        self._ceiling = self._first
