"""Ending certificates before their time, on the record.

What ends is marked in the ledger, written into the audit and told to every service by the log of revocations, all in
the transaction of whoever calls. A unit takes one revision at most, as late as it can: those of others wait for it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from moorage.connector.v1.revocation_pb2 import RevocationReason
from moorage.errors.v1.errors_pb2 import Reason

from connector.store import Action, Origin, Transaction, record
from connector.store.revocations import Entry, Kind, Revoked, append, revoke_serials
from mesh.errors import Refusal

SUPERSEDED = RevocationReason.REVOCATION_REASON_SUPERSEDED
_NOBODY = Origin("", "", "")


def revoke_certificates(
    tx: Transaction, origin: Origin, now: datetime, serials: Collection[str], reason: int, note: str = ""
) -> int:
    """Revoke those of these certificates that are neither revoked nor superseded; says how many those were."""
    revoked = revoke_serials(tx, serials, now, reason, origin.actor, note)
    for each in revoked:
        _record(tx, Action.CERTIFICATE_REVOKED, origin, now, each, note)
    publish(tx, now, revoked)
    return len(revoked)


def supersede(tx: Transaction, now: datetime, serials: Collection[str], origin: Origin = _NOBODY) -> None:
    """End certificates that were renewed; those that have ended already, and those not in the ledger, stay as they are.

    `origin` is that of the call that tells of the successor's first use, where there is one.
    """
    superseded = revoke_serials(tx, serials, now, SUPERSEDED, None, "")
    for each in superseded:
        _record(tx, Action.CERTIFICATE_SUPERSEDED, origin, now, each, "")
    publish(tx, now, superseded)


def publish(tx: Transaction, now: datetime, revoked: Sequence[Revoked], others: Sequence[Entry] = ()) -> None:
    """Tell every service of what ends now, as one revision; of nothing, where all have expired, there is none."""
    entries = [Entry(Kind.CERTIFICATE, revoked=each) for each in revoked if each.not_after >= now]
    entries.extend(others)
    if entries:
        append(tx, now, entries)


def not_found(serial_number: str) -> Refusal:
    """What is said of a certificate that the ledger does not have."""
    return Refusal(
        Reason.REASON_CERTIFICATE_NOT_FOUND,
        f"there is no certificate {serial_number} in the ledger",
        field="serial_number",
    )


def _record(tx: Transaction, action: Action, origin: Origin, now: datetime, revoked: Revoked, detail: str) -> None:
    record(
        tx,
        action,
        origin,
        now,
        spiffe_id=revoked.spiffe_id,
        serial_number=revoked.serial_number,
        detail=detail,
    )
