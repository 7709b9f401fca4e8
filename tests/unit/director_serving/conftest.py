from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from director.serving.hub import ApplicationHub
from tests.unit.director.plane import Plane
from tests.unit.director_serving.reader import Reader

MakeReader = Callable[[str], Reader]


@pytest.fixture
def plane(director_url: str) -> Iterator[Plane]:
    plane = Plane(director_url)
    yield plane
    plane.close()


@pytest.fixture
async def hub(plane: Plane) -> AsyncIterator[ApplicationHub]:
    hub = ApplicationHub(plane.database, "plane.test", poll_interval=60.0)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def watch(plane: Plane, hub: ApplicationHub) -> AsyncIterator[MakeReader]:
    """Begins to watch an Application's view, until the test ends."""
    readers: list[Reader] = []

    def make(application_id: str) -> Reader:
        readers.append(Reader(plane, hub, application_id))
        return readers[-1]

    yield make
    for reader in readers:
        await reader.stop()
