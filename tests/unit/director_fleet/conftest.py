from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from director.fleet.hub import RuntimeHub
from tests.unit.director.plane import Plane
from tests.unit.director_fleet.reader import Reader

MakeReader = Callable[[], Reader]


@pytest.fixture
def plane(director_url: str) -> Iterator[Plane]:
    plane = Plane(director_url)
    yield plane
    plane.close()


@pytest.fixture
async def hub(plane: Plane) -> AsyncIterator[RuntimeHub]:
    """A hub that reads when it is woken."""
    hub = RuntimeHub(plane.database, poll_interval=60.0, spacing=0.0)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def watch(plane: Plane, hub: RuntimeHub) -> AsyncIterator[MakeReader]:
    """Begins to watch, until the test ends."""
    readers: list[Reader] = []

    def make() -> Reader:
        readers.append(Reader(plane, hub))
        return readers[-1]

    yield make
    for reader in readers:
        await reader.stop()
