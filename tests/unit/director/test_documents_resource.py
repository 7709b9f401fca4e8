"""Documents that Applications give to those who use what they offer."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.document_pb2 import (
    CreateDocumentRequest,
    DeleteDocumentRequest,
    Document,
    DocumentFormat,
    GetDocumentRequest,
    ListDocumentsRequest,
    UpdateDocumentRequest,
)
from sqlalchemy import event

from director.changes import Action, Kind
from director.documents import create_document, delete_document, get_document, list_documents, update_document
from director.store import tables
from tests.unit.director.plane import Plane, new_id
from tests.unit.director.refused import refused

MARKDOWN = DocumentFormat.DOCUMENT_FORMAT_MARKDOWN


class Shelf:
    """An application and a document of it."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.application_id = plane.application().application_id
        self.document = plane.document(
            self.application_id,
            "guide",
            title="How to order",
            description="for beginners",
            format=MARKDOWN,
            content="# Order\n",
            url="https://docs.test/guide",
        )

    def get(self) -> Document:
        request = GetDocumentRequest(application_id=self.application_id, document_id=self.document.document_id)
        return self.plane.read(get_document, request).document

    def list(self, application_id: str = "") -> list[Document]:
        return list(self.plane.read(list_documents, ListDocumentsRequest(application_id=application_id)).documents)

    def update(self, *mask: str, **fields: Any) -> Document:
        sent = Document(application_id=self.application_id, document_id=self.document.document_id, **fields)
        request = UpdateDocumentRequest(document=sent, update_mask=FieldMask(paths=mask))
        return self.plane.change(update_document, request).document

    def delete(self, **fields: Any) -> None:
        ids: dict[str, Any] = {"application_id": self.application_id, "document_id": self.document.document_id}
        self.plane.change(delete_document, DeleteDocumentRequest(**ids, **fields))


@pytest.fixture
def shelf(plane: Plane) -> Shelf:
    return Shelf(plane)


def test_what_is_created_is_what_is_read(shelf: Shelf) -> None:
    assert (shelf.document.format, shelf.document.content) == (MARKDOWN, "# Order\n")
    assert (shelf.document.title, shelf.document.url) == ("How to order", "https://docs.test/guide")
    assert shelf.get() == shelf.document


def test_a_list_gives_all_but_the_content(shelf: Shelf) -> None:
    [listed] = shelf.list(shelf.application_id)
    assert listed.content == ""
    listed.content = shelf.document.content
    assert listed == shelf.document


def test_a_list_does_not_read_the_content(plane: Plane, shelf: Shelf) -> None:
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(plane.database.engine, "before_cursor_execute", note)
    shelf.list()
    event.remove(plane.database.engine, "before_cursor_execute", note)
    assert any("documents.title" in each for each in statements)
    assert not any("documents.content" in each for each in statements)


def test_the_list_of_all_is_by_application_and_name(plane: Plane, shelf: Shelf) -> None:
    other = plane.application().application_id
    plane.document(other, "z")
    plane.document(shelf.application_id, "a")
    places = [(each.application_id, each.name) for each in shelf.list()]
    assert places == sorted(places)
    assert [each.name for each in shelf.list(shelf.application_id)] == ["a", "guide"]
    with refused("APPLICATION_NOT_FOUND"):
        shelf.list(new_id())


def test_a_document_of_an_application_that_is_not_there_is_refused(plane: Plane) -> None:
    with refused("APPLICATION_NOT_FOUND", "document.application_id"):
        plane.document(new_id())


def test_a_name_is_unique_within_its_application_only(plane: Plane, shelf: Shelf) -> None:
    plane.document(plane.application().application_id, "guide")
    with refused("NAME_TAKEN", "document.name") as refusal:
        plane.document(shelf.application_id, "guide")
    assert refusal.metadata == {"id": shelf.document.document_id}
    plane.document(shelf.application_id, "terms")
    with refused("NAME_TAKEN", "document.name"):
        shelf.update(name="terms")


