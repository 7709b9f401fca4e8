"""Labels, selectors and batches of groups, bundles, documents and label definitions: what each asks of the Director."""

import json
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import Operation
from google.protobuf.message import Message
from moorage.director.v1 import (
    application_pb2,
    bundle_pb2,
    configuration_pb2,
    document_pb2,
    group_pb2,
    label_pb2,
    runtime_pb2,
)
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal
from mesh.exits import Exit
from tests.support.identities import Mint
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

APP = "0b9fbd5e-3f0c-4a57-8d43-5a1f2f6ad111"
OTHER = "1c9fbd5e-3f0c-4a57-8d43-5a1f2f6ad222"
RUNTIME = "2d9fbd5e-3f0c-4a57-8d43-5a1f2f6ad333"


def always(plane: ScriptedPlane, method: str, response: Message) -> None:
    plane.answers[method] = lambda _: response


def test_an_application_is_created_with_all_that_is_said_of_it(plane: ScriptedPlane, run: Run) -> None:
    quay = runtime_pb2.Runtime(name="quay", runtime_id=RUNTIME)
    always(plane, "ListRuntimes", runtime_pb2.ListRuntimesResponse(runtimes=[quay]))
    always(plane, "CreateApplication", application_pb2.CreateApplicationResponse())
    options = ("--provider", "Ada", "--label", "env=prod", "--label", "a/b=", "--base-url", "https://a.example")
    more = ("--health-url", "https://a.example/health", "--eventing-runtime", "quay")
    assert run("application", "create", "shop", *options, *more).returncode == Exit.OK
    assert plane.asked("CreateApplication")[0].application == application_pb2.Application(
        name="shop",
        provider="Ada",
        labels={"env": "prod", "a/b": ""},
        base_url="https://a.example",
        health_url="https://a.example/health",
        eventing_runtime_id=RUNTIME,
    )


def test_an_update_of_labels_leaves_the_others_and_guards_what_was_read(plane: ScriptedPlane, run: Run) -> None:
    stored = {"env": "test", "tier": "web", "old": "1"}
    application = application_pb2.Application(application_id=APP, labels=stored, etag='"4"')
    runtime = runtime_pb2.Runtime(runtime_id=APP, labels=stored, etag='"4"')
    always(plane, "GetApplication", application_pb2.GetApplicationResponse(application=application))
    always(plane, "UpdateApplication", application_pb2.UpdateApplicationResponse())
    always(plane, "GetRuntime", runtime_pb2.GetRuntimeResponse(runtime=runtime))
    always(plane, "UpdateRuntime", runtime_pb2.UpdateRuntimeResponse())
    for noun in ("application", "runtime"):
        assert run(noun, "update", APP, "--label", "env=prod", "--remove-label", "old").returncode == Exit.OK
    [of_application], [of_runtime] = plane.asked("UpdateApplication"), plane.asked("UpdateRuntime")
    for request, resource in ((of_application, of_application.application), (of_runtime, of_runtime.runtime)):
        assert dict(resource.labels) == {"env": "prod", "tier": "web"}
        assert list(request.update_mask.paths) == ["labels"]
        assert resource.etag == '"4"'


@pytest.mark.parametrize("label", ["env", "=prod", ""])
def test_a_label_that_is_none_is_a_usage_error(plane: ScriptedPlane, run: Run, label: str) -> None:
    assert run("application", "create", "shop", "--label", label).returncode == Exit.USAGE
    assert plane.requests == []


