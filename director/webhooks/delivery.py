"""Delivery: the outbox's notices to the Applications, one durable workflow each.

A workflow is started under the notice's id, so however often it is asked for there is one, and after a restart it goes
on with the attempt that was next. What it is about is read from the outbox at each attempt: a webhook that was moved
or removed meanwhile counts as it is now.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from certs.clock import Clock
from director.store import notices
from director.store.notices import Notice
from director.times import to_micros
from director.webhooks.post import Post, Posted
from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database import Database
from mesh.durable import Durable, Run, Workflow
from mesh.sealing import Seal, SealingRefused

WORKFLOW = "deliver-notice"

_BATCH = 200
"""Notices that are handed over with one look into the outbox."""

_SWEEP_INTERVAL = timedelta(seconds=30)
_log = telemetry.logger("webhook")

Outcome = Literal["settled", "again"]


@dataclass(frozen=True)
class Patience:
    """How long a notice is tried."""

    attempts: int = 12
    """In all."""

    first_wait: float = 0.5
    """Seconds between the first two; it doubles from one to the next."""

    longest_wait: float = 3600.0
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
        concurrency: int = 64,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`concurrency`: how many requests are under way at once, so that slow Applications hold up nobody."""
        self._database = database
        self._seal = seal
        self._post = post
        self._clock = clock
        self._patience = patience
        self._slots = asyncio.Semaphore(concurrency)
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
        backoff = Backoff(timedelta(seconds=0.5), _SWEEP_INTERVAL)
        handed: set[str] = set()
        while True:
            self._work.clear()  # before the look: what is written during it is for the next one
            try:
                handed = await self._hand_over(durable, handed)
            except Exception as error:
                _log.warning("notices cannot be handed over yet", error=str(error))
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            try:
                async with asyncio.timeout(_SWEEP_INTERVAL.total_seconds()):
                    await self._work.wait()
            except TimeoutError:
                handed = set()

    async def _hand_over(self, durable: Durable, handed: set[str]) -> set[str]:
        """Start a workflow for what waits and was not handed over; returns what now waits and was."""
        waiting = await self._database.read(notices.waiting, len(handed) + _BATCH)
        for notice_id in waiting:
            if notice_id not in handed:
                await durable.start(WORKFLOW, notice_id, notice_id)
        if len(waiting) == len(handed) + _BATCH:
            self._work.set()
        return set(waiting)

    async def _deliver(self, run: Run, notice_id: str) -> None:
        backoff = Backoff(
            timedelta(seconds=self._patience.first_wait), timedelta(seconds=self._patience.longest_wait), self._random
        )
        for attempt in range(1, self._patience.attempts + 1):
            last = attempt == self._patience.attempts
            outcome: Outcome = await run.step(f"attempt-{attempt}", self._attempting(notice_id, last=last))
            if outcome == "settled":
                return
            await run.sleep(backoff.next())

    def _attempting(self, notice_id: str, *, last: bool) -> Callable[[], Coroutine[Any, Any, Outcome]]:
        async def attempt() -> Outcome:
            async with self._slots:
                return await self._attempt(notice_id, last=last)

        return attempt

    async def _attempt(self, notice_id: str, *, last: bool) -> Outcome:
        notice = await self._database.read(notices.read, notice_id)
        if notice is None:
            return "settled"
        posted = await self._posted(notice, self._clock())
        micros = to_micros(self._clock())
        if posted.arrived:
            await self._database.write(notices.delivered, notice_id, notice.application_id, micros)
            return "settled"
        given_up = last or posted.gone
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
        return "settled" if given_up else "again"

    async def _posted(self, notice: Notice, at: datetime) -> Posted:
        try:
            secret = self._seal.unseal(notice.sealed_secret, notice.application_id).decode()
        except SealingRefused as error:
            return Posted(failure=f"the webhook's secret cannot be read, set it again: {error}")
        return await self._post(notice.notice_id, notice.url, notice.body, secret, at)
