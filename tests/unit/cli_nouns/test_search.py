"""Every list: what it looks for, in which order, and all the pages that there are."""

import json

import pytest
from google.protobuf.message import Message
from moorage.director.v1 import (
    access_request_pb2,
    api_pb2,
    application_pb2,
    bundle_pb2,
    credential_pb2,
    document_pb2,
    event_api_pb2,
    group_pb2,
    label_pb2,
    runtime_pb2,
)

from mesh.exits import Exit
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APP = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"

# Noun: the method, its response with one resource, and the field that has it.
LISTS: dict[str, tuple[str, Message, str]] = {
    "application": (
        "ListApplications",
        application_pb2.ListApplicationsResponse(applications=[application_pb2.Application(name="one")]),
        "applications",
    ),
    "api": ("ListApis", api_pb2.ListApisResponse(apis=[api_pb2.Api(name="one")]), "apis"),
    "event-api": (
        "ListEventApis",
        event_api_pb2.ListEventApisResponse(event_apis=[event_api_pb2.EventApi(name="one")]),
        "event_apis",
    ),
    "bundle": ("ListBundles", bundle_pb2.ListBundlesResponse(bundles=[bundle_pb2.Bundle(name="one")]), "bundles"),
    "document": (
        "ListDocuments",
        document_pb2.ListDocumentsResponse(documents=[document_pb2.Document(name="one")]),
        "documents",
    ),
    "group": ("ListGroups", group_pb2.ListGroupsResponse(groups=[group_pb2.Group(name="one")]), "groups"),
    "runtime": (
        "ListRuntimes",
        runtime_pb2.ListRuntimesResponse(runtimes=[runtime_pb2.Runtime(name="one")]),
        "runtimes",
    ),
    "label": (
        "ListLabelDefinitions",
        label_pb2.ListLabelDefinitionsResponse(label_definitions=[label_pb2.LabelDefinition(key="one")]),
        "label_definitions",
    ),
}


@pytest.mark.parametrize("noun", LISTS)
def test_every_list_takes_a_filter_an_order_and_a_size_of_pages_and_shows_them_all(
    plane: ScriptedPlane, run: Run, noun: str
) -> None:
    method, response, field = LISTS[noun]

    def page(request: Message) -> Message:
        answer = type(response)()
        answer.CopyFrom(response)
        if not getattr(request, "page_token", ""):
            setattr(answer, "next_page_token", "2")  # noqa: B010 - the type is that of every list
        return answer

    plane.answers[method] = page
    ended = run(
        noun, "list", "--filter", 'labels.env = "prod"', "--order-by", "name desc", "--page-size", "1", "-o", "json"
    )
    assert ended.returncode == Exit.OK, ended.stderr
    assert len(json.loads(ended.stdout)[field]) == 2
    asked = [(each.filter, each.order_by, each.page_size, each.page_token) for each in plane.asked(method)]
    assert asked == [('labels.env = "prod"', "name desc", 1, token) for token in ("", "2")]


@pytest.mark.parametrize("noun", LISTS)
@pytest.mark.parametrize("output", ["table", "wide"])
def test_every_list_is_a_table_too(plane: ScriptedPlane, run: Run, noun: str, output: str) -> None:
    method, response, _ = LISTS[noun]
    plane.answers[method] = lambda _: response
    plane.answers["GetRuntime"] = lambda _: runtime_pb2.GetRuntimeResponse()
    titles, row = run(noun, "list", "-o", output).stdout.splitlines()
    assert row.split()[0] == "one"
    assert titles.split()[0] in {"NAME", "KEY"}
    assert run(noun, "list", "-o", "name").stdout == "one\n"


def test_lists_that_do_not_filter_take_a_size_of_pages(plane: ScriptedPlane, run: Run) -> None:
    plane.answers["ListCredentials"] = lambda _: credential_pb2.ListCredentialsResponse()
    plane.answers["ListAccessRequests"] = lambda _: access_request_pb2.ListAccessRequestsResponse()
    plane.answers["ListGroupMembers"] = lambda _: group_pb2.ListGroupMembersResponse()
    run("credential", "list", "--application", APP, "--page-size", "7")
    run("access-request", "list", "--page-size", "7")
    run("group", "members", APP, "--page-size", "7")
    assert [request.page_size for _, request in plane.requests] == [7, 7, 7]


@pytest.mark.parametrize("size", ["0", "1001", "many"])
def test_a_size_of_pages_that_no_list_has_is_a_usage_error(run: Run, size: str) -> None:
    assert run("application", "list", "--page-size", size).returncode == Exit.USAGE


def test_a_wide_list_of_runtimes_has_what_they_are_to_run(plane: ScriptedPlane, run: Run) -> None:
    status = runtime_pb2.RuntimeStatus(revision=7)
    listed = [runtime_pb2.Runtime(runtime_id=APP, name="quay", status=status)]
    plane.answers["ListRuntimes"] = lambda _: runtime_pb2.ListRuntimesResponse(runtimes=listed)
    plane.answers["GetRuntime"] = lambda _: runtime_pb2.GetRuntimeResponse(
        runtime=runtime_pb2.Runtime(desired_revision=9)
    )
    titles, row = run("runtime", "list", "-o", "wide").stdout.splitlines()
    assert row[titles.index("REVISION") :].split()[0] == "7"
    assert row[titles.index("DESIRED") :].split()[0] == "9"
    assert list(plane.asked("GetRuntime")[0].read_mask.paths) == ["desired_revision", "desired_time"]
