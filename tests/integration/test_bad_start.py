"""Starts that cannot be: one line that says what to do, an exit code, and a home that is as it was, byte for byte."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.exits import Exit
from tests.support.plane import Up, moorage, processes_of

LOCKS = {"lock", "services.lock"}


@pytest.fixture(scope="module")
def passphrase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("passphrase") / "passphrase"
    file.write_text("low tide\n")
    return file


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, passphrase: Path) -> Path:
    """The home of a plane that ran under a passphrase, with the Application `orders` in it."""
    home = tmp_path_factory.mktemp("bad-start") / "home"
    with Up(home, "--passphrase-file", str(passphrase)) as up:
        assert up.moorage("application", "create", "orders").returncode == Exit.OK
    return home


@pytest.fixture
def home(stopped: Path, passphrase: Path) -> Iterator[Path]:
    """That home, which is the same after the test, and can be started."""
    before = _content(stopped)
    yield stopped
    assert processes_of(stopped) == []
    assert _content(stopped) == before


def test_a_wrong_passphrase_touches_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("high tide\n")
    code, line = _refused("--home", str(home), "--port", "0", "--passphrase-file", str(tmp_path / "wrong"))
    assert code == Exit.PASSPHRASE
    assert "give the one of the first start" in line


def test_a_passphrase_that_is_missing_touches_nothing(home: Path) -> None:
    code, line = _refused("--home", str(home), "--port", "0")
    assert code == Exit.PASSPHRASE
    assert "--passphrase-file" in line


def test_no_passphrase_is_shown_where_one_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("spring tide\n")
    done = moorage("up", "--home", str(home), "--port", "0", "--passphrase-file", str(tmp_path / "wrong"))
    assert "tide" not in done.stdout + done.stderr


@pytest.mark.parametrize("place", range(4))
def test_a_port_that_is_taken_is_named_and_nothing_is_touched(place: int, home: Path, passphrase: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        first = str(taken - place)
        code, line = _refused("--home", str(home), "--port", first, "--passphrase-file", str(passphrase))
    assert code == Exit.PORT_TAKEN
    assert "choose another --port" in line


def test_the_right_passphrase_finds_what_was_there(stopped: Path, passphrase: Path) -> None:
    with Up(stopped, "--passphrase-file", str(passphrase)) as up:
        listed = up.moorage("application", "list", "-o", "json")
    assert '"orders"' in listed.stdout, listed.stderr


def test_a_port_that_is_taken_makes_no_authority_in_a_new_home(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _ = _refused("--home", str(tmp_path / "home"), "--port", str(other.getsockname()[1]))
    assert code == Exit.PORT_TAKEN
    assert [file for file in (tmp_path / "home").rglob("*") if file.is_file() and file.name not in LOCKS] == []


@pytest.mark.parametrize("below", ["file/home", "file"])
def test_a_home_that_is_not_writable_is_named_and_nothing_is_made(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, line = _refused("--home", str(tmp_path / below), "--port", "0")
    assert code == Exit.HOME_NOT_WRITABLE
    assert str(tmp_path / below) in line
    assert "choose another --home" in line
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "not a folder")]


def _refused(*arguments: str) -> tuple[int, str]:
    """The exit code and the one line of a `moorage up` that does not start."""
    done = moorage("up", *arguments)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("moorage: ")
    return done.returncode, line


def _content(home: Path) -> dict[str, str]:
    """The hash of each file in the home, but for the locks, which name who held them last."""
    return {
        str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in home.rglob("*")
        if file.is_file() and file.name not in LOCKS
    }
