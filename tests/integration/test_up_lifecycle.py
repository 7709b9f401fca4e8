"""The embedded plane from start to stop, and through the death of each of its processes."""

import json
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from certs.clock import system_clock
from certs.identity import Identity
from cli.plane.bootstrap import PlaneIdentities, open_authority
from cli.plane.home import SERVICES, Home
from cli.plane.plane_file import Plane
from mesh.exits import Exit
from tests.support.plane import Up, moorage, processes_of, service_pids, watched


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A plane that these tests look at and hurt, but leave running."""
    home = tmp_path_factory.mktemp("lifecycle") / "home"
    with Up(home) as up:
        yield up
    assert processes_of(home) == []


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of(tmp_path / "home") == []


def test_a_plane_says_where_it_is_and_who_the_administrator_is(running: Up) -> None:
    plane = running.plane
    printed = json.loads(running.printed)
    assert printed["director"] == plane.director
    assert printed["pids"]["up"] == plane.pids["up"] == running.process.pid
    assert set(plane.pids) == {"up", *SERVICES}
    assert len({plane.director, plane.connector, plane.enrolment, plane.provisioner}) == 4
    admin = Identity(running.home / "identities" / "admin").load()
    assert str(admin.spiffe_id) == f"spiffe://{plane.trust_domain}/admin/admin"


def test_what_the_plane_keeps_is_for_its_user_alone(running: Up) -> None:
    secret = [*running.home.rglob("*.key"), *running.home.rglob("*.sqlite*"), running.home / "moorage.toml"]
    assert len(secret) >= 10
    assert [file for file in secret if stat.S_IMODE(file.resolve().stat().st_mode) & 0o077] == []
    assert stat.S_IMODE(running.home.stat().st_mode) == 0o700


def test_a_second_plane_in_the_home_of_a_running_one_is_refused(running: Up) -> None:
    done = moorage("up", "--home", str(running.home), "--port", "0")
    assert done.returncode == Exit.PLANE_RUNS
    assert f"(process {running.process.pid})" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_killed_is_started_again_at_the_same_address(service: str, running: Up) -> None:
    before = running.plane
    killed = running.kill(service)
    returned = running.wait_for_pid(service, other_than=killed)
    assert Path(f"/proc/{returned}").exists()
    assert _but_pids(running.plane) == _but_pids(before)
    assert f"{service} was ended by SIGKILL; starting it again" in running.said


def test_a_stop_is_complete_and_a_later_start_has_the_same_addresses_root_and_certificates(home: Path) -> None:
    with Up(home) as up:
        first, serials = up.plane, _serials(home)
        assert up.stop() == Exit.OK
    assert not any(Path(f"/proc/{pid}").exists() for pid in service_pids(first))
    assert not (home / "plane.json").exists()
    with Up(home) as up:
        assert _but_pids(up.plane) == _but_pids(first)
        assert _serials(home) == serials
        listed = json.loads(up.moorage("certificate", "list", "-o", "json").stdout)["certificates"]
        assert sorted(each["serial_number"] for each in listed) == sorted(serials.values())


def test_when_the_plane_is_killed_its_services_end_and_the_next_start_recovers_it(home: Path) -> None:
    with Up(home) as up, ExitStack() as stack:
        before = up.plane
        ends = [stack.enter_context(watched(pid)) for pid in service_pids(before)]
        up.kill("up")
        with Up(home) as again:
            assert _but_pids(again.plane) == _but_pids(before)
            assert set(service_pids(again.plane)).isdisjoint(service_pids(before))
        for ended in ends:
            ended()


def _but_pids(plane: Plane) -> tuple[str, ...]:
    return (
        plane.director,
        plane.connector,
        plane.enrolment,
        plane.provisioner,
        plane.trust_domain,
        plane.root_sha256,
    )


def test_a_plane_that_was_stopped_for_longer_than_its_certificates_live_comes_back(home: Path) -> None:
    then = Home(home)
    then.prepare()
    authority = open_authority(then, None, None, lambda: system_clock() - timedelta(days=40))
    PlaneIdentities(
        then, authority, ip_address("127.0.0.1"), lambda: system_clock() - timedelta(days=35)
    ).sign_missing()
    ended = {name: Identity(then.identity(name)).load().serial for name in (*SERVICES, "admin")}
    with Up(home) as up:
        for name, serial in ended.items():
            now = Identity(then.identity(name)).load().serial
            assert now != serial
            shown = json.loads(up.moorage("certificate", "get", now, "-o", "json").stdout)
            assert shown["state"] == "CERTIFICATE_STATE_ACTIVE"
            assert shown["origin"] == "CERTIFICATE_ORIGIN_BOOTSTRAPPED"


def _serials(home: Path) -> dict[str, str]:
    return {name: Identity(home / "identities" / name).load().serial for name in (*SERVICES, "admin")}
