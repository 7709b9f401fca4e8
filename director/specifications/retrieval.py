"""Retrieval: the documents that offers name by URL are fetched, one durable workflow each.

After a restart a workflow goes on with the attempt that was next. What it is to fetch is read at each attempt: an offer
that is gone by then, or that names another document, has none. What DBOS remembers of an attempt is how long to wait
for the next one, and never the document.

No Application holds up another: each has its own few attempts under way at a time, and its own share of documents that
are being tried.
"""

import random
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any

from moorage.director.v1.specification_pb2 import FetchState

from certs.clock import Clock
from director.fetch_outcomes import store_outcome
from director.hand_over import HandOver, Lanes
from director.mutate import Occasion
from director.specifications.fetching import Fetcher
from director.specifications.inspector import ChildDidNotStart
from director.store import fetches
from mesh import telemetry
from mesh.database import Database
from mesh.durable import Durable, Run, Workflow
from mesh.errors import Refusal

WORKFLOW = "fetch-specification"

MOST_TRIED = 100
"""Documents of one Application that are tried at a time; those after them wait until one is settled."""

_OWN_TROUBLE_WAIT = 30.0
_log = telemetry.logger("fetch")


class Retrieval:
    """Fetches what offers wait for, until it is stopped."""

    def __init__(
        self,
        database: Database,
        fetcher: Fetcher,
        clock: Clock,
        actor: str,
        new_id: Callable[[], str],
        *,
        concurrency: int = 8,
        lane: int = 2,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`actor`: the SPIFFE ID that changes are noted under.

        `concurrency`: attempts that are under way at once; `lane`: how many of them for one Application.
        """
        self._database = database
        self._fetcher = fetcher
        self._clock = clock
        self._actor = actor
        self._new_id = new_id
        self._lanes = Lanes(concurrency, lane)
        self._random = random
        self._hand_over = HandOver(database, fetches.TOPIC, WORKFLOW, partial(fetches.waiting, most=MOST_TRIED), random)

    @property
    def workflows(self) -> dict[str, Workflow]:
        """What `mesh.durable` has to know."""
        return {WORKFLOW: self._retrieve}

    async def run(self, durable: Durable) -> None:
        """Hand over each fetch that is asked for to what is launched already, until cancelled."""
        await self._hand_over.run(durable)

    async def _retrieve(self, run: Run, fetch_id: str, offer_id: str, application_id: str) -> None:
        for number in count(1):
            wait = await run.step(f"attempt-{number}", self._attempting(fetch_id, offer_id, application_id))
            if wait is None:
                return
            await run.sleep(wait)

    def _attempting(
        self, fetch_id: str, offer_id: str, application_id: str
    ) -> Callable[[], Coroutine[Any, Any, float | None]]:
        async def attempt() -> float | None:
            async with self._lanes.turn(application_id):
                try:
                    return await self._attempt(fetch_id, offer_id)
                except (Refusal, ChildDidNotStart) as error:  # our own trouble, which is no fault of the document
                    _log.warning("document cannot be fetched now", offer_id=offer_id, error=str(error))
                    return self._own_trouble_wait()

        return attempt

    async def _attempt(self, fetch_id: str, offer_id: str) -> float | None:
        """Seconds until the next attempt; None where there is none."""
        fetch = await self._database.read(fetches.find, offer_id, fetch_id)
        if fetch is None:
            return None
        outcome = await self._fetcher.attempt(fetch.url, fetch.format, fetch.attempts)
        occasion = Occasion(self._clock(), self._actor, fetch_id, self._new_id)
        if not await self._database.write(store_outcome, occasion, fetch, outcome):
            return self._own_trouble_wait()  # another instance was at it, too, or there is another fetch by now
        pending = outcome.state == FetchState.FETCH_STATE_PENDING
        if outcome.failure:
            _log.warning("document not fetched", offer_id=offer_id, failure=outcome.failure, given_up=not pending)
        return outcome.wait if pending else None

    def _own_trouble_wait(self) -> float:
        return _OWN_TROUBLE_WAIT * (1 - self._random() / 2)
