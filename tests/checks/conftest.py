"""Several Connectors on one PostgreSQL, for the checks that are about many instances."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.connectors import Connectors
from tests.support.postgresql import PostgresqlServer


@pytest.fixture
async def stopped_connectors(tmp_path: Path, postgresql: PostgresqlServer) -> AsyncIterator[Connectors]:
    """Two Connectors that do not run yet."""
    made = Connectors(tmp_path, postgresql)
    yield made
    await made.close()


@pytest.fixture
async def connectors(stopped_connectors: Connectors) -> Connectors:
    """Two Connectors that are ready."""
    await stopped_connectors.start()
    return stopped_connectors
