"""Staleness: Runtimes that fall silent, or get stuck, turn STALE, and turn back when they are seen again.

Any number of instances look after it upon one database, and it does not matter which does: who was seen, and what was
reported, stands there. Only what was sent over a stream is known to the instance that holds it.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Protocol

from moorage.director.v1.runtime_state_pb2 import RuntimeState

from certs.clock import Clock
from director import runtime_states
from director.changes import read_plane
from director.mutate import Occasion
from director.runtime_states import Missed
from director.store import Transaction
from director.store import runtime_states as store
from director.times import to_micros
from mesh import telemetry
from mesh.database import Database

_REQUEST_ID = "staleness"
"""What the change log has for the id of a call."""

_MICROSECOND = timedelta(microseconds=1)
_log = telemetry.logger("staleness")


class Streams(Protocol):
    """What the hub knows of the streams that agents hold here."""

    def overdue(self, seconds: float) -> Mapping[str, int]:
        """Runtimes, by their ids, that were sent content longer ago than that, with the revision of the first of it."""

    def answered(self, reported: Mapping[str, int]) -> None:
        """Take note of the revisions that Runtimes have reported about."""


class Staleness:
    """Has Runtimes STALE and takes them back. `actor` is the SPIFFE ID that the change log has for who did it.

    `silent_after`: how long a Runtime may neither call nor stream; `apply_deadline`: how long it may say nothing of
    what it was sent. `ValueError` unless each is any time.
    """

    def __init__(
        self,
        database: Database,
        streams: Streams,
        clock: Clock,
        new_id: Callable[[], str],
        actor: str,
        *,
        silent_after: timedelta,
        apply_deadline: timedelta,
    ) -> None:
        if min(silent_after, apply_deadline) <= timedelta():
            raise ValueError("runtime_stale_after and apply_deadline must be more than 0 seconds")
        self.silent_after = silent_after
        self.apply_deadline = apply_deadline
        self._database = database
        self._streams = streams
        self._clock = clock
        self._new_id = new_id
        self._actor = actor

    async def sweep(self) -> None:
        """Have STALE those who are silent or stuck; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        waiting = _parts(await self._unanswered(), store.MOST)
        missed = self._missed({})
        is_due = await self._database.read(store.is_any_due, missed.unseen_since, missed.applying_since)
        while waiting or is_due:
            missed = self._missed(waiting.pop() if waiting else {})
            turned = await self._database.write(runtime_states.turn_stale, self._occasion(), missed)
            is_due = turned > 0
            if turned:
                _log.warning("runtimes are stale", number=turned)

    async def take_back(self) -> None:
        """Have those as they were who are seen again; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        stale_after = self.silent_after // _MICROSECOND
        while await self._database.read(store.is_any_returned, stale_after):
            await self._database.write(runtime_states.take_back, self._occasion(), stale_after)

    async def count(self) -> None:
        """Have the metrics say how many Runtimes there are in each state; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        numbers = await self._database.read(store.count)
        for value in RuntimeState.DESCRIPTOR.values:
            if value.number:
                name = value.name.removeprefix("RUNTIME_STATE_")
                telemetry.RUNTIMES.labels(name).set(numbers.get(value.number, 0))

    async def _unanswered(self) -> Mapping[str, int]:
        """The Runtimes that hold a stream here, were sent something long ago, and have not reported about it."""
        overdue = self._streams.overdue(self.apply_deadline.total_seconds())
        if not overdue:
            return {}
        reported = await self._database.read(_reported, overdue.keys())
        self._streams.answered({id: revision for id, revision in reported.items() if revision is not None})
        return {id: revision for id, revision in overdue.items() if id in reported and (reported[id] or -1) < revision}

    def _missed(self, unanswered: Mapping[str, int]) -> Missed:
        now = self._clock()
        return Missed(
            unseen_since=to_micros(now - self.silent_after),
            applying_since=to_micros(now - self.apply_deadline),
            unanswered=unanswered,
            stale_after=self.silent_after.total_seconds(),
            apply_deadline=self.apply_deadline.total_seconds(),
        )

    def _occasion(self) -> Occasion:
        return Occasion(self._clock(), self._actor, _REQUEST_ID, self._new_id)


def _reported(tx: Transaction, runtime_ids: Collection[str]) -> dict[str, int | None]:
    """The revision that each reported about last, as far as this plane knows of it."""
    head = read_plane(tx).revision
    reported = store.reported_revisions(tx, list(runtime_ids))
    return {id: revision if revision is not None and revision <= head else None for id, revision in reported.items()}


def _parts(values: Mapping[str, int], size: int) -> list[dict[str, int]]:
    items = list(values.items())
    return [dict(items[start : start + size]) for start in range(0, len(items), size)]
