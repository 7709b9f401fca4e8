"""The registry in the Director, where the Director cannot even be asked; and telling it of pairings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from moorage.director.v1.application_pb2 import ConfirmPairingRequest, ConfirmPairingResponse

from certs.identity import Identity
from certs.spiffe import SpiffeId
from connector.registry import ATTEMPTS, MOST_UNTOLD, DirectorAway, DirectorRegistry, Pairings
from mesh.backoff import Backoff
from mesh.channel import LiveChannel
from tests.support.wait import eventually

APPLICATION = SpiffeId.application("moorage.test", "11111111-1111-4111-8111-111111111111")
RUNTIME = SpiffeId.runtime("moorage.test", "22222222-2222-4222-8222-222222222222")


async def test_a_connector_without_an_identity_to_ask_with_finds_the_director_away(tmp_path: Path) -> None:
    registry = DirectorRegistry(LiveChannel("127.0.0.1:1", Identity(tmp_path)), timedelta(seconds=1))
    with pytest.raises(DirectorAway):
        await registry.knows(RUNTIME)


class DirectorDouble:
    """Stands in for the channel to a Director and its stub: answers with what `failures` holds, then well."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.told: list[str] = []
        self.asked = 0

    def stub(self, _: Callable[..., Any]) -> "DirectorDouble":
        return self

    async def ConfirmPairing(self, request: ConfirmPairingRequest, **_: object) -> ConfirmPairingResponse:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        self.told.append(request.application_id)
        return ConfirmPairingResponse()


def failure(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


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
