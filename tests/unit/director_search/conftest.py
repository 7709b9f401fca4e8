"""Tables to search, on each engine."""

from collections.abc import Iterator

import pytest

from tests.unit.director_search.rows import Rows


@pytest.fixture
def rows(director_url: str) -> Iterator[Rows]:
    rows = Rows(director_url)
    yield rows
    rows.close()
