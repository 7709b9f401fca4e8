"""The registry in the Director where it cannot be asked, telling it of pairings, and having it hand over tokens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from moorage.director.v1.application_pb2 import ConfirmPairingRequest, ConfirmPairingResponse
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, GetRuntimeResponse
from moorage.director.v1.webhook_pb2 import DeliverTokenRequest, DeliverTokenResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.identity import Identity
from certs.spiffe import SpiffeId
from connector.registry import ATTEMPTS, MEMORY, MOST_UNTOLD, DirectorAway, DirectorRegistry, Pairings
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from mesh.errors import Refusal
from tests.support.wait import eventually

APPLICATION = SpiffeId.application("moorage.test", "11111111-1111-4111-8111-111111111111")
RUNTIME = SpiffeId.runtime("moorage.test", "22222222-2222-4222-8222-222222222222")


async def test_a_connector_without_an_identity_to_ask_with_finds_the_director_away(tmp_path: Path) -> None:
    registry = DirectorRegistry(LiveChannel("127.0.0.1:1", Identity(tmp_path)), timedelta(seconds=1))
    with pytest.raises(DirectorAway):
        await registry.knows(RUNTIME)


async def test_for_a_minute_it_is_remembered_that_the_director_knows_a_party(director: "DirectorDouble") -> None:
    now = 0.0
    registry = DirectorRegistry(cast("LiveChannel", director), timedelta(seconds=1), lambda: now)
    assert not registry.knew(RUNTIME)
    assert await registry.knows(RUNTIME)

    now = MEMORY.total_seconds() - 1
    assert registry.knew(RUNTIME)
    now += 1
    assert not registry.knew(RUNTIME)


class DirectorDouble:
    """Stands in for the channel to a Director and its stub: answers with what `failures` holds, then well."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.told: list[str] = []
        self.asked = 0
        self.delivered = DeliverTokenResponse(delivered=True)

    def stub(self, _: Callable[..., Any]) -> "DirectorDouble":
        return self

    async def GetRuntime(self, request: GetRuntimeRequest, **_: object) -> GetRuntimeResponse:
        self.asked += 1
        if self.failures:
            raise self.failures.pop()
        return GetRuntimeResponse()

    async def ConfirmPairing(self, request: ConfirmPairingRequest, **_: object) -> ConfirmPairingResponse:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        self.told.append(request.application_id)
        return ConfirmPairingResponse()

    async def DeliverToken(self, request: DeliverTokenRequest, **_: object) -> DeliverTokenResponse:
        self.asked += 1
        self.told.append(request.token)
        if self.failures:
            raise self.failures.pop()
        return self.delivered


def failure(code: grpc.StatusCode, refusal: Refusal | None = None) -> grpc.aio.AioRpcError:
    details = [("grpc-status-details-bin", refusal.to_status().SerializeToString())] if refusal else []
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*details))


@pytest.fixture
def director() -> DirectorDouble:
    return DirectorDouble()


@pytest.fixture
async def pairings(director: DirectorDouble) -> AsyncIterator[Pairings]:
    pairings = Pairings(cast(LiveChannel, director), lambda: Backoff(timedelta(), timedelta()))
    yield pairings
    await pairings.close()


async def settled(pairings: Pairings) -> None:
    async def none_untold() -> bool:
        return pairings.untold == 0

    await eventually("nobody is left to be told of", none_untold)


async def test_the_director_is_told_of_an_application_that_enrolled(
    pairings: Pairings, director: DirectorDouble
) -> None:
    pairings.enrolled(APPLICATION)
    await settled(pairings)
    assert director.told == [APPLICATION.name]


async def test_of_a_runtime_it_is_not_told(pairings: Pairings, director: DirectorDouble) -> None:
    pairings.enrolled(RUNTIME)
    await settled(pairings)
    assert director.asked == 0


async def test_while_the_director_is_away_it_is_told_again(pairings: Pairings, director: DirectorDouble) -> None:
    director.failures = [
        failure(grpc.StatusCode.UNAVAILABLE),
        failure(grpc.StatusCode.DEADLINE_EXCEEDED),
        FileNotFoundError("no identity"),
    ]
    pairings.enrolled(APPLICATION)
    await settled(pairings)
    assert director.told == [APPLICATION.name]


