"""Offers: what an Application has for its Runtimes. APIs and Event APIs are the same thing in two tables.

A change of an offer is a change of what Runtimes know of the Application, so it moves the Application's configuration
revision along. Documents that are sent are inspected before the unit of work begins, and come ready. Those that are to
be fetched come later, by `take_fetched`; until then, the document before it stays if it is of the same format.
"""

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api
from moorage.director.v1.event_api_pb2 import EventApi
from moorage.director.v1.specification_pb2 import (
    FetchState,
    Specification,
    SpecificationFetch,
    SpecificationFormat,
)

from director import holdings, resource
from director.changes import Action, Mutation
from director.kinds import API, EVENT_API, ResourceKind
from director.specifications.inspected import InspectedSpecification
from director.store import Transaction, fetches, specifications
from director.store.registry import Values
from director.store.versions import columns_of, version_in
from director.times import to_timestamp

MOST_OFFERS = 1000
"""How many of each kind an Application can have. As large as they can be, all of them still go into one message of the
stream, which is how a Runtime gets an Application; and a change of one reads no more than these."""

_NO_FETCH: Values = {"fetch_url": None}

Offer = Api | EventApi
Document = InspectedSpecification | None
"""The document that was sent with an offer, where one was."""


def create(tx: Transaction, mutation: Mutation, kind: ResourceKind, sent: Offer, document: Document) -> Values:
    """Store a new offer with its document and return its row.

    Raises `Refusal` (APPLICATION_NOT_FOUND, BUNDLE_NOT_FOUND, NAME_TAKEN, LIMIT_REACHED).
    """
    holdings.check_room(tx, kind, sent.application_id, MOST_OFFERS)
    values = {"application_id": sent.application_id, **_columns(tx, kind, sent, kind.settable)}
    _keep(tx, document)
    row = resource.create(tx, mutation, kind, {**values, **_key(document, sent.specification)})
    fetch = _ask(tx, mutation, kind, {**row, **_NO_FETCH}, sent.specification)
    _record(tx, mutation, kind, Action.CREATE, row)
    return {**row, **_about(document), **fetch, "credential_type": None}


def get_with_document(tx: Transaction, kind: ResourceKind, application_id: str, id: str) -> Values:
    """An offer of an Application, with its document where that was sent; raises `Refusal` (the kind's NOT_FOUND)."""
    row = holdings.get(tx, kind, application_id, id)
    key = _key_in(row) if row["fetch_url"] is None else None
    return row if key is None else {**row, "specification_content": specifications.content_of(tx, key)}


def update(
    tx: Transaction, mutation: Mutation, kind: ResourceKind, sent: Offer, mask: FieldMask, document: Document
) -> Values:
    """Change an offer and return its row.

    Raises `Refusal` (the kind's NOT_FOUND, BUNDLE_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID,
    NAME_TAKEN).
    """
    fields = resource.fields_to_set(kind, mask, sent)
    row = holdings.get(tx, kind, sent.application_id, getattr(sent, kind.registry.key))
    resource.check_etag(row, sent.etag)
    values = _columns(tx, kind, sent, fields)
    found: dict[str, Any] = {}
    if "specification" in fields:
        _keep(tx, document)
        if not _stays(row, sent.specification):
            values |= _key(document, sent.specification)
            found = _about(document)
        found |= _ask(tx, mutation, kind, row, sent.specification)
    seen = any(row[name] != value for name, value in values.items())
    if found.get("fetch_url") or (found and row["fetch_url"]):
        values["revision"] = mutation.revision  # for a fetch that begins or ends, whatever else differs
    changed = resource.update(tx, mutation, kind, row, values)
    if changed is not None:
        _drop_unused(tx, row)
        _record(tx, mutation, kind, Action.UPDATE, row, seen=seen)
    return {**(changed or row), **found}


def delete(tx: Transaction, mutation: Mutation, kind: ResourceKind, application_id: str, id: str, etag: str) -> None:
    """Remove an offer; raises `Refusal` (the kind's NOT_FOUND, ETAG_MISMATCH)."""
    row = holdings.get(tx, kind, application_id, id)
    resource.check_etag(row, etag)
    kind.registry.delete(tx, id)
    if row["fetch_url"]:
        fetches.drop(tx, id)
    _drop_unused(tx, row)
    _record(tx, mutation, kind, Action.DELETE, row)


