"""Messages of the Connector's stream of revocations, made by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.connector.v1.revocation_pb2 import (
    LiveAuthorities,
    LiveAuthority,
    RevocationsKind,
    RevokedCertificate,
    WatchRevocationsResponse,
)

LEDGER, OTHER_LEDGER = "5f0c0a4e-3f0c-4f4b-9a59-1d6f3f3a0001", "5f0c0a4e-3f0c-4f4b-9a59-1d6f3f3a0002"
SNAPSHOT = RevocationsKind.REVOCATIONS_KIND_SNAPSHOT
DELTA = RevocationsKind.REVOCATIONS_KIND_DELTA
BOOKMARK = RevocationsKind.REVOCATIONS_KIND_BOOKMARK
NOT_AFTER = datetime(2040, 1, 1, tzinfo=UTC)
"""When each certificate and authority of a message is over."""


def snapshot(
    serials: Sequence[str] = (), banned: Sequence[str] = (), authorities: Sequence[str] = ("aa",)
) -> WatchRevocationsResponse:
    """The first message of a stream that holds all of it."""
    return message(SNAPSHOT, 1, serials=serials, banned=banned, authorities=authorities)


def message(
    kind: RevocationsKind.ValueType,
    revision: int,
    *,
    ledger: str = LEDGER,
    serials: Sequence[str] = (),
    banned: Sequence[str] = (),
    restored: Sequence[str] = (),
    authorities: Sequence[str] | None = None,
    partial: bool = False,
) -> WatchRevocationsResponse:
    """One message; without `authorities` it says nothing of those."""
    end = Timestamp(seconds=int(NOT_AFTER.timestamp()))
    made = WatchRevocationsResponse(
        ledger_id=ledger,
        revision=revision,
        kind=kind,
        certificates=[RevokedCertificate(serial_number=each, not_after=end) for each in serials],
        banned_spiffe_ids=banned,
        restored_spiffe_ids=restored,
        partial=partial,
    )
    if authorities is not None:
        live = [LiveAuthority(key_identifier=each, not_after=end) for each in authorities]
        made.authorities.CopyFrom(LiveAuthorities(authorities=live))
    return made
