"""Groups and their members, now and at earlier revisions."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from moorage.director.v1.application_pb2 import DeleteApplicationRequest
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    DeleteGroupRequest,
    GetGroupRequest,
    Group,
    ListGroupMembersRequest,
    ListGroupsRequest,
    RemoveGroupMembersRequest,
    UpdateGroupRequest,
)
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest

from director.applications import delete_application
from director.changes import Action, Kind
from director.group_members import add_group_members, list_group_members, remove_group_members
from director.groups import delete_group, get_group, list_groups, update_group
from director.runtimes import delete_runtime
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused


def add(plane: Plane, group: Group, application_ids: Sequence[str] = (), runtime_ids: Sequence[str] = ()) -> Group:
    request = AddGroupMembersRequest(group_id=group.group_id, application_ids=application_ids, runtime_ids=runtime_ids)
    return plane.change(add_group_members, request).group


def remove(plane: Plane, group: Group, application_ids: Sequence[str] = (), runtime_ids: Sequence[str] = ()) -> Group:
    request = RemoveGroupMembersRequest(
        group_id=group.group_id, application_ids=application_ids, runtime_ids=runtime_ids
    )
    return plane.change(remove_group_members, request).group


def member_names(plane: Plane, group: Group) -> list[str]:
    request = ListGroupMembersRequest(group_id=group.group_id, page_size=1000)
    return [member.name for member in plane.read(list_group_members, request).members]


def test_a_group_begins_with_the_members_it_is_created_with_in_one_revision(plane: Plane) -> None:
    application, runtime = plane.application(), plane.runtime()
    before = plane.revision
    group = plane.group("all", [application.application_id], [runtime.runtime_id])
    assert group.revision == plane.revision == before + 1
    assert plane.served(runtime.runtime_id) == {application.application_id}
    told = [(change.action, change.kind) for change in plane.changes_since(before)]
    assert told == [(Action.CREATE, Kind.GROUP), (Action.ADD, Kind.MEMBER), (Action.ADD, Kind.MEMBER)]


def test_members_that_do_not_exist_are_each_named_and_nothing_is_stored(plane: Plane) -> None:
    application = plane.application()
    before = plane.revision
    with refused("APPLICATION_NOT_FOUND", "application_ids[0]", "application_ids[2]"):
        plane.group("all", [new_id(), application.application_id, new_id()])
    with refused("RUNTIME_NOT_FOUND", "runtime_ids[0]"):
        plane.group("all", [application.application_id], [new_id()])
    assert plane.revision == before
    assert plane.read(list_groups, ListGroupsRequest()).groups == []


def test_adding_takes_one_revision_and_moves_the_etag_of_the_group(plane: Plane) -> None:
    one, other, runtime = plane.application(), plane.application(), plane.runtime()
    group = plane.group()
    changed = add(plane, group, [one.application_id, other.application_id], [runtime.runtime_id])
    assert changed.revision == plane.revision == group.revision + 1
    assert changed.etag != group.etag
    assert plane.read(get_group, GetGroupRequest(group_id=group.group_id)).group == changed


def test_adding_who_is_a_member_already_changes_nothing(plane: Plane) -> None:
    application = plane.application()
    group = plane.group("all", [application.application_id])
    assert add(plane, group, [application.application_id]) == group
    assert plane.revision == group.revision


def test_adding_the_old_and_the_new_records_the_new_alone(plane: Plane) -> None:
    old, new = plane.application(), plane.application()
    group = plane.group("all", [old.application_id])
    add(plane, group, [old.application_id, new.application_id])
    assert [change.resource_id for change in plane.changes_since(group.revision)] == [new.application_id]


def test_removing_who_is_no_member_is_passed_over(plane: Plane) -> None:
    application, stranger = plane.application(), plane.application()
    group = plane.group("all", [application.application_id])
    assert remove(plane, group, [stranger.application_id, new_id()]) == group
    assert plane.revision == group.revision


def test_who_was_removed_is_seen_at_the_revisions_before_and_not_after(plane: Plane) -> None:
    application, runtime = plane.application(), plane.runtime()
    group = plane.group("all", [application.application_id], [runtime.runtime_id])
    removed = remove(plane, group, [application.application_id])
    added = add(plane, group, [application.application_id])
    assert plane.served(runtime.runtime_id, at=group.revision - 1) == set()
    assert plane.served(runtime.runtime_id, at=group.revision) == {application.application_id}
    assert plane.served(runtime.runtime_id, at=removed.revision) == set()
    assert plane.served(runtime.runtime_id, at=added.revision) == {application.application_id}


def test_a_runtime_sees_an_application_as_long_as_any_group_has_both(plane: Plane) -> None:
    application, runtime = plane.application(), plane.runtime()
    one = plane.group("one", [application.application_id], [runtime.runtime_id])
    other = plane.group("other", [application.application_id], [runtime.runtime_id])
    remove(plane, one, [application.application_id])
    assert plane.served(runtime.runtime_id) == {application.application_id}
    plane.change(delete_group, DeleteGroupRequest(group_id=other.group_id, force=True))
    assert plane.served(runtime.runtime_id) == set()


def test_a_stale_etag_is_refused_whatever_is_done_to_the_group(plane: Plane) -> None:
    application = plane.application()
    group = plane.group("all")
    add(plane, group, [application.application_id])
    id, etag, members = group.group_id, group.etag, [application.application_id]
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(add_group_members, AddGroupMembersRequest(group_id=id, etag=etag, application_ids=members))
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(remove_group_members, RemoveGroupMembersRequest(group_id=id, etag=etag, application_ids=members))
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(update_group, UpdateGroupRequest(group=Group(group_id=id, etag=etag, description="new")))
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(delete_group, DeleteGroupRequest(group_id=id, etag=etag))


def test_a_group_that_is_not_there_is_not_found(plane: Plane) -> None:
    absent = Group(group_id=new_id())
    application = plane.application()
    with refused("GROUP_NOT_FOUND"):
        add(plane, absent, [application.application_id])
    with refused("GROUP_NOT_FOUND"):
        remove(plane, absent, [application.application_id])
    with refused("GROUP_NOT_FOUND"):
        member_names(plane, absent)
    with refused("GROUP_NOT_FOUND"):
        plane.change(delete_group, DeleteGroupRequest(group_id=absent.group_id))


def test_deleting_a_group_keeps_its_members_and_tells_of_each_that_left(plane: Plane) -> None:
    application, runtime = plane.application(), plane.runtime()
    group = plane.group("all", [application.application_id], [runtime.runtime_id])
    plane.change(delete_group, DeleteGroupRequest(group_id=group.group_id, force=True))
    told = [(change.action, change.kind, change.group_id) for change in plane.changes_since(group.revision)]
    assert told == [
        (Action.REMOVE, Kind.MEMBER, group.group_id),
        (Action.REMOVE, Kind.MEMBER, group.group_id),
        (Action.DELETE, Kind.GROUP, group.group_id),
    ]
    again = plane.group("again", [application.application_id], [runtime.runtime_id])
    assert len(member_names(plane, again)) == 2


def test_the_groups_of_a_member_are_those_it_is_in_now(plane: Plane) -> None:
    application, runtime = plane.application(), plane.runtime()
    both = plane.group("both", [application.application_id], [runtime.runtime_id])
    mine = plane.group("mine", [application.application_id])
    left = plane.group("left", [application.application_id])
    remove(plane, left, [application.application_id])
    plane.group("none")

    def names(application_id: str = "", runtime_id: str = "") -> list[str]:
        request = ListGroupsRequest(application_id=application_id, runtime_id=runtime_id)
        return [group.name for group in plane.read(list_groups, request).groups]

    assert names(application_id=application.application_id) == [both.name, mine.name]
    assert names(runtime_id=runtime.runtime_id) == [both.name]
    assert names(application_id=application.application_id, runtime_id=runtime.runtime_id) == [both.name]
    assert names() == ["both", "left", "mine", "none"]
    assert names(application_id=new_id()) == []


def test_members_come_applications_first_each_kind_by_name(plane: Plane) -> None:
    applications = [plane.application(name).application_id for name in ("b", "d")]
    runtimes = [plane.runtime(name).runtime_id for name in ("c", "a")]
    group = plane.group("all", applications, runtimes)
    request = ListGroupMembersRequest(group_id=group.group_id)
    members = plane.read(list_group_members, request).members
    assert [(member.WhichOneof("member"), member.name) for member in members] == [
        ("application_id", "b"),
        ("application_id", "d"),
        ("runtime_id", "a"),
        ("runtime_id", "c"),
    ]


def test_an_application_that_is_deleted_leaves_its_groups_and_moves_their_etags(plane: Plane) -> None:
    application = plane.application()
    group = plane.group("all", [application.application_id])
    plane.change(delete_application, DeleteApplicationRequest(application_id=application.application_id, force=True))
    assert member_names(plane, group) == []
    assert plane.read(get_group, GetGroupRequest(group_id=group.group_id)).group.revision == plane.revision


def test_memberships_are_changed_while_another_thread_is_still_importing_the_orm(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DBOS imports it in the background, after the Director has begun to answer. Meanwhile SQLAlchemy cannot find out
    # the type of a value that it does not know by its class, such as that of nothing in an empty list.
    def inspect(value: object, raiseerr: bool) -> None:
        raise AttributeError(f"partially initialized module: cannot look into {value}")

    monkeypatch.setattr("sqlalchemy.sql.sqltypes.inspection", SimpleNamespace(inspect=inspect))
    application, runtime, group = plane.application(), plane.runtime(), plane.group()
    add(plane, group, application_ids=[application.application_id])
    remove(plane, group, application_ids=[application.application_id])
    add(plane, group, runtime_ids=[runtime.runtime_id])
    remove(plane, group, runtime_ids=[runtime.runtime_id])
    plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=runtime.runtime_id, force=True))
    assert member_names(plane, group) == []
