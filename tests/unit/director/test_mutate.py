"""What holds for every mutation: request ids, asking without doing, and revisions."""

import uuid

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    DeleteApplicationRequest,
    ListApplicationsRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, ListGroupsRequest
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime

from director.applications import create_application, delete_application, list_applications, update_application
from director.group_members import add_group_members
from director.groups import list_groups
from director.runtimes import create_runtime
from director.store import tables
from director.times import to_micros
from mesh.errors import Refusal
from tests.unit.director.plane import ADMIN, BEGIN, Plane, new_id
from tests.unit.director.refused import refused


def create(name: str, request_id: str = "", validate_only: bool = False) -> CreateApplicationRequest:
    return CreateApplicationRequest(
        application=Application(name=name), request_id=request_id, validate_only=validate_only
    )


def names(plane: Plane) -> list[str]:
    return [each.name for each in plane.read(list_applications, ListApplicationsRequest()).applications]


def test_the_same_request_again_gives_the_first_answer_and_does_nothing(plane: Plane) -> None:
    request = create("orders", new_id())
    first = plane.change(create_application, request)
    changed = Application(application_id=first.application.application_id, name="shop")
    plane.change(update_application, UpdateApplicationRequest(application=changed))
    revision = plane.revision
    assert plane.change(create_application, request) == first
    assert plane.revision == revision
    assert names(plane) == ["shop"]


def test_another_request_under_the_same_id_is_refused(plane: Plane) -> None:
    request_id = new_id()
    plane.change(create_application, create("orders", request_id))
    with refused("REQUEST_ID_REUSED", "request_id"):
        plane.change(create_application, create("billing", request_id))


def test_request_ids_are_each_callers_and_each_methods_own(plane: Plane) -> None:
    request_id = new_id()
    plane.change(create_application, create("orders", request_id))
    plane.change(create_application, create("billing", request_id), actor="spiffe://plane.test/admin/other")
    plane.change(create_runtime, CreateRuntimeRequest(runtime=Runtime(name="prod"), request_id=request_id))
    assert names(plane) == ["billing", "orders"]


def test_a_refused_request_does_not_use_up_its_id(plane: Plane) -> None:
    taken = plane.application("orders")
    request = create("orders", new_id())
    with refused("NAME_TAKEN", "application.name"):
        plane.change(create_application, request)
    plane.change(delete_application, DeleteApplicationRequest(application_id=taken.application_id))
    assert plane.change(create_application, request).application.name == "orders"


def test_validate_only_answers_as_if_and_leaves_nothing_behind(plane: Plane) -> None:
    request = create("orders", new_id(), validate_only=True)
    before = {table.name: plane.rows(table) for table in tables.metadata.sorted_tables}
    answer = plane.change(create_application, request).application
    assert answer.name == "orders"
    assert answer.revision == plane.revision + 1
    assert {table.name: plane.rows(table) for table in tables.metadata.sorted_tables} == before


def test_validate_only_refuses_what_would_be_refused(plane: Plane) -> None:
    plane.application("orders")
    with refused("NAME_TAKEN", "application.name"):
        plane.change(create_application, create("orders", validate_only=True))


def test_validate_only_does_not_use_up_the_request_id(plane: Plane) -> None:
    request_id = new_id()
    plane.change(create_application, create("orders", request_id, validate_only=True))
    assert plane.change(create_application, create("orders", request_id)).application.revision == plane.revision


def test_validate_only_undoes_memberships_too(plane: Plane) -> None:
    application, group = plane.application(), plane.group("all")
    request = AddGroupMembersRequest(
        group_id=group.group_id, application_ids=[application.application_id], validate_only=True
    )
    assert plane.change(add_group_members, request).group.revision == plane.revision + 1
    assert plane.read(list_groups, ListGroupsRequest(application_id=application.application_id)).groups == []


def test_the_log_says_who_did_it_when_and_in_which_call(plane: Plane) -> None:
    plane.application("orders")
    row = plane.rows(tables.changes)[0]
    assert (row["actor"], row["request_id"], row["time"]) == (ADMIN, "call", to_micros(BEGIN))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=25))
def test_revisions_follow_each_other_without_gaps_and_only_where_something_changed(
    plane: Plane, steps: list[tuple[int, int]]
) -> None:
    for what, which in steps:
        before, rows = plane.revision, plane.rows(tables.applications)
        name = f"app-{which}"
        holder = next((row["application_id"] for row in rows if row["name"] == name), str(uuid.UUID(int=which)))
        try:
            if what == 0:
                plane.application(name)
            elif what == 1:
                plane.change(delete_application, DeleteApplicationRequest(application_id=holder))
            else:
                sent = Application(application_id=holder, description=f"{what}")
                plane.change(update_application, UpdateApplicationRequest(application=sent))
        except Refusal:
            assert plane.rows(tables.applications) == rows
        changed = plane.rows(tables.applications) != rows
        assert plane.revision == before + changed
    revisions = sorted(row["revision"] for row in plane.rows(tables.changes))
    assert revisions == list(range(1, plane.revision + 1))
