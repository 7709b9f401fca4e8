"""The streams of one server that are open: whose each is, until when it may last, and why it ends before that."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from typing import Any

from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from mesh.call import Caller
from mesh.errors import Refusal

WRITE_TIMEOUT = 30.0
"""Seconds that one message of a stream may wait for a reader before the stream is ended."""

DRAIN_SPREAD = 1.0
"""Seconds over which a draining server ends its streams, so that their readers do not all come back at once."""

AGE_SPREAD = 0.1
"""By what part of its age, more or less, the end of a stream is moved at random: those that began together, after a
restart, do not end together."""

RESUME_AFTER = timedelta(milliseconds=20)
"""What readers whose stream has reached its age are asked to wait: as good as nothing."""

Check = Callable[[str, Caller | None], None]
"""Raises `Refusal` where the caller, of the method, is not to be answered any more."""


class Stream:
    """One open stream. It lasts for `age` seconds or as long as its caller's certificate, unless something ends it."""

    __slots__ = (
        "_begun",
        "_clock",
        "_ending",
        "_limit",
        "_loop",
        "_old_at",
        "_writing_since",
        "caller",
        "method",
        "task",
    )

    def __init__(self, method: str, limit: asyncio.Timeout, task: asyncio.Task[Any], clock: Clock, age: float) -> None:
        self.method = method
        self.task = task
        self.caller: Caller | None = None
        self._limit = limit
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._old_at = self._loop.time() + age
        self._writing_since: float | None = None
        self._ending: Refusal | None = None
        self._begun = False

    def admitted(self, caller: Caller | None) -> None:
        """Say whose it is."""
        self.caller = caller

    def begun(self) -> None:
        """Its first bytes are out: from now on it ends with its caller's certificate, at its age, or for a reason.

        Not before, for gRPC gives no status to a stream that is cut off while it begins. Raises `Refusal` where the
        stream was to end meanwhile.
        """
        self._begun = True
        if self._ending is not None:
            raise self._ending
        end = self._old_at
        if self.caller is not None:
            left = self.caller.not_after - self._clock()
            end = min(end, self._loop.time() + left.total_seconds())
        if end < inf:
            self._limit.reschedule(end)

    def writing(self) -> None:
        """A message is about to be written."""
        self._writing_since = self._loop.time()

    def written(self) -> None:
        """It was."""
        self._writing_since = None

    def look(self, before: float) -> None:
        """End it where it has been writing one message since `before`, in seconds of the loop's clock."""
        if self._writing_since is not None and self._writing_since < before and not self._limit.expired():
            self._limit.reschedule(self._loop.time())

    def end(self, refusal: Refusal, within: float = 0.0) -> None:
        """End it at a moment drawn from the next `within` seconds, for that reason. The first reason stands."""
        if self._ending is None and not self._limit.expired():
            self._ending = refusal
            if self._begun:
                wait = random.uniform(0, within)  # noqa: S311 - spread, not secrecy
                self._limit.reschedule(self._loop.time() + wait)

    def why_ended(self, error: Exception) -> Refusal | None:
        """Why its limit ended it; None where the `error` that it ends with is not from there."""
        if not isinstance(error, TimeoutError) or not self._limit.expired():
            return None
        if self._ending is not None:
            return self._ending
        if self.caller is not None and self.caller.not_after <= self._clock():
            return Refusal(Reason.REASON_CERTIFICATE_EXPIRED, f"the certificate ended at {self.caller.not_after}")
        if self._old_at <= self._loop.time():
            return Refusal(Reason.REASON_NOT_READY, "the stream has reached its age", retry_after=RESUME_AFTER)
        return Refusal(
            Reason.REASON_NOT_READY,
            f"the reader took no message for {WRITE_TIMEOUT:.0f} s",
            retry_after=timedelta(seconds=1),
        )


class Streams:
    """All that are open on one server. Each lasts for `age` seconds, more or less a tenth; None for as long as it may.

    So readers that came to one instance while another was away spread over both again. `jitter()` is from 0 to 1. One
    whose reader has not taken a message for `write_timeout` seconds, or a little longer, ends, too.
    """

    def __init__(
        self,
        clock: Clock,
        age: float | None = None,
        jitter: Callable[[], float] = random.random,
        write_timeout: float = WRITE_TIMEOUT,
    ) -> None:
        self._clock = clock
        self._age = inf if age is None else age
        self._jitter = jitter
        self._write_timeout = write_timeout
        self._open: set[Stream] = set()
        self._looking: asyncio.TimerHandle | None = None

    @contextmanager
    def open(self, method: str, limit: asyncio.Timeout) -> Iterator[Stream]:
        """One more, which is the task at hand, for as long as the `with` lasts; `limit` is what ends it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of grpc's server runs in a task
        age = self._age * (1 + AGE_SPREAD * (2 * self._jitter() - 1))
        stream = Stream(method, limit, task, self._clock, age)
        self._open.add(stream)
        if self._looking is None:
            self._look_later()
        try:
            yield stream
        finally:
            self._open.discard(stream)

    def look_again(self, check: Check) -> None:
        """End, at once, each whose caller no longer passes `check`."""
        for stream in self._open:
            try:
                check(stream.method, stream.caller)
            except Refusal as refusal:
                stream.end(refusal)

    def drain(self) -> None:
        """End all of them within `DRAIN_SPREAD`."""
        for stream in self._open:
            stream.end(draining(), DRAIN_SPREAD)

    async def drained(self, within: float) -> None:
        """Wait until every one has ended, `within` seconds at most."""
        if self._open:
            await asyncio.wait([each.task for each in self._open], timeout=within)

    def _look(self) -> None:
        before = asyncio.get_running_loop().time() - self._write_timeout
        for stream in self._open:
            stream.look(before)
        self._looking = None
        if self._open:
            self._look_later()

    def _look_later(self) -> None:
        # One timer for all: one for each message, or stream, would cost as much as a tenth of a message.
        self._looking = asyncio.get_running_loop().call_later(self._write_timeout / 3, self._look)


def draining() -> Refusal:
    """What a server that stops answers."""
    wait = timedelta(seconds=random.uniform(0.1, DRAIN_SPREAD))  # noqa: S311 - spread, not secrecy
    return Refusal(Reason.REASON_NOT_READY, "the service is stopping", retry_after=wait)
