"""How documents are tried: what ends it, what is tried again, and that no Application holds up another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from moorage.director.v1.specification_pb2 import SpecificationFormat
from moorage.errors.v1.errors_pb2 import Reason

from director.specifications import retrieval as retrieval_module
from director.specifications.fetch import AnsweredOtherwise, Fetched, FetchFailed
from director.specifications.fetching import Fetcher, FetchPatience
from director.specifications.inspected import InspectedSpecification
from director.specifications.inspector import ChildDidNotStart
from director.specifications.retrieval import WORKFLOW, Retrieval
from director.store import tables
from mesh.errors import Refusal
from tests.unit.director.plane import Plane, new_id
from tests.unit.director_specifications.offers import (
    API_UNITS,
    DIRECTOR,
    FAILED,
    FETCHED,
    NOW,
    PENDING,
    URL,
    Offers,
)
from tests.unit.director_webhooks.test_delivery import Tasks

AWAY = AnsweredOtherwise("HTTP 503", lasting=False)
GONE = AnsweredOtherwise("HTTP 410", lasting=True)
BUSY = Refusal(Reason.REASON_NOT_READY, "the document could not be looked into")


class Origin:
    """Answers as it is told, in turn, and the last answer for ever; for a URL of `held`, not before it is freed."""

    def __init__(self, *answers: bytes | FetchFailed) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.held: set[str] = set()
        self.news = asyncio.Event()
        self.free = asyncio.Event()

    async def __call__(self, url: str) -> Fetched:
        self.asked.append(url)
        self.news.set()
        if url in self.held:
            await self.free.wait()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, FetchFailed):
            raise answer
        return Fetched(answer, "", "", "")

    async def was_asked(self, number: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(20):
            while len(self.asked) < number:
                self.news.clear()
                await self.news.wait()


class Inspection:
    """Finds nothing wrong, once it has raised each of `troubles`."""

    def __init__(self, *troubles: Exception) -> None:
        self._troubles = list(troubles)

    async def __call__(self, format: SpecificationFormat.ValueType, content: bytes) -> InspectedSpecification:
        if self._troubles:
            raise self._troubles.pop(0)
        return InspectedSpecification.of(format, content, [])


@pytest.fixture
def apis(plane: Plane) -> Offers:
    return Offers(plane, API_UNITS)


@asynccontextmanager
async def retrieving(
    plane: Plane, origin: Origin, inspection: Inspection | None = None, **options: Any
) -> AsyncIterator[Tasks]:
    patience = FetchPatience(attempts=3, first_wait=1.0, longest_wait=60.0)
    fetcher = Fetcher(origin, inspection or Inspection(), patience, random=lambda: 0.0)
    retrieval = Retrieval(plane.database, fetcher, lambda: NOW, DIRECTOR, new_id, random=lambda: 0.0, **options)
    tasks = Tasks(retrieval.workflows)
    running = asyncio.create_task(retrieval.run(tasks))
    try:
        yield tasks
    finally:
        for task in (running, *tasks.started.values()):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_what_waited_before_the_start_is_fetched(plane: Plane, apis: Offers) -> None:
    offer = apis.create()
    async with retrieving(plane, Origin(b"document")) as tasks:
        await tasks.ended(1)
    about = apis.get(offer).specification
    assert (about.fetch.state, about.sha256) == (FETCHED, apis.document("document").sha256)


async def test_what_is_asked_for_later_is_fetched_too(plane: Plane, apis: Offers) -> None:
    async with retrieving(plane, Origin(b"document")) as tasks:
        offer = apis.create()
        await plane.database.write(lambda _: None)  # the commit that is heard of
        await tasks.ended(1)
    assert apis.get(offer).specification.fetch.state == FETCHED


async def test_a_document_is_tried_again_after_longer_and_longer_waits(plane: Plane, apis: Offers) -> None:
    offer = apis.create()
    origin = Origin(AWAY, AWAY, b"document")
    async with retrieving(plane, origin) as tasks:
        await tasks.ended(1)
        assert tasks.waits == [1.0, 4.0]
    assert origin.asked == [URL] * 3
    fetch = apis.get(offer).specification.fetch
    assert (fetch.state, fetch.failure, fetch.attempts) == (FETCHED, "", 3)


@pytest.mark.parametrize(("failure", "attempts"), [(AWAY, 3), (GONE, 1)])
async def test_a_document_is_given_up_after_the_last_attempt_or_what_lasts(
    plane: Plane, apis: Offers, failure: FetchFailed, attempts: int
) -> None:
    offer = apis.create()
    async with retrieving(plane, Origin(failure)) as tasks:
        await tasks.ended(1)
    fetch = apis.get(offer).specification.fetch
    assert (fetch.state, fetch.failure, fetch.attempts) == (FAILED, str(failure), attempts)


@pytest.mark.parametrize("trouble", [BUSY, ChildDidNotStart("python")])
async def test_trouble_of_our_own_counts_as_no_attempt(plane: Plane, apis: Offers, trouble: Exception) -> None:
    offer = apis.create()
    async with retrieving(plane, Origin(b"document"), Inspection(*[trouble] * 9)) as tasks:
        await tasks.ended(1)
        assert tasks.waits == [30.0] * 9
    fetch = apis.get(offer).specification.fetch
    assert (fetch.state, fetch.attempts) == (FETCHED, 1)


async def test_a_fetch_that_is_asked_for_anew_while_one_waits_takes_its_place(plane: Plane, apis: Offers) -> None:
    offer = apis.create()
    origin = Origin(AWAY, b"document")
    async with retrieving(plane, origin) as tasks:
        tasks.between = lambda: apis.update(offer, apis.sent("https://docs.test/other"))
        await tasks.ended(1)
        await plane.database.write(lambda _: None)
        await tasks.ended(2)
    assert origin.asked == [URL, "https://docs.test/other"]
    assert apis.get(offer).specification.fetch.attempts == 1


async def test_a_document_that_comes_when_its_offer_is_gone_is_dropped(plane: Plane, apis: Offers) -> None:
    offer = apis.create()
    origin = Origin(b"document")
    origin.held.add(URL)
    async with retrieving(plane, origin) as tasks:
        await origin.was_asked(1)
        apis.delete(offer)
        origin.free.set()
        await tasks.ended(1)
    assert plane.rows(tables.specifications) == []


async def test_an_origin_that_does_not_answer_holds_up_no_other_application(plane: Plane, apis: Offers) -> None:
    slow = [apis.create() for _ in range(5)]
    origin = Origin(b"document")
    origin.held.add(URL)
    quick = Offers(plane, API_UNITS)
    offer = quick.create("https://docs.test/quick")
    async with retrieving(plane, origin, concurrency=3, lane=2) as tasks:
        await tasks.ended(1)
        assert quick.get(offer).specification.fetch.state == FETCHED
        await origin.was_asked(3)
        assert origin.asked.count(URL) == 2
        assert {apis.get(each).specification.fetch.state for each in slow} == {PENDING}
        origin.free.set()
        await tasks.ended(6)
    assert {apis.get(each).specification.fetch.state for each in slow} == {FETCHED}


async def test_of_one_application_only_so_many_are_tried_at_a_time(
    plane: Plane, apis: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_module, "MOST_TRIED", 2)
    for _ in range(3):
        apis.create()
    origin = Origin(b"document")
    origin.held.add(URL)
    async with retrieving(plane, origin) as tasks:
        await origin.was_asked(2)
        assert len(tasks.started) == 2
        origin.free.set()
        await tasks.ended(3)


async def test_what_durable_work_remembers_holds_neither_the_document_nor_its_url(plane: Plane, apis: Offers) -> None:
    offer = apis.create()
    fetch = apis.fetch(offer)
    async with retrieving(plane, Origin(AWAY, b"document")) as tasks:
        await tasks.ended(1)
        started = (WORKFLOW, fetch.fetch_id, (fetch.fetch_id, apis.id(offer), apis.application_id))
        assert tasks.remembered == [started, ("attempt-1", 1.0), ("attempt-2", None)]
