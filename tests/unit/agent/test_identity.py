"""What the agent starts with, where that needs no plane; enrolment itself is tested with real listeners."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from agent.home import Home
from agent.identity import identity_to_start_with
from certs.token import OneTimeToken
from mesh.exits import Exit, Stopped
from tests.support.identities import Mint

NOW = datetime(2030, 1, 1, tzinfo=UTC)
RUNTIME_ID = str(uuid.UUID(int=1))
OTHER_RUNTIME_ID = str(uuid.UUID(int=2))
LIFE = timedelta(hours=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def given_identity(home: Home, kind: str = "runtime", name: str = RUNTIME_ID) -> None:
    Mint(home.folder, clock=lambda: NOW).identity(kind, name, LIFE, folder=home.identity)


async def refused(
    home: Home, at: datetime = NOW, runtime_id: str = "", token_file: Path | None = None, token: str | None = None
) -> Stopped:
    with pytest.raises(Stopped) as stopped:
        await identity_to_start_with(home, runtime_id, token_file, token, lambda: at)
    return stopped.value


@pytest.mark.parametrize("runtime_id", ["", RUNTIME_ID])
async def test_an_identity_that_is_there_is_used(home: Home, runtime_id: str) -> None:
    given_identity(home)
    loaded = await identity_to_start_with(home, runtime_id, None, None, lambda: NOW)
    assert loaded.spiffe_id.name == RUNTIME_ID


async def test_an_identity_that_is_there_leaves_the_token_alone(home: Home, tmp_path: Path) -> None:
    given_identity(home)
    (tmp_path / "token").write_text("anything")
    await identity_to_start_with(home, "", tmp_path / "token", None, lambda: NOW)
    assert (tmp_path / "token").exists()


async def test_without_identity_and_token_the_operator_is_told_what_to_do(home: Home, tmp_path: Path) -> None:
    stopped = await refused(home, token_file=tmp_path / "token")
    assert stopped.code is Exit.REFUSED
    assert f"put it into {tmp_path / 'token'} with mode 0600" in str(stopped)


@pytest.mark.check("trust-15")
async def test_an_identity_counts_until_its_last_second(home: Home) -> None:
    given_identity(home)
    await identity_to_start_with(home, "", None, None, lambda: NOW + LIFE - timedelta(seconds=1))
    stopped = await refused(home, at=NOW + LIFE)
    assert (stopped.code, "one-time token" in str(stopped)) == (Exit.REFUSED, True)


async def test_an_identity_that_ended_is_left_to_be_recovered_where_it_is_known_where(home: Home) -> None:
    given_identity(home)
    home.save_addresses(PlaneAddresses(enrolment="plane.test:7445"))
    loaded = await identity_to_start_with(home, "", None, None, lambda: NOW + LIFE)
    assert loaded.not_after == NOW + LIFE


async def test_the_ended_identity_of_somebody_else_is_not_recovered(home: Home) -> None:
    given_identity(home, name=OTHER_RUNTIME_ID)
    home.save_addresses(PlaneAddresses(enrolment="plane.test:7445"))
    assert (await refused(home, at=NOW + LIFE, runtime_id=RUNTIME_ID)).code is Exit.REFUSED


@pytest.mark.parametrize(("kind", "name"), [("application", RUNTIME_ID), ("runtime", OTHER_RUNTIME_ID)])
async def test_the_identity_of_somebody_else_is_not_used(home: Home, kind: str, name: str) -> None:
    given_identity(home, kind, name)
    stopped = await refused(home, runtime_id=RUNTIME_ID)
    assert (stopped.code, name in str(stopped)) == (Exit.REFUSED, True)


async def test_a_token_that_is_none_is_refused_and_never_shown(home: Home, tmp_path: Path) -> None:
    token = OneTimeToken("plane.test:7445", (bytes(32),), b"s" * 32).encode()
    (tmp_path / "token").write_text(token[:-5])
    (tmp_path / "token").chmod(0o600)
    for stopped in (await refused(home, token_file=tmp_path / "token"), await refused(home, token=token[:-5])):
        assert stopped.code is Exit.TOKEN_MALFORMED
        assert token[5:15] not in str(stopped)


async def test_a_token_that_everybody_can_read_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("moor_")
    (tmp_path / "token").chmod(0o644)
    stopped = await refused(home, token_file=tmp_path / "token")
    assert (stopped.code, "chmod 600" in str(stopped)) == (Exit.USAGE, True)
