"""A running plane of doubles for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.agent.plane import Plane


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path)
    await plane.start()
    yield plane
    await plane.close()
