"""token and pair: a token is shown once, read from where it stays hidden, and never burnt by a slip."""

import json
import os
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.token_pb2 import (
    GetTokenResponse,
    IssueTokenRequest,
    IssueTokenResponse,
    ListTokensRequest,
    ListTokensResponse,
    RevokeTokenResponse,
    Token,
    TokenDelivery,
    TokenDeliveryState,
    TokenState,
)

from certs.token import OneTimeToken
from mesh.exits import Exit
from tests.support.identities import Mint
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APP = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"
TOKEN = OneTimeToken("127.0.0.1:1", (b"p" * 32,), b"s" * 32).encode()
SPIFFE_ID = f"spiffe://moorage.test/application/{APP}"


@pytest.fixture
def issuing(plane: ScriptedPlane) -> None:
    plane.answers["IssueToken"] = lambda _: IssueTokenResponse(
        token=TOKEN, token_id="7", spiffe_id=SPIFFE_ID, expire_time=Timestamp(seconds=60)
    )


@pytest.mark.usefixtures("issuing")
def test_a_token_alone_is_on_standard_output(run: Run) -> None:
    ended = run("token", "issue", "--application", APP)
    assert ended.stdout == f"{TOKEN}\n"
    assert TOKEN not in ended.stderr
    assert SPIFFE_ID in ended.stderr
    assert "1970-01-01T00:01:00Z" in ended.stderr


@pytest.mark.usefixtures("issuing")
def test_a_token_in_json_comes_with_what_it_is_for(run: Run) -> None:
    shown = json.loads(run("token", "issue", "--application", APP, "-o", "json").stdout)
    assert (shown["token"], shown["token_id"], shown["spiffe_id"]) == (TOKEN, "7", SPIFFE_ID)


@pytest.mark.usefixtures("issuing")
@pytest.mark.parametrize(("ttl", "seconds"), [("90", 90), ("30m", 1800), ("24h", 86400)])
def test_a_token_lives_as_long_as_was_asked(plane: ScriptedPlane, run: Run, ttl: str, seconds: int) -> None:
    run("token", "issue", "--runtime", APP, "--ttl", ttl)
    expected = IssueTokenRequest(runtime_id=APP)
    expected.ttl.seconds = seconds
    assert plane.asked("IssueToken") == [expected]


@pytest.mark.parametrize("party", [(), ("--application", APP, "--runtime", APP)])
def test_a_token_is_for_one_party(run: Run, party: tuple[str, ...]) -> None:
    assert run("token", "issue", *party).returncode == Exit.USAGE


PARTIES = [
    (("--admin", "bob"), IssueTokenRequest(admin="bob")),
    (("--viewer", "vic"), IssueTokenRequest(viewer="vic")),
    (
        ("--service", "director", "--dns", "a.test", "--dns", "b.test", "--ip", "::1"),
        IssueTokenRequest(service="director", dns_names=["a.test", "b.test"], ip_addresses=["::1"]),
    ),
]


@pytest.mark.usefixtures("issuing")
@pytest.mark.parametrize(("party", "meant"), PARTIES)
def test_a_token_is_for_a_party_of_any_kind(
    plane: ScriptedPlane, run: Run, party: tuple[str, ...], meant: IssueTokenRequest
) -> None:
    assert run("token", "issue", *party).returncode == Exit.OK
    assert plane.asked("IssueToken") == [meant]


def delivering(plane: ScriptedPlane, state: TokenDeliveryState.ValueType, failure: str = "") -> None:
    plane.answers["IssueToken"] = lambda _: IssueTokenResponse(
        token_id="7", spiffe_id=SPIFFE_ID, delivery=TokenDelivery(state=state, failure=failure)
    )


def test_a_token_that_was_handed_over_is_told_of_and_not_shown(plane: ScriptedPlane, run: Run) -> None:
    delivering(plane, TokenDeliveryState.TOKEN_DELIVERY_STATE_DELIVERED)
    ended = run("token", "issue", "--application", APP, "--deliver", "-o", "json")
    assert ended.returncode == Exit.OK
    assert plane.asked("IssueToken") == [IssueTokenRequest(application_id=APP, deliver=True)]
    shown = json.loads(ended.stdout)
    assert shown["delivery"]["state"] == "TOKEN_DELIVERY_STATE_DELIVERED"
    assert "token" not in shown
    assert "the Application has it" in ended.stderr


def test_a_token_that_the_webhook_did_not_take_is_a_failure_that_says_what_to_do(
    plane: ScriptedPlane, run: Run
) -> None:
    delivering(plane, TokenDeliveryState.TOKEN_DELIVERY_STATE_FAILED, "answered 500")
    ended = run("token", "issue", "--application", APP, "--deliver", "-o", "name")
    assert ended.returncode == Exit.UNAVAILABLE
    assert ended.stdout == "7\n"
    assert "answered 500" in ended.stderr
    assert "issue another" in ended.stderr


