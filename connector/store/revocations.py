"""Statements upon the ledger's revision, the log of revocations, and what is revoked altogether."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from connector.store.base import Transaction, from_micros, to_micros
from connector.store.tables import authorities, certificates, identities, ledger, revocations
from mesh.database import announce

TOPIC = "revocations"
"""Announced when the log grows."""

_SOME = 500
"""How many serial numbers one statement names: databases limit its variables."""


class Kind(StrEnum):
    """What a row of the log tells of."""

    CERTIFICATE = "CERTIFICATE"
    BAN = "BAN"
    RESTORE = "RESTORE"
    AUTHORITIES = "AUTHORITIES"


class LedgerRow(NamedTuple):
    """Which ledger this is, its last revision, and the oldest one that a reader can resume from."""

    ledger_id: str
    revision: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that no longer counts."""

    serial_number: str
    not_after: datetime
    reason: int
    """A number of `RevocationReason`."""
    spiffe_id: str = ""
    """Whose it was, where that was asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the log: with CERTIFICATE it has `revoked`, with BAN and RESTORE `spiffe_id`."""

    kind: Kind
    revoked: Revoked | None = None
    spiffe_id: str | None = None
    revision: int = 0
    """Given by the log."""


@dataclass(frozen=True, slots=True)
class LiveAuthority:
    """An issuing authority whose certificates count."""

    authority_sha256: bytes
    key_identifier: bytes
    not_after: datetime


def create_ledger(tx: Transaction, ledger_id: str) -> None:
    """Begin a ledger at revision 0, unless the database holds one already."""
    if tx.execute(select(ledger.c.id)).first() is None:
        with suppress(IntegrityError), tx.begin_nested():  # another instance began it at the same time
            tx.execute(insert(ledger).values(id=1, ledger_id=ledger_id, revision=0, horizon=0))


def read_ledger(tx: Transaction) -> LedgerRow:
    """The ledger as it is at this point of the transaction."""
    return LedgerRow(*tx.execute(select(ledger.c.ledger_id, ledger.c.revision, ledger.c.horizon)).one())


def append(tx: Transaction, now: datetime, entries: Sequence[Entry]) -> int:
    """Write entries as the log's next revision, which is returned; every instance hears of its commit.

    Revisions are committed in their order: whoever takes one holds the others up until its transaction ends.
    """
    advanced = update(ledger).values(revision=ledger.c.revision + 1).returning(ledger.c.revision)
    revision: int = tx.execute(advanced).scalar_one()
    tx.execute(
        insert(revocations),
        [
            {
                "revision": revision,
                "position": position,
                "time": to_micros(now),
                "kind": each.kind,
                "serial_number": each.revoked.serial_number if each.revoked else None,
                "not_after": to_micros(each.revoked.not_after) if each.revoked else None,
                "reason": each.revoked.reason if each.revoked else None,
                "spiffe_id": each.spiffe_id,
            }
            for position, each in enumerate(entries)
        ],
    )
    announce(tx, TOPIC)
    return revision


def read_since(tx: Transaction, revision: int) -> list[Entry]:
    """What the log tells of after a revision, in its order."""
    query = select(revocations).where(revocations.c.revision > revision)
    return [_entry(row) for row in tx.execute(query.order_by(revocations.c.revision, revocations.c.position))]


def revoke_serials(
    tx: Transaction, serials: Collection[str], now: datetime, reason: int, revoked_by: str | None, note: str
) -> list[Revoked]:
    """Mark those of these certificates that were not revoked; returns them."""
    ordered = sorted(set(serials))  # two units that mark the same ones wait for each other in one order
    found: list[Revoked] = []
    for start in range(0, len(ordered), _SOME):
        some = certificates.c.serial_number.in_(ordered[start : start + _SOME])
        found += _mark(tx, some, now, reason, revoked_by, note)
    return found


def revoke_all_of(
    tx: Transaction, spiffe_id: str, now: datetime, reason: int, revoked_by: str, note: str
) -> list[Revoked]:
    """Mark those certificates of an identity that were not revoked, also those that have expired; returns them."""
    return _mark(tx, certificates.c.spiffe_id == spiffe_id, now, reason, revoked_by, note)


def revoked_and_unexpired(tx: Transaction, now: datetime) -> list[Revoked]:
    """All certificates that were revoked and whose time is not over, in the order of their serial numbers."""
    query = select(certificates.c.serial_number, certificates.c.not_after, certificates.c.revocation_reason).where(
        certificates.c.revoke_time.is_not(None), certificates.c.not_after >= to_micros(now)
    )
    return [
        Revoked(row.serial_number, from_micros(row.not_after), row.revocation_reason)
        for row in tx.execute(query.order_by(certificates.c.serial_number))
    ]


def banned_identities(tx: Transaction) -> list[str]:
    """The SPIFFE IDs of all identities that are banned, in their order."""
    query = select(identities.c.spiffe_id).where(identities.c.ban_time.is_not(None))
    return list(tx.execute(query.order_by(identities.c.spiffe_id)).scalars())


def live_authorities(tx: Transaction, now: datetime) -> list[LiveAuthority]:
    """The issuing authorities that count, in the order of their hashes."""
    query = select(authorities).where(
        authorities.c.retire_time.is_(None),
        authorities.c.not_after > to_micros(now),
        authorities.c.key_identifier.is_not(None),
    )
    return [
        LiveAuthority(row.authority_sha256, row.key_identifier, from_micros(row.not_after))
        for row in tx.execute(query.order_by(authorities.c.authority_sha256))
    ]


def forget(tx: Transaction, before: datetime, most: int) -> bool:
    """Shorten the log from its old end by the revisions made before a time, `most` of them; says whether it did."""
    horizon: int = tx.execute(select(ledger.c.horizon).with_for_update()).scalar_one()
    old = select(func.max(revocations.c.revision)).where(
        revocations.c.revision > horizon,
        revocations.c.revision <= horizon + most,
        revocations.c.time < to_micros(before),
    )
    until: int | None = tx.execute(old).scalar()
    if until is None:
        return False
    tx.execute(update(ledger).values(horizon=until))
    tx.execute(delete(revocations).where(revocations.c.revision <= until))
    return True


def _mark(
    tx: Transaction, which: ColumnElement[bool], now: datetime, reason: int, revoked_by: str | None, note: str
) -> list[Revoked]:
    marked = (
        update(certificates)
        .where(which, certificates.c.revoke_time.is_(None))
        .values(
            revoke_time=to_micros(now),
            revocation_reason=reason,
            revoked_by=revoked_by,
            revocation_note=note or None,
        )
        .returning(certificates.c.serial_number, certificates.c.not_after, certificates.c.spiffe_id)
    )
    return [Revoked(row.serial_number, from_micros(row.not_after), reason, row.spiffe_id) for row in tx.execute(marked)]


def _entry(row: Row[Any]) -> Entry:
    revoked = None
    if row.serial_number is not None:
        revoked = Revoked(row.serial_number, from_micros(row.not_after), row.reason)
    return Entry(Kind(row.kind), revoked, row.spiffe_id, row.revision)
