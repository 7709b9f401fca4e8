"""Delivery: the outbox's notices to the Applications, one durable workflow each.

After a restart a workflow goes on with the attempt that was next. What it is about is read from the outbox at each
attempt: a webhook that was moved or removed meanwhile counts as it is now.

No Application holds up another: each has its own few requests under way at a time, and its own share of notices that
are being tried.
"""

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Literal

from certs.clock import Clock
from director.hand_over import HandOver, Lanes
from director.store import Transaction, notices
from director.store.notices import Notice
from director.times import to_micros
from director.webhooks.post import Post, Posted
from mesh import telemetry
from mesh.database import Database
from mesh.durable import Durable, Run, Workflow
from mesh.errors import Refusal
from mesh.sealing import Seal, SealingRefused

WORKFLOW = "deliver-notice"

MOST_TRIED = 100
"""Notices of one Application that are tried at a time; those after them wait until one is settled."""

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
        self._lanes = Lanes(concurrency, lane)
        self._random = random
        self._hand_over = HandOver(database, notices.TOPIC, WORKFLOW, partial(notices.waiting, most=MOST_TRIED), random)

    @property
    def workflows(self) -> dict[str, Workflow]:
        """What `mesh.durable` has to know."""
        return {WORKFLOW: self._deliver}

    async def run(self, durable: Durable) -> None:
        """Hand over each notice that is written to what is launched already, until cancelled."""
        await self._hand_over.run(durable)

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
            async with self._lanes.turn(application_id):
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
