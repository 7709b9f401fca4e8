"""Delivery: the outbox's notices to the Applications, one durable workflow each.

A workflow is started under the notice's id, so however often it is asked for there is one, and after a restart it goes
on with the attempt that was next. What it is about is read from the outbox at each attempt: a webhook that was moved
or removed meanwhile counts as it is now.

No Application holds up another: each has its own few requests under way at a time, and its own share of notices that
are being tried.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, Literal
from weakref import WeakValueDictionary

from certs.clock import Clock
from director.store import Transaction, notices
from director.store.notices import Notice
from director.times import to_micros
from director.webhooks.post import Post, Posted
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database import Database
from mesh.durable import Durable, Run, Workflow
from mesh.errors import Refusal
from mesh.sealing import Seal, SealingRefused

WORKFLOW = "deliver-notice"

MOST_TRIED = 100
"""Notices of one Application that are tried at a time; those after them wait until one is settled."""

_LOOK_SPACING = 0.05
"""Seconds between two looks into the outbox, at least: a busy plane commits far more often than it writes notices."""

_SWEEP_INTERVAL = timedelta(minutes=5)
_OWN_TROUBLE_WAIT = 5.0
_GROWTH = 4
_log = telemetry.logger("webhook")

Outcome = Literal["settled", "failed", "unable"]


@dataclass(frozen=True)
class Patience:
    """How long a notice is tried. With what is set here: for 3.5 to 7 hours."""

    attempts: int = 10
    """In all."""

    first_wait: float = 0.5
    """Seconds between the first two; it is four times as long from one to the next, less up to half at random."""

    longest_wait: float = 4 * 3600.0
    """Seconds between two at most."""


class Delivery:
    """Delivers what waits in the outbox, until it is stopped."""

    def __init__(
        self,
        database: Database,
        seal: Seal,
        post: Post,
        clock: Clock,
        patience: Patience,
        *,
        concurrency: int = 256,
        lane: int = 4,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`concurrency`: requests that are under way at once; `lane`: how many of them to one Application."""
        self._database = database
        self._seal = seal
        self._post = post
        self._clock = clock
        self._patience = patience
        self._slots = asyncio.Semaphore(concurrency)
        self._lane = lane
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._random = random
        self._work = asyncio.Event()
        database.on_commit(self._work.set)

    @property
    def workflows(self) -> dict[str, Workflow]:
        """What `mesh.durable` has to know."""
        return {WORKFLOW: self._deliver}

    async def run(self, durable: Durable) -> None:
        """Launch the durable work, then hand over each notice that is written, until cancelled."""
        await durable.launch()
        backoff = Backoff(timedelta(seconds=0.5), timedelta(seconds=30), self._random)
        loop = asyncio.get_running_loop()
        handed: set[str] = set()
        sweep = loop.time() + _SWEEP_INTERVAL.total_seconds()
        while True:
            self._work.clear()  # before the look: what is written during it is for the next one
            looked = loop.time()
            if looked >= sweep:  # hand everything over once more, in case a workflow ended before its time
                handed, sweep = set(), looked + _SWEEP_INTERVAL.total_seconds()
            try:
                handed = await self._hand_over(durable, handed)
            except Exception as error:
                _log.warning("notices cannot be handed over yet", error=str(error))
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sweep):
                    await self._work.wait()
            await asyncio.sleep(looked + _LOOK_SPACING - loop.time())

    async def _hand_over(self, durable: Durable, handed: set[str]) -> set[str]:
        """Start a workflow for what is to be tried and was not handed over; returns what is handed over now."""
        waiting = await self._database.read(notices.waiting, MOST_TRIED)
        for notice_id, application_id in waiting:
            if notice_id not in handed:
                await durable.start(WORKFLOW, notice_id, notice_id, application_id)
        return {notice_id for notice_id, _ in waiting}

    async def _deliver(self, run: Run, notice_id: str, application_id: str) -> None:
        failures = 0
        for number in count(1):
            outcome: Outcome = await run.step(f"attempt-{number}", self._attempting(notice_id, application_id))
            if outcome == "settled":
                return
            wait = _OWN_TROUBLE_WAIT
            if outcome == "failed":
                wait = min(self._patience.first_wait * _GROWTH**failures, self._patience.longest_wait)
                failures += 1
            await run.sleep(wait * (1 - self._random() / 2))

    def _attempting(self, notice_id: str, application_id: str) -> Callable[[], Coroutine[Any, Any, Outcome]]:
        async def attempt() -> Outcome:
            lane = self._lanes.get(application_id)
            if lane is None:
                lane = self._lanes[application_id] = asyncio.Semaphore(self._lane)
            async with lane, self._slots:
                try:
                    return await self._attempt(notice_id)
                except Refusal as refusal:  # the database cannot be used now: that is not the Application's fault
                    _log.warning("notice cannot be tried now", notice_id=notice_id, error=refusal.message)
                    return "unable"

        return attempt

    async def _attempt(self, notice_id: str) -> Outcome:
        read = await self._database.read(self._read, notice_id)
        if read is None:
            return "settled"
        notice, secret = read
        posted = secret if isinstance(secret, Posted) else await self._posted(notice, secret)
        micros = to_micros(self._clock())
        if posted.arrived:
            await self._database.write(notices.delivered, notice_id, notice.application_id, micros)
            return "settled"
        given_up = posted.gone or notice.attempts + 1 >= self._patience.attempts
        _log.warning(
            "notice not delivered",
            notice_id=notice_id,
            application_id=notice.application_id,
            failure=posted.failure,
            given_up=given_up,
        )
        await self._database.write(
            notices.attempt_failed, notice_id, notice.application_id, micros, posted.failure, given_up=given_up
        )
        return "settled" if given_up else "failed"

    def _read(self, tx: Transaction, notice_id: str) -> tuple[Notice, str | Posted] | None:
        """The notice and what it is signed with, or why it cannot be; None where there is nothing to deliver."""
        notice = notices.read(tx, notice_id)
        if notice is None:
            return None
        try:
            return notice, self._seal.unseal(tx, notice.sealed_secret, notice.application_id).decode()
        except SealingRefused as error:
            return notice, Posted(failure=f"the webhook's secret cannot be read, set it again: {error}")

    async def _posted(self, notice: Notice, secret: str) -> Posted:
        return await self._post(notice.notice_id, notice.url, notice.body, secret, self._clock())