def test_a_list_is_narrowed_as_asked_and_shows_what_became_of_each(plane: ScriptedPlane, run: Run) -> None:
    used = Token(token_id="7", spiffe_id=SPIFFE_ID, state=TokenState.TOKEN_STATE_USED, serial_number="0a")
    plane.answers["ListTokens"] = lambda _: ListTokensResponse(tokens=[used])
    narrowed = ("--spiffe-id", SPIFFE_ID, "--state", "used", "--state", "expired", "--page-size", "3")
    ended = run("token", "list", *narrowed, "-o", "wide")
    assert ended.returncode == Exit.OK
    assert ended.stdout.splitlines()[1].split() == ["7", "USED", SPIFFE_ID, "0a"]
    states = [TokenState.TOKEN_STATE_USED, TokenState.TOKEN_STATE_EXPIRED]
    assert plane.asked("ListTokens") == [ListTokensRequest(spiffe_id=SPIFFE_ID, states=states, page_size=3)]


@pytest.mark.parametrize(("command", "method"), [("get", "GetToken"), ("revoke", "RevokeToken")])
def test_a_token_is_read_and_revoked_by_its_id(plane: ScriptedPlane, run: Run, command: str, method: str) -> None:
    plane.answers["GetToken"] = lambda _: GetTokenResponse(token=Token(token_id=APP))
    plane.answers["RevokeToken"] = lambda _: RevokeTokenResponse(token=Token(token_id=APP))
    ended = run("token", command, APP, "-o", "name")
    assert (ended.returncode, ended.stdout) == (Exit.OK, f"{APP}\n")
    assert [each.token_id for each in plane.asked(method)] == [APP]


@pytest.mark.parametrize("command", ["get", "revoke"])
def test_a_token_in_the_place_of_its_id_goes_nowhere_and_is_not_repeated(
    plane: ScriptedPlane, run: Run, command: str
) -> None:
    ended = run("token", command, TOKEN)
    assert ended.returncode == Exit.USAGE
    assert TOKEN not in ended.stderr
    assert plane.requests == []


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MOORAGE_TOKEN", raising=False)
    return tmp_path / "identity"


@pytest.mark.parametrize("text", ["", "hello", TOKEN[:-1], TOKEN[:40], TOKEN[:-1] + "!", TOKEN.removeprefix("moor_")])
def test_a_token_that_is_not_whole_is_malformed_and_writes_nothing(run: Run, out: Path, text: str) -> None:
    ended = run("pair", "-", "--out", str(out), stdin=text.encode())
    assert ended.returncode == Exit.TOKEN_MALFORMED
    assert ended.stderr.count("\n") == 1
    assert not out.exists()


def test_a_token_in_the_arguments_is_warned_of_and_not_repeated(run: Run, out: Path) -> None:
    ended = run("pair", TOKEN[:-1], "--out", str(out))
    assert ended.returncode == Exit.TOKEN_MALFORMED
    assert "among the arguments" in ended.stderr
    assert TOKEN[:-1] not in ended.stderr


def test_a_token_comes_by_file(run: Run, out: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("moor_no\n")
    ended = run("pair", "--token-file", str(file), "--out", str(out))
    assert ended.returncode == Exit.TOKEN_MALFORMED
    assert "arguments" not in ended.stderr


def test_a_token_comes_by_the_environment(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "MOORAGE_TOKEN", "moor_no")
    assert run("pair", "--out", str(out)).returncode == Exit.TOKEN_MALFORMED


def test_no_token_is_a_usage_error(run: Run, out: Path) -> None:
    ended = run("pair", "--out", str(out))
    assert ended.returncode == Exit.USAGE
    assert "MOORAGE_TOKEN" in ended.stderr


def test_two_tokens_are_a_usage_error(run: Run, out: Path) -> None:
    assert run("pair", TOKEN, "--token-file", "-", "--out", str(out)).returncode == Exit.USAGE


def test_a_folder_that_cannot_be_written_ends_before_the_token_is_sent(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run("pair", "-", "--out", str(tmp_path / "file" / "identity"), stdin=TOKEN.encode())
    assert ended.returncode == Exit.HOME_NOT_WRITABLE
    assert "--out" in ended.stderr


def test_a_folder_with_an_identity_is_left_alone(run: Run, mint: Mint) -> None:
    held = mint.identity("application", APP)
    before = held.generation()
    ended = run("pair", "-", "--out", str(held.folder), stdin=TOKEN.encode())
    assert ended.returncode == Exit.CONFLICT
    assert f"/application/{APP}" in ended.stderr
    assert "--replace" in ended.stderr
    assert held.generation() == before