def test_an_application_can_have_so_many_documents_and_no_more(
    plane: Plane, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("director.documents.MOST_DOCUMENTS", 1)
    with refused("LIMIT_REACHED", "document.application_id") as refusal:
        plane.document(shelf.application_id)
    assert refusal.metadata == {"limit": "1"}
    shelf.delete()
    plane.document(shelf.application_id)


def test_a_document_is_not_found_under_another_application(plane: Plane, shelf: Shelf) -> None:
    shelf.application_id = plane.application().application_id
    with refused("DOCUMENT_NOT_FOUND"):
        shelf.get()
    with refused("DOCUMENT_NOT_FOUND"):
        shelf.update(title="new")
    with refused("DOCUMENT_NOT_FOUND"):
        shelf.delete()


def test_an_update_sets_what_is_populated_or_what_its_mask_names(shelf: Shelf) -> None:
    changed = shelf.update(title="new", content="text")
    assert (changed.title, changed.content, changed.format) == ("new", "text", MARKDOWN)
    emptied = shelf.update("content", "url", "format")
    assert (emptied.content, emptied.url, emptied.format) == ("", "", DocumentFormat.DOCUMENT_FORMAT_UNSPECIFIED)
    assert emptied.title == "new"
    assert shelf.get() == emptied


def test_a_document_can_be_about_a_bundle_and_then_no_more(plane: Plane, shelf: Shelf) -> None:
    bundle_id = plane.bundle(shelf.application_id).bundle_id
    assert shelf.update(bundle_id=bundle_id).bundle_id == bundle_id
    assert shelf.get().bundle_id == bundle_id
    assert shelf.update(title="new").bundle_id == bundle_id
    assert shelf.update("bundle_id").bundle_id == ""


def test_an_update_that_changes_nothing_takes_no_revision(plane: Plane, shelf: Shelf) -> None:
    assert shelf.update("*", **_settable(shelf.document)) == shelf.document
    assert plane.revision == shelf.document.revision


def test_the_name_cannot_be_emptied(shelf: Shelf) -> None:
    with refused("FIELD_INVALID", "document.name"):
        shelf.update("name")


def test_a_stale_etag_is_refused(shelf: Shelf) -> None:
    with refused("ETAG_MISMATCH", "etag"):
        shelf.update(title="new", etag='"0"')
    with refused("ETAG_MISMATCH", "etag"):
        shelf.delete(etag='"0"')
    shelf.delete(etag=shelf.document.etag)


def test_the_same_request_again_gives_the_first_answer(plane: Plane, shelf: Shelf) -> None:
    document = Document(application_id=shelf.application_id, name="terms", content="text")
    request = CreateDocumentRequest(document=document, request_id=new_id())
    first = plane.change(create_document, request)
    assert plane.change(create_document, request) == first
    assert len(plane.rows(tables.documents)) == 2


def test_what_is_only_asked_about_leaves_nothing_behind(plane: Plane, shelf: Shelf) -> None:
    shelf.delete(validate_only=True)
    document = Document(application_id=shelf.application_id, name="terms")
    plane.change(create_document, CreateDocumentRequest(document=document, validate_only=True))
    assert plane.revision == shelf.document.revision
    assert [each.name for each in shelf.list()] == ["guide"]


def test_each_mutation_is_one_change_that_runtimes_know_nothing_of(plane: Plane, shelf: Shelf) -> None:
    [application] = plane.rows(tables.applications)
    shelf.update(title="new")
    shelf.delete()
    told = plane.changes_since(shelf.document.revision - 1)
    assert [change.action for change in told] == [Action.CREATE, Action.UPDATE, Action.DELETE]
    assert {(each.kind, each.resource_id, each.application_id) for each in told} == {
        (Kind.DOCUMENT, shelf.document.document_id, shelf.application_id)
    }
    assert plane.rows(tables.applications) == [application]
    assert application["configuration_revision"] < shelf.document.revision


def _settable(document: Document) -> dict[str, Any]:
    names = ("name", "description", "title", "format", "content", "url", "bundle_id")
    return {name: getattr(document, name) for name in names}
