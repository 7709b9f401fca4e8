"""A running plane for each test: the Connector's process and the Director's double."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.connector.plane import Plane


@pytest.fixture
async def stopped_plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path)
    yield plane
    await plane.close()


@pytest.fixture
async def plane(stopped_plane: Plane) -> Plane:
    await stopped_plane.start_director()
    await stopped_plane.start()
    return stopped_plane
