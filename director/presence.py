"""Presence: when Applications and Runtimes were last seen, and which of them are CONNECTED or STALE for it.

The call pipeline tells of each call and each stream; that costs a dictionary's update. What follows is written in the
background: of who has not been seen in the current round at once, so that its state turns with its first call, and of
everybody else together at the end of the round. None of it is a change of the registry, save that Runtimes turn STALE
and back, which `director.staleness` does.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from certs.clock import Clock
from certs.spiffe import Kind
from director.staleness import Staleness
from director.store import Transaction, presence
from director.store.registry import APPLICATIONS, RUNTIMES
from director.times import to_micros
from mesh import telemetry
from mesh.call import Caller
from mesh.database import Database
from mesh.pipeline import CallObserver

LONGEST_ROUND = timedelta(minutes=1)
"""How long a round takes; where Applications or Runtimes are STALE soon, a third of that time."""

_GATHERING = 0.2
"""Seconds between two units of work: all who come within are written together."""

_NEXT_TRY = 5.0
"""Seconds after which a round that failed is tried again, unless rounds are shorter: others go by what it writes."""

_LAST_WORD = 2.0
"""Seconds that writing may take when the process stops."""

_log = telemetry.logger("presence")


class Presence(CallObserver):
    """Keeps who is there. `start` it when the database is there; `stop` it when no more calls come.

    `stale_after`: how long an Application may be silent; `ValueError` unless that is any time. `staleness` is what
    looks after the Runtimes, where anything does.
    """

    def __init__(
        self, database: Database, clock: Clock, stale_after: timedelta, staleness: Staleness | None = None
    ) -> None:
        if stale_after <= timedelta():
            raise ValueError("stale_after must be more than 0 seconds")
        self._database = database
        self._clock = clock
        self._stale_after = stale_after
        self._staleness = staleness
        spans = (stale_after, staleness.silent_after, staleness.apply_deadline) if staleness else (stale_after,)
        self._round = min(LONGEST_ROUND, min(spans) / 3)
        self._parties = {Kind.APPLICATION: _Parties(), Kind.RUNTIME: _Parties()}
        self._watching_since = clock()
        self._last_round: datetime | None = None
        self._is_round_missing = False
        self._newcomers = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def called(self, caller: Caller) -> None:
        """Note that a party called."""
        parties = self._parties.get(caller.kind)
        if parties is not None:
            parties.seen[caller.name] = self._clock()
            if caller.name not in parties.written:
                self._newcomers.set()

    def stream_began(self, caller: Caller) -> None:
        """Note that a party holds a stream, and so is seen for as long as it does."""
        parties = self._parties.get(caller.kind)
        if parties is not None:
            parties.streams[caller.name] += 1

    def stream_ended(self, caller: Caller) -> None:
        """Note that a stream of a party ended."""
        parties = self._parties.get(caller.kind)
        if parties is not None:
            parties.seen[caller.name] = self._clock()
            parties.streams[caller.name] -= 1
            if not parties.streams[caller.name]:
                del parties.streams[caller.name]

    async def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.create_task(self._go_round(), name="presence")

    async def stop(self) -> None:
        """Write what is not written yet, and end."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        try:
            async with asyncio.timeout(_LAST_WORD):
                await self.end_round()
        except Exception as error:  # whatever it is: it must not keep the process from stopping
            _log.warning("who was here last is not known", error=str(error) or type(error).__name__)

    async def write_newcomers(self) -> None:
        """Write of those who were not seen before in this round; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        newcomers = {kind: parties.newcomers() for kind, parties in self._parties.items()}
        await self._write(newcomers)
        if self._staleness is not None and newcomers[Kind.RUNTIME]:
            await self._staleness.take_back()

    async def end_round(self) -> None:
        """Write of all who were seen in this round, and begin the next; raises `Refusal` (DATABASE_UNAVAILABLE)."""
        now = self._clock()
        late = self._last_round is not None and now - self._last_round > 2 * self._round + timedelta(seconds=_NEXT_TRY)
        self._last_round = now
        if self._is_round_missing or late:
            self._watching_since = now  # nobody could be seen, or nobody could write of it
        self._is_round_missing = True
        seen = {kind: parties.seen_again(now) for kind, parties in self._parties.items()}
        await self._write(seen)
        self._is_round_missing = False
        for kind, parties in self._parties.items():
            parties.keep(seen[kind])
        if self._staleness is not None:
            await self._staleness.take_back()

    async def sweep(self) -> None:
        """Have those STALE that were silent for too long, or are stuck; raises `Refusal` (DATABASE_UNAVAILABLE).

        For as long after the start nobody is: while no Director ran, nobody could be seen. The same holds after a time
        in which the database was away.
        """
        now = self._clock()
        watched = now - self._watching_since
        if self._staleness is not None:
            if watched >= self._staleness.silent_after:
                await self._staleness.sweep()
            await self._staleness.count()
        if watched >= self._stale_after:
            reason = f"neither called nor streamed for {self._stale_after.total_seconds():g} s"
            await self._database.write(presence.turn_stale, to_micros(now - self._stale_after), to_micros(now), reason)

    async def _write(self, seen: Mapping[Kind, Mapping[str, datetime]]) -> None:
        if any(seen.values()):
            now = self._clock()
            await self._database.write(_write, seen, now, now - self._stale_after)
            for kind, times in seen.items():
                self._parties[kind].written.update(times)

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._round.total_seconds()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(ends):
                    await self._newcomers.wait()
            self._newcomers.clear()  # before they are looked at: who comes while they are written is for the next time
            try:
                if loop.time() < ends:
                    await self.write_newcomers()
                else:
                    length = self._round.total_seconds()
                    ends = loop.time() + min(length, _NEXT_TRY)
                    await self.end_round()
                    ends = loop.time() + length
                    await self.sweep()
            except Exception as error:  # whatever it is: what was not written now is with the next round
                _log.warning("who is here was not written", error=str(error) or type(error).__name__)
            await asyncio.sleep(_GATHERING)


class _Parties:
    """The parties of one kind that were seen of late: by id, when that was, and as which time it was last written."""

    def __init__(self) -> None:
        self.seen: dict[str, datetime] = {}
        self.written: dict[str, datetime] = {}
        self.streams: Counter[str] = Counter()

    def newcomers(self) -> dict[str, datetime]:
        return {id: self.seen[id] for id in self.seen.keys() - self.written.keys()}

    def seen_again(self, now: datetime) -> dict[str, datetime]:
        self.seen.update(dict.fromkeys(self.streams, now))
        return {id: time for id, time in self.seen.items() if self.written.get(id) != time}

    def keep(self, seen_again: Mapping[str, datetime]) -> None:
        """Let go of all others, unless they came meanwhile: they are newcomers when they come again."""
        for id in [id for id, time in self.seen.items() if id not in seen_again and self.written.get(id) == time]:
            del self.seen[id], self.written[id]


def _write(tx: Transaction, seen: Mapping[Kind, Mapping[str, datetime]], now: datetime, stale_before: datetime) -> None:
    for kind, holders in ((Kind.RUNTIME, RUNTIMES), (Kind.APPLICATION, APPLICATIONS)):
        presence.note_seen(tx, holders, {id: to_micros(time) for id, time in seen[kind].items()})
    lately = [id for id, time in seen[Kind.APPLICATION].items() if time > stale_before]
    presence.turn_connected(tx, lately, to_micros(now), "it called")
