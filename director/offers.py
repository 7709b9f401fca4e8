"""Offers: what an Application has for its Runtimes. APIs and Event APIs are the same thing in two tables.

A change of an offer is a change of what Runtimes know of the Application, so it moves the Application's configuration
revision along. Documents are inspected before the unit of work begins, and come ready.
"""

import json
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, ListApisRequest
from moorage.director.v1.event_api_pb2 import EventApi, ListEventApisRequest
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat
from moorage.errors.v1.errors_pb2 import Reason

from director import resource
from director.changes import Action, Mutation
from director.kinds import APPLICATION, ResourceKind
from director.specifications.inspected import InspectedSpecification
from director.store import Transaction, specifications
from director.store.registry import APPLICATIONS, Values
from director.times import to_timestamp
from mesh.errors import Refusal
from mesh.paging import Page, read_page

MOST_OFFERS = 1000
"""How many of each kind an Application can have. As large as they can be, all of them still go into one message of the
stream, which is how a Runtime gets an Application; and a change of one reads no more than these."""

Offer = Api | EventApi
Document = InspectedSpecification | None
"""The document that was sent with an offer, where one was."""


def create(tx: Transaction, mutation: Mutation, kind: ResourceKind, sent: Offer, document: Document) -> Values:
    """Store a new offer with its document and return its row.

    Raises `Refusal` (APPLICATION_NOT_FOUND, NAME_TAKEN, LIMIT_REACHED).
    """
    if APPLICATIONS.find(tx, sent.application_id) is None:
        raise resource.not_found(APPLICATION, sent.application_id, f"{kind.field}.application_id")
    values = {name: getattr(sent, name) for name in kind.settable if name != "specification"}
    _check_room(tx, kind, sent.application_id)
    _keep(tx, document)
    row = resource.create(tx, mutation, kind, {"application_id": sent.application_id, **values, **_key(document)})
    _record(tx, mutation, kind, Action.CREATE, row)
    return {**row, **_about(document)}


def get(tx: Transaction, kind: ResourceKind, application_id: str, id: str) -> Values:
    """An offer of an Application; raises `Refusal` (the kind's NOT_FOUND)."""
    row = resource.get(tx, kind, id)
    if row["application_id"] != application_id:
        raise resource.not_found(kind, id)
    return row


def get_with_document(tx: Transaction, kind: ResourceKind, application_id: str, id: str) -> Values:
    """An offer of an Application with its document whole; raises `Refusal` (the kind's NOT_FOUND)."""
    row = get(tx, kind, application_id, id)
    key = _key_in(row)
    return row if key is None else {**row, "specification_content": specifications.content_of(tx, key)}


def page(tx: Transaction, kind: ResourceKind, request: ListApisRequest | ListEventApisRequest) -> Page[Values]:
    """A page of one Application's offers, or of all; raises `Refusal` (APPLICATION_NOT_FOUND, PAGE_TOKEN_INVALID)."""
    application_id = request.application_id or None
    if application_id is not None:
        resource.get(tx, APPLICATION, application_id)
    registry = kind.registry
    return read_page(request, lambda after, limit: registry.page(tx, after, limit, application_id), registry.place)


def update(
    tx: Transaction, mutation: Mutation, kind: ResourceKind, sent: Offer, mask: FieldMask, document: Document
) -> Values:
    """Change an offer and return its row.

    Raises `Refusal` (the kind's NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN).
    """
    fields = resource.fields_to_set(kind, mask, sent)
    row = get(tx, kind, sent.application_id, getattr(sent, kind.registry.key))
    resource.check_etag(row, sent.etag)
    values = {name: getattr(sent, name) for name in fields if name != "specification"}
    found = {}
    if "specification" in fields:
        _keep(tx, document)
        values |= _key(document)
        found = _about(document)
    changed = resource.update(tx, mutation, kind, row, values)
    if changed is not None:
        _drop_unused(tx, row)
        _record(tx, mutation, kind, Action.UPDATE, row)
    return {**(changed or row), **found}


def delete(tx: Transaction, mutation: Mutation, kind: ResourceKind, application_id: str, id: str, etag: str) -> None:
    """Remove an offer; raises `Refusal` (the kind's NOT_FOUND, ETAG_MISMATCH)."""
    row = get(tx, kind, application_id, id)
    resource.check_etag(row, etag)
    kind.registry.delete(tx, id)
    _drop_unused(tx, row)
    _record(tx, mutation, kind, Action.DELETE, row)


def common_fields(row: Values) -> dict[str, Any]:
    """The fields that both kinds of offers have, for their messages."""
    return {
        "application_id": row["application_id"],
        "name": row["name"],
        "description": row["description"],
        "specification": _specification(row),
        "create_time": to_timestamp(row["create_time"]),
        "update_time": to_timestamp(row["update_time"]),
        "etag": resource.etag(row["revision"]),
        "revision": row["revision"],
    }


def _specification(row: Values) -> Specification | None:
    if _key_in(row) is None:
        return None
    return Specification(
        format=row["specification_format"],
        **_content(row),
        sha256=row["specification_sha256"],
        size_bytes=row["specification_size_bytes"],
        state=row["specification_state"],
        problems=json.loads(row["specification_problems"]),
    )


def _content(row: Values) -> dict[str, Any]:
    """The field of a specification that holds its document, where that was read."""
    if "specification_content" not in row:
        return {}
    if row["specification_format"] == SpecificationFormat.SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET:
        return {"data": row["specification_content"]}
    return {"content": row["specification_content"].decode()}


def _check_room(tx: Transaction, kind: ResourceKind, application_id: str) -> None:
    if kind.registry.count(tx, application_id) >= MOST_OFFERS:
        raise Refusal(
            Reason.REASON_LIMIT_REACHED,
            f"the application has {MOST_OFFERS} {kind.noun}s already",
            field=f"{kind.field}.application_id",
            metadata={"limit": str(MOST_OFFERS)},
        )


def _record(tx: Transaction, mutation: Mutation, kind: ResourceKind, action: Action, row: Values) -> None:
    application_id = row["application_id"]
    APPLICATIONS.update(tx, application_id, {"configuration_revision": mutation.revision})
    mutation.record(action, kind.kind, row[kind.registry.key], application_id=application_id)


def _keep(tx: Transaction, document: Document) -> None:
    if document is not None:
        specifications.keep(
            tx,
            {
                "sha256": document.sha256,
                "format": document.format,
                "content": document.content,
                "size_bytes": document.size_bytes,
                "state": document.state,
                "problems": json.dumps(document.problems),
            },
        )


def _drop_unused(tx: Transaction, row: Values) -> None:
    key = _key_in(row)
    if key is not None:
        specifications.drop_unused(tx, [key])


def _key_in(row: Values) -> specifications.Key | None:
    sha256: str | None = row["specification_sha256"]
    return None if sha256 is None else (sha256, row["specification_format"])


def _key(document: Document) -> dict[str, Any]:
    """The columns of an offer that say which document it has."""
    return {
        "specification_sha256": document and document.sha256,
        "specification_format": document and document.format,
    }


def _about(document: Document) -> dict[str, Any]:
    """The columns that are joined to an offer from its document."""
    return {
        "specification_size_bytes": document and document.size_bytes,
        "specification_state": document and document.state,
        "specification_problems": document and json.dumps(document.problems),
    }
