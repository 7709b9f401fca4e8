"""What keeps `moorage up` from starting is told in one line, with its exit code, and leaves nothing running."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.plane.home import Home
from mesh.exits import Exit
from tests.support.plane import moorage, processes_of


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of(tmp_path / "home") == []


def refused(*arguments: str) -> tuple[int, str]:
    """The exit code and the one line of a `moorage up` that does not start."""
    done = moorage("up", *arguments)
    assert done.stdout == ""
    line, rest = done.stderr.split("\n", 1)
    assert rest == "", done.stderr
    return done.returncode, line


def test_a_port_that_is_taken(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, line = refused("--home", str(home), "--port", str(port))
    assert code == Exit.PORT_TAKEN
    assert line.startswith(f"moorage: 127.0.0.1:{port} is taken: ")


def test_a_port_that_is_taken_further_along(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, line = refused("--home", str(home), "--port", str(port - 3))
    assert code == Exit.PORT_TAKEN
    assert f":{port} is taken" in line or f":{port - 1} is taken" in line or f":{port - 2} is taken" in line


def test_a_home_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, line = refused("--home", str(tmp_path / "file" / "home"), "--port", "0")
    assert code == Exit.HOME_NOT_WRITABLE
    assert line.endswith("make it writable for this user, or choose another --home")


def test_a_home_on_a_file_system_that_takes_no_files() -> None:
    code, _ = refused("--home", "/proc/moorage", "--port", "0")
    assert code == Exit.HOME_NOT_WRITABLE


def test_a_second_plane_in_the_same_home(home: Path) -> None:
    Home(home).prepare()
    with Home(home).claimed():
        code, line = refused("--home", str(home), "--port", "0")
    assert code == Exit.PLANE_RUNS
    assert line.startswith(f"moorage: another plane already runs in {home} (process ")


def test_a_passphrase_file_that_is_missing(home: Path, tmp_path: Path) -> None:
    code, line = refused("--home", str(home), "--port", "0", "--passphrase-file", str(tmp_path / "none"))
    assert code == Exit.PASSPHRASE
    assert "cannot be read" in line


def test_a_service_that_cannot_start(home: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[director]\ntide = 'high'\n")
    code, line = refused("--home", str(home), "--port", "0", "--config", str(tmp_path / "wrong.toml"))
    assert code == Exit.SERVICE_FAILED
    assert line.startswith("moorage: director ended by itself with exit code 2; it said last: director: ")
    assert "tide" in line
    assert line.endswith(f"see {home / 'logs' / 'director.log'}")
    assert not (home / "plane.json").exists()


def test_an_address_that_is_not_of_this_machine(home: Path) -> None:
    code, line = refused("--home", str(home), "--listen", "192.0.2.1")
    assert code == Exit.USAGE
    assert "--listen takes an address of this machine" in line
