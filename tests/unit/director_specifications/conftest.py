"""A plane for each test, and its offers by either kind."""

from collections.abc import Iterator

import pytest

from director.changes import Kind
from tests.unit.director.plane import Plane
from tests.unit.director_specifications.offers import API_UNITS, EVENT_API_UNITS, Offers


@pytest.fixture
def plane(director_url: str) -> Iterator[Plane]:
    plane = Plane(director_url)
    yield plane
    plane.close()


@pytest.fixture(params=[Kind.API, Kind.EVENT_API])
def offers(request: pytest.FixtureRequest, plane: Plane) -> Offers:
    """Offers of an Application that has none."""
    return Offers(plane, API_UNITS if request.param is Kind.API else EVENT_API_UNITS)
