"""Runtimes: registered in their groups, changed, and removed from them."""

import json

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.application_pb2 import Application, DeleteApplicationRequest
from moorage.director.v1.configuration_pb2 import ReportConfigurationRequest, ReportState
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    GetGroupRequest,
    Group,
    RemoveGroupMembersRequest,
)
from moorage.director.v1.runtime_pb2 import (
    DeleteRuntimeRequest,
    GetRuntimeRequest,
    ListRuntimesRequest,
    Runtime,
    UpdateRuntimeRequest,
)
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from sqlalchemy import update

from director.applications import delete_application
from director.changes import Action, Kind
from director.group_members import add_group_members, remove_group_members
from director.groups import get_group
from director.reports import report_configuration
from director.runtimes import delete_runtime, get_runtime, list_runtimes, update_runtime
from director.store import tables
from tests.unit.director.plane import BEGIN, Plane, new_id
from tests.unit.director.refused import refused


def test_a_new_runtime_is_pending_and_has_no_report(plane: Plane) -> None:
    runtime = plane.runtime("prod", "https://events.test")
    assert runtime.state == RuntimeState.RUNTIME_STATE_PENDING
    assert not runtime.HasField("status")
    assert plane.read(get_runtime, GetRuntimeRequest(runtime_id=runtime.runtime_id)).runtime == runtime


def test_a_runtime_is_in_its_groups_from_its_first_revision(plane: Plane) -> None:
    application = plane.application()
    group = plane.group("all", [application.application_id])
    runtime = plane.runtime("prod", group_ids=[group.group_id])
    assert plane.served(runtime.runtime_id, at=runtime.revision) == {application.application_id}
    assert plane.read(get_group, GetGroupRequest(group_id=group.group_id)).group.revision == runtime.revision
    told = [(change.action, change.kind, change.runtime_id) for change in plane.changes_since(group.revision)]
    assert told == [
        (Action.CREATE, Kind.RUNTIME, runtime.runtime_id),
        (Action.ADD, Kind.MEMBER, runtime.runtime_id),
    ]


def test_groups_that_do_not_exist_are_each_named_and_nothing_is_stored(plane: Plane) -> None:
    group = plane.group()
    with refused("GROUP_NOT_FOUND", "group_ids[1]"):
        plane.runtime("prod", group_ids=[group.group_id, new_id()])
    assert plane.revision == group.revision
    assert plane.rows(tables.runtimes) == []


def test_a_name_is_given_once(plane: Plane) -> None:
    first = plane.runtime("prod")
    with refused("NAME_TAKEN", "runtime.name") as refusal:
        plane.runtime("prod")
    assert refusal.metadata == {"id": first.runtime_id}


def test_an_event_url_can_be_emptied(plane: Plane) -> None:
    runtime = plane.runtime("prod", "https://events.test")
    sent = Runtime(runtime_id=runtime.runtime_id, etag=runtime.etag)
    request = UpdateRuntimeRequest(runtime=sent, update_mask=FieldMask(paths=["event_url"]))
    assert plane.change(update_runtime, request).runtime.event_url == ""


def test_a_report_is_read_back_whole_and_survives_an_update(plane: Plane) -> None:
    runtime = plane.runtime("prod")
    application_id = new_id()
    report = {
        "state": RuntimeState.RUNTIME_STATE_FAILED,
        "status_revision": 7,
        "status_sha256": "ab" * 32,
        "status_state": ReportState.REPORT_STATE_FAILED,
        "status_failures": json.dumps([{"application_id": application_id, "message": "no route"}]),
        "agent_version": "1.2.3",
        "report_time": int(BEGIN.timestamp()) * 1_000_000,
    }
    with plane.transaction() as tx:
        tx.execute(update(tables.runtimes).values(**report))
    sent = Runtime(runtime_id=runtime.runtime_id, description="new")
    updated = plane.change(update_runtime, UpdateRuntimeRequest(runtime=sent)).runtime
    assert updated.state == RuntimeState.RUNTIME_STATE_FAILED
    assert (updated.status.revision, updated.status.content_sha256) == (7, "ab" * 32)
    assert updated.status.state == ReportState.REPORT_STATE_FAILED
    assert updated.status.agent_version == "1.2.3"
    assert updated.status.report_time.ToDatetime(tzinfo=BEGIN.tzinfo) == BEGIN
    assert [(each.application_id, each.message) for each in updated.status.failures] == [(application_id, "no route")]