def test_an_empty_text_takes_the_runtime_for_events_away(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateApplication", application_pb2.UpdateApplicationResponse())
    assert run("application", "update", APP, "--eventing-runtime", "").returncode == Exit.OK
    [request] = plane.asked("UpdateApplication")
    assert list(request.update_mask.paths) == ["eventing_runtime_id"]
    assert request.application.eventing_runtime_id == ""


def test_a_table_of_applications_says_how_the_plane_knows_each(plane: ScriptedPlane, run: Run) -> None:
    shop = application_pb2.Application(name="shop", application_id=APP, state=application_pb2.APPLICATION_STATE_STALE)
    always(plane, "ListApplications", application_pb2.ListApplicationsResponse(applications=[shop]))
    titles, row = run("application", "list").stdout.splitlines()
    assert titles.split()[:3] == ["NAME", "APPLICATION_ID", "STATE"]
    assert row.split() == ["shop", APP, "STALE"]
    assert "LAST_SEEN" in run("application", "list", "-o", "wide").stdout


def test_the_runtime_that_events_go_to_is_marked(plane: ScriptedPlane, run: Run) -> None:
    served = [configuration_pb2.ServedRuntime(name=name, runtime_id=id) for name, id in (("a", APP), ("b", RUNTIME))]
    view = configuration_pb2.GetApplicationConfigurationResponse(runtimes=served, eventing_runtime_id=RUNTIME)
    always(plane, "GetApplicationConfiguration", view)
    titles, *rows = run("application", "runtimes", APP).stdout.splitlines()
    assert [row[titles.index("EVENTING") :] for row in rows] == ["no", "yes"]
    assert json.loads(run("application", "runtimes", APP, "-o", "json").stdout)["eventing_runtime_id"] == RUNTIME


def test_an_applications_view_is_streamed_anew_where_the_stream_breaks(
    plane: ScriptedPlane, run: Run, mint: Mint
) -> None:
    first, second = (configuration_pb2.WatchApplicationConfigurationResponse(revision=each) for each in (1, 2))
    plane.turns = [
        [first, Refusal(Reason.REASON_NOT_READY, "stopping")],
        [second, Refusal(Reason.REASON_APPLICATION_NOT_FOUND, "it is gone")],
    ]
    identity = mint.identity("application", APP).folder
    ended = run("application", "runtimes", "--watch", "--identity", str(identity))
    assert [json.loads(line)["revision"] for line in ended.stdout.splitlines()] == ["1", "2"]
    assert ended.returncode == Exit.NOT_FOUND
    assert [request.application_id for request in plane.asked("WatchApplicationConfiguration")] == [APP, APP]


def test_a_runtime_is_registered_with_its_labels(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "CreateRuntime", runtime_pb2.CreateRuntimeResponse())
    assert run("runtime", "create", "quay", "--registry-only", "--label", "env=prod").returncode == Exit.OK
    assert dict(plane.asked("CreateRuntime")[0].runtime.labels) == {"env": "prod"}


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_a_runtime_is_created_with_its_labels_whether_it_is_waited_for_or_not(
    plane: ScriptedPlane, run: Run, wait: str
) -> None:
    always(plane, "CreateRuntime", Operation(name=f"operations/{OTHER}"))
    always(plane, "WaitOperation", Operation(name=f"operations/{OTHER}", done=True))
    always(plane, "GetRuntime", runtime_pb2.GetRuntimeResponse())
    assert run("runtime", "create", "quay", wait, "--label", "env=prod", "--label", "a/b=").returncode == Exit.OK
    assert dict(plane.asked("CreateRuntime")[0].labels) == {"env": "prod", "a/b": ""}
    assert plane.asked("UpdateRuntime") == []


def test_a_group_is_created_with_selectors(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "CreateGroup", group_pb2.CreateGroupResponse())
    selectors = ("--application-selector", "env=prod", "--runtime-selector", "!legacy")
    assert run("group", "create", "shop", *selectors).returncode == Exit.OK
    absent = label_pb2.LabelRequirement(key="legacy", operator=label_pb2.LABEL_OPERATOR_DOES_NOT_EXIST)
    assert plane.asked("CreateGroup")[0].group == group_pb2.Group(
        name="shop",
        application_selector=label_pb2.LabelSelector(match_labels={"env": "prod"}),
        runtime_selector=label_pb2.LabelSelector(match_expressions=[absent]),
    )


def test_an_empty_text_takes_a_selector_away(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "UpdateGroup", group_pb2.UpdateGroupResponse())
    assert run("group", "update", OTHER, "--runtime-selector", "").returncode == Exit.OK
    [request] = plane.asked("UpdateGroup")
    assert list(request.update_mask.paths) == ["runtime_selector"]
    assert not request.group.HasField("runtime_selector")


def test_members_are_shown_with_how_they_came_in(plane: ScriptedPlane, run: Run) -> None:
    members = [group_pb2.GroupMember(application_id=APP, name="shop", added=True)]
    members.append(group_pb2.GroupMember(runtime_id=RUNTIME, name="quay", selected=True))
    always(plane, "ListGroupMembers", group_pb2.ListGroupMembersResponse(members=members))
    titles, *rows = run("group", "members", OTHER).stdout.splitlines()
    assert titles.split() == ["NAME", "APPLICATION_ID", "RUNTIME_ID", "ADDED", "SELECTED"]
    assert [row.split() for row in rows] == [["shop", APP, "yes", "no"], ["quay", RUNTIME, "no", "yes"]]


BATCH = f"""
- group: checkout
  etag: '"7"'
  add_applications: [shop, {APP}]
  remove_runtimes: [{RUNTIME}]
- group: {OTHER}
  add_runtimes: [{RUNTIME}]
"""
BATCH_JSON = json.dumps(
    [
        {"group": "checkout", "etag": '"7"', "add_applications": ["shop", APP], "remove_runtimes": [RUNTIME]},
        {"group": OTHER, "add_runtimes": [RUNTIME]},
    ],
    indent="\t",
)


@pytest.mark.parametrize("text", [BATCH, BATCH_JSON])
def test_a_batch_is_one_request_whatever_it_is_written_in(plane: ScriptedPlane, run: Run, text: str) -> None:
    groups = [group_pb2.Group(name="checkout", group_id=APP)]
    shop = application_pb2.Application(name="shop", application_id=APP)
    always(plane, "ListGroups", group_pb2.ListGroupsResponse(groups=groups))
    always(plane, "ListApplications", application_pb2.ListApplicationsResponse(applications=[shop]))
    always(plane, "BatchUpdateGroupMembers", group_pb2.BatchUpdateGroupMembersResponse(groups=groups, revision=9))
    ended = run("group", "batch", "-f", "-", "-o", "json", stdin=text.encode())
    assert json.loads(ended.stdout) == {"groups": [{"group_id": APP, "name": "checkout"}], "revision": "9"}
    [request] = plane.asked("BatchUpdateGroupMembers")
    assert list(request.changes) == [
        group_pb2.GroupMembersChange(group_id=APP, etag='"7"', add_application_ids=[APP], remove_runtime_ids=[RUNTIME]),
        group_pb2.GroupMembersChange(group_id=OTHER, add_runtime_ids=[RUNTIME]),
    ]
    assert request.request_id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no list"),
        ("group: checkout", "no list"),
        ("[}", "neither YAML nor JSON"),
        ("- add_runtimes: [a]", "entry 1 names no group"),
        ("- checkout", "entry 1 names no group"),
        ("- group: a\n- group: b\n  runtimes: [c]", "entry 2 has runtimes"),
        ("- {group: a, add_runtimes: c}", "no list of names"),
        ("- {group: a, add_runtimes: [1]}", "no list of names"),
        ("- {group: a, etag: 7}", "no text"),
    ],
)
def test_a_file_that_is_no_batch_is_bad_input_in_one_line(plane: ScriptedPlane, run: Run, text: str, says: str) -> None:
    ended = run("group", "batch", "-f", "-", stdin=text.encode())
    assert ended.returncode == Exit.BAD_INPUT
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert plane.requests == []


