"""Groups that pull members in by their labels, present and future ones."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, UpdateApplicationRequest
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    GetGroupRequest,
    Group,
    ListGroupMembersRequest,
    RemoveGroupMembersRequest,
    UpdateGroupRequest,
)
from moorage.director.v1.label_pb2 import LabelOperator, LabelRequirement, LabelSelector
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime, UpdateRuntimeRequest
from sqlalchemy import event, text

from director.applications import create_application, update_application
from director.changes import Action, Kind
from director.group_members import add_group_members, list_group_members, remove_group_members
from director.groups import create_group, get_group, update_group
from director.runtimes import create_runtime, update_runtime
from director.selectors import anchor_of, fits
from director.store import tables
from tests.unit.director.plane import Plane

IN, NOT_IN = LabelOperator.LABEL_OPERATOR_IN, LabelOperator.LABEL_OPERATOR_NOT_IN
EXISTS, ABSENT = LabelOperator.LABEL_OPERATOR_EXISTS, LabelOperator.LABEL_OPERATOR_DOES_NOT_EXIST


def having(**labels: str) -> LabelSelector:
    return LabelSelector(match_labels=labels)


def where(*requirements: tuple[str, LabelOperator.ValueType, str], **labels: str) -> LabelSelector:
    """A selector of labels and requirements: the key, the operator, the values with blanks between."""
    return LabelSelector(
        match_labels=labels,
        match_expressions=[
            LabelRequirement(key=key, operator=operator, values=values.split())
            for key, operator, values in requirements
        ],
    )


def application(plane: Plane, name: str, **labels: str) -> str:
    request = CreateApplicationRequest(application=Application(name=name, labels=labels))
    return plane.change(create_application, request).application.application_id


def runtime(plane: Plane, name: str, **labels: str) -> str:
    request = CreateRuntimeRequest(runtime=Runtime(name=name, labels=labels))
    return plane.change(create_runtime, request).runtime.runtime_id


def relabel(plane: Plane, application_id: str, **labels: str) -> None:
    sent = Application(application_id=application_id, labels=labels)
    plane.change(
        update_application, UpdateApplicationRequest(application=sent, update_mask=FieldMask(paths=["labels"]))
    )


def group(
    plane: Plane, applications: LabelSelector | None = None, runtimes: LabelSelector | None = None, name: str = "all"
) -> str:
    sent = Group(name=name, application_selector=applications, runtime_selector=runtimes)
    return plane.change(create_group, CreateGroupRequest(group=sent)).group.group_id


def reselect(plane: Plane, group_id: str, applications: LabelSelector | None) -> Group:
    sent = Group(group_id=group_id, application_selector=applications)
    request = UpdateGroupRequest(group=sent, update_mask=FieldMask(paths=["application_selector"]))
    return plane.change(update_group, request).group


def members(plane: Plane, group_id: str) -> dict[str, str]:
    """Why each member is in the group, by its name."""
    listed = plane.read(list_group_members, ListGroupMembersRequest(group_id=group_id)).members
    return {each.name: " ".join(["added"] * each.added + ["selected"] * each.selected) for each in listed}


def told_since(plane: Plane, revision: int) -> list[tuple[Action, Kind]]:
    return [(change.action, change.kind) for change in plane.changes_since(revision)]


@pytest.mark.parametrize(
    ("selector", "fitting"),
    [
        (having(env="x"), {"x", "xt"}),
        (having(env="x", tier=""), {"xt"}),
        (where(("env", IN, "x y")), {"x", "xt", "y"}),
        (where(("env", NOT_IN, "x")), {"y", "none"}),
        (where(("env", EXISTS, "")), {"x", "xt", "y"}),
        (where(("env", ABSENT, "")), {"none"}),
        (where(("env", IN, "x y"), ("tier", ABSENT, "")), {"x", "y"}),
        (where(("tier", EXISTS, ""), env="x"), {"xt"}),
        (where(("env", IN, "x"), ("env", NOT_IN, "x")), set()),
    ],
)
def test_a_selector_selects_whom_all_that_it_asks_for_holds_of_whoever_was_there_first(
    plane: Plane, selector: LabelSelector, fitting: set[str]
) -> None:
    labelled: Mapping[str, dict[str, str]] = {
        "x": {"env": "x"},
        "xt": {"env": "x", "tier": ""},
        "y": {"env": "y"},
        "none": {},
    }
    assert {name for name, labels in labelled.items() if fits(selector, labels)} == fitting
    before = group(plane, selector, selector, "before")
    for name, labels in labelled.items():
        application(plane, name, **labels)
        runtime(plane, name, **labels)
    after = group(plane, selector, selector, "after")
    assert members(plane, before) == members(plane, after) == dict.fromkeys(fitting, "selected")


def test_a_group_is_created_with_those_whom_it_selects_in_one_revision(plane: Plane) -> None:
    application_id, runtime_id = application(plane, "a", env="x"), runtime(plane, "r", env="x")
    before = plane.revision
    group(plane, having(env="x"), having(env="x"))
    assert plane.revision == before + 1
    assert told_since(plane, before) == [
        (Action.CREATE, Kind.GROUP),
        (Action.ADD, Kind.MEMBER),
        (Action.ADD, Kind.MEMBER),
    ]
    assert plane.served(runtime_id) == {application_id}


def test_one_that_fits_is_in_the_group_by_the_revision_that_creates_it(plane: Plane) -> None:
    id = group(plane, having(env="x"))
    before = plane.revision
    application(plane, "a", env="x")
    assert plane.revision == before + 1
    assert told_since(plane, before) == [(Action.CREATE, Kind.APPLICATION), (Action.ADD, Kind.MEMBER)]
    assert plane.read(get_group, GetGroupRequest(group_id=id)).group.revision == plane.revision


def test_new_labels_change_the_groups_in_the_same_revision(plane: Plane) -> None:
    old, new = group(plane, having(env="x"), name="old"), group(plane, having(env="y"), name="new")
    id = application(plane, "a", env="x")
    before = plane.revision
    relabel(plane, id, env="y")
    assert (members(plane, old), members(plane, new)) == ({}, {"a": "selected"})
    assert plane.revision == before + 1
    assert sorted(told_since(plane, before)) == [
        (Action.ADD, Kind.MEMBER),
        (Action.REMOVE, Kind.MEMBER),
        (Action.UPDATE, Kind.APPLICATION),
    ]


def test_a_runtime_with_new_labels_sees_what_its_new_groups_have(plane: Plane) -> None:
    application_id = application(plane, "a")
    id = group(plane, None, having(zone="sea"))
    plane.change(add_group_members, AddGroupMembersRequest(group_id=id, application_ids=[application_id]))
    runtime_id = runtime(plane, "r")
    sent = Runtime(runtime_id=runtime_id, labels={"zone": "sea"})
    plane.change(update_runtime, UpdateRuntimeRequest(runtime=sent, update_mask=FieldMask(paths=["labels"])))
    assert plane.served(runtime_id) == {application_id}
    assert plane.served(runtime_id, at=plane.revision - 1) == set()


def test_another_selector_selects_others_and_keeps_who_was_added(plane: Plane) -> None:
    added = application(plane, "added", env="x")
    application(plane, "x", env="x")
    application(plane, "y", env="y")
    id = group(plane, having(env="x"))
    plane.change(add_group_members, AddGroupMembersRequest(group_id=id, application_ids=[added]))
    assert members(plane, id) == {"added": "added selected", "x": "selected"}
    reselect(plane, id, having(env="y"))
    assert members(plane, id) == {"added": "added", "y": "selected"}
    without = reselect(plane, id, None)
    assert not without.HasField("application_selector")
    assert members(plane, id) == {"added": "added"}
    application(plane, "later", env="y")
    assert members(plane, id) == {"added": "added"}


def test_the_same_selector_again_changes_nothing(plane: Plane) -> None:
    application(plane, "a", env="x")
    id = group(plane, having(env="x"))
    before = plane.revision
    reselect(plane, id, having(env="x"))
    assert plane.revision == before


def test_why_one_is_a_member_is_nothing_that_anybody_sees(plane: Plane) -> None:
    application_id = application(plane, "a", env="x")
    id = group(plane, having(env="x"))
    before = plane.revision
    add = AddGroupMembersRequest(group_id=id, application_ids=[application_id])
    added = plane.change(add_group_members, add).group
    assert members(plane, id) == {"a": "added selected"}
    remove = RemoveGroupMembersRequest(group_id=id, application_ids=[application_id])
    removed = plane.change(remove_group_members, remove).group
    assert members(plane, id) == {"a": "selected"}
    assert added.revision == removed.revision == plane.revision == before


def test_one_that_was_added_stays_whatever_its_labels_become(plane: Plane) -> None:
    id = application(plane, "a", env="x")
    of = group(plane, having(env="x"))
    plane.change(add_group_members, AddGroupMembersRequest(group_id=of, application_ids=[id]))
    relabel(plane, id)
    assert members(plane, of) == {"a": "added"}
    plane.change(remove_group_members, RemoveGroupMembersRequest(group_id=of, application_ids=[id]))
    assert members(plane, of) == {}


def test_an_application_hears_of_the_runtimes_that_its_labels_bring_it(plane: Plane) -> None:
    id = application(plane, "a")
    plane.add_webhook(id)
    runtime(plane, "r", zone="sea")
    group(plane, having(env="x"), having(zone="sea"))
    assert plane.rows(tables.notices) == []
    relabel(plane, id, env="x")
    [notice] = plane.rows(tables.notices)
    assert (notice["application_id"], notice["revision"]) == (id, plane.revision)


def test_what_is_only_asked_about_selects_nobody(plane: Plane) -> None:
    id = group(plane, having(env="x"))
    sent = Application(name="a", labels={"env": "x"})
    plane.change(create_application, CreateApplicationRequest(application=sent, validate_only=True))
    assert members(plane, id) == {}


@pytest.mark.parametrize(
    ("selector", "anchor"),
    [
        (having(env="x", tier="y"), ("env", "x")),
        (where(("tier", EXISTS, ""), ("env", IN, "x")), ("env", "x")),
        (where(("tier", NOT_IN, "x"), ("env", IN, "x y")), ("env", None)),
        (where(("env", EXISTS, "")), ("env", None)),
        (where(("env", NOT_IN, "x"), ("tier", ABSENT, "")), ("", None)),
    ],
)
def test_a_selector_is_found_by_the_narrowest_label_that_it_asks_for(
    selector: LabelSelector, anchor: tuple[str, str | None]
) -> None:
    assert anchor_of(selector) == anchor


def test_new_labels_read_the_selectors_of_the_groups_that_ask_for_them_alone(plane: Plane) -> None:
    application_id = application(plane, "a")
    wanted = group(plane, having(env="x"), name="wanted")
    for index in range(20):
        group(plane, having(env=f"other-{index}"), name=f"other-{index}")
    read: list[list[object]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if "groups.application_selector" in statement and "INSERT" not in statement:
            read.append(list(parameters.values() if isinstance(parameters, dict) else parameters))

    event.listen(plane.database.engine, "before_cursor_execute", note)
    relabel(plane, application_id, env="x")
    event.remove(plane.database.engine, "before_cursor_execute", note)
    assert read == [[wanted]]
    assert members(plane, wanted) == {"a": "selected"}


def test_what_new_labels_change_is_found_by_indices_however_many_groups_there_are(plane: Plane) -> None:
    application_id = application(plane, "a", env="x", tier="x")
    for name in ("one", "two"):
        group(plane, having(env="x"), name=name)
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if "selector_anchors" in statement or "UPDATE group_applications" in statement:
            statements.append((statement, parameters))

    event.listen(plane.database.engine, "before_cursor_execute", note)
    relabel(plane, application_id, env="y", tier="y")
    event.remove(plane.database.engine, "before_cursor_execute", note)
    assert len(statements) == 2  # the groups that may select it, and the memberships that end
    for statement, parameters in statements:
        plan = plan_of(plane, statement, parameters)
        assert "Seq Scan" not in plan, plan
        assert "SCAN group_applications" not in plan, plan
        assert "SCAN selector_anchors" not in plan, plan
        assert "(member_kind=?)" not in plan, plan


def plan_of(plane: Plane, statement: str, parameters: Any) -> str:
    """How the database runs a statement. PostgreSQL reads all of a small table, unless that is no way at all."""
    with plane.transaction() as tx:
        on_sqlite = tx.dialect.name == "sqlite"
        if not on_sqlite:
            tx.execute(text("SET LOCAL enable_seqscan = off"))
        rows = tx.exec_driver_sql(f"EXPLAIN {'QUERY PLAN' if on_sqlite else ''} {statement}", parameters)
        return "\n".join(str(row) for row in rows)
