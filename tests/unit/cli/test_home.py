"""The home of the embedded plane: which it is, whether it can be used, and that one plane at a time does."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.plane.home import Home
from mesh.exits import Exit, Stopped


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.mark.parametrize(
    ("option", "environ", "chosen"),
    [
        (Path("/srv/a"), {"MOORAGE_HOME": "/srv/b"}, Path("/srv/a")),
        (None, {"MOORAGE_HOME": "/srv/b"}, Path("/srv/b")),
        (None, {}, Path.home() / ".local/state/moorage"),
        (None, {"MOORAGE_HOME": ""}, Path.home() / ".local/state/moorage"),
        (Path("here"), {}, Path.cwd() / "here"),
    ],
)
def test_the_option_goes_before_the_variable_and_the_variable_before_the_default(
    option: Path | None, environ: dict[str, str], chosen: Path
) -> None:
    assert Home.chosen(option, environ).root == chosen


def test_a_home_is_for_its_user_alone(home: Home) -> None:
    folders = [home.root, *(each for each in home.root.iterdir() if each.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_home_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stopped, match="make it writable for this user, or choose another --home") as refused:
        Home(tmp_path / "file" / "home").prepare()
    assert refused.value.code is Exit.HOME_NOT_WRITABLE


def test_a_second_plane_in_a_home_is_refused_and_told_whose_it_is(home: Home) -> None:
    with (
        home.claimed(),
        pytest.raises(Stopped, match=rf"already runs in .* \(process {os.getpid()}\)") as refused,
        home.claimed(),
    ):
        pass
    assert refused.value.code is Exit.PLANE_RUNS


def test_a_home_is_free_again_after_its_plane(home: Home) -> None:
    for _ in range(2):
        with home.claimed():
            pass


def test_services_that_outlive_their_plane_are_waited_for(home: Home) -> None:
    with home.services_claimed({}) as claim:
        orphan = subprocess.Popen(["sleep", "0.2"], pass_fds=[claim])
    with home.services_claimed({}):
        assert orphan.poll() is not None or orphan.wait(0.1) == 0


def test_services_that_will_not_end_are_killed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.plane.home._ORPHANS_STOP_WITHIN", 0.1)
    with home.services_claimed({}) as claim:
        orphan = _sleeping(str(home.settings), claim)
    with home.services_claimed({"director": orphan.pid}):
        assert orphan.wait(10) == -9


def test_a_process_that_is_not_of_this_home_is_never_killed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.plane.home._ORPHANS_STOP_WITHIN", 0.1)
    monkeypatch.setattr("cli.plane.home._ORPHANS_DIE_WITHIN", 0.1)
    with home.services_claimed({}) as claim:
        stranger = _sleeping("/another/home/moorage.toml", claim)
    try:
        with pytest.raises(Stopped, match="still run in"), home.services_claimed({"director": stranger.pid}):
            pass
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def _sleeping(argument: str, claim: int) -> subprocess.Popen[bytes]:
    script = "import signal; signal.pause()"
    process = subprocess.Popen([sys.executable, "-S", "-c", script, argument], pass_fds=[claim])
    assert fcntl.fcntl(claim, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    return process
