"""What an Application that watches its own view is sent."""

import asyncio
from collections.abc import Callable
from typing import Any

from moorage.director.v1.application_pb2 import DeleteApplicationRequest
from moorage.director.v1.configuration_pb2 import (
    CONFIGURATION_KIND_BOOKMARK,
    CONFIGURATION_KIND_DELTA,
    CONFIGURATION_KIND_SNAPSHOT,
    WatchApplicationConfigurationRequest,
)
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    Group,
    RemoveGroupMembersRequest,
)
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest, Runtime, UpdateRuntimeRequest
from moorage.errors.v1.errors_pb2 import Reason

import director.serving.hub as serving_hub
from director import applications, group_members, groups, runtimes
from director.mutate import Occasion, mutate
from director.serving.hub import ApplicationHub
from director.store.retention import forget_all_but
from tests.unit.director.plane import ADMIN, BEGIN, Plane, new_id
from tests.unit.director_serving.conftest import MakeReader
from tests.unit.director_serving.reader import Reader


async def change(plane: Plane, unit: Callable[..., Any], request: Any) -> None:
    """As the service does it, so that the hub hears of it."""
    await plane.database.write(mutate, Occasion(BEGIN, ADMIN, "call", new_id), unit, request)


async def regroup(plane: Plane, add: str = "", remove: str = "", **members: Any) -> None:
    if add:
        await change(plane, group_members.add_group_members, AddGroupMembersRequest(group_id=add, **members))
    if remove:
        await change(plane, group_members.remove_group_members, RemoveGroupMembersRequest(group_id=remove, **members))


async def rename(plane: Plane, runtime_id: str, name: str) -> None:
    runtime = Runtime(runtime_id=runtime_id, name=name)
    await change(plane, runtimes.update_runtime, UpdateRuntimeRequest(runtime=runtime))


