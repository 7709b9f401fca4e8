"""The Connector's tables, empty, on each engine."""

from collections.abc import Iterator

import pytest

from connector.store import metadata
from mesh.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    metadata.create_all(opened.engine)
    yield opened
    opened.close()
