"""Bundles: their own rules, and what is in them."""

from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, GetApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import DeleteApplicationRequest
from moorage.director.v1.bundle_pb2 import (
    Bundle,
    CreateBundleRequest,
    DeleteBundleRequest,
    GetBundleRequest,
    ListBundlesRequest,
    UpdateBundleRequest,
)
from moorage.director.v1.credential_pb2 import CredentialType
from moorage.director.v1.document_pb2 import Document, UpdateDocumentRequest
from moorage.director.v1.event_api_pb2 import EventApi, UpdateEventApiRequest

from director.apis import get_api, update_api
from director.applications import delete_application
from director.bundles import create_bundle, delete_bundle, get_bundle, list_bundles, update_bundle
from director.changes import Action, Kind
from director.documents import update_document
from director.event_apis import update_event_api
from director.store import tables
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused


class Room:
    """An application and a bundle of it."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.application_id = plane.application().application_id
        self.bundle = plane.bundle(self.application_id, "orders")

    def get(self) -> Bundle:
        request = GetBundleRequest(application_id=self.application_id, bundle_id=self.bundle.bundle_id)
        return self.plane.read(get_bundle, request).bundle

    def update(self, **fields: Any) -> Bundle:
        sent = Bundle(application_id=self.application_id, bundle_id=self.bundle.bundle_id, **fields)
        return self.plane.change(update_bundle, UpdateBundleRequest(bundle=sent)).bundle

    def delete(self, **fields: Any) -> None:
        ids: dict[str, Any] = {"application_id": self.application_id, "bundle_id": self.bundle.bundle_id}
        self.plane.change(delete_bundle, DeleteBundleRequest(**ids, **fields))

    def add_api(self, name: str = "") -> Api:
        api = self.plane.api(self.application_id, name)
        api.bundle_id = self.bundle.bundle_id
        return self.plane.change(partial(update_api, document=None), UpdateApiRequest(api=api)).api

    def add_event_api(self, name: str = "") -> EventApi:
        event_api = self.plane.event_api(self.application_id, name)
        event_api.bundle_id = self.bundle.bundle_id
        request = UpdateEventApiRequest(event_api=event_api)
        return self.plane.change(partial(update_event_api, document=None), request).event_api

    def add_document(self, name: str = "") -> Document:
        return self.plane.document(self.application_id, name, bundle_id=self.bundle.bundle_id)

    @property
    def row(self) -> dict[str, Any]:
        return self.plane.rows(tables.applications)[0]


@pytest.fixture
def room(plane: Plane) -> Room:
    return Room(plane)


def test_what_is_created_is_what_is_read_and_listed(plane: Plane, room: Room) -> None:
    assert (room.bundle.name, room.bundle.application_id) == ("orders", room.application_id)
    assert room.bundle.credential_type == CredentialType.CREDENTIAL_TYPE_UNSPECIFIED
    assert room.get() == room.bundle
    assert list(plane.read(list_bundles, ListBundlesRequest()).bundles) == [room.bundle]


def test_a_bundle_of_an_application_that_is_not_there_is_refused(plane: Plane) -> None:
    with refused("APPLICATION_NOT_FOUND", "bundle.application_id"):
        plane.bundle(new_id())


def test_the_list_of_an_application_that_is_not_there_is_not_found(plane: Plane) -> None:
    with refused("APPLICATION_NOT_FOUND"):
        plane.read(list_bundles, ListBundlesRequest(application_id=new_id()))


def test_a_name_is_unique_within_its_application_only(plane: Plane, room: Room) -> None:
    plane.bundle(plane.application().application_id, "orders")
    with refused("NAME_TAKEN", "bundle.name") as refusal:
        plane.bundle(room.application_id, "orders")
    assert refusal.metadata == {"id": room.bundle.bundle_id}
    plane.bundle(room.application_id, "billing")
    with refused("NAME_TAKEN", "bundle.name"):
        room.update(name="billing")


def test_an_application_can_have_so_many_bundles_and_no_more(
    plane: Plane, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("director.bundles.MOST_BUNDLES", 1)
    with refused("LIMIT_REACHED", "bundle.application_id") as refusal:
        plane.bundle(room.application_id)
    assert refusal.metadata == {"limit": "1"}
    room.delete()
    plane.bundle(room.application_id)


def test_a_bundle_is_not_found_under_another_application(plane: Plane, room: Room) -> None:
    room.application_id = plane.application().application_id
    with refused("BUNDLE_NOT_FOUND"):
        room.get()
    with refused("BUNDLE_NOT_FOUND"):
        room.update(description="new")
    with refused("BUNDLE_NOT_FOUND"):
        room.delete()


def test_an_update_sets_what_it_names(room: Room) -> None:
    changed = room.update(description="all about orders")
    assert (changed.name, changed.description) == ("orders", "all about orders")
    assert room.get() == changed


def test_an_update_that_changes_nothing_takes_no_revision(plane: Plane, room: Room) -> None:
    assert room.update(name="orders") == room.bundle
    assert plane.revision == room.bundle.revision


@pytest.mark.parametrize(
    ("path", "reason", "field"),
    [("name", "FIELD_INVALID", "bundle.name"), ("credential_type", "UPDATE_MASK_INVALID", "update_mask")],
)
def test_a_mask_can_neither_empty_the_name_nor_set_what_is_the_planes(
    plane: Plane, room: Room, path: str, reason: str, field: str
) -> None:
    sent = Bundle(application_id=room.application_id, bundle_id=room.bundle.bundle_id)
    with refused(reason, field):
        plane.change(update_bundle, UpdateBundleRequest(bundle=sent, update_mask=FieldMask(paths=[path])))


def test_a_stale_etag_is_refused(room: Room) -> None:
    with refused("ETAG_MISMATCH", "etag"):
        room.update(description="new", etag='"0"')
    with refused("ETAG_MISMATCH", "etag"):
        room.delete(etag='"0"')
    room.delete(etag=room.bundle.etag)


def test_the_same_request_again_gives_the_first_answer(plane: Plane, room: Room) -> None:
    bundle = Bundle(application_id=room.application_id, name="billing")
    request = CreateBundleRequest(bundle=bundle, request_id=new_id())
    first = plane.change(create_bundle, request)
    assert plane.change(create_bundle, request) == first
    assert len(plane.rows(tables.bundles)) == 2


def test_what_is_only_asked_about_leaves_nothing_behind(plane: Plane, room: Room) -> None:
    room.add_api()
    before = {table.name: plane.rows(table) for table in tables.metadata.sorted_tables}
    room.delete(force=True, validate_only=True)
    bundle = Bundle(application_id=room.application_id, name="billing")
    answer = plane.change(create_bundle, CreateBundleRequest(bundle=bundle, validate_only=True)).bundle
    assert answer.revision == plane.revision + 1
    assert {table.name: plane.rows(table) for table in tables.metadata.sorted_tables} == before


def test_a_change_moves_what_runtimes_know_and_leaves_the_application_as_it_is(plane: Plane, room: Room) -> None:
    application = room.row
    for change in (lambda: room.update(description="new"), lambda: room.delete()):
        change()
        assert room.row == {**application, "configuration_revision": plane.revision}


def test_each_mutation_is_one_change_that_names_the_application(plane: Plane, room: Room) -> None:
    room.update(description="new")
    room.delete()
    told = plane.changes_since(room.bundle.revision - 1)
    assert [change.action for change in told] == [Action.CREATE, Action.UPDATE, Action.DELETE]
    assert {(each.kind, each.resource_id, each.application_id) for each in told} == {
        (Kind.BUNDLE, room.bundle.bundle_id, room.application_id)
    }


def test_a_bundle_is_held_by_what_is_in_it_and_says_by_what(plane: Plane, room: Room) -> None:
    room.add_api("orders")
    room.add_event_api("placed")
    room.add_document("terms")
    with refused("RESOURCE_HELD", "bundle_id", "bundle_id", "bundle_id") as refusal:
        room.delete()
    assert [each.description for each in refusal.violations] == [
        "api orders is in it",
        "event api placed is in it",
        "document terms is in it",
    ]
    assert room.get() == room.bundle


def test_of_much_that_holds_a_bundle_some_is_named(room: Room) -> None:
    for _ in range(21):
        room.add_document()
    with refused("RESOURCE_HELD", *["bundle_id"] * 20):
        room.delete()


def test_with_force_a_bundle_goes_and_what_is_in_it_stays_in_none(plane: Plane, room: Room) -> None:
    api, event_api, document = room.add_api(), room.add_event_api(), room.add_document()
    before = plane.revision
    room.delete(force=True)
    assert plane.revision == before + 1
    for table in (tables.apis, tables.event_apis, tables.documents):
        [row] = plane.rows(table)
        assert (row["bundle_id"], row["revision"]) == (None, plane.revision)
    assert [(each.action, each.kind, each.resource_id) for each in plane.changes_since(before)] == [
        (Action.UPDATE, Kind.API, api.api_id),
        (Action.UPDATE, Kind.EVENT_API, event_api.event_api_id),
        (Action.UPDATE, Kind.DOCUMENT, document.document_id),
        (Action.DELETE, Kind.BUNDLE, room.bundle.bundle_id),
    ]
    with refused("BUNDLE_NOT_FOUND"):
        room.get()


def test_what_is_in_another_bundle_stays_there(plane: Plane, room: Room) -> None:
    gone, room.bundle = room.bundle, plane.bundle(room.application_id)
    api = room.add_api()
    room.bundle = gone
    room.delete()
    request = GetApiRequest(application_id=room.application_id, api_id=api.api_id)
    assert plane.read(get_api, request).api == api


def test_the_type_of_the_shared_credential_is_shown_and_no_other(plane: Plane, room: Room) -> None:
    plane.add_credential(room.application_id, room.bundle.bundle_id, plane.runtime().runtime_id)
    assert room.get().credential_type == CredentialType.CREDENTIAL_TYPE_UNSPECIFIED
    plane.add_credential(room.application_id, room.bundle.bundle_id)
    assert room.get().credential_type == CredentialType.CREDENTIAL_TYPE_BEARER
    [listed] = plane.read(list_bundles, ListBundlesRequest(application_id=room.application_id)).bundles
    assert listed == room.get()
    assert room.update(description="new").credential_type == CredentialType.CREDENTIAL_TYPE_BEARER


def test_with_a_bundle_go_its_credentials_and_the_requests_for_them(plane: Plane, room: Room) -> None:
    other, runtime = plane.bundle(room.application_id), plane.runtime()
    for bundle in (room.bundle, other):
        plane.add_credential(room.application_id, bundle.bundle_id)
        plane.add_credential(room.application_id, bundle.bundle_id, runtime.runtime_id)
        plane.add_access_request(room.application_id, bundle.bundle_id, runtime.runtime_id)
    room.delete()
    for table in (tables.credentials, tables.access_requests):
        assert {row["target_id"] for row in plane.rows(table)} == {other.bundle_id}


def test_who_used_the_credentials_of_a_bundle_learns_that_they_are_gone(plane: Plane, room: Room) -> None:
    one, other = plane.runtime("one"), plane.runtime("other")
    plane.add_credential(room.application_id, room.bundle.bundle_id)
    plane.add_credential(room.application_id, room.bundle.bundle_id, one.runtime_id)
    before = plane.revision
    room.delete()
    assert room.row["credentials_revision"] == plane.revision
    moved = {row["runtime_id"]: row["credentials_revision"] for row in plane.rows(tables.runtimes)}
    assert moved == {one.runtime_id: plane.revision, other.runtime_id: 0}
    told = [each for each in plane.changes_since(before) if each.kind is Kind.CREDENTIAL]
    assert [(each.action, each.resource_id, each.runtime_id) for each in told] == [
        (Action.DELETE, room.bundle.bundle_id, None),
        (Action.DELETE, room.bundle.bundle_id, one.runtime_id),
    ]


def test_a_bundle_goes_with_its_application(plane: Plane, room: Room) -> None:
    room.add_api()
    room.add_document()
    plane.change(delete_application, DeleteApplicationRequest(application_id=room.application_id))
    assert plane.rows(tables.bundles) == plane.rows(tables.documents) == []


def test_nothing_can_be_in_a_bundle_of_another_application(plane: Plane, room: Room) -> None:
    id = plane.application().application_id
    api, event_api, document = plane.api(id), plane.event_api(id), plane.document(id)
    for bundle_id in (room.bundle.bundle_id, new_id()):
        api.bundle_id = event_api.bundle_id = document.bundle_id = bundle_id
        with refused("BUNDLE_NOT_FOUND", "api.bundle_id"):
            plane.change(partial(update_api, document=None), UpdateApiRequest(api=api))
        with refused("BUNDLE_NOT_FOUND", "event_api.bundle_id"):
            request = UpdateEventApiRequest(event_api=event_api)
            plane.change(partial(update_event_api, document=None), request)
        with refused("BUNDLE_NOT_FOUND", "document.bundle_id"):
            plane.change(update_document, UpdateDocumentRequest(document=document))
        with refused("BUNDLE_NOT_FOUND", "document.bundle_id"):
            plane.document(id, bundle_id=bundle_id)
