"""A running Director for each test, and one that the tests of a module share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.director_registry.process import DirectorProcess


@pytest.fixture
async def stopped_director(tmp_path: Path) -> AsyncIterator[DirectorProcess]:
    director = DirectorProcess(tmp_path)
    yield director
    await director.close()


@pytest.fixture
async def director(stopped_director: DirectorProcess) -> DirectorProcess:
    await stopped_director.start()
    return stopped_director


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_director(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DirectorProcess]:
    """For tests that leave it running, each with names of its own; they run in the event loop of their module."""
    director = DirectorProcess(tmp_path_factory.mktemp("director"))
    await director.start()
    yield director
    await director.close()
