"""Bundles: APIs and Event APIs of one Application that share credentials.

A change of a bundle is a change of what Runtimes know of the Application.
"""

from collections.abc import Sequence

from moorage.director.v1.bundle_pb2 import (
    Bundle,
    CreateBundleRequest,
    CreateBundleResponse,
    DeleteBundleRequest,
    DeleteBundleResponse,
    GetBundleRequest,
    GetBundleResponse,
    ListBundlesRequest,
    ListBundlesResponse,
    UpdateBundleRequest,
    UpdateBundleResponse,
)

from director import holdings, resource
from director.changes import Action, Mutation
from director.holds import MOST_NAMED, refuse_if_held
from director.kinds import API, BUNDLE, DOCUMENT, EVENT_API, ResourceKind
from director.search.masks import ReadMask
from director.search.resources import BUNDLE_SEARCH
from director.store import Transaction
from director.store.bundles import members_of
from director.store.registry import Values
from director.targets import forget_target
from director.times import to_timestamp

MOST_BUNDLES = 300
"""How many an Application can have: with them, and all else that it can have, it still goes into one message of the
stream."""

_MEMBER_KINDS = (API, EVENT_API, DOCUMENT)


def create_bundle(tx: Transaction, mutation: Mutation, request: CreateBundleRequest) -> CreateBundleResponse:
    """Create a bundle, with nothing in it; raises `Refusal` (APPLICATION_NOT_FOUND, NAME_TAKEN, LIMIT_REACHED)."""
    sent = request.bundle
    holdings.check_room(tx, BUNDLE, sent.application_id, MOST_BUNDLES)
    values = {name: getattr(sent, name) for name in ("application_id", *BUNDLE.settable)}
    row = resource.create(tx, mutation, BUNDLE, values)
    _record(tx, mutation, Action.CREATE, row)
    return CreateBundleResponse(bundle=_message({**row, "credential_type": None}))


def get_bundle(tx: Transaction, request: GetBundleRequest) -> GetBundleResponse:
    """Read a bundle; raises `Refusal` (BUNDLE_NOT_FOUND, FIELD_INVALID)."""
    mask = ReadMask(request.read_mask, Bundle.DESCRIPTOR)
    row = holdings.get(tx, BUNDLE, request.application_id, request.bundle_id)
    return GetBundleResponse(bundle=mask.apply(_message(row)))


def list_bundles(tx: Transaction, request: ListBundlesRequest) -> ListBundlesResponse:
    """Read a page of bundles.

    Raises `Refusal` (APPLICATION_NOT_FOUND, FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).
    """
    listing = holdings.read_holdings(tx, BUNDLE, BUNDLE_SEARCH, request)
    return ListBundlesResponse(
        bundles=listing.messages(_message),
        next_page_token=listing.next_page_token,
        total_size=listing.total_size,
    )


def update_bundle(tx: Transaction, mutation: Mutation, request: UpdateBundleRequest) -> UpdateBundleResponse:
    """Change a bundle.

    Raises `Refusal` (BUNDLE_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID, FIELD_INVALID, NAME_TAKEN).
    """
    sent = request.bundle
    fields = resource.fields_to_set(BUNDLE, request.update_mask, sent)
    row = holdings.get(tx, BUNDLE, sent.application_id, sent.bundle_id)
    resource.check_etag(row, sent.etag)
    changed = resource.update(tx, mutation, BUNDLE, row, {name: getattr(sent, name) for name in fields})
    if changed is not None:
        _record(tx, mutation, Action.UPDATE, row)
    return UpdateBundleResponse(bundle=_message(changed or row))


def delete_bundle(tx: Transaction, mutation: Mutation, request: DeleteBundleRequest) -> DeleteBundleResponse:
    """Remove a bundle with its credentials; what is in it stays, in no bundle, or holds it where `force` is not set.

    Raises `Refusal` (BUNDLE_NOT_FOUND, ETAG_MISMATCH, RESOURCE_HELD).
    """
    row = holdings.get(tx, BUNDLE, request.application_id, request.bundle_id)
    resource.check_etag(row, request.etag)
    members = {kind: members_of(tx, kind.registry, request.bundle_id) for kind in _MEMBER_KINDS}
    if not request.force:
        held = [f"{kind.noun} {row['name']} is in it" for kind, rows in members.items() for row in rows]
        refuse_if_held("bundle_id", held[:MOST_NAMED])
    for kind, rows in members.items():
        _take_out(tx, mutation, kind, rows)
    forget_target(tx, mutation, request.application_id, request.bundle_id)
    BUNDLE.registry.delete(tx, request.bundle_id)
    _record(tx, mutation, Action.DELETE, row)
    return DeleteBundleResponse()


def _take_out(tx: Transaction, mutation: Mutation, kind: ResourceKind, rows: Sequence[Values]) -> None:
    out = {"bundle_id": None, "update_time": mutation.micros, "revision": mutation.revision}
    kind.registry.update_all(tx, [row[kind.registry.key] for row in rows], out)
    for row in rows:
        holdings.record(mutation, kind, Action.UPDATE, row)


def _record(tx: Transaction, mutation: Mutation, action: Action, row: Values) -> None:
    holdings.configuration_changed(tx, mutation, row["application_id"])
    holdings.record(mutation, BUNDLE, action, row)


def _message(row: Values) -> Bundle:
    return Bundle(
        bundle_id=row["bundle_id"],
        application_id=row["application_id"],
        name=row["name"],
        description=row["description"],
        credential_type=row["credential_type"],
        create_time=to_timestamp(row["create_time"]),
        update_time=to_timestamp(row["update_time"]),
        etag=resource.etag(row["revision"]),
        revision=row["revision"],
    )
