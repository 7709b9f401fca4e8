"""What holds a Group, an Application or a Runtime, so that only force deletes it (AIP-135)."""

from contextlib import nullcontext
from typing import Any

import pytest
from moorage.director.v1.application_pb2 import (
    Application,
    DeleteApplicationRequest,
    GetApplicationRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.group_pb2 import CreateGroupRequest, DeleteGroupRequest, GetGroupRequest, Group
from moorage.director.v1.label_pb2 import LabelOperator, LabelRequirement, LabelSelector
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest

from director.applications import delete_application, get_application, update_application
from director.changes import Action, Kind
from director.groups import create_group, delete_group, get_group
from director.holds import MOST_NAMED
from director.runtimes import delete_runtime
from mesh.errors import Refusal
from tests.unit.director.plane import Plane
from tests.unit.director.refused import refused


def choose(plane: Plane, application_id: str, runtime_id: str) -> Application:
    sent = Application(application_id=application_id, eventing_runtime_id=runtime_id)
    return plane.change(update_application, UpdateApplicationRequest(application=sent)).application


def selecting_all(plane: Plane) -> str:
    """A group that everything is in for its labels."""
    absent = LabelRequirement(key="nothing", operator=LabelOperator.LABEL_OPERATOR_DOES_NOT_EXIST)
    selector = LabelSelector(match_expressions=[absent])
    sent = Group(name="everything", application_selector=selector, runtime_selector=selector)
    return plane.change(create_group, CreateGroupRequest(group=sent)).group.group_id


def test_a_group_is_held_by_its_members_which_are_named(plane: Plane) -> None:
    members = [plane.application("shop").application_id], [plane.runtime("quay").runtime_id]
    group = plane.group("all", *members)
    with refused("RESOURCE_HELD", "group_id", "group_id") as refusal:
        plane.change(delete_group, DeleteGroupRequest(group_id=group.group_id))
    assert [each.description for each in refusal.violations] == ["application shop is in it", "runtime quay is in it"]
    assert plane.revision == group.revision


def test_a_group_is_held_by_those_whom_it_selects_too(plane: Plane) -> None:
    plane.application("shop")
    group_id = selecting_all(plane)
    with refused("RESOURCE_HELD", "group_id"):
        plane.change(delete_group, DeleteGroupRequest(group_id=group_id))
    plane.change(delete_group, DeleteGroupRequest(group_id=group_id, force=True))
    with refused("GROUP_NOT_FOUND"):
        plane.read(get_group, GetGroupRequest(group_id=group_id))


def test_a_group_without_members_is_held_by_nothing(plane: Plane) -> None:
    plane.change(delete_group, DeleteGroupRequest(group_id=plane.group().group_id))


def test_of_many_that_hold_something_some_are_named(plane: Plane) -> None:
    application_ids = [plane.application().application_id for _ in range(MOST_NAMED + 1)]
    group = plane.group("all", application_ids)
    with refused("RESOURCE_HELD", *["group_id"] * MOST_NAMED):
        plane.change(delete_group, DeleteGroupRequest(group_id=group.group_id))


def test_an_application_is_held_by_the_groups_that_it_was_added_to(plane: Plane) -> None:
    id = plane.application().application_id
    plane.group("tide", [id])
    with refused("RESOURCE_HELD", "application_id") as refusal:
        plane.change(delete_application, DeleteApplicationRequest(application_id=id))
    assert "tide" in refusal.violations[0].description
    plane.change(delete_application, DeleteApplicationRequest(application_id=id, force=True))
    with refused("APPLICATION_NOT_FOUND"):
        plane.read(get_application, GetApplicationRequest(application_id=id))


def test_a_runtime_is_held_by_the_groups_that_it_was_added_to(plane: Plane) -> None:
    id = plane.runtime().runtime_id
    plane.group("tide", [], [id])
    with refused("RESOURCE_HELD", "runtime_id") as refusal:
        plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=id))
    assert "tide" in refusal.violations[0].description


def test_groups_that_merely_select_something_do_not_hold_it(plane: Plane) -> None:
    application_id, runtime_id = plane.application().application_id, plane.runtime().runtime_id
    selecting_all(plane)
    plane.change(delete_application, DeleteApplicationRequest(application_id=application_id))
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime_id))


def test_what_an_application_offers_does_not_hold_it(plane: Plane) -> None:
    id = plane.application().application_id
    plane.api(id)
    plane.event_api(id)
    plane.change(delete_application, DeleteApplicationRequest(application_id=id))


def test_a_runtime_is_held_by_the_applications_that_chose_it_for_their_events(plane: Plane) -> None:
    application, runtime = plane.application("shop"), plane.runtime()
    choose(plane, application.application_id, runtime.runtime_id)
    with refused("RESOURCE_HELD", "runtime_id") as refusal:
        plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id))
    assert "shop" in refusal.violations[0].description


def test_with_force_they_have_none_chosen_and_are_changed_by_that(plane: Plane) -> None:
    id, runtime = plane.application("shop").application_id, plane.runtime()
    chosen = choose(plane, id, runtime.runtime_id)
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id, force=True))
    freed = plane.read(get_application, GetApplicationRequest(application_id=id)).application
    assert freed.eventing_runtime_id == ""
    assert freed.revision == plane.revision == chosen.revision + 1
    assert freed.etag != chosen.etag
    told = {(change.action, change.kind, change.resource_id) for change in plane.changes_since(chosen.revision)}
    assert told == {(Action.UPDATE, Kind.APPLICATION, id), (Action.DELETE, Kind.RUNTIME, runtime.runtime_id)}


@pytest.mark.parametrize("force", [False, True])
def test_asking_alone_finds_what_holds_and_deletes_nothing(plane: Plane, force: bool) -> None:
    application_id, runtime_id = plane.application().application_id, plane.runtime().runtime_id
    group = plane.group("all", [application_id], [runtime_id])
    deletions: list[tuple[Any, Any]] = [
        (delete_application, DeleteApplicationRequest(application_id=application_id)),
        (delete_runtime, DeleteRuntimeRequest(runtime_id=runtime_id)),
        (delete_group, DeleteGroupRequest(group_id=group.group_id)),
    ]
    for unit, request in deletions:
        request.validate_only, request.force = True, force
        with nullcontext() if force else pytest.raises(Refusal, match="it is held"):
            plane.change(unit, request)
    assert plane.revision == group.revision


def test_a_stale_etag_is_told_of_before_what_holds(plane: Plane) -> None:
    id = plane.application().application_id
    plane.group("all", [id])
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(delete_application, DeleteApplicationRequest(application_id=id, etag='"0"'))