def test_a_runtime_that_is_deleted_leaves_its_groups(plane: Plane) -> None:
    group = plane.group()
    runtime = plane.runtime("prod", group_ids=[group.group_id])
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id, force=True))
    told = [(change.action, change.kind, change.group_id) for change in plane.changes_since(runtime.revision)]
    assert told == [(Action.REMOVE, Kind.MEMBER, group.group_id), (Action.DELETE, Kind.RUNTIME, None)]
    with refused("RUNTIME_NOT_FOUND"):
        plane.read(get_runtime, GetRuntimeRequest(runtime_id=runtime.runtime_id))
    with refused("RUNTIME_NOT_FOUND"):
        plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id, force=True))


def test_a_stale_etag_is_refused(plane: Plane) -> None:
    runtime = plane.runtime("prod")
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id, etag='"0"'))
    sent = Runtime(runtime_id=runtime.runtime_id, name="other", etag='"0"')
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(update_runtime, UpdateRuntimeRequest(runtime=sent))


def test_since_when_it_is_ready_is_kept_while_it_is(plane: Plane) -> None:
    runtime = plane.runtime("prod")

    def ready_time_after(state: ReportState.ValueType, revision: int) -> int | None:
        request = ReportConfigurationRequest(runtime_id=runtime.runtime_id, revision=revision, state=state)
        plane.change(report_configuration, request)
        time: int | None = plane.rows(tables.runtimes)[0]["ready_time"]
        return time

    first = ready_time_after(ReportState.REPORT_STATE_APPLIED, 0)
    assert first is not None
    assert ready_time_after(ReportState.REPORT_STATE_APPLIED, 1) == first
    assert ready_time_after(ReportState.REPORT_STATE_FAILED, 1) is None
    again = ready_time_after(ReportState.REPORT_STATE_APPLIED, 1)
    assert again is not None
    assert again > first


def desired(plane: Plane, runtime: Runtime) -> int:
    request = GetRuntimeRequest(runtime_id=runtime.runtime_id)
    return plane.read(get_runtime, request).runtime.desired_revision


def join(plane: Plane, group: Group, *applications: Application) -> None:
    ids = [each.application_id for each in applications]
    plane.change(add_group_members, AddGroupMembersRequest(group_id=group.group_id, application_ids=ids))


def leave(
    plane: Plane, group: Group, *, application: Application | None = None, runtime: Runtime | None = None
) -> None:
    request = RemoveGroupMembersRequest(
        group_id=group.group_id,
        application_ids=[application.application_id] if application else [],
        runtime_ids=[runtime.runtime_id] if runtime else [],
    )
    plane.change(remove_group_members, request)


def test_a_runtime_that_was_never_given_anything_has_nothing_to_run(plane: Plane) -> None:
    group = plane.group("all")
    runtime = plane.runtime("prod", group_ids=[group.group_id])
    plane.group("others", [plane.application().application_id])
    assert desired(plane, runtime) == 0


def test_the_desired_revision_is_the_last_one_that_changed_what_the_runtime_is_to_run(plane: Plane) -> None:
    group = plane.group("all")
    runtime = plane.runtime("prod", group_ids=[group.group_id])
    application = plane.application()
    join(plane, group, application)
    given = plane.revision
    assert desired(plane, runtime) == given
    plane.api(application.application_id)
    changed = plane.revision
    assert desired(plane, runtime) == changed
    plane.api(plane.application().application_id)
    plane.group("empty", [], [runtime.runtime_id])
    assert desired(plane, runtime) == changed
    leave(plane, group, application=application)
    taken = plane.revision
    assert desired(plane, runtime) == taken
    plane.api(application.application_id)
    leave(plane, group, runtime=runtime)
    assert desired(plane, runtime) == taken


def test_an_application_that_comes_by_two_groups_goes_with_the_last(plane: Plane) -> None:
    application = plane.application()
    runtime = plane.runtime("prod")
    first = plane.group("first", [application.application_id], [runtime.runtime_id])
    given = plane.revision
    second = plane.group("second", [application.application_id], [runtime.runtime_id])
    assert desired(plane, runtime) == given
    leave(plane, first, application=application)
    assert desired(plane, runtime) == given
    leave(plane, second, runtime=runtime)
    assert desired(plane, runtime) == plane.revision
    join(plane, first, application)
    assert desired(plane, runtime) == plane.revision


def test_an_application_that_is_deleted_is_taken_from_the_runtime(plane: Plane) -> None:
    application, other = plane.application(), plane.application()
    runtime = plane.runtime("prod")
    plane.group("all", [application.application_id, other.application_id], [runtime.runtime_id])
    plane.change(delete_application, DeleteApplicationRequest(application_id=application.application_id, force=True))
    assert desired(plane, runtime) == plane.revision


def test_a_list_leaves_the_desired_revision_out(plane: Plane) -> None:
    runtime = plane.runtime("prod")
    plane.group("all", [plane.application().application_id], [runtime.runtime_id])
    [listed] = plane.read(list_runtimes, ListRuntimesRequest()).runtimes
    assert listed.desired_revision == 0
