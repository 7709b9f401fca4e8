"""A stopped clock and a fresh pair of authorities for each test."""

import pytest

from certs.authority import Authority
from tests.unit.certs.forge import StoppedClock, authorities


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def root_and_issuing(clock: StoppedClock) -> tuple[Authority, Authority]:
    return authorities(clock)


@pytest.fixture
def root(root_and_issuing: tuple[Authority, Authority]) -> Authority:
    return root_and_issuing[0]


@pytest.fixture
def issuing(root_and_issuing: tuple[Authority, Authority]) -> Authority:
    return root_and_issuing[1]
