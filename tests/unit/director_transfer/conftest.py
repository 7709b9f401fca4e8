"""A registry for each test, and another database for it to go to; each is of either engine."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from director.store.transfer import TABLES
from tests.support.postgresql import PostgresqlServer
from tests.unit.director.plane import Plane
from tests.unit.director_transfer.moving import prepared


@pytest.fixture
def plane(director_url: str) -> Iterator[Plane]:
    plane = Plane(director_url)
    yield plane
    plane.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def other_engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def elsewhere(other_engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives the URL of a database that has the Director's tables and nothing in them; each time the one before ends."""
    if other_engine_name == "sqlite":
        numbers = count()
        return lambda: prepared(f"sqlite:///{tmp_path}/other-{next(numbers)}.sqlite")
    emptied: Callable[[], str] = request.getfixturevalue("other_on_postgresql")
    return emptied


@pytest.fixture
def target(elsewhere: Callable[[], str]) -> str:
    """One such database."""
    return elsewhere()


@pytest.fixture(scope="session")
def other_on_postgresql(postgresql: PostgresqlServer, director_template: str) -> Iterator[Callable[[], str]]:
    name = postgresql.create_database(director_template)
    tables = ";".join(f"DELETE FROM {name}" for name in reversed(TABLES))
    with psycopg.connect(postgresql.url(name), autocommit=True) as connection:

        def emptied() -> str:
            connection.execute(tables.encode(), prepare=False)
            return postgresql.url(name)

        yield emptied
    postgresql.drop_database(name)
