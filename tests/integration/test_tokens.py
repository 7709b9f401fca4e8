"""`moorage token` against a real plane: handed to Applications, given to people and services, listed and revoked."""

import json
import uuid
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from standardwebhooks.webhooks import Webhook

from certs.identity import Identity
from certs.token import OneTimeToken
from mesh.exits import Exit
from tests.integration.director_webhooks.receiver import Receiver, receiving
from tests.support.plane import Up


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def name(up: Up) -> str:
    name = f"n-{uuid.uuid4().hex[:12]}"
    assert up.moorage("application", "create", name).returncode == Exit.OK
    return name


def listens(up: Up, receiver: Receiver, application: str) -> str:
    """Has the Application take its tokens at the receiver; the signing secret."""
    urls = ("--url", f"{receiver.url}/notices", "--pairing-url", f"{receiver.url}/pairing")
    done = up.moorage("application", "webhook", "set", application, *urls, "--generate-secret")
    assert done.returncode == Exit.OK, done.stderr
    return done.stdout.strip()


def state(up: Up, token_id: str) -> str:
    done = up.moorage("token", "get", token_id, "-o", "json")
    assert done.returncode == Exit.OK, done.stderr
    shown: str = json.loads(done.stdout)["state"]
    return shown.removeprefix("TOKEN_STATE_")


@pytest.mark.check("trust-11")
def test_an_application_is_handed_its_token_signed_and_pairs_and_nobody_else_sees_it(
    up: Up, receiver: Receiver, name: str, tmp_path: Path
) -> None:
    secret = listens(up, receiver, name)

    issued = up.moorage("token", "issue", "--application", name, "--deliver", "-o", "json")

    assert issued.returncode == Exit.OK, issued.stderr
    [posted] = receiver.received
    assert posted.path == "/pairing"
    message = Webhook(secret).verify(posted.body, posted.headers)
    line, token_id = message["data"]["token"], json.loads(issued.stdout)["token_id"]
    assert (message["type"], message["data"]["token_id"]) == ("PAIRING_TOKEN", token_id)
    assert line not in issued.stdout + issued.stderr
    paired = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=line)
    assert paired.returncode == Exit.OK, paired.stderr
    assert Identity(tmp_path / "identity").load().spiffe_id.name == message["data"]["application_id"]
    assert state(up, token_id) == "USED"
    raw = OneTimeToken.decode(line).secret
    for path in (path for path in up.home.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert line.encode() not in content, path
        assert raw not in content, path


def test_a_token_that_the_webhook_does_not_take_is_revoked_and_the_command_fails(
    up: Up, receiver: Receiver, name: str
) -> None:
    listens(up, receiver, name)
    receiver.statuses["/pairing"] = 503

    issued = up.moorage("token", "issue", "--application", name, "--deliver", "-o", "json")

    assert issued.returncode == Exit.UNAVAILABLE
    assert "answered 503" in issued.stderr
    assert len(receiver.received) == 1
    assert state(up, json.loads(issued.stdout)["token_id"]) == "REVOKED"


def test_an_application_that_takes_no_tokens_is_told_so_and_keeps_the_one_it_has(up: Up, name: str) -> None:
    first = json.loads(up.moorage("token", "issue", "--application", name, "-o", "json").stdout)["token_id"]

    issued = up.moorage("token", "issue", "--application", name, "--deliver")

    assert issued.returncode == Exit.CONFLICT
    assert "PAIRING_URL_MISSING" in issued.stderr
    assert state(up, first) == "ACTIVE"


@pytest.mark.parametrize(("kind", "may_change"), [("admin", True), ("viewer", False)])
def test_people_pair_as_everybody_does_and_may_what_their_kind_may(
    up: Up, tmp_path: Path, kind: str, may_change: bool
) -> None:
    folder = tmp_path / kind
    line = up.moorage("token", "issue", f"--{kind}", "kim").stdout

    assert up.moorage("pair", "-", "--out", str(folder), stdin=line).returncode == Exit.OK

    assert up.moorage("application", "list", "--identity", str(folder)).returncode == Exit.OK
    made = up.moorage("application", "create", f"by-{kind}", "--identity", str(folder))
    assert made.returncode == (Exit.OK if may_change else Exit.REFUSED)


def test_a_services_certificate_carries_the_names_that_its_token_was_issued_for(up: Up, tmp_path: Path) -> None:
    names = ("--dns", "director.example", "--dns", "d2.example", "--ip", "2001:DB8::1")
    line = up.moorage("token", "issue", "--service", "director", *names).stdout

    paired = up.moorage("pair", "-", "--out", str(tmp_path / "director"), stdin=line)

    assert paired.returncode == Exit.OK, paired.stderr
    leaf = x509.load_pem_x509_certificate(Identity(tmp_path / "director").load().chain_pem)
    carried = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert carried.get_values_for_type(x509.DNSName) == ["director.example", "d2.example"]
    assert carried.get_values_for_type(x509.IPAddress) == [ip_address("2001:db8::1")]


def test_a_revoked_token_pairs_nobody_and_the_list_says_so(up: Up, name: str, tmp_path: Path) -> None:
    issued = json.loads(up.moorage("token", "issue", "--application", name, "-o", "json").stdout)

    assert up.moorage("token", "revoke", issued["token_id"]).returncode == Exit.OK

    paired = up.moorage("pair", "-", "--out", str(tmp_path / "identity"), stdin=issued["token"])
    assert paired.returncode == Exit.TOKEN_REFUSED
    narrowed = ("--spiffe-id", issued["spiffe_id"], "--state", "revoked")
    assert up.moorage("token", "list", *narrowed, "-o", "name").stdout.split() == [issued["token_id"]]
    assert up.moorage("token", "list", *narrowed[:3], "active", "-o", "name").stdout == ""
