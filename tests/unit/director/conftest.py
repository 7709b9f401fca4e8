"""A plane for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.director.plane import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = Plane(tmp_path)
    yield plane
    plane.close()
