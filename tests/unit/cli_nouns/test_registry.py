"""application, api, event-api and group: what each asks of the Director, and what it shows."""

import base64
import json
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from moorage.director.v1 import (
    api_pb2,
    application_pb2,
    configuration_pb2,
    event_api_pb2,
    group_pb2,
    runtime_pb2,
    webhook_pb2,
)
from moorage.director.v1.specification_pb2 import (
    SPECIFICATION_FORMAT_ASYNCAPI,
    SPECIFICATION_FORMAT_OPENAPI,
    SPECIFICATION_STATE_INVALID,
    Specification,
)

from mesh.exits import Exit
from tests.support.identities import Mint
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APP = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"
OTHER = "1c9fbd5e-3f0c-4a57-8d43-5a1f2f6ad222"
RUNTIME = "2d9fbd5e-3f0c-4a57-8d43-5a1f2f6ad333"
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def always(plane: ScriptedPlane, method: str, response: Message) -> None:
    plane.answers[method] = lambda _: response


def test_an_update_masks_exactly_the_options_that_were_given(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateApplication", application_pb2.UpdateApplicationResponse())
    assert run("application", "update", APP, "--description", "", "--etag", '"3"').returncode == Exit.OK
    assert plane.asked("UpdateApplication") == [
        application_pb2.UpdateApplicationRequest(
            application=application_pb2.Application(application_id=APP, etag='"3"'),
            update_mask=FieldMask(paths=["description"]),
        )
    ]


@pytest.mark.parametrize("noun", ["application", "api", "event-api", "group", "runtime"])
def test_an_update_of_nothing_is_a_usage_error(plane: ScriptedPlane, run: Run, noun: str) -> None:
    ended = run(noun, "update", APP, "--etag", '"3"')
    assert ended.returncode == Exit.USAGE
    assert "Nothing to change" in ended.stderr
    assert plane.requests == []


def test_a_deletion_tells_on_standard_error_alone(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "DeleteApplication", application_pb2.DeleteApplicationResponse())
    ended = run("application", "delete", APP, "--etag", '"3"')
    assert (ended.returncode, ended.stdout) == (Exit.OK, "")
    assert ended.stderr == f"moorage: application {APP} is deleted\n"
    assert plane.asked("DeleteApplication")[0].etag == '"3"'


def test_what_is_held_is_deleted_by_force_alone(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "DeleteApplication", application_pb2.DeleteApplicationResponse())
    always(plane, "DeleteGroup", group_pb2.DeleteGroupResponse())
    always(plane, "DeleteRuntime", runtime_pb2.DeleteRuntimeResponse())
    for delete in (
        ["application", "delete", APP],
        ["group", "delete", APP],
        ["runtime", "delete", APP, "--registry-only"],
    ):
        assert run(*delete).returncode == run(*delete, "--force").returncode == Exit.OK
    for method in ("DeleteApplication", "DeleteGroup", "DeleteRuntime"):
        assert [request.force for request in plane.asked(method)] == [False, True]


def test_an_application_sees_the_runtimes_that_it_serves_itself(plane: ScriptedPlane, run: Run, mint: Mint) -> None:
    served = configuration_pb2.ServedRuntime(name="quay", runtime_id=RUNTIME, ready=True)
    always(
        plane,
        "GetApplicationConfiguration",
        configuration_pb2.GetApplicationConfigurationResponse(runtimes=[served]),
    )
    ended = run("application", "runtimes", "--identity", str(mint.identity("application", APP).folder))
    assert ended.stdout.splitlines()[1].split() == ["quay", RUNTIME, "yes", "no"]
    assert plane.asked("GetApplicationConfiguration")[0].application_id == APP


def test_a_webhooks_secret_comes_by_file(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    always(plane, "UpdateWebhook", webhook_pb2.UpdateWebhookResponse())
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    run("application", "webhook", "set", APP, "--url", "https://shop.example", "--secret-file", str(file))
    assert plane.asked("UpdateWebhook")[0].webhook.secret == SECRET


def test_a_webhooks_secret_comes_by_standard_input(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateWebhook", webhook_pb2.UpdateWebhookResponse())
    arguments = ("application", "webhook", "set", APP, "--url", "https://shop.example", "--secret-file", "-")
    run(*arguments, stdin=f"{SECRET}\n".encode())
    assert plane.asked("UpdateWebhook")[0].webhook.secret == SECRET


def test_a_webhooks_secret_that_is_not_given_is_not_sent(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateWebhook", webhook_pb2.UpdateWebhookResponse())
    run("application", "webhook", "set", APP, "--url", "https://shop.example")
    assert plane.asked("UpdateWebhook")[0].webhook.secret == ""


def test_where_tokens_are_taken_is_set_with_the_webhook(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateWebhook", webhook_pb2.UpdateWebhookResponse())
    urls = ("--url", "https://shop.example", "--pairing-url", "https://shop.example/pair")
    assert run("application", "webhook", "set", APP, *urls).returncode == Exit.OK
    assert plane.asked("UpdateWebhook")[0].webhook.pairing_url == "https://shop.example/pair"


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_generated_secret_is_printed_once_and_is_the_one_that_was_sent(
    plane: ScriptedPlane, run: Run, output: str
) -> None:
    always(plane, "UpdateWebhook", webhook_pb2.UpdateWebhookResponse())
    arguments = ("application", "webhook", "set", APP, "--url", "https://shop.example", "--generate-secret")
    ended = run(*arguments, "-o", output)
    sent = plane.asked("UpdateWebhook")[0].webhook.secret
    assert len(base64.b64decode(sent.removeprefix("whsec_"))) == 32
    assert (json.loads(ended.stdout)["secret"] if output == "json" else ended.stdout.strip()) == sent
    assert sent not in ended.stderr


def test_two_sources_of_a_secret_are_a_usage_error(run: Run) -> None:
    arguments = ("application", "webhook", "set", APP, "--url", "https://shop.example", "--generate-secret")
    assert run(*arguments, "--secret-file", "-").returncode == Exit.USAGE


def test_a_webhook_that_came_back_with_its_secret_is_shown_without(plane: ScriptedPlane, run: Run) -> None:
    hook = webhook_pb2.Webhook(application_id=APP, url="https://shop.example", secret=SECRET)
    always(plane, "GetWebhook", webhook_pb2.GetWebhookResponse(webhook=hook))
    for output in ("table", "json"):
        ended = run("application", "webhook", "get", APP, "-o", output)
        assert "https://shop.example" in ended.stdout
        assert SECRET not in ended.stdout


def test_an_api_is_created_with_its_specification_from_a_file(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    always(plane, "CreateApi", api_pb2.CreateApiResponse())
    file = tmp_path / "openapi.yaml"
    file.write_text("openapi: 3.0.0\n")
    arguments = ("orders", "--application", APP, "--target-url", "https://shop.example", "--spec", str(file))
    assert run("api", "create", *arguments).returncode == Exit.OK
    assert plane.asked("CreateApi")[0].api == api_pb2.Api(
        application_id=APP,
        name="orders",
        target_url="https://shop.example",
        specification=Specification(format=SPECIFICATION_FORMAT_OPENAPI, content="openapi: 3.0.0\n"),
    )


def test_an_event_api_is_created_with_its_specification_from_standard_input(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "CreateEventApi", event_api_pb2.CreateEventApiResponse())
    run("event-api", "create", "parcels", "--application", APP, "--file", "-", stdin="größe: 1".encode())
    assert plane.asked("CreateEventApi")[0].event_api.specification == Specification(
        format=SPECIFICATION_FORMAT_ASYNCAPI, content="größe: 1"
    )


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), (b"\xff\xfe", "UTF-8")])
def test_a_specification_that_cannot_be_read_is_bad_input(
    plane: ScriptedPlane, run: Run, tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "spec"
    if content is not None:
        file.write_bytes(content)
    ended = run("api", "create", "orders", "--application", APP, "--target-url", "https://a.b", "--spec", str(file))
    assert ended.returncode == Exit.BAD_INPUT
    assert says in ended.stderr
    assert plane.requests == []


def test_a_specification_that_is_not_valid_is_warned_of(plane: ScriptedPlane, run: Run) -> None:
    stored = Specification(state=SPECIFICATION_STATE_INVALID, problems=["no paths"])
    always(plane, "CreateApi", api_pb2.CreateApiResponse(api=api_pb2.Api(name="orders", specification=stored)))
    ended = run("api", "create", "orders", "--application", APP, "--target-url", "https://shop.example")
    assert ended.returncode == Exit.OK
    assert ended.stderr == "moorage: the specification is stored, but it is not valid: no paths\n"


def test_an_update_can_take_a_specification_away(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateApi", api_pb2.UpdateApiResponse())
    run("api", "update", OTHER, "--application", APP, "--no-spec")
    [request] = plane.asked("UpdateApi")
    assert list(request.update_mask.paths) == ["specification"]
    assert not request.api.HasField("specification")


def test_an_api_is_found_by_its_name_among_those_of_its_application(plane: ScriptedPlane, run: Run) -> None:
    found = api_pb2.Api(name="orders", api_id=OTHER)
    always(plane, "ListApis", api_pb2.ListApisResponse(apis=[found]))
    always(plane, "DeleteApi", api_pb2.DeleteApiResponse())
    assert run("api", "delete", "orders", "--application", APP).returncode == Exit.OK
    assert plane.asked("ListApis")[0].application_id == APP
    assert plane.asked("DeleteApi") == [api_pb2.DeleteApiRequest(application_id=APP, api_id=OTHER)]


def test_an_application_need_not_name_itself(plane: ScriptedPlane, run: Run, mint: Mint) -> None:
    always(plane, "CreateApi", api_pb2.CreateApiResponse())
    always(plane, "ListEventApis", event_api_pb2.ListEventApisResponse())
    identity = ("--identity", str(mint.identity("application", APP).folder))
    assert run("api", "create", "orders", "--target-url", "https://shop.example", *identity).returncode == Exit.OK
    assert run("event-api", "list", *identity).returncode == Exit.OK
    assert plane.asked("CreateApi")[0].api.application_id == APP
    assert plane.asked("ListEventApis")[0].application_id == APP


def test_an_administrator_must_name_the_application(plane: ScriptedPlane, run: Run) -> None:
    ended = run("api", "get", OTHER)
    assert ended.returncode == Exit.USAGE
    assert "--application" in ended.stderr


def test_an_administrator_lists_the_apis_of_all_applications(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "ListApis", api_pb2.ListApisResponse())
    assert run("api", "list").returncode == Exit.OK
    assert plane.asked("ListApis")[0].application_id == ""


@pytest.mark.parametrize(("verb", "method"), [("add", "AddGroupMembers"), ("remove", "RemoveGroupMembers")])
def test_members_change_in_one_request_each_named_once(plane: ScriptedPlane, run: Run, verb: str, method: str) -> None:
    shop = application_pb2.Application(name="shop", application_id=APP)
    always(plane, "ListApplications", application_pb2.ListApplicationsResponse(applications=[shop]))
    always(
        plane,
        method,
        group_pb2.AddGroupMembersResponse() if verb == "add" else group_pb2.RemoveGroupMembersResponse(),
    )
    members = ("--application", "shop", "--application", APP, "--runtime", RUNTIME)
    assert run("group", verb, OTHER, *members).returncode == Exit.OK
    [request] = plane.asked(method)
    assert (request.group_id, list(request.application_ids), list(request.runtime_ids)) == (OTHER, [APP], [RUNTIME])


def test_the_groups_of_a_runtime_are_asked_for(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "ListGroups", group_pb2.ListGroupsResponse())
    run("group", "list", "--runtime", RUNTIME)
    request = plane.asked("ListGroups")[0]
    assert (request.application_id, request.runtime_id) == ("", RUNTIME)


def test_members_are_shown_with_the_kind_of_id_that_they_have(plane: ScriptedPlane, run: Run) -> None:
    members = [
        group_pb2.GroupMember(application_id=APP, name="shop"),
        group_pb2.GroupMember(runtime_id=RUNTIME, name="quay"),
    ]
    always(plane, "ListGroupMembers", group_pb2.ListGroupMembersResponse(members=members))
    ended = run("group", "members", OTHER, "-o", "json")
    assert json.loads(ended.stdout) == {
        "members": [{"application_id": APP, "name": "shop"}, {"runtime_id": RUNTIME, "name": "quay"}]
    }
