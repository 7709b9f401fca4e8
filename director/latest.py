"""What a hub and one reader of it share: the latest view, and no queue of what came before."""

import asyncio
import contextlib
from typing import Generic, TypeVar

from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal

ViewT = TypeVar("ViewT")


class Reader(Generic[ViewT]):
    """One reader, on the event loop's thread. A view is never changed once shown: another one takes its place."""

    def __init__(self) -> None:
        self.revision = 0
        self._view: ViewT | None = None
        self._end: Refusal | None = None
        self._changed = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether there is anything to be sent from."""
        return self._view is not None

    def show(self, view: ViewT, revision: int) -> None:
        """Have the reader look at `view`, true at `revision`."""
        if self._view is not view:
            self._view, self.revision = view, revision
            self._changed.set()

    def end(self, refusal: Refusal) -> None:
        """End the stream, for a reason that the reader is told."""
        self._end = refusal
        self._changed.set()

    def view(self) -> ViewT:
        """What is true now. Raises `Refusal` where the stream is ended."""
        self._changed.clear()
        if self._end is not None or self._view is None:
            raise self._end or Refusal(Reason.REASON_NOT_READY, "the stream has not begun")
        return self._view

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to look at; says whether there is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        return self._changed.is_set()
