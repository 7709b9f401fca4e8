"""People and the plane by the command: logging in, contexts that renew themselves, what each role may, and its end."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority
from certs.clock import system_clock
from certs.identity import Identity
from certs.issue import issue
from certs.keys import key_to_pem, new_key
from certs.spiffe import SpiffeId
from cli.contexts import Contexts
from cli.plane.bootstrap import open_authority
from cli.plane.home import Home
from mesh.exits import Exit
from tests.support.command import Ended, run_command
from tests.support.plane import MOORAGE, Up
from tests.support.wait import wait_for

LISTS = (
    *(["application", "list"], ["group", "list"], ["runtime", "list"], ["label", "list"], ["operation", "list"]),
    *(["token", "list"], ["certificate", "list"], ["identity", "list"]),
)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = Home(tmp_path_factory.mktemp("plane") / "home")
    home.prepare()
    # An authority that is older than the plane can have signed what is old as well.
    open_authority(home, None, None, lambda: system_clock() - timedelta(days=40))
    with Up(home.root) as plane:
        yield plane


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


class Person:
    """Somebody with contexts of their own, and no home."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.contexts = Contexts(config)

    def moorage(self, *arguments: str, stdin: str = "") -> Ended:
        return run_command(*arguments, stdin=stdin.encode(), contexts=self.config)

    def shown(self, *arguments: str, stdin: str = "") -> dict[str, Any]:
        """What a command that must succeed prints, as JSON."""
        done = self.moorage(*arguments, "-o", "json", stdin=stdin)
        assert done.returncode == Exit.OK, done.stderr
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def serial(self, context: str = "default") -> str:
        return Identity(self.contexts.folder(context)).load().serial


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.delenv("MOORAGE_HOME", raising=False)
    monkeypatch.delenv("MOORAGE_TOKEN", raising=False)
    return Person(tmp_path / "config")


def token(up: Up, role: str, name: str) -> str:
    issued = up.moorage("token", "issue", f"--{role}", name)
    assert issued.returncode == Exit.OK, issued.stderr
    return issued.stdout.strip()


def admin_shown(up: Up, *arguments: str) -> dict[str, Any]:
    """What a command that must succeed prints, as JSON, to the administrator of the home."""
    done = up.moorage(*arguments, "-o", "json")
    assert done.returncode == Exit.OK, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def aged(up: Up, folder: Path, path: str, age: timedelta, lifetime: timedelta) -> str:
    """Writes the identity of `path` into a folder as if it had been issued `age` ago; its serial number."""
    authority = Authority.load(up.home / "connector" / "authority" / "issuing")
    key, clock = new_key(), lambda: system_clock() - age
    spiffe_id = SpiffeId(authority.trust_domain, path)
    issued = issue(authority, key.public_key(), spiffe_id, lifetime, clock, server=False)
    bundle = (up.home / "identities" / "admin" / "ca.crt").read_bytes()
    identity = Identity(folder)
    identity.write(key_to_pem(key), issued.chain_pem, bundle)
    return identity.load().serial


def aged_context(up: Up, person: Person, name: str, age: timedelta) -> str:
    """Gives a person the context of an administrator whose certificate of 30 days was issued `age` ago."""
    folder = person.contexts.folder("default")
    serial = aged(up, folder, f"/admin/{name}", age, timedelta(days=30))
    plane = up.plane
    addresses = {each: getattr(plane, each) for each in ("director", "connector", "enrolment", "provisioner")}
    (folder / "addresses.json").write_text(json.dumps(addresses))
    person.contexts.use("default")
    return serial


def test_a_person_who_logs_in_has_a_context_that_works_from_anywhere(up: Up, person: Person, name: str) -> None:
    shown = person.shown("login", "-", "--name", "harbour", stdin=token(up, "admin", name))
    assert shown["spiffe_id"] == f"spiffe://moorage.internal/admin/{name}"
    assert shown["addresses"]["connector"] == up.plane.connector
    assert person.moorage("context", "current").stdout == "harbour\n"
    [context] = person.shown("context", "list")["contexts"]
    assert (context["serial_number"], context["current"]) == (shown["serial_number"], True)
    created = person.shown("application", "create", name)
    assert person.shown("application", "get", name, "--context", "harbour") == created


