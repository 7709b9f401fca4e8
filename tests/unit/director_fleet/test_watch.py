"""What an operator that watches the Runtimes is sent."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    ReportConfigurationRequest,
    ReportState,
    ResourceFailure,
)
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    DeleteGroupRequest,
    Group,
    RemoveGroupMembersRequest,
)
from moorage.director.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    GetRuntimeRequest,
    Runtime,
    UpdateRuntimeRequest,
)
from moorage.errors.v1.errors_pb2 import Reason
from sqlalchemy import update

import director.fleet.hub as fleet_hub
from director import apis, group_members, groups, reports, runtimes
from director.fleet.hub import RuntimeHub
from director.mutate import Occasion, mutate
from director.store import presence, tables
from director.store.registry import RUNTIMES
from tests.unit.director.plane import ADMIN, BEGIN, Plane, new_id
from tests.unit.director_fleet.conftest import MakeReader
from tests.unit.director_fleet.reader import Reader

FAILED = ReportState.REPORT_STATE_FAILED
APPLIED = ReportState.REPORT_STATE_APPLIED


TICKS = count(1)


async def change(plane: Plane, unit: Callable[..., Any], request: Any) -> None:
    """As the service does it, so that the hub hears of it; each a second after the one before."""
    time = BEGIN + timedelta(days=1, seconds=next(TICKS))
    await plane.database.write(mutate, Occasion(time, ADMIN, "call", new_id), unit, request)


async def report(plane: Plane, runtime_id: str, state: ReportState.ValueType, **fields: Any) -> None:
    request = ReportConfigurationRequest(runtime_id=runtime_id, revision=plane.revision, state=state, **fields)
    await change(plane, reports.report_configuration, request)


async def test_a_stream_begins_with_all_runtimes_each_whole(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    for _ in range(2):
        plane.runtime(group_ids=[plane.group("", [application]).group_id])
    plane.runtime()
    reader = watch()
    await reader.until_true()
    assert [each.kind for each in reader.messages] == [CONFIGURATION_KIND_SNAPSHOT]
    assert len(reader.runtimes) == 3
    assert sum(each.desired_revision > 0 for each in reader.runtimes.values()) == 2


async def test_no_runtimes_are_a_snapshot_of_nothing(watch: MakeReader) -> None:
    reader = watch()
    await reader.until_true()
    assert [(each.kind, each.partial) for each in reader.messages] == [(CONFIGURATION_KIND_SNAPSHOT, False)]


async def test_one_that_comes_changes_or_goes_is_sent_and_no_other(plane: Plane, watch: MakeReader) -> None:
    stays = plane.runtime("stays").runtime_id
    reader = watch()
    await reader.until_true()
    await change(plane, runtimes.create_runtime, CreateRuntimeRequest(runtime=Runtime(name="comes")))
    await reader.until_true()
    [comes] = reader.messages[-1].runtimes
    renamed = Runtime(runtime_id=stays, name="renamed")
    await change(plane, runtimes.update_runtime, UpdateRuntimeRequest(runtime=renamed))
    await reader.until_true()
    assert [each.name for each in reader.messages[-1].runtimes] == ["renamed"]
    await change(plane, runtimes.delete_runtime, DeleteRuntimeRequest(runtime_id=comes.runtime_id))
    await reader.until_true()
    assert list(reader.messages[-1].removed_runtime_ids) == [comes.runtime_id]
    assert all(each.kind == CONFIGURATION_KIND_DELTA for each in reader.messages[1:])


async def test_a_mere_report_is_sent_though_it_takes_no_revision(plane: Plane, watch: MakeReader) -> None:
    runtime, _ = plane.runtime().runtime_id, plane.runtime()
    await report(plane, runtime, APPLIED)
    reader = watch()
    await reader.until_true()
    before = plane.revision
    await report(plane, runtime, ReportState.REPORT_STATE_APPLYING, content_sha256="ab" * 32)
    await reader.until_true()
    assert plane.revision == before == reader.revision
    assert [each.runtime_id for each in reader.messages[-1].runtimes] == [runtime]


async def test_a_failure_is_sent_with_each_resource_that_failed(plane: Plane, watch: MakeReader) -> None:
    runtime = plane.runtime().runtime_id
    reader = watch()
    await reader.until_true()
    failures = [ResourceFailure(application_id=new_id(), message=f"no {n}") for n in range(3)]
    await report(plane, runtime, FAILED, failures=failures)
    await reader.until_true()
    assert list(reader.runtimes[runtime].status.failures) == failures


async def test_what_a_runtime_is_to_run_follows_what_its_groups_have(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    one, two = plane.group("one", [application]).group_id, plane.group("two").group_id
    served = plane.runtime(group_ids=[one]).runtime_id
    other = plane.runtime(group_ids=[two]).runtime_id
    reader = watch()
    await reader.until_true()

    async def sent() -> list[str]:
        await reader.until_true()
        return [each.runtime_id for each in reader.messages[-1].runtimes]

    api = Api(application_id=application, name="orders", target_url="https://api.test")
    await change(plane, partial(apis.create_api, document=None), CreateApiRequest(api=api))
    assert await sent() == [served]
    assert reader.runtimes[served].desired_revision == plane.revision
    addition = AddGroupMembersRequest(group_id=two, application_ids=[application])
    await change(plane, group_members.add_group_members, addition)
    assert await sent() == [other]
    await change(plane, group_members.add_group_members, AddGroupMembersRequest(group_id=one, runtime_ids=[other]))
    removal = RemoveGroupMembersRequest(group_id=two, application_ids=[application])
    await change(plane, group_members.remove_group_members, removal)
    await change(plane, groups.delete_group, DeleteGroupRequest(group_id=one, force=True))
    await reader.until_true()
    assert {each.desired_revision for each in reader.runtimes.values()} == {plane.revision}


async def test_that_a_runtime_was_seen_again_is_no_change(plane: Plane, watch: MakeReader) -> None:
    runtime = plane.runtime().runtime_id
    await report(plane, runtime, APPLIED)
    reader = watch()
    await reader.until_true()
    with plane.transaction() as tx:
        presence.note_seen(tx, RUNTIMES, {runtime: 2**40})
    addition = CreateGroupRequest(group=Group(name="g"), runtime_ids=[runtime])
    await change(plane, groups.create_group, addition)  # which touches it, and changes nothing of it
    await change(plane, runtimes.create_runtime, CreateRuntimeRequest(runtime=Runtime(name="marker")))
    await reader.until_at(plane.revision)
    assert [each.name for message in reader.messages[1:] for each in message.runtimes] == ["marker"]


async def test_a_log_that_no_longer_reaches_back_is_no_reason_to_miss_anything(plane: Plane, watch: MakeReader) -> None:
    gone, stays = plane.runtime().runtime_id, plane.runtime().runtime_id
    reader = watch()
    await reader.until_true()
    for _ in range(2):
        plane.application()
    horizon = plane.revision
    with plane.transaction() as tx:
        tx.execute(tables.runtimes.delete().where(tables.runtimes.c.runtime_id == gone))
        tx.execute(update(tables.runtimes).values(description="new"))
        tx.execute(update(tables.plane).values(horizon=horizon))
    await reader.until_true()
    assert list(reader.runtimes) == [stays]


async def test_more_than_one_message_takes_is_one_step_of_several(
    plane: Plane, watch: MakeReader, monkeypatch: Any
) -> None:
    monkeypatch.setattr(fleet_hub, "MESSAGE_BYTES", 250)
    for _ in range(5):
        plane.runtime()
    reader = watch()
    await reader.until_true()
    assert len(reader.messages) > 1
    assert [each.partial for each in reader.messages] == [*[True] * (len(reader.messages) - 1), False]


async def test_all_readers_share_what_was_read(plane: Plane, watch: MakeReader) -> None:
    runtime = plane.runtime().runtime_id
    first, second = watch(), watch()
    await first.until_true()
    await second.until_true()
    await report(plane, runtime, FAILED)
    await first.until_true()
    await second.until_true()
    assert first.messages[-1].runtimes[0].state == second.messages[-1].runtimes[0].state


async def test_an_idle_stream_is_told_how_far_the_log_has_come(plane: Plane) -> None:
    hub = RuntimeHub(plane.database, bookmark_interval=0.001, spacing=0.0)
    await hub.start()
    reader = Reader(plane, hub)
    await reader.until_true()
    await change(plane, groups.create_group, CreateGroupRequest(group=Group(name="elsewhere")))
    await reader.until_at(plane.revision)
    assert reader.messages[-1].kind == CONFIGURATION_KIND_BOOKMARK
    await reader.stop()
    await hub.stop()


async def test_a_hub_that_stops_sends_its_readers_elsewhere(plane: Plane, hub: RuntimeHub, watch: MakeReader) -> None:
    reader = watch()
    await reader.until_true()
    await hub.stop()
    refusal = await reader.until_ended()
    assert refusal.reason == Reason.REASON_NOT_READY
    assert refusal.retry_after is not None


async def test_a_hub_that_does_not_run_refuses(plane: Plane) -> None:
    reader = asyncio.ensure_future(anext(RuntimeHub(plane.database).watch()))
    await asyncio.wait([reader])
    assert getattr(reader.exception(), "reason", None) == Reason.REASON_NOT_READY


async def test_when_the_desired_revision_was_committed_is_left_out_where_the_log_does_not_reach(plane: Plane) -> None:
    application = plane.application().application_id
    runtime = plane.runtime(group_ids=[plane.group("all", [application]).group_id]).runtime_id
    get = GetRuntimeRequest(runtime_id=runtime)
    assert plane.read(runtimes.get_runtime, get).runtime.HasField("desired_time")
    with plane.transaction() as tx:
        tx.execute(tables.changes.delete())
    assert not plane.read(runtimes.get_runtime, get).runtime.HasField("desired_time")
