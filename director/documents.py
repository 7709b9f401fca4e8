"""Documents: texts that Applications give to those who use what they offer. Runtimes do not see them."""

from collections.abc import Iterable
from typing import Any

from moorage.director.v1.document_pb2 import (
    CreateDocumentRequest,
    CreateDocumentResponse,
    DeleteDocumentRequest,
    DeleteDocumentResponse,
    Document,
    GetDocumentRequest,
    GetDocumentResponse,
    ListDocumentsRequest,
    ListDocumentsResponse,
    UpdateDocumentRequest,
    UpdateDocumentResponse,
)

from director import holdings, resource
from director.changes import Action, Mutation
from director.kinds import DOCUMENT
from director.search.masks import ReadMask
from director.search.resources import DOCUMENT_SEARCH
from director.store import Transaction
from director.store.registry import Values
from director.times import to_timestamp

MOST_DOCUMENTS = 1000
"""How many an Application can have."""


def create_document(tx: Transaction, mutation: Mutation, request: CreateDocumentRequest) -> CreateDocumentResponse:
    """Create a document; raises `Refusal` (APPLICATION_NOT_FOUND, BUNDLE_NOT_FOUND, NAME_TAKEN, LIMIT_REACHED)."""
    sent = request.document
    holdings.check_room(tx, DOCUMENT, sent.application_id, MOST_DOCUMENTS)
    values = {"application_id": sent.application_id, **_columns(tx, sent, DOCUMENT.settable)}
    row = resource.create(tx, mutation, DOCUMENT, values)
    holdings.record(mutation, DOCUMENT, Action.CREATE, row)
    return CreateDocumentResponse(document=_message(row))


def get_document(tx: Transaction, request: GetDocumentRequest) -> GetDocumentResponse:
    """Read a document with its content; raises `Refusal` (DOCUMENT_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, Document.DESCRIPTOR)
    row = holdings.get(tx, DOCUMENT, request.application_id, request.document_id)
    return GetDocumentResponse(document=mask.apply(_message(row)))


def list_documents(tx: Transaction, request: ListDocumentsRequest) -> ListDocumentsResponse:
    """Read a page of documents, without their content.

    Raises `Refusal` (APPLICATION_NOT_FOUND, FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).
    """
    listing = holdings.read_holdings(tx, DOCUMENT, DOCUMENT_SEARCH, request)
    return ListDocumentsResponse(
        documents=listing.messages(_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_document(tx: Transaction, mutation: Mutation, request: UpdateDocumentRequest) -> UpdateDocumentResponse:
    """Change a document.

    Raises `Refusal` (DOCUMENT_NOT_FOUND, BUNDLE_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID,
    NAME_TAKEN).
    """
    sent = request.document
    fields = resource.fields_to_set(DOCUMENT, request.update_mask, sent)
    row = holdings.get(tx, DOCUMENT, sent.application_id, sent.document_id)
    resource.check_etag(row, sent.etag)
    changed = resource.update(tx, mutation, DOCUMENT, row, _columns(tx, sent, fields))
    if changed is not None:
        holdings.record(mutation, DOCUMENT, Action.UPDATE, row)
    return UpdateDocumentResponse(document=_message(changed or row))


def delete_document(tx: Transaction, mutation: Mutation, request: DeleteDocumentRequest) -> DeleteDocumentResponse:
    """Remove a document; raises `Refusal` (DOCUMENT_NOT_FOUND, ETAG_MISMATCH)."""
    row = holdings.get(tx, DOCUMENT, request.application_id, request.document_id)
    resource.check_etag(row, request.etag)
    DOCUMENT.registry.delete(tx, request.document_id)
    holdings.record(mutation, DOCUMENT, Action.DELETE, row)
    return DeleteDocumentResponse()


def _columns(tx: Transaction, sent: Document, fields: Iterable[str]) -> dict[str, Any]:
    """The columns that hold these fields; raises `Refusal` (BUNDLE_NOT_FOUND)."""
    values = {name: getattr(sent, name) for name in fields}
    if "bundle_id" in values:
        values["bundle_id"] = sent.bundle_id or None
        holdings.check_bundle(tx, DOCUMENT, sent.application_id, values["bundle_id"])
    return values


def _message(row: Values) -> Document:
    """A document; without its content where that was not read."""
    return Document(
        document_id=row["document_id"],
        application_id=row["application_id"],
        name=row["name"],
        description=row["description"],
        title=row["title"],
        format=row["format"],
        content=row.get("content", ""),
        url=row["url"],
        bundle_id=row["bundle_id"] or "",
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
    )
