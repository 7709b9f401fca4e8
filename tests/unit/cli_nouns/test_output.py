"""What goes to standard output: tables that cut nothing, JSON with the contract's names, and no secret."""

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.token_pb2 import IssueTokenResponse
from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.application_pb2 import Application
from moorage.director.v1.configuration_pb2 import ServedRuntime
from moorage.director.v1.runtime_pb2 import Runtime, RuntimeStatus
from moorage.director.v1.runtime_state_pb2 import RUNTIME_STATE_READY
from moorage.director.v1.specification_pb2 import SPECIFICATION_FORMAT_OPENAPI, Specification
from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook

from cli.output import Output, as_dict, printable


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_json_has_the_names_of_the_contract_and_the_forms_of_protojson(capsys: pytest.CaptureFixture[str]) -> None:
    runtime = Runtime(name="quay", state=RUNTIME_STATE_READY, revision=12, create_time=Timestamp(seconds=1))
    Output("json").one(runtime)
    assert json.loads(printed(capsys)) == {
        "name": "quay",
        "state": "RUNTIME_STATE_READY",
        "revision": "12",
        "create_time": "1970-01-01T00:00:01Z",
    }


def test_a_line_of_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json").message(Application(name="shop", description="two\nlines"))
    assert printed(capsys) == '{"name":"shop","description":"two\\nlines"}\n'


def test_an_empty_list_is_a_list_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json").many([], "applications", {"NAME": "name"})
    assert json.loads(printed(capsys)) == {"applications": []}


def test_an_empty_list_is_its_titles_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").many([], "applications", {"NAME": "name", "ID": "application_id"})
    assert printed(capsys) == "NAME  ID\n"


def test_fields_that_the_contract_calls_secret_are_never_shown() -> None:
    hook = Webhook(application_id="a", url="https://shop.example", secret="whsec_" + "A" * 32)
    assert "secret" not in as_dict(hook)
    assert "whsec_" not in str(as_dict(UpdateWebhookRequest(webhook=hook)))
    assert "token" not in as_dict(IssueTokenResponse(token="moor_aaaa", token_id="1"))
    assert hook.secret  # the message itself is left as it was


def test_a_table_is_as_wide_as_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    long = "https://" + "a" * 200 + ".example"
    api = Api(name="orders", target_url=long)
    Output("table").many([api], "apis", {"NAME": "name", "TARGET_URL": "target_url", "SPEC": "specification.state"})
    titles, row = printed(capsys).splitlines()
    assert titles.split() == ["NAME", "TARGET_URL", "SPEC"]
    assert row == f"orders  {long}"


def test_a_table_shows_enums_without_their_prefix_and_what_is_not_set_as_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = {"STATE": "state", "REVISION": "status.revision", "NAME": "name"}
    ready = Runtime(name="quay", state=RUNTIME_STATE_READY, status=RuntimeStatus(revision=7))
    Output("table").many([ready, Runtime(name="pier")], "runtimes", columns)
    assert [line.split() for line in printed(capsys).splitlines()] == [
        ["STATE", "REVISION", "NAME"],
        ["READY", "7", "quay"],
        ["pier"],
    ]


def test_a_table_says_yes_or_no_for_what_is_true_or_false(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").many([ServedRuntime(ready=True), ServedRuntime()], "runtimes", {"READY": "ready"})
    assert printed(capsys).split() == ["READY", "yes", "no"]


def test_one_resource_is_a_line_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    specification = Specification(format=SPECIFICATION_FORMAT_OPENAPI, problems=["first", "second"])
    Output("table").one(Api(name="orders", specification=specification))
    assert [line.split(maxsplit=1) for line in printed(capsys).splitlines()] == [
        ["name:", "orders"],
        ["specification.format:", "OPENAPI"],
        ["specification.problems:", "first, second"],
    ]


def test_a_document_is_told_by_its_size_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").one(Specification(content="{" + " " * 5000 + "}"))
    assert printed(capsys) == "content:  (5,002 characters; -o json shows them)\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcödé", "plain, ünïcödé"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines", "two\\nlines"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eesrever", "\\u202eesrever"),
    ],
)
def test_nothing_that_steers_a_terminal_reaches_it(text: str, shown: str) -> None:
    assert printable(text) == shown