async def test_a_stream_begins_with_the_whole_view(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    plane.group("all", [application], [plane.runtime().runtime_id, plane.runtime().runtime_id])
    reader = watch(application)
    await reader.until_true()
    assert [each.kind for each in reader.messages] == [CONFIGURATION_KIND_SNAPSHOT]
    assert len(reader.runtimes) == 2


async def test_a_view_of_nothing_is_a_snapshot_of_nothing(plane: Plane, watch: MakeReader) -> None:
    plane.group()
    reader = watch(plane.application().application_id)
    await reader.until_true()
    assert [each.kind for each in reader.messages] == [CONFIGURATION_KIND_SNAPSHOT]


async def test_what_came_went_or_changed_is_sent_and_nothing_else(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    stays, goes, comes = (plane.runtime().runtime_id for _ in range(3))
    group = plane.group("all", [application], [stays, goes]).group_id
    reader = watch(application)
    await reader.until_true()

    await regroup(plane, add=group, runtime_ids=[comes])
    await reader.until_true()
    assert [each.runtime_id for each in reader.messages[-1].runtimes] == [comes]
    await regroup(plane, remove=group, runtime_ids=[goes])
    await reader.until_true()
    assert list(reader.messages[-1].removed_runtime_ids) == [goes]
    await rename(plane, stays, "renamed")
    await reader.until_true()
    assert [each.name for each in reader.messages[-1].runtimes] == ["renamed"]
    assert all(each.kind == CONFIGURATION_KIND_DELTA for each in reader.messages[1:])


async def test_a_runtime_that_leaves_one_of_two_groups_is_still_served(plane: Plane, watch: MakeReader) -> None:
    application, runtime = plane.application().application_id, plane.runtime().runtime_id
    one = plane.group("one", [application], [runtime]).group_id
    plane.group("two", [application], [runtime])
    reader = watch(application)
    await reader.until_true()
    await regroup(plane, remove=one, runtime_ids=[runtime])
    await rename(plane, runtime, "marker")
    await reader.until_true()
    assert runtime in reader.runtimes
    assert not any(each.removed_runtime_ids for each in reader.messages)


async def test_an_application_that_joins_or_leaves_a_group_sees_its_runtimes_come_and_go(
    plane: Plane, watch: MakeReader
) -> None:
    application, runtime = plane.application().application_id, plane.runtime().runtime_id
    group = plane.group("all", [], [runtime]).group_id
    reader = watch(application)
    await reader.until_true()
    await regroup(plane, add=group, application_ids=[application])
    await reader.until_true()
    assert list(reader.runtimes) == [runtime]
    await regroup(plane, remove=group, application_ids=[application])
    await reader.until_true()
    assert reader.runtimes == {}


async def test_a_deleted_runtime_is_removed(plane: Plane, watch: MakeReader) -> None:
    application, runtime = plane.application().application_id, plane.runtime().runtime_id
    plane.group("all", [application], [runtime])
    reader = watch(application)
    await reader.until_true()
    await change(plane, runtimes.delete_runtime, DeleteRuntimeRequest(runtime_id=runtime, force=True))
    await reader.until_true()
    assert list(reader.messages[-1].removed_runtime_ids) == [runtime]


async def test_a_change_that_does_not_concern_it_sends_it_nothing(plane: Plane, watch: MakeReader) -> None:
    application, other = plane.application().application_id, plane.application().application_id
    mine, theirs = plane.runtime().runtime_id, plane.runtime().runtime_id
    plane.group("mine", [application], [mine])
    plane.group("theirs", [other], [theirs])
    reader, other_reader = watch(application), watch(other)
    await reader.until_true()
    await other_reader.until_true()
    await rename(plane, theirs, "renamed")
    await other_reader.until_true()
    await rename(plane, mine, "marker")
    await reader.until_true()
    assert len(reader.messages) == 2


async def test_a_hub_that_fell_behind_the_log_reads_everything_anew(plane: Plane, watch: MakeReader) -> None:
    application, runtime = plane.application().application_id, plane.runtime().runtime_id
    group = plane.group("all", [application], [runtime]).group_id
    reader = watch(application)
    await reader.until_true()
    removal = RemoveGroupMembersRequest(group_id=group, runtime_ids=[runtime])
    plane.change(group_members.remove_group_members, removal)  # which the hub does not hear of
    with plane.transaction() as tx:
        assert forget_all_but(tx, 0, 1000)
    await rename(plane, plane.runtime().runtime_id, "elsewhere")
    await reader.until_true()
    assert reader.runtimes == {}


async def test_the_eventing_target_follows_the_choice_and_the_oldest_ready(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    one, two = plane.runtime().runtime_id, plane.runtime().runtime_id
    group = plane.group("all", [application], [one, two]).group_id
    plane.make_ready(two, since=1)
    plane.make_ready(one, since=2)
    reader = watch(application)
    await reader.until_true()
    assert reader.eventing_runtime_id == two
    await regroup(plane, remove=group, runtime_ids=[two])
    await reader.until_true()
    assert reader.eventing_runtime_id == one


async def test_a_view_larger_than_a_message_is_one_step_of_several(
    plane: Plane, watch: MakeReader, monkeypatch: Any
) -> None:
    monkeypatch.setattr(serving_hub, "RUNTIMES_A_MESSAGE", 2)
    application = plane.application().application_id
    plane.group("all", [application], [plane.runtime().runtime_id for _ in range(5)])
    reader = watch(application)
    await reader.until_true()
    assert [len(each.runtimes) for each in reader.messages] == [2, 2, 1]
    assert [each.partial for each in reader.messages] == [True, True, False]


async def test_an_application_that_is_not_there_ends_the_stream(plane: Plane, watch: MakeReader) -> None:
    assert (await watch(new_id()).until_ended()).reason == Reason.REASON_APPLICATION_NOT_FOUND


async def test_an_application_that_is_deleted_ends_the_stream(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    reader = watch(application)
    await reader.until_true()
    request = DeleteApplicationRequest(application_id=application, force=True)
    await change(plane, applications.delete_application, request)
    assert (await reader.until_ended()).reason == Reason.REASON_APPLICATION_NOT_FOUND


async def test_two_readers_of_one_application_see_the_same(plane: Plane, watch: MakeReader) -> None:
    application = plane.application().application_id
    group = plane.group("all", [application]).group_id
    first = watch(application)
    await first.until_true()
    second = watch(application)
    await second.until_true()
    await regroup(plane, add=group, runtime_ids=[plane.runtime().runtime_id])
    await first.until_true()
    await second.until_true()
    assert first.runtimes == second.runtimes


async def test_an_idle_stream_is_told_how_far_the_log_has_come(plane: Plane) -> None:
    hub = ApplicationHub(plane.database, "plane.test", bookmark_interval=0.001)
    await hub.start()
    application = plane.application().application_id
    reader = Reader(plane, hub, application)
    await reader.until_true()
    await change(plane, groups.create_group, CreateGroupRequest(group=Group(name="elsewhere")))
    await reader.until_at(plane.revision)
    assert reader.messages[-1].kind == CONFIGURATION_KIND_BOOKMARK
    await reader.stop()
    await hub.stop()


async def test_a_hub_that_stops_sends_its_readers_elsewhere(
    plane: Plane, hub: ApplicationHub, watch: MakeReader
) -> None:
    application = plane.application().application_id
    reader = watch(application)
    await reader.until_true()
    await hub.stop()
    refusal = await reader.until_ended()
    assert refusal.reason == Reason.REASON_NOT_READY
    assert refusal.retry_after is not None


async def test_a_hub_that_does_not_run_refuses(plane: Plane) -> None:
    hub = ApplicationHub(plane.database, "plane.test")
    stream = hub.watch(WatchApplicationConfigurationRequest(application_id=new_id()))
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.wait([reader])
    assert getattr(reader.exception(), "reason", None) == Reason.REASON_NOT_READY
