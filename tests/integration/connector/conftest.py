"""A running plane for each test, or for all of a module: the Connector's process and the Director's double."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.connector.plane import Plane
from tests.support.lenient import lenient_plane


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    async with lenient_plane(tmp_path_factory.mktemp("connector")) as plane:
        yield plane


@pytest.fixture
def shared_plane(lasting_plane: Plane) -> Plane:
    """For tests that leave both running, and look at no more than is theirs; they run in the loop of their module."""
    lasting_plane.director.begin_anew()
    return lasting_plane
