"""credential and access-request: secrets come by file, standard input or prompt, and nothing shows them."""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from moorage.director.v1 import access_request_pb2, api_pb2, bundle_pb2
from moorage.director.v1.credential_pb2 import (
    API_KEY_LOCATION_HEADER,
    API_KEY_LOCATION_QUERY,
    ApiKeyCredential,
    BasicCredential,
    BearerCredential,
    CertificateCredential,
    Credential,
    DeleteCredentialRequest,
    DeleteCredentialResponse,
    OAuth2ClientCredential,
    UpdateCredentialRequest,
    UpdateCredentialResponse,
)

from mesh.exits import Exit
from tests.support.identities import Mint
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APP = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"
API = "1c9fbd5e-3f0c-4a57-8d43-5a1f2f6ad222"
RUNTIME = "2d9fbd5e-3f0c-4a57-8d43-5a1f2f6ad333"
REQUEST = "5f9fbd5e-3f0c-4a57-8d43-5a1f2f6ad666"
SECRET = "correct horse battery"
SET = ("credential", "set", "--application", APP, "--api", API)
SUPPLY = ("access-request", "supply", REQUEST, "--application", APP)


def echoed(request: UpdateCredentialRequest) -> UpdateCredentialResponse:
    return UpdateCredentialResponse(credential=request.credential)


def answered(_: object) -> access_request_pb2.AnswerAccessRequestResponse:
    stored = access_request_pb2.AccessRequest(access_request_id=REQUEST)
    return access_request_pb2.AnswerAccessRequestResponse(access_request=stored)


@pytest.fixture(autouse=True)
def answers(plane: ScriptedPlane) -> None:
    plane.answers["UpdateCredential"] = echoed
    plane.answers["AnswerAccessRequest"] = answered
    plane.answers["DeleteCredential"] = lambda _: DeleteCredentialResponse()


TYPES = [
    (["basic", "--username", "ada"], Credential(basic=BasicCredential(username="ada", password=SECRET))),
    (["bearer"], Credential(bearer=BearerCredential(token=SECRET))),
    (
        ["api-key", "--key-name", "X-Key"],
        Credential(api_key=ApiKeyCredential(name="X-Key", key=SECRET, location=API_KEY_LOCATION_HEADER)),
    ),
    (
        ["api-key", "--key-name", "key", "--key-in", "query"],
        Credential(api_key=ApiKeyCredential(name="key", key=SECRET, location=API_KEY_LOCATION_QUERY)),
    ),
    (
        ["oauth2-client", "--client-id", "me", "--token-url", "https://a.example/t", "--scope", "r", "--scope", "w"],
        Credential(
            oauth2_client=OAuth2ClientCredential(
                client_id="me", client_secret=SECRET, token_url="https://a.example/t", scopes=["r", "w"]
            )
        ),
    ),
]


