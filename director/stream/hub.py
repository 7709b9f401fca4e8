"""The hub: the one loop that follows the change log for all readers of this process.

What holds, and why no change is lost and none is sent early, twice or in part:

- Only the loop changes the views, and only between two readings. A commit, an arrival or a departure that comes while a
  reading is under way waits for the next one; the loop clears its signal before it begins a reading, so it never sleeps
  on one.
- A reading is one snapshot of the database at one revision, and it is taken in without an await: between two awaits,
  every view is exactly what the plane showed at `head`.
- A reader arrives by a reading, too. So it begins at the revision of that reading, and each later one reaches it.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache

from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.errors.v1.errors_pb2 import Reason

from director.store.changes import TOPIC
from director.stream import log_reader
from director.stream.admission import Admission
from director.stream.encoding import Encoding
from director.stream.log_reader import Arrival, Reading
from director.stream.subscription import Subscription
from director.stream.view import State, Views
from mesh import telemetry
from mesh.database import Database
from mesh.errors import Refusal
from mesh.following import Follower

_MOST_ARRIVALS = 256
"""Readers that arrive with one reading: a wave of reconnects must not hold up those who are there."""

_QUIET = 0.5

_LOOKS = 20
"""How often, in the time from one bookmark of an idle reader to the next, it is looked whose turn it is."""

_log = telemetry.logger("stream")


class Hub:
    """Streams configuration to any number of readers. `start` it when the database is there; `stop` ends all streams.

    `bookmark_interval`: seconds after which an idle reader is told how far it is; each wait is 0.5 to 1 times that.
    `poll_interval`: seconds after which the log is read though nobody said that it grew.
    `open_deadline`: seconds within which a stream has begun or is refused.
    `most_waiting`: streams that may wait to begin; those beyond them are refused at once (`director.stream.admission`).
    `arrivals_apart`: seconds from one reading with which readers arrive to the next: those of a wave come few at a
    time, and a reading for each few would cost more than all else that opens them. A change is not waited with.
    `chunk_bytes`: about the most that one message has.
    `retry_after`: seconds that readers are asked to wait when they are turned away; each 0.5 to 1.5 times that.
    `jitter()`: 0 to 1. `now()`: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        database: Database,
        *,
        bookmark_interval: float = 60.0,
        poll_interval: float = 5.0,
        open_deadline: float = 10.0,
        most_waiting: int = 1000,
        arrivals_apart: float = 0.01,
        chunk_bytes: int = 1024 * 1024,
        retry_after: float = 1.0,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._bookmark_interval = bookmark_interval
        self._open_deadline = open_deadline
        self._chunk_bytes = chunk_bytes
        self._retry_after = retry_after
        self._jitter = jitter
        self._admission = Admission(most_waiting, retry_after, jitter)
        self._now = now
        self._log = Follower(self._advance, "stream hub", _log, poll_interval=poll_interval, random=jitter)
        self._open: set[Subscription] = set()
        self._arrivals: list[Subscription] = []
        self._arrivals_apart = arrivals_apart
        self._let_in = 0.0
        self._came = 0.0
        self._departures: list[Subscription] = []
        self._bookmarks: asyncio.TimerHandle | None = None
        self._begin_anew()
        database.on_commit(TOPIC, self.wake)

    def _begin_anew(self) -> None:
        self._head: int | None = None
        self._encoding: Encoding | None = None
        self._views = Views()
        self._readers: dict[str, set[Subscription]] = {}

    @property
    def head(self) -> int:
        """The revision that all views are at."""
        return self._head or 0

    async def start(self) -> None:
        """Begin to follow the log."""
        await self._log.start()
        self._look_for_bookmarks()

    async def stop(self) -> None:
        """End every stream with NOT_READY, and refuse new ones."""
        await self._log.stop()
        if self._bookmarks is not None:
            self._bookmarks.cancel()
        self._turn_away("the service is stopping")

    def wake(self) -> None:
        """Say that the log may have grown. On the event loop's thread."""
        if self._open:  # nobody else is told anything
            self._log.wake()

    def overdue(self, seconds: float) -> dict[str, int]:
        """Runtimes, by their ids, whose agents were sent content longer ago than that, of which nothing is known yet.

        Each with the first revision that is awaited. What became of it may stand in the database: `answered` says so.
        """
        before = self._now() - seconds
        found: dict[str, int] = {}
        for subscription in self._open:
            awaited = subscription.awaited
            if awaited is not None and awaited.time < before:
                runtime_id = subscription.arrival.runtime_id
                found[runtime_id] = min(awaited.revision, found.get(runtime_id, awaited.revision))
        return found

    def answered(self, reported: Mapping[str, int]) -> None:
        """Take note of the revisions that Runtimes, by their ids, have reported about."""
        for runtime_id, revision in reported.items():
            for subscription in self._readers.get(runtime_id, ()):
                subscription.answered(revision)

    async def watch(self, request: WatchConfigurationRequest, *, by_agent: bool = True) -> AsyncGenerator[bytes, None]:
        """One stream: serialised `WatchConfigurationResponse` messages. `by_agent`: its reader is to report.

        Raises `Refusal`: RUNTIME_NOT_FOUND as soon as the Runtime is not in the registry, NOT_READY where the reader
        should come again, here or elsewhere.
        """
        if not self._log.is_followed:
            raise self._not_ready("the service does not stream now")
        self._admission.check()
        resume = request.resume if request.HasField("resume") else None
        arrival = Arrival(request.runtime_id, resume, request.credentials_revision)
        now = self._now if by_agent else None
        subscription = Subscription(arrival, self._current_head, self._bookmark_after, now)
        deadline = asyncio.get_running_loop().call_later(self._open_deadline, self._give_up, subscription)
        self._open.add(subscription)
        self._admission.enter(subscription)
        self._arrive(subscription)
        try:
            while True:
                for message in await subscription.next():
                    yield message
        finally:
            deadline.cancel()
            subscription.close()
            self._admission.leave((subscription,))
            self._open.discard(subscription)
            self._departures.append(subscription)

    async def settled(self, within: float) -> None:
        """Wait until no reader has come for half a second, `within` seconds at most: a wave of them is over."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while True:
            wait = min(max(self._came, begin) + _QUIET, begin + within) - loop.time()
            if wait <= 0:
                return
            await asyncio.sleep(wait)

    def _arrive(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()
        self._came = loop.time()
        self._arrivals.append(subscription)
        wait = self._let_in + self._arrivals_apart - self._came
        if wait <= 0:
            self._log.wake()
        elif len(self._arrivals) == 1:
            loop.call_later(wait, self._log.wake)

    async def _advance(self) -> None:
        self._let_go()
        waiting = [each for each in self._arrivals if not each.closed]
        if not waiting and not self._readers:
            self._begin_anew()  # nobody is told anything: there is nothing to follow
            return
        arriving, self._arrivals = waiting[:_MOST_ARRIVALS], waiting[_MOST_ARRIVALS:]
        if self._arrivals:
            self._log.wake()
        if arriving:
            self._let_in = asyncio.get_running_loop().time()
        arrivals = [each.arrival for each in arriving]
        try:
            reading = await self._database.read(log_reader.read, self._views, self._head, arrivals)
        except BaseException:
            self._arrivals[:0] = arriving
            raise
        try:
            self._take_in(reading, arriving)
            self._admission.leave(arriving)
        except Exception:
            # Views that were taken in by half cannot be trusted: the readers come again, and all is built anew.
            self._turn_away("the stream was interrupted")
            raise

    def _let_go(self) -> None:
        """Forget the readers that are gone."""
        for subscription in self._departures:
            runtime_id = subscription.arrival.runtime_id
            readers = self._readers.get(runtime_id, set())
            readers.discard(subscription)
            if not readers and self._readers.pop(runtime_id, None) is not None:
                self._views.remove(runtime_id)
        if self._departures:
            self._departures.clear()
            self._views.settle(self.head)

    def _take_in(self, reading: Reading, arriving: Sequence[Subscription]) -> None:
        """Move everything to the revision of `reading`. No await in here."""
        for subscription in arriving:
            if not subscription.closed:
                self._readers.setdefault(subscription.arrival.runtime_id, set()).add(subscription)
        moved = self._place(reading.runtimes)
        for runtime_id, revision in reading.credentials.items():
            for subscription in self._readers.get(runtime_id, ()):
                subscription.tell_credentials(revision)
        self._views.update(reading.groups, reading.applications)
        changed = self._views.settle(reading.revision)
        self._head = reading.revision
        for view in changed:
            for runtime_id in view.runtime_ids:
                for subscription in self._readers[runtime_id]:
                    subscription.notify()
        for runtime_id in moved:
            view = self._views.runtimes[runtime_id]
            view.move(reading.revision)
            for subscription in self._readers[runtime_id]:
                if subscription.opened:
                    subscription.move(view)
        self._open_streams(reading, arriving)

    def _place(self, runtimes: Mapping[str, frozenset[str] | None]) -> list[str]:
        """Put the Runtimes that have readers into their views; gives those that were in another, or in none."""
        moved = []
        for runtime_id, group_ids in runtimes.items():
            if runtime_id not in self._readers:
                continue
            if group_ids is None:
                self._views.remove(runtime_id)
                for subscription in self._readers.pop(runtime_id):
                    subscription.end(_no_such_runtime(runtime_id))
            elif self._views.place(runtime_id, group_ids):
                moved.append(runtime_id)
        return moved

    def _open_streams(self, reading: Reading, arriving: Sequence[Subscription]) -> None:
        encoding = self._encoding = self._encoding or Encoding(reading.plane_id, self._chunk_bytes)

        @cache
        def resumed(revision: int, held: frozenset[str], state: State) -> tuple[tuple[bytes, ...], bool]:
            delta = encoding.delta(reading.revision, state, state.since_revision(revision, held))
            return delta or (encoding.bookmark(reading.revision, state),), bool(delta)

        for subscription, opening in zip(arriving, reading.openings, strict=True):
            if subscription.closed:
                continue
            view = self._views.runtimes[subscription.arrival.runtime_id]
            view.move(reading.revision)
            if opening.held is None:
                subscription.begin_with_snapshot(encoding, view, opening.reset)
            else:
                messages, has_content = resumed(opening.revision, opening.held, view.position.state)
                subscription.resume(encoding, view, messages, has_content=has_content)

    def _give_up(self, subscription: Subscription) -> None:
        if not subscription.opened:
            subscription.end(self._not_ready("the service cannot read its change log now"))

    def _turn_away(self, why: str) -> None:
        for subscription in self._open:
            subscription.end(self._not_ready(why))
        self._arrivals.clear()
        self._departures.clear()
        self._begin_anew()

    def _not_ready(self, why: str) -> Refusal:
        retry_after = timedelta(seconds=self._retry_after * (0.5 + self._jitter()))
        return Refusal(Reason.REASON_NOT_READY, why, retry_after=retry_after)

    def _look_for_bookmarks(self) -> None:
        # One timer for all: one for each reader would wake the loop, idle or not, as often as there are readers.
        loop = asyncio.get_running_loop()
        now = loop.time()
        for subscription in self._open:
            subscription.tick(now)
        self._bookmarks = loop.call_later(max(self._bookmark_interval / _LOOKS, 0.001), self._look_for_bookmarks)

    def _current_head(self) -> int:
        return self.head

    def _bookmark_after(self) -> float:
        return self._bookmark_interval * (0.5 + self._jitter() / 2)


def _no_such_runtime(runtime_id: str) -> Refusal:
    return Refusal(Reason.REASON_RUNTIME_NOT_FOUND, f"there is no runtime {runtime_id}")
