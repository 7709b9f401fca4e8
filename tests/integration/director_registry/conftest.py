"""A running Director for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
