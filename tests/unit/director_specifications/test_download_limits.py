"""How many documents are streamed at once."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from moorage.director.v1.specification_pb2 import DownloadSpecificationRequest, DownloadSpecificationResponse

from certs.spiffe import SpiffeId
from director.downloads import Downloads
from director.service import DirectorService
from director.service.specifications import PIECE_BYTES
from mesh import call
from mesh.call import Caller
from tests.unit.director.plane import Plane, openapi
from tests.unit.director.refused import refused

ONE, OTHER = (f"spiffe://plane.test/admin/{name}" for name in ("one", "other"))


def test_so_many_to_one_caller_and_so_many_to_all_are_let_in() -> None:
    downloads = Downloads(most=3, most_of_one=2)
    with ExitStack() as open_streams:
        for caller in (ONE, ONE, OTHER):
            open_streams.enter_context(downloads.one_more(caller))
        for caller in (ONE, OTHER):
            with refused("TOO_MANY_STREAMS") as refusal, downloads.one_more(caller):
                pass
            assert refusal.retry_after
    with downloads.one_more(ONE), downloads.one_more(ONE), downloads.one_more(OTHER):
        pass


def test_a_caller_that_has_its_share_leaves_the_others_theirs() -> None:
    downloads = Downloads(most=3, most_of_one=1)
    with downloads.one_more(ONE):
        with refused("TOO_MANY_STREAMS"), downloads.one_more(ONE):
            pass
        with downloads.one_more(OTHER):
            pass


class Reader:
    """Calls for one document again and again, as an administrator."""

    def __init__(self, plane: Plane) -> None:
        document = openapi("x" * (PIECE_BYTES + 1))
        self._application_id = plane.application().application_id
        plane.api(self._application_id, document=document)
        self._sha256 = document.sha256
        parts: Any = SimpleNamespace(database=plane.database, downloads=Downloads(most=1, most_of_one=1))
        self._calls = DirectorService(parts)

    def stream(self) -> AsyncGenerator[DownloadSpecificationResponse, None]:
        call.enter(Caller(SpiffeId.parse(ONE), "01", datetime(2040, 1, 1, tzinfo=UTC)), lambda: "call", str)
        request = DownloadSpecificationRequest(application_id=self._application_id, sha256=self._sha256)
        context: Any = None
        return self._calls.DownloadSpecification(request, context)


@pytest.fixture
def reader(plane: Plane) -> Reader:
    return Reader(plane)


async def test_a_stream_counts_until_its_reader_has_all_of_it_or_lets_go_of_it(reader: Reader) -> None:
    async def lets_go(stream: AsyncGenerator[DownloadSpecificationResponse, None]) -> None:
        await stream.aclose()

    async def has_all(stream: AsyncGenerator[DownloadSpecificationResponse, None]) -> None:
        assert len([piece async for piece in stream]) == 1

    for ends in (lets_go, has_all):
        stream = reader.stream()
        await anext(stream)
        with refused("TOO_MANY_STREAMS"):
            await anext(reader.stream())
        await ends(stream)
