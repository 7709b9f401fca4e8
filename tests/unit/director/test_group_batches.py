"""The members of many Groups, changed in one revision."""

import json
from collections.abc import Iterable
from itertools import count

from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.group_pb2 import (
    BatchUpdateGroupMembersRequest,
    BatchUpdateGroupMembersResponse,
    CreateGroupRequest,
    Group,
    GroupMembersChange,
    ListGroupMembersRequest,
)
from moorage.director.v1.label_pb2 import LabelSelector
from sqlalchemy import event

from director.applications import create_application
from director.group_members import batch_update_group_members, list_group_members
from director.groups import create_group
from director.store import tables
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused


def batch(plane: Plane, *changes: GroupMembersChange, **how: object) -> BatchUpdateGroupMembersResponse:
    request = BatchUpdateGroupMembersRequest(changes=changes, **how)  # type: ignore[arg-type]
    return plane.change(batch_update_group_members, request)


def names(plane: Plane, *groups: Group) -> list[list[str]]:
    listed = [plane.read(list_group_members, ListGroupMembersRequest(group_id=each.group_id)) for each in groups]
    return [[member.name for member in each.members] for each in listed]


def statements_of(plane: Plane, changes: Iterable[GroupMembersChange]) -> int:
    """How many statements a batch takes."""
    number = count()

    def note(*_: object) -> None:
        next(number)

    event.listen(plane.database.engine, "before_cursor_execute", note)
    batch(plane, *changes)
    event.remove(plane.database.engine, "before_cursor_execute", note)
    return next(number)


def test_many_groups_change_in_one_revision_and_are_answered_in_the_order_of_the_request(plane: Plane) -> None:
    application, runtime = plane.application("shop"), plane.runtime("quay")
    one, other = plane.group("one", [application.application_id]), plane.group("other")
    before = plane.revision
    answer = batch(
        plane,
        GroupMembersChange(
            group_id=other.group_id,
            add_application_ids=[application.application_id],
            add_runtime_ids=[runtime.runtime_id],
        ),
        GroupMembersChange(group_id=one.group_id, remove_application_ids=[application.application_id]),
    )
    assert answer.revision == plane.revision == before + 1
    assert [(each.name, each.revision) for each in answer.groups] == [("other", before + 1), ("one", before + 1)]
    assert names(plane, one, other) == [[], ["shop", "quay"]]
    assert len(plane.changes_since(before)) == 3


def test_each_application_hears_once_of_all_that_the_groups_did_to_its_runtimes(plane: Plane) -> None:
    id = plane.application().application_id
    plane.add_webhook(id)
    runtime_ids = [plane.runtime().runtime_id for _ in range(2)]
    groups = [plane.group(application_ids=[id]) for _ in runtime_ids]
    batch(
        plane,
        *(
            GroupMembersChange(group_id=group.group_id, add_runtime_ids=[runtime_id])
            for group, runtime_id in zip(groups, runtime_ids, strict=True)
        ),
    )
    [notice] = plane.rows(tables.notices)
    assert json.loads(notice["body"])["data"]["runtime_ids"] == sorted(runtime_ids)


def test_groups_that_do_not_exist_are_each_named_and_nothing_is_changed(plane: Plane) -> None:
    application, group = plane.application(), plane.group()
    with refused("GROUP_NOT_FOUND", "changes[0].group_id", "changes[2].group_id"):
        batch(
            plane,
            GroupMembersChange(group_id=new_id()),
            GroupMembersChange(group_id=group.group_id, add_application_ids=[application.application_id]),
            GroupMembersChange(group_id=new_id()),
        )
    assert names(plane, group) == [[]]


def test_members_that_do_not_exist_are_named_by_their_places(plane: Plane) -> None:
    runtime, groups = plane.runtime(), [plane.group(), plane.group()]
    with refused("RUNTIME_NOT_FOUND", "changes[0].add_runtime_ids[1]", "changes[1].add_runtime_ids[0]"):
        batch(
            plane,
            GroupMembersChange(group_id=groups[0].group_id, add_runtime_ids=[runtime.runtime_id, new_id()]),
            GroupMembersChange(group_id=groups[1].group_id, add_runtime_ids=[new_id()]),
        )
    with refused("APPLICATION_NOT_FOUND", "changes[0].add_application_ids[0]"):
        batch(plane, GroupMembersChange(group_id=groups[0].group_id, add_application_ids=[new_id()]))
    assert names(plane, *groups) == [[], []]


def test_who_is_no_member_is_removed_without_a_word(plane: Plane) -> None:
    group = plane.group()
    batch(plane, GroupMembersChange(group_id=group.group_id, remove_runtime_ids=[new_id()]))
    assert plane.revision == group.revision


def test_a_stale_etag_of_one_group_refuses_the_change_of_all(plane: Plane) -> None:
    id, groups = plane.application().application_id, [plane.group(), plane.group()]
    first, second = (GroupMembersChange(group_id=each.group_id, add_application_ids=[id]) for each in groups)
    first.etag, second.etag = groups[0].etag, '"0"'
    with refused("ETAG_MISMATCH", "changes[1].etag"):
        batch(plane, first, second)
    assert names(plane, *groups) == [[], []]
    second.etag = groups[1].etag
    batch(plane, first, second)


def test_where_nothing_changes_the_revision_is_that_of_the_last_change(plane: Plane) -> None:
    application = plane.application()
    group = plane.group("all", [application.application_id])
    plane.runtime()
    change = GroupMembersChange(group_id=group.group_id, add_application_ids=[application.application_id])
    answer = batch(plane, change)
    assert answer.revision == plane.revision
    assert list(answer.groups) == [group]


def test_the_same_batch_again_gives_the_first_answer_and_does_nothing(plane: Plane) -> None:
    application, group = plane.application(), plane.group()
    change = GroupMembersChange(group_id=group.group_id, add_application_ids=[application.application_id])
    request_id = new_id()
    first = batch(plane, change, request_id=request_id)
    batch(plane, GroupMembersChange(group_id=group.group_id, remove_application_ids=[application.application_id]))
    revision = plane.revision
    assert batch(plane, change, request_id=request_id) == first
    assert plane.revision == revision
    assert names(plane, group) == [[]]


def test_asking_alone_answers_as_if_and_changes_nothing(plane: Plane) -> None:
    application, group = plane.application(), plane.group()
    change = GroupMembersChange(group_id=group.group_id, add_application_ids=[application.application_id])
    answer = batch(plane, change, validate_only=True)
    assert answer.revision == answer.groups[0].revision == plane.revision + 1
    assert names(plane, group) == [[]]


def test_one_that_is_selected_stays_when_it_is_removed(plane: Plane) -> None:
    labelled = Application(name="shop", labels={"env": "x"})
    application = plane.change(create_application, CreateApplicationRequest(application=labelled)).application
    sent = Group(name="all", application_selector=LabelSelector(match_labels={"env": "x"}))
    group = plane.change(create_group, CreateGroupRequest(group=sent)).group
    batch(plane, GroupMembersChange(group_id=group.group_id, remove_application_ids=[application.application_id]))
    assert names(plane, group) == [["shop"]]


def test_a_batch_takes_as_many_statements_however_many_members_it_names(plane: Plane) -> None:
    runtime_ids = [plane.runtime().runtime_id for _ in range(60)]
    group_ids = [plane.group().group_id for _ in range(2)]
    few = statements_of(plane, [GroupMembersChange(group_id=id, add_runtime_ids=runtime_ids[:1]) for id in group_ids])
    many = statements_of(plane, [GroupMembersChange(group_id=id, add_runtime_ids=runtime_ids) for id in group_ids])
    assert many == few
