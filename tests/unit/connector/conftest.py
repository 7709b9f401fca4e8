"""Real authorities and a real database on disk, for every test its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import Authority, create_issuing, create_root
from connector import store
from connector.authority import IssuingAuthority
from connector.store.authorities import record_authority
from mesh.database import Database
from tests.unit.connector.plane import PROFILES, TRUST_DOMAIN, FixedClock, RegistryDouble


@pytest.fixture(scope="session")
def authorities() -> Authority:
    clock = FixedClock()
    return create_issuing(create_root(TRUST_DOMAIN, clock), clock)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def authority(authorities: Authority, clock: FixedClock) -> IssuingAuthority:
    return IssuingAuthority(authorities, PROFILES, clock)


@pytest.fixture
def database(tmp_path: Path, authority: IssuingAuthority) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path / 'connector.sqlite'}")
    store.metadata.create_all(opened.engine)
    with opened.engine.begin() as tx:
        record_authority(tx, authority.sha256, authority.chain_pem)
    yield opened
    opened.close()


@pytest.fixture
def registry() -> RegistryDouble:
    return RegistryDouble()