def take_fetched(tx: Transaction, mutation: Mutation, offer_id: str, document: InspectedSpecification) -> None:
    """Give an offer, which is there, the document that was fetched for it."""
    for kind in (API, EVENT_API):
        row = kind.registry.find(tx, offer_id)
        if row is not None:
            _keep(tx, document)
            if resource.update(tx, mutation, kind, row, _key(document)) is not None:
                _drop_unused(tx, row)
                _record(tx, mutation, kind, Action.UPDATE, row)


def common_fields(row: Values) -> dict[str, Any]:
    """The fields that both kinds of offers have, for their messages."""
    return {
        "application_id": row["application_id"],
        "name": row["name"],
        "description": row["description"],
        "specification": _specification(row),
        "version": version_in(row),
        "version_group": row["version_group"],
        "bundle_id": row["bundle_id"] or "",
        "create_time": to_timestamp(row["create_time"]),
        "update_time": to_timestamp(row["update_time"]),
        "etag": resource.etag(row["revision"]),
        "revision": row["revision"],
    }


def _columns(tx: Transaction, kind: ResourceKind, sent: Offer, fields: Iterable[str]) -> dict[str, Any]:
    """The columns that hold these fields, save those of the specification; raises `Refusal` (BUNDLE_NOT_FOUND)."""
    values = {name: getattr(sent, name) for name in fields if name not in ("specification", "version")}
    if "version" in fields:
        values |= columns_of(sent.version)
    if "bundle_id" in values:
        values["bundle_id"] = sent.bundle_id or None
        holdings.check_bundle(tx, kind, sent.application_id, values["bundle_id"])
    return values


def _specification(row: Values) -> Specification | None:
    if row["specification_format"] is None:
        return None
    return Specification(
        format=row["specification_format"],
        **_content(row),
        sha256=row["specification_sha256"],
        size_bytes=row["specification_size_bytes"],
        state=row["specification_state"],
        problems=json.loads(row["specification_problems"] or "[]"),
        url=row["fetch_url"],
        fetch=_fetch(row),
    )


def _fetch(row: Values) -> SpecificationFetch | None:
    if row["fetch_url"] is None:
        return None
    attempt_time = row["fetch_attempt_time"]
    return SpecificationFetch(
        state=row["fetch_state"],
        failure=row["fetch_failure"],
        attempts=row["fetch_attempts"],
        attempt_time=None if attempt_time is None else to_timestamp(attempt_time),
    )


def _content(row: Values) -> dict[str, Any]:
    """The field of a specification that holds its document, where that was read."""
    if "specification_content" not in row:
        return {}
    if row["specification_format"] == SpecificationFormat.SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET:
        return {"data": row["specification_content"]}
    return {"content": row["specification_content"].decode()}


def _record(
    tx: Transaction, mutation: Mutation, kind: ResourceKind, action: Action, row: Values, *, seen: bool = True
) -> None:
    """Note a change of an offer; `seen` says whether Runtimes see it."""
    if seen:
        holdings.configuration_changed(tx, mutation, row["application_id"])
    holdings.record(mutation, kind, action, row)


def _ask(tx: Transaction, mutation: Mutation, kind: ResourceKind, row: Values, sent: Specification) -> Values:
    """Have the document fetched where a URL is sent, and else no longer; returns the columns that are about that."""
    offer_id = row[kind.registry.key]
    if not sent.url:
        if row["fetch_url"]:
            fetches.drop(tx, offer_id)
        return _NO_FETCH
    fetch = {"url": sent.url, "state": FetchState.FETCH_STATE_PENDING, "failure": "", "attempts": 0}
    about = {"offer_id": offer_id, "fetch_id": mutation.new_id(), "application_id": row["application_id"]}
    fetches.ask(tx, {**about, **fetch, "format": sent.format, "create_time": mutation.micros})
    return {"fetch_attempt_time": None, **{f"fetch_{name}": value for name, value in fetch.items()}}


def _stays(row: Values, sent: Specification) -> bool:
    """Whether an offer keeps the document that it has, until the one that is sent is fetched."""
    return bool(sent.url) and _key_in(row) is not None and row["specification_format"] == sent.format


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


def _key(document: Document, sent: Specification | None = None) -> dict[str, Any]:
    """The columns of an offer that say which document it has; of one that is not here, only what it is written in."""
    if document is not None:
        return {"specification_sha256": document.sha256, "specification_format": document.format}
    return {"specification_sha256": None, "specification_format": (sent and sent.format) or None}


def _about(document: Document) -> dict[str, Any]:
    """The columns that are joined to an offer from its document."""
    return {
        "specification_size_bytes": document and document.size_bytes,
        "specification_state": document and document.state,
        "specification_problems": document and json.dumps(document.problems),
    }
