"""Runtimes: registered in their groups, changed, and removed from them."""

import json

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.configuration_pb2 import ReportState
from moorage.director.v1.group_pb2 import GetGroupRequest
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest, GetRuntimeRequest, Runtime, UpdateRuntimeRequest
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from sqlalchemy import update

from director.changes import Action, Kind
from director.groups import get_group
from director.runtimes import delete_runtime, get_runtime, update_runtime
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
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id))
    told = [(change.action, change.kind, change.group_id) for change in plane.changes_since(runtime.revision)]
    assert told == [(Action.REMOVE, Kind.MEMBER, group.group_id), (Action.DELETE, Kind.RUNTIME, None)]
    with refused("RUNTIME_NOT_FOUND"):
        plane.read(get_runtime, GetRuntimeRequest(runtime_id=runtime.runtime_id))
    with refused("RUNTIME_NOT_FOUND"):
        plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id))


def test_a_stale_etag_is_refused(plane: Plane) -> None:
    runtime = plane.runtime("prod")
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id, etag='"0"'))
    sent = Runtime(runtime_id=runtime.runtime_id, name="other", etag='"0"')
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(update_runtime, UpdateRuntimeRequest(runtime=sent))