def test_a_bundle_lives_by_name(plane: ScriptedPlane, run: Run) -> None:
    found = bundle_pb2.Bundle(name="shared", bundle_id=OTHER, application_id=APP)
    always(plane, "CreateBundle", bundle_pb2.CreateBundleResponse(bundle=found))
    always(plane, "ListBundles", bundle_pb2.ListBundlesResponse(bundles=[found]))
    always(plane, "GetBundle", bundle_pb2.GetBundleResponse(bundle=found))
    always(plane, "UpdateBundle", bundle_pb2.UpdateBundleResponse(bundle=found))
    always(plane, "DeleteBundle", bundle_pb2.DeleteBundleResponse())
    of = ("--application", APP)
    assert run("bundle", "create", "shared", *of, "--description", "d", "-o", "name").stdout == "shared\n"
    assert run("bundle", "get", "shared", *of).returncode == Exit.OK
    assert run("bundle", "update", "shared", *of, "--name", "common").returncode == Exit.OK
    assert run("bundle", "delete", "shared", *of, "--force").stderr == "moorage: bundle shared is deleted\n"
    assert plane.asked("CreateBundle")[0].bundle == bundle_pb2.Bundle(
        application_id=APP, name="shared", description="d"
    )
    assert plane.asked("UpdateBundle")[0].bundle == bundle_pb2.Bundle(
        application_id=APP, bundle_id=OTHER, name="common"
    )
    assert plane.asked("DeleteBundle") == [
        bundle_pb2.DeleteBundleRequest(application_id=APP, bundle_id=OTHER, force=True)
    ]


