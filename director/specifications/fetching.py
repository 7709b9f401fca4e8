"""Fetching in the background: what one attempt to get a document comes to, and whether there is another."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from moorage.director.v1.specification_pb2 import FetchState, SpecificationFormat

from director.specifications.fetch import Fetch, FetchFailed
from director.specifications.inspected import InspectedSpecification

_GROWTH = 4.0
_MOST_GROWTHS = 30  # more would be no number any more, and the longest wait is far below

Inspect = Callable[[SpecificationFormat.ValueType, bytes], Awaitable[InspectedSpecification]]
"""What `Inspector.inspect_content` does."""


@dataclass(frozen=True)
class FetchPatience:
    """How long a document is tried for. With what is set here: for one and a half to three minutes."""

    attempts: int = 5
    """In all."""

    first_wait: float = 2.0
    """Seconds between the first two; it is four times as long from one to the next, less up to half at random."""

    longest_wait: float = 600.0
    """Seconds between two at most."""

    def wait(self, attempts: int, random: float) -> float:
        """Seconds to wait after so many attempts; `random` is from 0 to 1."""
        return min(self.first_wait * _GROWTH ** min(attempts - 1, _MOST_GROWTHS), self.longest_wait) * (1 - random / 2)


@dataclass(frozen=True)
class FetchOutcome:
    """What came of an attempt, as it is to be stored."""

    state: FetchState.ValueType
    """PENDING where it is tried again, FETCHED, or FAILED."""

    attempts: int
    """How many were made, with this one."""

    failure: str = ""
    """Why there is no document, in one line for whoever asked for it; empty where there is one."""

    document: InspectedSpecification | None = None
    """What came; it may be invalid."""

    wait: float = 0.0
    """Seconds until the next attempt, where the state is PENDING."""


class Fetcher:
    """Makes attempts. It knows of no table: what is to be tried, and what came of it, is for its caller to keep."""

    def __init__(
        self,
        fetch: Fetch,
        inspect: Inspect,
        patience: FetchPatience,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._fetch = fetch
        self._inspect = inspect
        self._patience = patience
        self._random = random

    async def attempt(self, url: str, format: SpecificationFormat.ValueType, attempts: int) -> FetchOutcome:
        """Try to get a document, after so many `attempts` before.

        Raises what neither the URL nor the document is at fault for, and what therefore counts as no attempt: `Refusal`
        (NOT_READY) and `ChildDidNotStart`, of the inspector.
        """
        attempts += 1
        try:
            fetched = await self._fetch(url)
        except FetchFailed as failed:
            if failed.lasting or attempts >= self._patience.attempts:
                return FetchOutcome(FetchState.FETCH_STATE_FAILED, attempts, str(failed))
            wait = self._patience.wait(attempts, self._random())
            return FetchOutcome(FetchState.FETCH_STATE_PENDING, attempts, str(failed), wait=wait)
        document = await self._inspect(format, fetched.content)
        return FetchOutcome(FetchState.FETCH_STATE_FETCHED, attempts, document=document)
