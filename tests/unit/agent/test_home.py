"""The agent's folder: one agent in it at a time, and the plane's addresses."""

from pathlib import Path

import pytest
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from agent.home import Home
from mesh.exits import Exit, Stopped

ADDRESSES = PlaneAddresses(director="plane.test:7443", connector="plane.test:7444")


def test_a_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with Home(tmp_path / "a" / "home").occupied():
        assert (tmp_path / "a" / "home").stat().st_mode & 0o777 == 0o700


def test_two_agents_never_run_in_one_home(tmp_path: Path) -> None:
    with Home(tmp_path).occupied():
        with pytest.raises(Stopped, match="stop it, or choose another") as stopped, Home(tmp_path).occupied():
            pass
        assert stopped.value.code is Exit.PLANE_RUNS
    with Home(tmp_path).occupied():
        pass


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stopped, match="not writable") as stopped, Home(tmp_path / "file" / "home").occupied():
        pass
    assert stopped.value.code is Exit.HOME_NOT_WRITABLE


def test_addresses_are_there_after_a_restart(tmp_path: Path) -> None:
    Home(tmp_path).save_addresses(ADDRESSES)
    assert Home(tmp_path).addresses() == ADDRESSES


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"director": 7}', b"\xff"])
def test_addresses_that_cannot_be_read_are_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "addresses.json").write_bytes(content)
    assert Home(tmp_path).addresses() == PlaneAddresses()


def test_addresses_of_a_newer_plane_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"director": "plane.test:7443", "moon": "plane.test:9999"}')
    assert Home(tmp_path).addresses() == PlaneAddresses(director="plane.test:7443")
