"""Several Connectors on one PostgreSQL, and Directors with a registry to stream from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.director_registry.process import DirectorProcess
from tests.support.connectors import Connectors
from tests.support.postgresql import PostgresqlServer
from tests.support.stream_plane import StreamPlane


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def director(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DirectorProcess]:
    """A Director for all tests of a module, with the settings that the module has as `DIRECTOR`."""
    made = DirectorProcess(tmp_path_factory.mktemp("director"))
    made.settings |= getattr(request.module, "DIRECTOR", {})
    try:
        await made.start()
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registry(director: DirectorProcess) -> AsyncIterator[StreamPlane]:
    """The registry of that Director, and who reads its stream."""
    made = StreamPlane(director.folder, director.mint, [director.settings["listen"]])
    yield made
    await made.close()
