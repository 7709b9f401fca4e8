"""A plane for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.sealing import Seal
from tests.support.sealing import sealing
from tests.unit.director.plane import Plane


@pytest.fixture
def plane(director_url: str) -> Iterator[Plane]:
    plane = Plane(director_url)
    yield plane
    plane.close()


@pytest.fixture
def seal(plane: Plane, tmp_path: Path) -> Seal:
    return sealing(plane, tmp_path / "sealing.key")
