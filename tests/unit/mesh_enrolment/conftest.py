"""Two trust domains that know nothing of each other."""

from pathlib import Path

import pytest

from tests.support.identities import Mint
from tests.unit.mesh_enrolment.clockwork import Clockwork


@pytest.fixture
def clockwork() -> Clockwork:
    return Clockwork()


@pytest.fixture
def mint(tmp_path: Path, clockwork: Clockwork) -> Mint:
    return Mint(tmp_path / "mint", clock=clockwork)


@pytest.fixture
def other_mint(tmp_path: Path, clockwork: Clockwork) -> Mint:
    return Mint(tmp_path / "other", "other.test", clock=clockwork)
