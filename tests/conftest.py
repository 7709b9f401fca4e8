"""What every test gets. The order of the tests is shuffled: each must stand alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered

UNIT = Path(__file__).parent / "unit"


@pytest.fixture(autouse=True)
def _unit_tests_reach_no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Closes sockets to tests/unit, save the Unix ones that an event loop wakes itself with."""
    if UNIT not in request.path.parents:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
