"""What else keeps `moorage up` from starting: one line, its exit code, and nothing left running."""

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