@pytest.mark.parametrize("way", ["stdin", "file", "environment"])
def test_the_token_need_not_be_among_the_arguments(
    up: Up, person: Person, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    line = token(up, "viewer", name)
    (tmp_path / "token").write_text(f"{line}\n")
    if way == "environment":
        monkeypatch.setenv("MOORAGE_TOKEN", line)
    arguments = {"stdin": ["-"], "file": ["--token-file", str(tmp_path / "token")], "environment": []}[way]
    done = person.moorage("login", *arguments, stdin=line if way == "stdin" else "")
    assert done.returncode == Exit.OK, done.stderr
    assert "warning" not in done.stderr
    assert line not in done.stdout + done.stderr


def test_a_context_is_replaced_only_when_asked(up: Up, person: Person, name: str) -> None:
    person.shown("login", "-", stdin=token(up, "viewer", name))
    first, line = person.serial(), token(up, "viewer", name)
    taken = person.moorage("login", "-", stdin=line)
    assert taken.returncode == Exit.CONFLICT
    assert "choose another --name" in taken.stderr
    assert person.serial() == first
    person.shown("login", "-", "--replace", stdin=line)
    assert person.serial() != first


def test_a_login_that_is_refused_makes_no_context(up: Up, person: Person, name: str) -> None:
    line = token(up, "viewer", name)
    assert person.moorage("login", "-", stdin=line[:-2]).returncode == Exit.TOKEN_MALFORMED
    assert person.shown("context", "list") == {"contexts": []}
    assert person.moorage("context", "current").returncode == Exit.NOT_FOUND
    assert person.moorage("login", "-", stdin=line).returncode == Exit.OK
    refused = person.moorage("login", "-", "--name", "again", stdin=line)
    assert refused.returncode == Exit.TOKEN_REFUSED
    assert person.contexts.names == ["default"]


def test_a_viewer_reads_everything_and_changes_nothing(up: Up, person: Person, name: str) -> None:
    assert up.moorage("application", "create", name).returncode == Exit.OK
    person.shown("login", "-", stdin=token(up, "viewer", name))
    for command in LISTS:
        done = person.moorage(*command)
        assert done.returncode == Exit.OK, (command, done.stderr)
    for command in (
        ["application", "create", f"{name}-2"],
        ["application", "delete", name],
        ["group", "create", name],
        ["runtime", "create", name, "--no-wait"],
        ["token", "issue", "--application", name],
        ["token", "issue", "--admin", name],
        ["certificate", "revoke", "00"],
        ["identity", "revoke", f"admin/{name}", "--ban"],
        ["identity", "restore", f"admin/{name}"],
    ):
        refused = person.moorage(*command)
        assert (refused.returncode, "ACCESS_DENIED" in refused.stderr) == (Exit.REFUSED, True), (command, refused)


def test_a_command_renews_the_context_once_two_thirds_of_its_life_are_over(up: Up, person: Person, name: str) -> None:
    first = aged_context(up, person, name, timedelta(days=21))
    addresses = person.contexts.folder("default") / "addresses.json"
    before = addresses.stat().st_ino
    assert person.moorage("application", "list").returncode == Exit.OK
    renewed = person.serial()
    assert renewed != first
    assert addresses.stat().st_ino != before
    assert json.loads(addresses.read_text())["director"] == up.plane.director
    assert person.moorage("application", "list").returncode == Exit.OK
    assert person.serial() == renewed
    shown = admin_shown(up, "certificate", "get", renewed)
    assert (shown["origin"], shown["replaces_serial"]) == ("CERTIFICATE_ORIGIN_RENEWED", first)


def test_a_context_before_two_thirds_of_its_life_is_left_alone(up: Up, person: Person, name: str) -> None:
    first = aged_context(up, person, name, timedelta(days=19))
    assert person.moorage("application", "list").returncode == Exit.OK
    assert person.serial() == first


def test_commands_at_the_same_time_renew_the_context_once_and_none_is_locked_out(
    up: Up, person: Person, name: str
) -> None:
    first = aged_context(up, person, name, timedelta(days=25))
    environ = {"MOORAGE_CONFIG": str(person.config), "PATH": "/usr/bin:/bin"}

    def command(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MOORAGE, "application", "list"], env=environ, capture_output=True, text=True, timeout=60
        )

    with ThreadPoolExecutor(3) as threads:
        for done in threads.map(command, range(3)):
            assert done.returncode == Exit.OK, done.stderr
    found = admin_shown(up, "certificate", "list", "--of", f"admin/{name}")["certificates"]
    assert {each["serial_number"] for each in found} == {first, person.serial()}


