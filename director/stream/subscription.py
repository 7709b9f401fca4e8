"""One reader of the stream.

What a reader is to have next is not queued: it is the difference between the state that it was sent last and the state
that its view shows when it comes for more. A slow reader so skips what came in between.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from moorage.director.v1.configuration_pb2 import ResetReason

from director.stream.encoding import Encoding
from director.stream.log_reader import Arrival
from director.stream.view import State, View
from mesh.errors import Refusal


class Subscription:
    """What the hub and one reader share. It belongs to the event loop's thread.

    `head()` is the revision up to which the views are read; `bookmark_after()` the seconds after which a reader that
    was sent nothing is told of it.
    """

    def __init__(self, arrival: Arrival, head: Callable[[], int], bookmark_after: Callable[[], float]) -> None:
        self.arrival = arrival
        self.closed = False
        """Set once nothing more is to be sent."""
        self._head = head
        self._bookmark_after = bookmark_after
        self._signal = asyncio.Event()
        self._end: Refusal | None = None
        self._encoding: Encoding | None = None
        self._view: View | None = None
        self._opening: tuple[bytes, ...] = ()
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
        self.move(view)

    def resume(self, encoding: Encoding, view: View, opening: tuple[bytes, ...]) -> None:
        """Send `opening`, which leads the reader to the position of `view`, and go on from there."""
        self._encoding, self._opening = encoding, opening
        self._revision, self._state = view.position.revision, view.position.state
        self.move(view)

    def move(self, view: View) -> None:
        """Show the reader another view, whose position is at the revision of the move."""
        self._view = view
        self.notify()

    def notify(self) -> None:
        """Have the reader look at its view."""
        self._signal.set()

    def end(self, refusal: Refusal) -> None:
        """End the stream, for a reason that the reader is told."""
        if self._end is None:
            self._end = refusal
        self.closed = True
        self.notify()

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """What the reader is sent, until the stream is ended: then it raises `Refusal`."""
        while True:
            self._signal.clear()  # first clear, then look: what comes after the look sets it again
            due = self._due()
            if due is None:
                due = await self._bookmark_unless_signalled()
            for message in due:
                yield message

    def _due(self) -> Iterable[bytes] | None:
        """What is to be sent now. None: there is nothing, the reader has all that its view shows."""
        if self._end is not None:
            raise self._end
        if self._view is None or self._encoding is None:
            return None
        if self._opening:
            opening, self._opening = self._opening, ()
            return opening
        position, before = self._view.position, self._state
        if position.state is before:
            return None
        self._state = position.state
        if before is None:
            self._revision = position.revision
            return self._encoding.snapshot(position.revision, position.state, self._reset)
        delta = position.deltas.get(before)
        if delta is None:
            delta = self._encoding.delta(position.revision, position.state, position.state.since(before))
            position.deltas[before] = delta
        if delta:
            self._revision = position.revision
        return delta

    async def _bookmark_unless_signalled(self) -> Iterable[bytes]:
        try:
            async with asyncio.timeout(self._bookmark_after()):
                await self._signal.wait()
        except TimeoutError:
            head = self._head()
            # A view that moved while the timeout was on its way has set the signal: then there is more to say.
            if not self._signal.is_set() and self._encoding and self._state and head > self._revision:
                self._revision = head
                return (self._encoding.bookmark(head, self._state),)
        return ()
