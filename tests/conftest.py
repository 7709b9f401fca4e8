"""What every test gets. The order of the tests is shuffled: each must stand alone."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import pytest_socket

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
from director.store.tables import metadata
from mesh.database import Database
from mesh.migration import prepare
from mesh.structured import structlog
from tests.support.postgresql import PostgresqlServer

UNIT = Path(__file__).parent / "unit"

LONG = {
    "unit": (
        *("director_transfer/test_moving.py", "director_transfer/test_memory.py", "director/test_registry_model.py"),
        *("director_transfer/test_refusals.py", "test_checks.py", "director/test_keys.py"),
        *("provisioner/test_workflows.py", "director_stream/test_random_walk.py"),
    ),
    "integration": (
        *("director_registry/test_moving.py", "test_demo.py", "test_trust_page.py", "provisioner/test_process.py"),
        *("test_up_lifecycle.py", "director_registry/test_fuzz.py", "test_secrets.py", "test_readme.py"),
        *("director_registry/test_process.py", "director_webhooks/test_restart.py", "test_bad_start.py"),
        *("connector/test_any_bytes.py", "connector/test_fuzz.py", "director_specifications/test_background.py"),
    ),
    "faults": ("test_story.py",),
}
"""The modules that take longest: they begin, so that no worker is left with one of them when the others have ended."""

_BEGIN = {Path(__file__).parent / part / name for part, names in LONG.items() for name in names}


@pytest.hookimpl(trylast=True)  # when the order has been shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the long modules begin, in whichever order they are in."""
    items.sort(key=lambda item: item.path not in _BEGIN)


@pytest.fixture(autouse=True)
def _unit_tests_reach_no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Closes sockets to tests/unit, save the Unix ones that an event loop wakes itself with."""
    if UNIT not in request.path.parents:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(autouse=True)
def _logging_is_a_matter_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes what a command, run in this process, says of logging; no logger keeps it for the tests to come."""
    configure, handlers = structlog.configure, set(logging.root.handlers)
    monkeypatch.setattr(structlog, "configure", lambda **how: configure(**{**how, "cache_logger_on_first_use": False}))
    yield
    structlog.reset_defaults()
    for left in set(logging.root.handlers) - handlers:
        logging.root.removeHandler(left)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The server of this run, or of this worker of it. It starts, in about a second, when a test first asks for it."""
    server = PostgresqlServer.started()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_name(request: pytest.FixtureRequest) -> str:
    """Has a test run once on each engine."""
    name: str = request.param
    return name


@pytest.fixture
def database_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with nothing in it, on each engine."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path}/database.sqlite"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def director_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database for the Director with nothing in it, on each engine. On PostgreSQL its tables are there already."""
    if engine_name == "sqlite":
        return f"sqlite:///{tmp_path}/director.sqlite"
    url: str = request.getfixturevalue("director_on_postgresql")()
    return url


@pytest.fixture(scope="session")
def director_template(postgresql: PostgresqlServer) -> str:
    """The name of a database that has the Director's tables and nothing in them, to make others from."""
    name = postgresql.create_database()
    database = Database.open(postgresql.url(name))
    prepare(database.engine, metadata, "director")
    database.close()
    return name


@pytest.fixture(scope="session")
def director_on_postgresql(postgresql: PostgresqlServer, director_template: str) -> Iterator[Callable[[], str]]:
    """Empties the Director's database on PostgreSQL and gives its URL: making one takes ten times as long."""
    name = postgresql.create_database(director_template)
    tables = ";".join(f"DELETE FROM {table.name}" for table in metadata.tables.values())
    statements = f"SET session_replication_role = replica; {tables}".encode()  # no foreign key says in which order
    with psycopg.connect(postgresql.url(name), autocommit=True) as connection:

        def emptied() -> str:
            connection.execute(statements, prepare=False)
            return postgresql.url(name)

        yield emptied
    postgresql.drop_database(name)
