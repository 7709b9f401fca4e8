"""Which Applications are told, by which change, of which Runtimes: always those of the groups that changed."""

import json
from collections.abc import Sequence

import pytest
from moorage.director.v1.application_pb2 import Application as ApplicationMessage
from moorage.director.v1.application_pb2 import UpdateApplicationRequest
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    DeleteGroupRequest,
    Group,
    RemoveGroupMembersRequest,
    UpdateGroupRequest,
)
from moorage.director.v1.label_pb2 import LabelSelector
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest, Runtime, UpdateRuntimeRequest

from director.applications import update_application
from director.group_members import add_group_members, remove_group_members
from director.groups import create_group, delete_group, update_group
from director.runtimes import delete_runtime, update_runtime
from director.store import tables
from tests.unit.director.plane import Plane


class Party:
    """Applications with a webhook, and Runtimes, by short names."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.ids: dict[str, str] = {}
        for name in ("a", "b", "c"):
            self.ids[name] = plane.application(name).application_id
            plane.add_webhook(self.ids[name])
        for name in ("r", "s", "t"):
            self.ids[name] = plane.runtime(name).runtime_id
        self._names = {id: name for name, id in self.ids.items()}

    def group(self, members: str, name: str = "") -> Group:
        return self.plane.group(name, *self.members(members))

    def members(self, names: str) -> tuple[Sequence[str], Sequence[str]]:
        return [self.ids[name] for name in names if name in "abc"], [self.ids[name] for name in names if name in "rst"]

    def told(self) -> set[tuple[str, str]]:
        """Pairs of an application and the runtimes that it was told of since the last time."""
        rows = self.plane.rows(tables.notices)
        with self.plane.transaction() as tx:
            tx.execute(tables.notices.delete())
        assert {row["type"] for row in rows} <= {"CONFIGURATION_CHANGED"}
        assert {row["revision"] for row in rows} <= {self.plane.revision}
        return {(self._names[row["application_id"]], self._runtimes(row["body"])) for row in rows}

    def _runtimes(self, body: str) -> str:
        return "".join(sorted(self._names[id] for id in json.loads(body)["data"]["runtime_ids"]))


@pytest.fixture
def party(plane: Plane) -> Party:
    return Party(plane)


def add(party: Party, group: Group, names: str) -> None:
    applications, runtimes = party.members(names)
    request = AddGroupMembersRequest(group_id=group.group_id, application_ids=applications, runtime_ids=runtimes)
    party.plane.change(add_group_members, request)


def remove(party: Party, group: Group, names: str) -> None:
    applications, runtimes = party.members(names)
    request = RemoveGroupMembersRequest(group_id=group.group_id, application_ids=applications, runtime_ids=runtimes)
    party.plane.change(remove_group_members, request)


def test_a_group_that_begins_with_both_tells_its_applications_of_its_runtimes(party: Party) -> None:
    party.group("abrs")
    assert party.told() == {("a", "rs"), ("b", "rs")}


def test_a_group_without_runtimes_or_without_applications_tells_nobody(party: Party) -> None:
    party.group("ab")
    party.group("rs")
    assert party.told() == set()


def test_a_runtime_that_comes_is_told_to_those_who_were_there(party: Party) -> None:
    group = party.group("abr")
    party.told()
    add(party, group, "s")
    assert party.told() == {("a", "s"), ("b", "s")}


def test_an_application_that_comes_is_told_of_all_the_runtimes_and_the_others_of_none(party: Party) -> None:
    group = party.group("ars")
    party.told()
    add(party, group, "b")
    assert party.told() == {("b", "rs")}


def test_when_both_come_each_is_told_what_is_new_to_it(party: Party) -> None:
    group = party.group("ar")
    party.told()
    add(party, group, "bs")
    assert party.told() == {("a", "s"), ("b", "rs")}


def test_who_goes_is_told_of_all_the_runtimes_and_the_others_of_those_that_go(party: Party) -> None:
    group = party.group("abrst")
    party.told()
    remove(party, group, "bt")
    assert party.told() == {("a", "t"), ("b", "rst")}


def test_selectors_that_change_together_tell_nobody_of_whom_it_never_met(party: Party) -> None:
    for kind, names in (("application", "ab"), ("runtime", "rs")):
        for name, side in zip(names, ("old", "new"), strict=True):
            label(party, kind, name, side)
    selecting = [LabelSelector(match_labels={"side": side}) for side in ("old", "new")]
    sent = Group(name="selecting", application_selector=selecting[0], runtime_selector=selecting[0])
    group = party.plane.change(create_group, CreateGroupRequest(group=sent)).group
    party.told()
    add(party, group, "ct")
    party.told()
    sent = Group(group_id=group.group_id, application_selector=selecting[1], runtime_selector=selecting[1])
    party.plane.change(update_group, UpdateGroupRequest(group=sent))
    assert party.told() == {("a", "rt"), ("b", "st"), ("c", "rs")}


def label(party: Party, kind: str, name: str, side: str) -> None:
    if kind == "application":
        application = ApplicationMessage(application_id=party.ids[name], labels={"side": side})
        party.plane.change(update_application, UpdateApplicationRequest(application=application))
    else:
        runtime = Runtime(runtime_id=party.ids[name], labels={"side": side})
        party.plane.change(update_runtime, UpdateRuntimeRequest(runtime=runtime))


def test_a_group_that_ends_tells_its_applications_of_all_its_runtimes(party: Party) -> None:
    group = party.group("abrs")
    party.told()
    party.plane.change(delete_group, DeleteGroupRequest(group_id=group.group_id, force=True))
    assert party.told() == {("a", "rs"), ("b", "rs")}


def test_a_runtime_that_is_deleted_is_told_to_each_application_of_its_groups_once(party: Party) -> None:
    party.group("abr")
    party.told()
    party.group("bcrs")
    party.told()
    party.plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=party.ids["r"], force=True))
    assert party.told() == {("a", "r"), ("b", "r"), ("c", "r")}


def test_a_runtime_created_in_groups_is_told_to_each_application_of_them_once(party: Party) -> None:
    groups = [party.group("ab"), party.group("bc")]
    party.plane.runtime("new", group_ids=[group.group_id for group in groups])
    rows = party.plane.rows(tables.notices)
    assert sorted(row["application_id"] for row in rows) == sorted(party.ids[name] for name in "abc")


@pytest.mark.parametrize("field", ["name", "event_url"])
def test_a_ready_runtime_that_changes_what_applications_see_is_told(party: Party, field: str) -> None:
    party.group("abr")
    party.plane.make_ready(party.ids["r"])
    party.told()
    sent = Runtime(runtime_id=party.ids["r"])
    setattr(sent, field, "https://new.test" if field == "event_url" else "new")
    party.plane.change(update_runtime, UpdateRuntimeRequest(runtime=sent))
    assert party.told() == {("a", "r"), ("b", "r")}


def test_what_applications_do_not_see_of_a_runtime_is_not_told(party: Party) -> None:
    group = party.group("abr")
    party.told()
    unready = Runtime(runtime_id=party.ids["r"], event_url="https://new.test")
    party.plane.change(update_runtime, UpdateRuntimeRequest(runtime=unready))
    party.plane.make_ready(party.ids["r"])
    described = Runtime(runtime_id=party.ids["r"], description="new")
    party.plane.change(update_runtime, UpdateRuntimeRequest(runtime=described))
    renamed = Group(group_id=group.group_id, name="new")
    party.plane.change(update_group, UpdateGroupRequest(group=renamed))
    other = ApplicationMessage(application_id=party.ids["a"], name="new")
    party.plane.change(update_application, UpdateApplicationRequest(application=other))
    assert party.told() == set()


def test_who_has_no_webhook_is_not_told(party: Party) -> None:
    stranger = party.plane.application("stranger").application_id
    party.plane.group("", [stranger, party.ids["a"]], [party.ids["r"]])
    assert party.told() == {("a", "r")}


def test_what_is_only_asked_about_is_not_told(party: Party) -> None:
    group = party.group("ar")
    party.told()
    request = DeleteGroupRequest(group_id=group.group_id, validate_only=True, force=True)
    party.plane.change(delete_group, request)
    assert party.told() == set()
