"""A running plane for each test: the Provisioner's process and the doubles."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.provisioner.plane import Plane


@pytest.fixture
async def stopped_plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path)
    await plane.start_doubles()
    yield plane
    await plane.close()


@pytest.fixture
async def plane(stopped_plane: Plane) -> Plane:
    await stopped_plane.start()
    return stopped_plane
