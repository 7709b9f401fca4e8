"""What goes to standard output: tables that cut nothing, JSON with the contract's names, and no secret."""

import json

import pytest
import yaml
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.token_pb2 import IssueTokenResponse
from moorage.director.v1.access_request_pb2 import AccessRequest
from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.application_pb2 import Application
from moorage.director.v1.configuration_pb2 import ServedRuntime
from moorage.director.v1.credential_pb2 import Credential
from moorage.director.v1.group_pb2 import Group
from moorage.director.v1.label_pb2 import LabelDefinition, LabelSelector
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


def test_labels_and_selectors_are_written_as_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    selector = LabelSelector(match_labels={"env": "prod"})
    Output("table").one(Group(name="shop", runtime_selector=selector))
    Output("table").one(Application(name="shop", labels={"tier": "web", "env": "prod"}))
    assert [line.split(maxsplit=1) for line in printed(capsys).splitlines()] == [
        ["name:", "shop"],
        ["runtime_selector:", "env=prod"],
        ["name:", "shop"],
        ["labels:", "env=prod,tier=web"],
    ]


def test_wide_adds_columns_to_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    shops = [Application(name="shop", labels={"env": "prod"}), Application(name="mill")]
    for output in ("table", "wide"):
        Output(output).many(shops, "applications", {"NAME": "name"}, {"LABELS": "labels"})
    assert printed(capsys) == "NAME\nshop\nmill\nNAME  LABELS\nshop  env=prod\nmill\n"


def test_yaml_is_the_same_data_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    shop = Application(name="shop", description="größe\x1b[2J", revision=3)
    Output("yaml").one(shop)
    Output("yaml").many([shop], "applications", {"NAME": "name"})
    Output("yaml").message(shop)
    out = printed(capsys)
    first, second, third = out.partition("applications:")[0], *out.partition("applications:")[2].split("---\n")
    assert yaml.safe_load(first) == yaml.safe_load(third) == as_dict(shop)
    assert yaml.safe_load(f"applications:{second}") == {"applications": [as_dict(shop)]}
    assert out.isascii()
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (Application(name="shop", application_id="1"), "shop"),
        (LabelDefinition(key="env"), "env"),
        (AccessRequest(access_request_id="1", application_id="2", api_id="3"), "1"),
        (Credential(application_id="2", bundle_id="3"), "3"),
        (Webhook(application_id="2", url="https://shop.example"), "2"),
    ],
)
def test_a_name_alone_is_what_the_next_command_takes(
    capsys: pytest.CaptureFixture[str], message: Message, name: str
) -> None:
    Output("name").one(message)
    assert printed(capsys) == f"{name}\n"


def test_names_alone_are_a_line_each_and_nothing_for_none(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"API_ID": "api_id", "BUNDLE_ID": "bundle_id", "TYPE": "type"}
    Output("name").many([], "credentials", columns)
    assert printed(capsys) == ""
    Output("name").many([Credential(bundle_id="b"), Credential(api_id="a")], "credentials", columns)
    assert printed(capsys) == "b\na\n"


def test_bytes_are_told_by_their_number_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").one(Specification(data=b"\x1b[2J"))
    assert printed(capsys) == "data:  (4 bytes; -o json shows them)\n"


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
