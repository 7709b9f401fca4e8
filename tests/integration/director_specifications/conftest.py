"""A Director that is not started yet, and an origin of documents, for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.director_registry.process import DirectorProcess
from tests.integration.director_specifications.origin import Origin, serving


@pytest.fixture
async def stopped_director(tmp_path: Path) -> AsyncIterator[DirectorProcess]:
    director = DirectorProcess(tmp_path)
    yield director
    await director.close()


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as origin:
        yield origin
