"""A plane for each test."""

from collections.abc import Iterator

import pytest

from tests.unit.director.plane import Plane


@pytest.fixture
def plane(director_url: str) -> Iterator[Plane]:
    plane = Plane(director_url)
    yield plane
    plane.close()