@pytest.mark.parametrize(("options", "meant"), TYPES)
def test_the_secret_comes_by_file_and_is_never_shown(
    plane: ScriptedPlane, run: Run, tmp_path: Path, options: Sequence[str], meant: Credential
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    meant.application_id, meant.api_id = APP, API
    for output in ("table", "wide", "json", "yaml", "name"):
        ended = run(*SET, "--type", *options, "--from-file", str(file), "-o", output)
        assert ended.returncode == Exit.OK, ended.stderr
        assert SECRET not in ended.stdout + ended.stderr
    assert plane.asked("UpdateCredential") == [UpdateCredentialRequest(credential=meant)] * 5


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_secret_comes_by_standard_input_as_it_stands_on_the_first_line(
    plane: ScriptedPlane, run: Run, ending: str
) -> None:
    run(*SET, "--type", "bearer", "--from-file", "-", stdin=f" {SECRET} {ending}".encode())
    assert plane.asked("UpdateCredential")[0].credential.bearer.token == f" {SECRET} "


def test_the_secret_is_asked_for_on_a_terminal(plane: ScriptedPlane, run: Run) -> None:
    with (
        mock.patch("cli.secret._is_at_a_terminal", return_value=True),
        mock.patch("click.termui.hidden_prompt_func", return_value=SECRET) as asked,
    ):
        ended = run(*SET, "--type", "basic", "--username", "ada")
    assert ended.returncode == Exit.OK, ended.stderr
    assert asked.call_count == 1
    assert plane.asked("UpdateCredential")[0].credential.basic.password == SECRET


def test_without_a_terminal_the_file_must_be_named(plane: ScriptedPlane, run: Run) -> None:
    ended = run(*SET, "--type", "bearer")
    assert ended.returncode == Exit.USAGE
    assert "--from-file" in ended.stderr


def test_a_certificate_comes_with_its_key_whole(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_text("a\nb\n")
    key.write_text("c\nd\n")
    run(*SET, "--type", "certificate", "--certificate", str(chain), "--from-file", str(key))
    sent = plane.asked("UpdateCredential")[0].credential.certificate
    assert sent == CertificateCredential(certificate_chain="a\nb\n", private_key="c\nd\n")


def test_an_empty_secret_is_bad_input(plane: ScriptedPlane, run: Run) -> None:
    ended = run(*SET, "--type", "bearer", "--from-file", "-", stdin=b"\n")
    assert ended.returncode == Exit.BAD_INPUT
    assert "the token is empty" in ended.stderr
    assert plane.asked("UpdateCredential") == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--type", "basic"], "--username"),
        (["--type", "bearer", "--username", "ada"], "takes no --username"),
        (["--type", "oauth2-client", "--client-id", "me"], "--token-url"),
        (["--type", "api-key", "--scope", "r", "--key-name", "k"], "--scope"),
        (["--type", "bearer", "--bundle", API], "--api or --bundle"),
        (["--type", "magic"], "magic"),
        ([], "--type"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    plane: ScriptedPlane, run: Run, options: Sequence[str], says: str
) -> None:
    ended = run(*SET, *options, "--from-file", "-", stdin=SECRET.encode())
    assert ended.returncode == Exit.USAGE
    assert says in ended.stderr
    assert plane.requests == []


def test_no_option_takes_the_secret_itself(run: Run) -> None:
    help = run("credential", "set", "--help").stdout + run("access-request", "supply", "--help").stdout
    for option in ("--password", "--token ", "--key ", "--client-secret", "--secret"):
        assert option not in help


def test_a_credential_is_for_one_runtime_or_for_all(plane: ScriptedPlane, run: Run) -> None:
    bundles = bundle_pb2.ListBundlesResponse(bundles=[bundle_pb2.Bundle(name="shared", bundle_id=API)])
    plane.answers["ListBundles"] = lambda _: bundles
    target = ("--application", APP, "--bundle", "shared")
    for runtime in ([], ["--runtime", RUNTIME]):
        set_ = ("credential", "set", *target, *runtime, "--type", "bearer", "--from-file", "-")
        assert run(*set_, stdin=b"t").returncode == Exit.OK
        assert run("credential", "delete", *target, *runtime).stderr == (
            "moorage: the credential of bundle shared is deleted\n"
        )
    sent = [request.credential for request in plane.asked("UpdateCredential")]
    assert [(each.bundle_id, each.runtime_id) for each in sent] == [(API, ""), (API, RUNTIME)]
    assert plane.asked("DeleteCredential") == [
        DeleteCredentialRequest(application_id=APP, bundle_id=API, runtime_id=runtime) for runtime in ("", RUNTIME)
    ]


def test_a_runtime_asks_for_itself(plane: ScriptedPlane, run: Run, mint: Mint) -> None:
    plane.answers["CreateAccessRequest"] = lambda _: access_request_pb2.CreateAccessRequestResponse()
    plane.answers["DeleteAccessRequest"] = lambda _: access_request_pb2.DeleteAccessRequestResponse()
    plane.answers["ListAccessRequests"] = lambda _: access_request_pb2.ListAccessRequestsResponse()
    me = ("--identity", str(mint.identity("runtime", RUNTIME).folder))
    asked = ("--application", APP, "--api", API, "--purpose", "orders of the night")
    assert run("access-request", "create", *asked, *me).returncode == Exit.OK
    assert run("access-request", "list", *me).returncode == Exit.OK
    assert run("access-request", "delete", REQUEST, *me).returncode == Exit.OK
    [created] = plane.asked("CreateAccessRequest")
    assert created.access_request == access_request_pb2.AccessRequest(
        runtime_id=RUNTIME, application_id=APP, api_id=API, purpose="orders of the night"
    )
    assert created.request_id
    assert plane.asked("ListAccessRequests")[0].runtime_id == RUNTIME
    assert plane.asked("DeleteAccessRequest")[0].runtime_id == RUNTIME


def test_an_administrator_asks_in_the_name_of_a_runtime(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["ListApis"] = lambda _: api_pb2.ListApisResponse(apis=[api_pb2.Api(name="orders", api_id=API)])
    plane.answers["CreateAccessRequest"] = lambda _: access_request_pb2.CreateAccessRequestResponse()
    create = ("access-request", "create", "--application", APP, "--api", "orders")
    assert run(*create).returncode == Exit.USAGE
    assert run(*create, "--runtime", RUNTIME).returncode == Exit.OK
    assert plane.asked("CreateAccessRequest")[0].access_request.runtime_id == RUNTIME


def test_a_request_is_answered_with_a_secret_that_is_not_shown(plane: ScriptedPlane, run: Run) -> None:
    ended = run(*SUPPLY, "--type", "basic", "--username", "ada", "--from-file", "-", stdin=SECRET.encode())
    assert ended.returncode == Exit.OK, ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    supplied = access_request_pb2.SuppliedCredential(basic=BasicCredential(username="ada", password=SECRET))
    assert plane.asked("AnswerAccessRequest") == [
        access_request_pb2.AnswerAccessRequestRequest(application_id=APP, access_request_id=REQUEST, supplied=supplied)
    ]


def test_a_request_is_refused_with_a_reason(plane: ScriptedPlane, run: Run, mint: Mint) -> None:
    refuse = ("access-request", "refuse", REQUEST, "--identity", str(mint.identity("application", APP).folder))
    assert run(*refuse).returncode == Exit.USAGE
    assert run(*refuse, "--reason", "not for you").returncode == Exit.OK
    [request] = plane.asked("AnswerAccessRequest")
    assert (request.application_id, request.refusal) == (APP, "not for you")


def test_requests_are_listed_by_their_state(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["ListAccessRequests"] = lambda _: access_request_pb2.ListAccessRequestsResponse()
    run("access-request", "list", "--state", "pending", "--application", APP)
    [request] = plane.asked("ListAccessRequests")
    assert request.state == access_request_pb2.ACCESS_REQUEST_STATE_PENDING
    assert (request.application_id, request.runtime_id) == (APP, "")
