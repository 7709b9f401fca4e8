"""One reader of the stream.

What a reader is to have next is not queued: it is the difference between the state that it was sent last and the state
that its view shows when it comes for more. A slow reader so skips what came in between.

No signal is lost, and none need be kept: the reader looks whether anything is due and, if not, begins to wait without
an await between the two; whoever makes something due does so, and then wakes it, on the same thread.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from moorage.director.v1.configuration_pb2 import ResetReason

from director.stream.encoding import Encoding, with_credentials_revision
from director.stream.log_reader import Arrival
from director.stream.view import Position, State, View
from mesh.errors import Refusal


class Sent(NamedTuple):
    """Content that was sent: at which revision, and when, in seconds of a clock that only goes forward."""

    revision: int
    time: float


class Subscription:
    """What the hub and one reader share. It belongs to the event loop's thread.

    `head()` is the revision up to which the views are read; `bookmark_after()` the seconds from one bookmark, of a
    reader that is sent nothing else, to the next; `now()` a clock in seconds, where the reader is an agent, which is to
    report what became of what it is sent.
    """

    __slots__ = (
        "_bookmark_after",
        "_bookmark_at",
        "_bookmark_due",
        "_credentials",
        "_credentials_held",
        "_encoding",
        "_end",
        "_head",
        "_now",
        "_opening",
        "_opening_has_content",
        "_reset",
        "_revision",
        "_sent",
        "_state",
        "_view",
        "_waiter",
        "arrival",
        "awaited",
        "closed",
    )

    def __init__(
        self,
        arrival: Arrival,
        head: Callable[[], int],
        bookmark_after: Callable[[], float],
        now: Callable[[], float] | None = None,
    ) -> None:
        self.arrival = arrival
        self.closed = False
        """Set once nothing more is to be sent."""
        self.awaited: Sent | None = None
        """The first content that it is not known to have reported about."""
        self._sent: Sent | None = None
        self._now = now
        self._head = head
        self._bookmark_after = bookmark_after
        self._bookmark_at = 0.0
        self._bookmark_due = False
        self._credentials = 0
        self._credentials_held = arrival.credentials_revision
        self._waiter: asyncio.Future[None] | None = None
        self._end: Refusal | None = None
        self._encoding: Encoding | None = None
        self._view: View | None = None
        self._opening: tuple[bytes, ...] = ()
        self._opening_has_content = False
        self._reset = ResetReason.RESET_REASON_UNSPECIFIED
        self._state: State | None = None
        self._revision = 0

    @property
    def opened(self) -> bool:
        """Whether the reader has a view."""
        return self._view is not None

    def begin_with_snapshot(self, encoding: Encoding, view: View, reset: ResetReason.ValueType) -> None:
        """Send all that `view` shows, and go on from there."""
        self._encoding, self._reset = encoding, reset
        self._credentials_held = 0  # the reader holds nothing any more
        self._begin(view)

    def resume(self, encoding: Encoding, view: View, opening: tuple[bytes, ...], *, has_content: bool) -> None:
        """Send `opening`, which leads the reader to the position of `view`, and go on from there.

        `has_content` unless that is a bookmark.
        """
        self._encoding, self._opening, self._opening_has_content = encoding, opening, has_content
        self._revision, self._state = view.position.revision, view.position.state
        self._begin(view)

    def tell_credentials(self, revision: int) -> None:
        """Have the reader know that `revision` last changed a credential of its own."""
        self._credentials = revision
        self.notify()

    def move(self, view: View) -> None:
        """Show the reader another view, whose position is at the revision of the move."""
        self._view = view
        self.notify()

    def answered(self, revision: int) -> None:
        """Take note that the reader has reported about `revision`: what was sent until then is not awaited any more."""
        if self.awaited is not None and self.awaited.revision <= revision:
            self.awaited = self._sent if self._sent is not None and self._sent.revision > revision else None

    def notify(self) -> None:
        """Have the reader look whether anything is due."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self, refusal: Refusal) -> None:
        """End the stream, for a reason that the reader is told."""
        if self._end is None:
            self._end = refusal
        self.close()
        self.notify()

    def close(self) -> None:
        """Send nothing more."""
        self.closed = True

    def tick(self, now: float) -> None:
        """Have the reader look, at this time of the loop, where a bookmark is due and the plane has moved on."""
        if self._view is not None and now >= self._bookmark_at:
            self._bookmark_at = now + self._bookmark_after()
            if self._head() > self._revision:
                self._bookmark_due = True
                self.notify()

    async def next(self) -> Iterable[bytes]:
        """The messages that are to be sent next, once there are any. Raises `Refusal` when the stream is ended."""
        while not (due := self._due()):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return due

    def _due(self) -> Iterable[bytes]:
        """What is to be sent now; nothing where the reader has all that its view shows."""
        if self._end is not None:
            raise self._end
        if self._view is None or self._encoding is None:
            return ()
        position = self._view.position
        due = self._configuration_due(self._encoding, position)
        if self._credentials <= self._credentials_held:
            return due
        self._credentials_held = self._credentials
        return with_credentials_revision(due or (self._bookmark(self._encoding, position.state),), self._credentials)

    def _configuration_due(self, encoding: Encoding, position: Position) -> Iterable[bytes]:
        """What of the view is to be sent now."""
        if self._opening:
            opening, self._opening = self._opening, ()
            if self._opening_has_content:
                self._note_sent()
            return opening
        before = self._state
        if before is None:
            self._state, self._revision = position.state, position.revision
            self._note_sent()
            return encoding.snapshot(position.revision, position.state, self._reset)
        if position.state is not before:
            self._state = position.state
            delta = position.deltas.get(before)
            if delta is None:
                delta = encoding.delta(position.revision, position.state, position.state.since(before))
                position.deltas[before] = delta
            if delta:
                self._revision = position.revision
                self._note_sent()
                return delta
        if self._bookmark_due:
            self._bookmark_due = False
            if self._head() > self._revision:
                return (self._bookmark(encoding, position.state),)
        return ()

    def _note_sent(self) -> None:
        if self._now is not None:
            self._sent = Sent(self._revision, self._now())
            if self.awaited is None:
                self.awaited = self._sent

    def _bookmark(self, encoding: Encoding, state: State) -> bytes:
        self._revision = self._head()
        return encoding.bookmark(self._revision, state)

    def _begin(self, view: View) -> None:
        self._bookmark_at = asyncio.get_running_loop().time() + self._bookmark_after()
        self.move(view)
