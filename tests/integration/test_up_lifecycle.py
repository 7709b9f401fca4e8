"""The embedded plane from start to stop, and through the death of each of its processes."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.identity import Identity
from cli.plane.home import SERVICES
from cli.plane.plane_file import Plane
from mesh.exits import Exit
from tests.support.plane import Up, moorage, processes_of, service_pids, watched


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of(tmp_path / "home") == []


def test_a_plane_says_where_it_is_and_who_the_administrator_is(home: Path) -> None:
    with Up(home) as up:
        plane = up.plane
        assert up.printed == plane.to_json()
        assert plane.pids["up"] == up.process.pid
        assert set(plane.pids) == {"up", *SERVICES}
        assert len({plane.director, plane.connector, plane.enrolment, plane.provisioner}) == 4
        admin = Identity(home / "identities" / "admin").load()
        assert str(admin.spiffe_id) == f"spiffe://{plane.trust_domain}/admin/admin"


def test_a_stop_is_graceful_and_complete(home: Path) -> None:
    with Up(home) as up:
        pids = service_pids(up.plane)
        assert up.stop() == Exit.OK
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not (home / "plane.json").exists()


def test_keys_and_databases_are_for_their_user_alone(home: Path) -> None:
    with Up(home):
        secret = [*home.rglob("*.key"), *home.rglob("*.sqlite"), home / "moorage.toml"]
        assert len(secret) >= 8
        exposed = [file for file in secret if stat.S_IMODE(file.resolve().stat().st_mode) & 0o077]
    assert not [file for file in exposed if file.suffix != ".sqlite"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_second_plane_in_the_home_of_a_running_one_is_refused(home: Path) -> None:
    with Up(home) as up:
        done = moorage("up", "--home", str(home), "--port", "0")
        assert done.returncode == Exit.PLANE_RUNS
        assert f"(process {up.process.pid})" in done.stderr


def test_a_later_start_has_the_same_addresses_and_the_same_root(home: Path) -> None:
    with Up(home) as up:
        first = up.plane
    with Up(home) as up:
        assert _but_pids(up.plane) == _but_pids(first)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_killed_comes_back_at_the_same_address(service: str, home: Path) -> None:
    with Up(home) as up:
        before = up.plane
        killed = up.kill(service)
        returned = up.wait_for_pid(service, other_than=killed)
        assert Path(f"/proc/{returned}").exists()
        assert _but_pids(up.plane) == _but_pids(before)
        assert f"{service} was ended by SIGKILL; starting it again" in up.said


def test_when_the_plane_is_killed_its_services_end_and_the_next_start_recovers_it(home: Path) -> None:
    with Up(home) as up:
        before = up.plane
        up.kill("up")
    with Up(home) as up:
        assert _but_pids(up.plane) == _but_pids(before)
        assert set(service_pids(up.plane)).isdisjoint(service_pids(before))


def test_when_the_plane_is_killed_none_of_its_services_stays(home: Path) -> None:
    with Up(home) as up:
        for pid in service_pids(up.plane):
            with watched(pid) as ended:
                if up.process.poll() is None:
                    up.process.kill()
                    up.process.wait(30)
                ended()


def test_a_plane_under_a_passphrase_starts_again_only_with_it(home: Path, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("low tide\n")
    wrong.write_text("high tide\n")
    with Up(home, "--passphrase-file", str(right)):
        pass
    for options in ((), ("--passphrase-file", str(wrong))):
        done = moorage("up", "--home", str(home), "--port", "0", *options)
        assert done.returncode == Exit.PASSPHRASE, done.stderr
        assert len(done.stderr.splitlines()) == 1
    with Up(home, "--passphrase-file", str(right)):
        pass


def _but_pids(plane: Plane) -> tuple[str, ...]:
    return (
        plane.director,
        plane.connector,
        plane.enrolment,
        plane.provisioner,
        plane.trust_domain,
        plane.root_sha256,
    )