def test_a_context_goes_on_while_it_cannot_be_renewed(up: Up, person: Person, name: str) -> None:
    first = aged_context(up, person, name, timedelta(days=25))
    done = person.moorage("application", "list", "--connector", "127.0.0.1:1", "--timeout", "1500ms")
    assert done.returncode == Exit.OK, done.stderr
    assert "was not renewed" in done.stderr
    assert person.serial() == first


def test_the_administrator_of_a_home_is_renewed_by_its_commands_too(up: Up) -> None:
    folder = up.home / "identities" / "admin"
    first = aged(up, folder, "/admin/admin", timedelta(days=25), timedelta(days=30))
    assert up.moorage("application", "list").returncode == Exit.OK
    assert Identity(folder).load().serial != first
    assert not (folder / "addresses.json").exists()


def test_what_the_plane_began_with_is_in_the_ledger(up: Up) -> None:
    for name in ("director", "connector", "provisioner"):
        serial = Identity(up.home / "identities" / name).load().serial
        shown = admin_shown(up, "certificate", "get", serial)
        assert shown["spiffe_id"] == f"spiffe://moorage.internal/service/{name}"
        assert shown["origin"] == "CERTIFICATE_ORIGIN_BOOTSTRAPPED"
        assert shown["state"] == "CERTIFICATE_STATE_ACTIVE"
    ids = {each["spiffe_id"] for each in admin_shown(up, "identity", "list", "--state", "active")["identities"]}
    assert "spiffe://moorage.internal/admin/admin" in ids


def refused_as_revoked(person: Person) -> bool:
    done = person.moorage("application", "list")
    return done.returncode == Exit.REFUSED and "CERTIFICATE_REVOKED" in done.stderr


def test_a_certificate_that_is_revoked_counts_no_longer(up: Up, person: Person, name: str, tmp_path: Path) -> None:
    person.shown("login", "-", stdin=token(up, "viewer", name))
    serial = person.serial()
    assert person.moorage("application", "list").returncode == Exit.OK
    why = ("--reason", "key-compromise", "--note", "laptop lost")
    revoked = admin_shown(up, "certificate", "revoke", serial.upper(), *why)
    assert revoked["state"] == "CERTIFICATE_STATE_REVOKED"
    assert revoked["revocation_note"] == "laptop lost"
    wait_for("the viewer to be refused", lambda: refused_as_revoked(person))
    [listed] = admin_shown(up, "certificate", "list", "--of", f"viewer/{name}", "--state", "revoked")["certificates"]
    assert listed["serial_number"] == serial
    out = tmp_path / "crl.der"
    assert up.moorage("revocations", "fetch", "--out", str(out)).returncode == Exit.OK
    text = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", str(out), "-noout", "-text"], capture_output=True, text=True
    )
    assert serial.upper() in text.stdout
    assert "Key Compromise" in text.stdout


def test_who_is_evicted_may_log_in_again_and_who_is_banned_only_once_restored(
    up: Up, person: Person, name: str
) -> None:
    person.shown("login", "-", stdin=token(up, "viewer", name))
    evicted = admin_shown(up, "identity", "revoke", f"viewer/{name}", "--evict")
    assert evicted["state"] == "IDENTITY_STATE_INACTIVE"
    wait_for("the evicted to be refused", lambda: refused_as_revoked(person))
    person.shown("login", "-", "--replace", stdin=token(up, "viewer", name))
    assert person.moorage("application", "list").returncode == Exit.OK

    banned = admin_shown(up, "identity", "revoke", f"viewer/{name}", "--ban")
    assert banned["state"] == "IDENTITY_STATE_BANNED"
    wait_for("the banned to be refused", lambda: refused_as_revoked(person))
    issued = up.moorage("token", "issue", "--viewer", name)
    assert issued.returncode == Exit.CONFLICT
    assert "IDENTITY_BANNED" in issued.stderr

    assert up.moorage("identity", "restore", f"viewer/{name}").returncode == Exit.OK
    person.shown("login", "-", "--replace", stdin=token(up, "viewer", name))
    assert person.moorage("application", "list").returncode == Exit.OK


def test_an_administrator_does_not_end_himself(up: Up) -> None:
    refused = up.moorage("identity", "revoke", "admin/admin", "--ban")
    assert "OWN_IDENTITY" in refused.stderr
    assert up.moorage("application", "list").returncode == Exit.OK
