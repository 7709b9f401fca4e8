"""What one attempt to get a document comes to."""

from collections.abc import Awaitable, Callable

import pytest
from moorage.director.v1.specification_pb2 import FetchState, SpecificationFormat
from moorage.errors.v1.errors_pb2 import Reason

from director.specifications.fetch import AnsweredOtherwise, Fetched, FetchFailed, NotReached, TargetDenied
from director.specifications.fetching import Fetcher, FetchOutcome, FetchPatience
from director.specifications.inspected import InspectedSpecification
from mesh.errors import Refusal

OPENAPI = SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI
PENDING = FetchState.FETCH_STATE_PENDING
FETCHED = FetchState.FETCH_STATE_FETCHED
FAILED = FetchState.FETCH_STATE_FAILED
URL = "https://docs.test/api"


async def inspect(format: SpecificationFormat.ValueType, content: bytes) -> InspectedSpecification:
    return InspectedSpecification.of(format, content, [] if content == b"good" else ["it is not good"])


def fetching(outcome: bytes | FetchFailed) -> Callable[[str], Awaitable[Fetched]]:
    async def fetch(url: str) -> Fetched:
        assert url == URL
        if isinstance(outcome, FetchFailed):
            raise outcome
        return Fetched(outcome, "", "", "")

    return fetch


async def attempt(outcome: bytes | FetchFailed, attempts: int = 0, random: float = 0.0) -> FetchOutcome:
    return await Fetcher(fetching(outcome), inspect, FetchPatience(), lambda: random).attempt(URL, OPENAPI, attempts)


@pytest.mark.parametrize(("content", "problems"), [(b"good", ()), (b"bad", ("it is not good",))])
async def test_a_document_that_came_is_looked_into_and_is_fetched_though_it_be_invalid(
    content: bytes, problems: tuple[str, ...]
) -> None:
    outcome = await attempt(content, attempts=2)
    assert (outcome.state, outcome.attempts, outcome.failure) == (FETCHED, 3, "")
    assert outcome.document is not None
    assert (outcome.document.format, outcome.document.content, outcome.document.problems) == (
        OPENAPI,
        content,
        problems,
    )


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        (NotReached("it cannot be reached"), "it cannot be reached"),
        (AnsweredOtherwise("HTTP 503", lasting=False), "HTTP 503"),
    ],
)
async def test_what_may_pass_is_tried_again_after_a_wait(failed: FetchFailed, told: str) -> None:
    assert await attempt(failed) == FetchOutcome(PENDING, 1, told, wait=2.0)


async def test_waits_grow_and_are_cut_at_random() -> None:
    for random, waits in ((0.0, [2.0, 8.0, 32.0, 128.0]), (1.0, [1.0, 4.0, 16.0, 64.0])):
        assert [(await attempt(NotReached(""), made, random)).wait for made in range(4)] == waits


def test_no_wait_is_longer_than_the_longest() -> None:
    patience = FetchPatience(attempts=1000, longest_wait=60.0)
    assert patience.wait(1000, 0.0) == 60.0


async def test_the_last_attempt_ends_it() -> None:
    assert await attempt(NotReached("it cannot be reached"), attempts=3) == FetchOutcome(
        PENDING, 4, "it cannot be reached", wait=128.0
    )
    assert await attempt(NotReached("it cannot be reached"), attempts=4) == FetchOutcome(
        FAILED, 5, "it cannot be reached"
    )


@pytest.mark.parametrize("failed", [TargetDenied("denied"), AnsweredOtherwise("denied", lasting=True)])
async def test_what_lasts_is_not_tried_again(failed: FetchFailed) -> None:
    assert await attempt(failed) == FetchOutcome(FAILED, 1, "denied")


async def test_a_host_that_is_too_busy_to_look_into_a_document_counts_as_no_attempt() -> None:
    async def busy(_format: SpecificationFormat.ValueType, _content: bytes) -> InspectedSpecification:
        raise Refusal(Reason.REASON_NOT_READY, "busy")

    with pytest.raises(Refusal):
        await Fetcher(fetching(b"good"), busy, FetchPatience()).attempt(URL, OPENAPI, 0)