async def test_telling_it_ends(pairings: Pairings, director: DirectorDouble) -> None:
    director.failures = [failure(grpc.StatusCode.UNAVAILABLE) for _ in range(2 * ATTEMPTS)]
    pairings.enrolled(APPLICATION)
    await settled(pairings)
    assert director.asked == ATTEMPTS


async def test_a_director_that_does_not_know_the_application_is_told_once(
    pairings: Pairings, director: DirectorDouble
) -> None:
    director.failures = [failure(grpc.StatusCode.NOT_FOUND)]
    pairings.enrolled(APPLICATION)
    await settled(pairings)
    assert director.asked == 1


async def test_one_application_is_told_of_once_at_a_time_and_not_of_any_number(
    pairings: Pairings, director: DirectorDouble
) -> None:
    for n in range(MOST_UNTOLD + 10):
        for _ in range(2):
            pairings.enrolled(SpiffeId.application("moorage.test", f"00000000-0000-4000-8000-{n:012d}"))
    assert pairings.untold == MOST_UNTOLD
    await settled(pairings)
    assert len(director.told) == len(set(director.told)) == MOST_UNTOLD


async def test_closing_gives_up_at_once(pairings: Pairings, director: DirectorDouble) -> None:
    pairings.enrolled(APPLICATION)
    await pairings.close()
    await settled(pairings)
    assert director.told == []


@pytest.fixture
def registry(director: DirectorDouble) -> DirectorRegistry:
    return DirectorRegistry(cast(LiveChannel, director), timedelta(seconds=1))


async def delivered(registry: DirectorRegistry) -> str:
    """Why a token did not arrive; empty where it did."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    handover = await registry.deliver(APPLICATION.name, RUNTIME.name, "moor_line", at)
    assert handover.arrived == (not handover.failure)
    return handover.failure


async def test_a_token_is_handed_over_once(registry: DirectorRegistry, director: DirectorDouble) -> None:
    assert await delivered(registry) == ""
    assert director.told == ["moor_line"]


async def test_a_token_that_was_not_taken_is_a_failure_that_says_why(
    registry: DirectorRegistry, director: DirectorDouble
) -> None:
    director.delivered = DeliverTokenResponse(failure="answered 500")
    assert await delivered(registry) == "answered 500"
    director.delivered = DeliverTokenResponse()
    assert await delivered(registry) != ""


@pytest.mark.parametrize(
    "error",
    [failure(grpc.StatusCode.UNAVAILABLE), failure(grpc.StatusCode.DEADLINE_EXCEEDED), FileNotFoundError("no key")],
    ids=["away", "late", "no identity"],
)
async def test_a_token_that_may_not_have_arrived_is_a_failure_and_not_handed_over_again(
    registry: DirectorRegistry, director: DirectorDouble, error: Exception
) -> None:
    director.failures = [error]
    assert await delivered(registry) != ""
    assert director.asked == 1


async def test_looking_whether_an_application_takes_tokens_sends_none(
    registry: DirectorRegistry, director: DirectorDouble
) -> None:
    await registry.takes_tokens(APPLICATION.name)
    assert director.told == [""]


@pytest.mark.parametrize("reason", [Reason.REASON_APPLICATION_NOT_FOUND, Reason.REASON_PAIRING_URL_MISSING])
async def test_why_an_application_takes_no_tokens_is_passed_on(
    registry: DirectorRegistry, director: DirectorDouble, reason: Reason.ValueType
) -> None:
    director.failures = [failure(grpc.StatusCode.FAILED_PRECONDITION, Refusal(reason, "so it is"))]
    with pytest.raises(Refusal) as refused:
        await registry.takes_tokens(APPLICATION.name)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "error",
    [
        failure(grpc.StatusCode.UNIMPLEMENTED),
        failure(grpc.StatusCode.UNAUTHENTICATED, Refusal(Reason.REASON_CERTIFICATE_EXPIRED, "over")),
        FileNotFoundError("no key"),
    ],
    ids=["release before", "refused", "no identity"],
)
async def test_a_director_that_does_not_say_whether_it_takes_tokens_is_away(
    registry: DirectorRegistry, director: DirectorDouble, error: Exception
) -> None:
    director.failures = [error]
    with pytest.raises(DirectorAway):
        await registry.takes_tokens(APPLICATION.name)
