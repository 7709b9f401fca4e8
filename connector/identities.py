"""Identities: what each has, and ending all of it, for now (EVICT) or until it is restored (BAN).

Whoever issues to an identity, and whoever revokes it, holds its lock: what is issued either is seen and revoked, or is
refused.
"""

from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    GetIdentityResponse,
    Identity,
    ListIdentitiesRequest,
    ListIdentitiesResponse,
    RevocationAction,
)
from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason

from connector.revocations import publish
from connector.store import Action, Origin, Transaction, record
from connector.store.identities import (
    Revocation,
    StoredIdentity,
    is_banned,
    lift_ban,
    note_revocation,
    page_of_identities,
    read_identity,
)
from connector.store.locks import lock_identity
from connector.store.revocations import Entry, Kind, revoke_all_of
from connector.store.tokens import revoke_unused
from mesh.errors import Refusal
from mesh.paging import read_page

__all__ = ["Revoked", "get_identity", "is_banned", "list_identities", "restore", "revoke"]


@dataclass(frozen=True)
class Revoked:
    """What revoking an identity came to."""

    identity: Identity
    certificates: int
    """How many were revoked just now."""
    tokens: int
    """The same."""


def revoke(
    tx: Transaction,
    origin: Origin,
    now: datetime,
    spiffe_id: str,
    action: RevocationAction.ValueType,
    reason: RevocationReason.ValueType,
    note: str = "",
) -> Revoked:
    """End what the identity has, and with BAN see to it that it gets nothing else. To do it again changes nothing."""
    lock_identity(tx, spiffe_id)
    ban = action == RevocationAction.REVOCATION_ACTION_BAN
    is_new = ban and not is_banned(tx, spiffe_id)
    tokens = revoke_unused(tx, spiffe_id, now)
    certificates = revoke_all_of(tx, spiffe_id, now, reason, origin.actor, note)
    for each in certificates:
        record(tx, Action.CERTIFICATE_REVOKED, origin, now, spiffe_id=spiffe_id, serial_number=each.serial_number)
    if is_new or tokens or certificates:
        note_revocation(tx, spiffe_id, Revocation(now, reason, origin.actor, note), ban=ban)
        done = Action.IDENTITY_BANNED if ban else Action.IDENTITY_EVICTED
        record(tx, done, origin, now, spiffe_id=spiffe_id, detail=note)
        publish(tx, now, certificates, [Entry(Kind.BAN, spiffe_id=spiffe_id)] if is_new else [])
    return Revoked(_read(tx, spiffe_id, now), len(certificates), tokens)


def restore(tx: Transaction, origin: Origin, now: datetime, spiffe_id: str, note: str = "") -> Identity:
    """Lift the ban of an identity; one that is not banned stays as it is. Raises `Refusal` (IDENTITY_NOT_FOUND)."""
    lock_identity(tx, spiffe_id)
    if lift_ban(tx, spiffe_id):
        record(tx, Action.IDENTITY_RESTORED, origin, now, spiffe_id=spiffe_id, detail=note)
        publish(tx, now, [], [Entry(Kind.RESTORE, spiffe_id=spiffe_id)])
    return _existing(tx, spiffe_id, now)


def get_identity(tx: Transaction, request: GetIdentityRequest, now: datetime) -> GetIdentityResponse:
    """Read an identity; raises `Refusal` (IDENTITY_NOT_FOUND)."""
    return GetIdentityResponse(identity=_existing(tx, request.spiffe_id, now))


def list_identities(tx: Transaction, request: ListIdentitiesRequest, now: datetime) -> ListIdentitiesResponse:
    """Read a page of identities, in the order of SPIFFE IDs; raises `Refusal` (PAGE_TOKEN_INVALID)."""
    page = read_page(
        request,
        lambda after, limit: page_of_identities(tx, request.states, now, after[0] if after else None, limit),
        key=lambda each: (each.spiffe_id,),
        types=[str],
    )
    return ListIdentitiesResponse(
        identities=[_message(each) for each in page.rows], next_page_token=page.next_page_token
    )


def _existing(tx: Transaction, spiffe_id: str, now: datetime) -> Identity:
    found = read_identity(tx, spiffe_id, now)
    if found is None:
        raise Refusal(Reason.REASON_IDENTITY_NOT_FOUND, f"nothing is known of {spiffe_id}", field="spiffe_id")
    return _message(found)


def _read(tx: Transaction, spiffe_id: str, now: datetime) -> Identity:
    # To evict an identity that has nothing is no mistake, and leaves nothing behind.
    found = read_identity(tx, spiffe_id, now)
    return _message(found or StoredIdentity(spiffe_id, False, 0, 0, None, None))


def _message(identity: StoredIdentity) -> Identity:
    message = Identity(
        spiffe_id=identity.spiffe_id,
        state=identity.state,
        active_certificates=identity.active_certificates,
        active_tokens=identity.active_tokens,
        last_issue_time=_timestamp(identity.last_issue_time),
    )
    if identity.revocation:
        message.revoke_time.FromDatetime(identity.revocation.time)
        message.revocation_reason = RevocationReason.ValueType(identity.revocation.reason)
        message.revoked_by = identity.revocation.revoked_by
        message.revocation_note = identity.revocation.note
    return message


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
