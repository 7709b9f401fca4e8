"""How many streams may wait to be opened, and when those for which there is no room are to come again.

An instance that has just started, or to which the readers of another have come, opens streams as fast as it can. What
comes faster than that must not pile up in it: each that waits takes memory, and gives up after a while anyway.
"""

import random
from collections.abc import Callable, Iterable
from datetime import timedelta

from moorage.errors.v1.errors_pb2 import Reason

from director.stream.subscription import Subscription
from mesh import telemetry
from mesh.errors import Refusal

LONGEST_WAIT = 30.0
"""Seconds that a reader is asked to wait at most, however many wait."""


class Admission:
    """The streams that wait to be opened, `most` of them at most.

    Those who are turned away are asked to wait for `retry_after` seconds, give or take half, for each time `most` that
    wait before them, here or turned away themselves. So about `most` come again in each `retry_after`. `jitter()` is
    from 0 to 1.
    """

    def __init__(self, most: int, retry_after: float, jitter: Callable[[], float] = random.random) -> None:
        self._most = most
        self._retry_after = retry_after
        self._jitter = jitter
        self._waiting: set[Subscription] = set()
        self._expected = 0

    def check(self) -> None:
        """Raise `Refusal` (NOT_READY) where there is no room for one more."""
        waiting = len(self._waiting)
        if waiting < self._most:
            return
        self._expected += 1
        telemetry.STREAMS_TURNED_AWAY.inc()
        wait = self._retry_after * (0.5 + self._jitter()) * (waiting + self._expected) / self._most
        raise Refusal(
            Reason.REASON_NOT_READY,
            f"{waiting} streams wait to be opened already",
            retry_after=timedelta(seconds=min(wait, LONGEST_WAIT)),
        )

    def enter(self, subscription: Subscription) -> None:
        """Have it wait, after `check`."""
        self._waiting.add(subscription)
        self._expected = max(self._expected - 1, 0)  # whoever comes may be one who was turned away
        telemetry.STREAMS_WAITING.set(len(self._waiting))

    def leave(self, subscriptions: Iterable[Subscription]) -> None:
        """They are open, or gone."""
        self._waiting.difference_update(subscriptions)
        if not self._waiting:
            self._expected = 0  # who has not come again by now comes to an instance that has room
        telemetry.STREAMS_WAITING.set(len(self._waiting))