def test_a_document_lives_by_name(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    found = document_pb2.Document(name="guide", document_id=OTHER)
    always(plane, "CreateDocument", document_pb2.CreateDocumentResponse(document=found))
    always(plane, "ListDocuments", document_pb2.ListDocumentsResponse(documents=[found]))
    always(plane, "UpdateDocument", document_pb2.UpdateDocumentResponse())
    always(plane, "DeleteDocument", document_pb2.DeleteDocumentResponse())
    text = tmp_path / "guide.txt"
    text.write_text("how to")
    of = ("--application", APP)
    for file in (str(text), "-"):
        create = ("document", "create", "guide", *of, "--title", "Guide", "--file", file, "--bundle", OTHER)
        assert run(*create, stdin=b"# how to").returncode == Exit.OK
    assert run("document", "update", "guide", *of, "--file", str(text)).returncode == Exit.OK
    assert run("document", "delete", "guide", *of).returncode == Exit.OK
    as_text, as_markdown = [request.document for request in plane.asked("CreateDocument")]
    assert (as_text.format, as_text.content) == (document_pb2.DOCUMENT_FORMAT_TEXT, "how to")
    assert (as_markdown.format, as_markdown.content) == (document_pb2.DOCUMENT_FORMAT_MARKDOWN, "# how to")
    assert (as_text.title, as_text.bundle_id) == ("Guide", OTHER)
    [updated] = plane.asked("UpdateDocument")
    assert list(updated.update_mask.paths) == ["content"]
    assert plane.asked("DeleteDocument")[0].document_id == OTHER


def test_a_label_is_defined_by_a_schema(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "CreateLabelDefinition", label_pb2.CreateLabelDefinitionResponse())
    always(plane, "GetLabelDefinition", label_pb2.GetLabelDefinitionResponse())
    always(plane, "UpdateLabelDefinition", label_pb2.UpdateLabelDefinitionResponse())
    always(plane, "DeleteLabelDefinition", label_pb2.DeleteLabelDefinitionResponse())
    assert run("label", "create", "env", "--schema", "-", stdin=b'{"enum": ["prod"]}').returncode == Exit.OK
    assert run("label", "get", "env").returncode == Exit.OK
    assert run("label", "update", "env", "--no-schema").returncode == Exit.OK
    assert run("label", "delete", "env", "--force").returncode == Exit.OK
    assert plane.asked("CreateLabelDefinition")[0].label_definition == label_pb2.LabelDefinition(
        key="env", schema='{"enum": ["prod"]}'
    )
    [updated] = plane.asked("UpdateLabelDefinition")
    assert (list(updated.update_mask.paths), updated.label_definition.schema) == (["schema"], "")
    assert plane.asked("DeleteLabelDefinition")[0].force


@pytest.mark.parametrize("noun", ["bundle", "document", "label"])
def test_an_update_of_nothing_is_a_usage_error(plane: ScriptedPlane, run: Run, noun: str) -> None:
    assert run(noun, "update", APP).returncode == Exit.USAGE
    assert plane.requests == []
