"""`moorage token` and `moorage pair` against a real plane: a token becomes an identity once, and no slip burns it."""

import json
import stat
import uuid
from pathlib import Path

import pytest

from certs.identity import Identity
from certs.token import OneTimeToken
from mesh.exits import Exit
from tests.support.plane import Up


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def token(up: Up, name: str) -> str:
    assert up.moorage("application", "create", name).returncode == Exit.OK
    issued = up.moorage("token", "issue", "--application", name)
    assert issued.returncode == Exit.OK, issued.stderr
    return issued.stdout.strip()


def test_pairing_writes_an_identity_that_works_from_anywhere(up: Up, name: str, token: str, tmp_path: Path) -> None:
    out = tmp_path / "identity"
    done = up.moorage("pair", "-", "--out", str(out), "-o", "json", stdin=token)
    assert done.returncode == Exit.OK, done.stderr
    assert done.stderr == ""
    held, shown = Identity(out).load(), json.loads(done.stdout)
    assert shown["spiffe_id"] == str(held.spiffe_id)
    assert shown["not_after"] == held.not_after.isoformat()
    assert json.loads((out / "addresses.json").read_text()) == shown["addresses"]
    assert shown["addresses"]["director"] == up.plane.director
    written = {file.name for file in out.iterdir() if not file.name.startswith("..")}
    assert written == {"tls.crt", "tls.key", "ca.crt", "addresses.json"}
    assert stat.S_IMODE((out / "tls.key").stat().st_mode) == 0o600
    elsewhere = ("--identity", str(out), "--home", str(tmp_path / "no-home"))
    created = up.moorage("api", "create", "orders", "--target-url", "https://shop.example", *elsewhere)
    assert created.returncode == Exit.OK, created.stderr
    refused = up.moorage("application", "list", *elsewhere)
    assert refused.returncode == Exit.REFUSED
    assert "ACCESS_DENIED" in refused.stderr
    other = up.moorage("api", "list", "--application", str(uuid.uuid4()), *elsewhere)
    assert other.returncode == Exit.REFUSED


def test_a_used_token_is_refused(up: Up, token: str, tmp_path: Path) -> None:
    assert up.moorage("pair", token, "--out", str(tmp_path / "first")).returncode == Exit.OK
    again = up.moorage("pair", token, "--out", str(tmp_path / "second"))
    assert again.returncode == Exit.TOKEN_REFUSED
    assert "TOKEN_REFUSED" in again.stderr
    assert token not in again.stdout + again.stderr
    assert not (tmp_path / "second" / "tls.crt").exists()


def test_a_token_that_is_cut_off_is_malformed_and_still_works_whole(up: Up, token: str, tmp_path: Path) -> None:
    cut = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=token[:-3])
    assert cut.returncode == Exit.TOKEN_MALFORMED
    assert up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=token).returncode == Exit.OK


def test_a_token_of_another_plane_stops_at_the_pin(up: Up, tmp_path: Path) -> None:
    foreign = OneTimeToken(up.plane.enrolment, (b"\0" * 32,), b"s" * 32).encode()
    done = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=foreign)
    assert done.returncode == Exit.PIN_MISMATCH
    assert done.stderr.count("\n") == 1


def test_a_secret_that_was_never_issued_is_refused(up: Up, token: str, tmp_path: Path) -> None:
    genuine = OneTimeToken.decode(token)
    guessed = OneTimeToken(genuine.address, genuine.root_pins, b"s" * 32).encode()
    done = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=guessed)
    assert done.returncode == Exit.TOKEN_REFUSED


def test_a_plane_that_is_away_is_unavailable_within_the_timeout(up: Up, token: str, tmp_path: Path) -> None:
    genuine = OneTimeToken.decode(token)
    away = OneTimeToken("127.0.0.1:1", genuine.root_pins, genuine.secret).encode()
    done = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), "--timeout", "500ms", stdin=away)
    assert done.returncode == Exit.UNAVAILABLE
    assert "127.0.0.1:1" in done.stderr


def test_a_folder_that_cannot_be_written_does_not_burn_the_token(up: Up, token: str, tmp_path: Path) -> None:
    done = up.moorage("pair", "-", "--out", "/proc/identity", stdin=token)
    assert done.returncode == Exit.HOME_NOT_WRITABLE
    assert up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=token).returncode == Exit.OK


def test_an_identity_is_replaced_only_when_asked(up: Up, name: str, token: str, tmp_path: Path) -> None:
    out = str(tmp_path / "identity")
    assert up.moorage("pair", "-", "--out", out, stdin=token).returncode == Exit.OK
    first = Identity(Path(out)).load().serial
    another = up.moorage("token", "issue", "--application", name).stdout
    assert up.moorage("pair", "-", "--out", out, stdin=another).returncode == Exit.CONFLICT
    assert Identity(Path(out)).load().serial == first
    assert up.moorage("pair", "-", "--out", out, "--replace", stdin=another).returncode == Exit.OK
    assert Identity(Path(out)).load().serial != first


def test_a_call_without_an_identity_of_this_plane_is_not_answered(up: Up, tmp_path: Path) -> None:
    from tests.support.identities import Mint

    foreign = Mint(tmp_path, up.plane.trust_domain).identity("admin", "admin")
    done = up.moorage("application", "list", "--identity", str(foreign.folder), "--timeout", "1s")
    assert done.returncode == Exit.UNAVAILABLE
    assert done.stderr.splitlines()[-1].startswith("moorage: the Director at ")
