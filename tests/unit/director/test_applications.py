"""Applications: created, read, changed and removed with all that hangs on them."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.application_pb2 import (
    Application,
    ApplicationState,
    CreateApplicationRequest,
    DeleteApplicationRequest,
    GetApplicationRequest,
    UpdateApplicationRequest,
)

from director.applications import create_application, delete_application, get_application, update_application
from director.changes import Action, Kind
from director.kinds import APPLICATION
from director.store import tables
from tests.unit.director.plane import Plane, new_id, openapi
from tests.unit.director.refused import refused


def test_what_was_created_is_what_is_read(plane: Plane) -> None:
    created = plane.application("orders", "Takes orders.")
    assert created.name == "orders"
    assert created.description == "Takes orders."
    assert created.create_time == created.update_time
    assert (
        plane.read(get_application, GetApplicationRequest(application_id=created.application_id)).application == created
    )


def test_every_field_that_can_be_set_is_stored_and_can_be_emptied_again(plane: Plane) -> None:
    runtime = plane.runtime("prod")
    full = Application(
        name="orders",
        description="Takes orders.",
        provider="ACME",
        labels={"region": "eu"},
        base_url="https://orders.test",
        health_url="https://orders.test/healthz",
        eventing_runtime_id=runtime.runtime_id,
    )
    created = plane.change(create_application, CreateApplicationRequest(application=full)).application
    for name in APPLICATION.settable:
        assert getattr(created, name) == getattr(full, name), name
    assert (
        plane.read(get_application, GetApplicationRequest(application_id=created.application_id)).application == created
    )

    emptied = Application(application_id=created.application_id, name="orders")
    request = UpdateApplicationRequest(application=emptied, update_mask=FieldMask(paths=["*"]))
    updated = plane.change(update_application, request).application
    assert all(not getattr(updated, name) for name in APPLICATION.optional)


def test_the_id_and_times_that_a_client_sends_are_not_taken(plane: Plane) -> None:
    sent = Application(application_id=new_id(), name="orders", revision=77, etag='"77"')
    created = plane.change(create_application, CreateApplicationRequest(application=sent)).application
    assert created.application_id != sent.application_id
    assert created.revision == plane.revision


def test_a_name_is_given_once_and_the_refusal_says_who_has_it(plane: Plane) -> None:
    first = plane.application("orders")
    with refused("NAME_TAKEN", "application.name") as refusal:
        plane.application("orders")
    assert refusal.metadata == {"id": first.application_id}


def test_a_name_is_free_again_when_its_application_is_gone(plane: Plane) -> None:
    first = plane.application("orders")
    plane.change(delete_application, DeleteApplicationRequest(application_id=first.application_id))
    assert plane.application("orders").application_id != first.application_id


def test_renaming_to_a_name_that_is_taken_is_refused_and_changes_nothing(plane: Plane) -> None:
    plane.application("orders")
    other = plane.application("billing")
    revision = plane.revision
    renamed = Application(application_id=other.application_id, name="orders", description="new")
    with refused("NAME_TAKEN", "application.name"):
        plane.change(update_application, UpdateApplicationRequest(application=renamed))
    assert plane.read(get_application, GetApplicationRequest(application_id=other.application_id)).application == other
    assert plane.revision == revision


def test_an_update_takes_one_revision_and_a_new_etag(plane: Plane) -> None:
    created = plane.application("orders")
    sent = Application(application_id=created.application_id, description="new", etag=created.etag)
    updated = plane.change(update_application, UpdateApplicationRequest(application=sent)).application
    assert updated.description == "new"
    assert updated.name == "orders"
    assert updated.revision == created.revision + 1 == plane.revision
    assert updated.etag != created.etag
    assert updated.update_time.ToDatetime() > created.update_time.ToDatetime()
    assert updated.create_time == created.create_time


def test_an_update_that_changes_nothing_takes_no_revision_and_keeps_the_etag(plane: Plane) -> None:
    created = plane.application("orders", "same")
    sent = Application(application_id=created.application_id, name="orders", description="same")
    assert plane.change(update_application, UpdateApplicationRequest(application=sent)).application == created
    assert plane.revision == created.revision


def test_an_update_with_a_stale_etag_is_refused(plane: Plane) -> None:
    created = plane.application("orders")
    sent = Application(application_id=created.application_id, description="first", etag=created.etag)
    plane.change(update_application, UpdateApplicationRequest(application=sent))
    sent.description = "second"
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(update_application, UpdateApplicationRequest(application=sent))


def test_a_delete_with_a_stale_etag_is_refused(plane: Plane) -> None:
    created = plane.application("orders")
    with refused("ETAG_MISMATCH", "etag"):
        plane.change(delete_application, DeleteApplicationRequest(application_id=created.application_id, etag='"0"'))


def test_what_is_not_there_is_not_found(plane: Plane) -> None:
    absent = new_id()
    with refused("APPLICATION_NOT_FOUND"):
        plane.read(get_application, GetApplicationRequest(application_id=absent))
    with refused("APPLICATION_NOT_FOUND"):
        sent = Application(application_id=absent, description="new")
        plane.change(update_application, UpdateApplicationRequest(application=sent))
    with refused("APPLICATION_NOT_FOUND"):
        plane.change(delete_application, DeleteApplicationRequest(application_id=absent))


def test_a_delete_takes_all_that_hangs_on_the_application(plane: Plane) -> None:
    doomed, other = plane.application(), plane.application()
    shared, own = openapi("shared"), openapi("own")
    plane.api(doomed.application_id, document=shared)
    plane.api(doomed.application_id, document=own)
    plane.event_api(doomed.application_id)
    plane.api(other.application_id, document=shared)
    runtime = plane.runtime()
    group = plane.group("all", [doomed.application_id, other.application_id], [runtime.runtime_id])
    plane.add_webhook(doomed.application_id)
    before = plane.revision

    plane.change(delete_application, DeleteApplicationRequest(application_id=doomed.application_id, force=True))

    assert [row["application_id"] for row in plane.rows(tables.apis)] == [other.application_id]
    assert plane.rows(tables.event_apis) == []
    assert plane.rows(tables.webhooks) == []
    assert [row["content"] for row in plane.rows(tables.specifications)] == [b"shared"]
    assert plane.served(runtime.runtime_id) == {other.application_id}
    assert plane.served(runtime.runtime_id, at=before) == {doomed.application_id, other.application_id}
    assert plane.revision == before + 1
    told = [(change.action, change.kind, change.group_id) for change in plane.changes_since(before)]
    assert told == [(Action.REMOVE, Kind.MEMBER, group.group_id), (Action.DELETE, Kind.APPLICATION, None)]


@pytest.mark.parametrize(
    "fields", [{"name": "shop"}, {"description": "new"}, {"provider": "ACME"}, {"base_url": "https://shop.test"}]
)
def test_what_runtimes_know_of_it_moves_the_configuration_revision_that_they_go_by(
    plane: Plane, fields: dict[str, str]
) -> None:
    created = plane.application("orders")
    sent = Application(application_id=created.application_id, **fields)  # type: ignore[arg-type]  # texts, all of them
    plane.change(update_application, UpdateApplicationRequest(application=sent))
    assert plane.rows(tables.applications)[0]["configuration_revision"] == plane.revision == created.revision + 1


def test_what_runtimes_do_not_know_of_it_does_not(plane: Plane) -> None:
    created = plane.application("orders")
    runtime = plane.runtime("prod")
    for sent in (
        Application(health_url="https://orders.test/healthz"),
        Application(labels={"region": "eu"}),
        Application(eventing_runtime_id=runtime.runtime_id),
        Application(name="orders", description="", labels={"region": "us"}),
    ):
        before = plane.revision
        sent.application_id = created.application_id
        updated = plane.change(update_application, UpdateApplicationRequest(application=sent)).application
        assert updated.revision == plane.revision == before + 1
        [change] = plane.changes_since(before)
        assert (change.action, change.kind, change.application_id) == (
            Action.UPDATE,
            Kind.APPLICATION,
            created.application_id,
        )
    assert plane.rows(tables.applications)[0]["configuration_revision"] == created.revision


def test_events_go_only_to_a_runtime_that_there_is(plane: Plane) -> None:
    sent = Application(name="orders", eventing_runtime_id=new_id())
    with refused("RUNTIME_NOT_FOUND", "application.eventing_runtime_id"):
        plane.change(create_application, CreateApplicationRequest(application=sent))
    sent.application_id = plane.application("orders").application_id
    with refused("RUNTIME_NOT_FOUND", "application.eventing_runtime_id"):
        plane.change(update_application, UpdateApplicationRequest(application=sent))


def test_the_state_that_a_client_sends_is_not_taken(plane: Plane) -> None:
    failed = ApplicationState.APPLICATION_STATE_FAILED
    sent = Application(name="orders", state=failed, state_reason="mine")
    created = plane.change(create_application, CreateApplicationRequest(application=sent)).application
    assert (created.state, created.state_reason) == (ApplicationState.APPLICATION_STATE_INITIAL, "it is registered")
    with refused("UPDATE_MASK_INVALID", "update_mask"):
        sent.application_id = created.application_id
        request = UpdateApplicationRequest(application=sent, update_mask=FieldMask(paths=["state"]))
        plane.change(update_application, request)
