from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from director.stream.hub import Hub
from mesh.database import Database
from tests.unit.director_stream.plane import prepare
from tests.unit.director_stream.reader import Reader
from tests.unit.director_stream.story import Story


@pytest.fixture
def database(director_url: str) -> Iterator[Database]:
    database = Database.open(director_url)
    prepare(database)
    yield database
    database.close()


@pytest.fixture
async def start_hub(database: Database) -> AsyncIterator[Callable[..., Any]]:
    """Starts a hub with the settings it is given, and stops it when the test ends."""
    hubs: list[Hub] = []

    async def start(**settings: Any) -> Hub:
        hub = Hub(database, **{"poll_interval": 60.0, "bookmark_interval": 60.0, **settings})
        hubs.append(hub)
        await hub.start()
        return hub

    yield start
    for hub in hubs:
        await hub.stop()


@pytest.fixture
async def hub(start_hub: Callable[..., Any]) -> Hub:
    started: Hub = await start_hub()
    return started


@pytest.fixture
async def read(hub: Hub) -> AsyncIterator[Callable[..., Reader]]:
    """Makes readers of the hub, and disconnects them when the test ends."""
    readers: list[Reader] = []

    def make(runtime_id: str, of: Hub = hub) -> Reader:
        readers.append(Reader(of, runtime_id))
        return readers[-1]

    yield make
    for reader in readers:
        await reader.disconnect()


@pytest.fixture
async def story(database: Database) -> Story:
    return await database.write(Story)
