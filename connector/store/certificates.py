"""Statements upon the ledger of certificates."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moorage.connector.v1.certificate_pb2 import CertificateOrigin, CertificateState
from moorage.connector.v1.revocation_pb2 import RevocationReason
from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, insert, literal, or_, select, tuple_, update

from connector.store.base import Transaction, from_micros, from_micros_if, to_micros
from connector.store.tables import authorities, certificates, identities
from mesh.database import Prepared

_SUPERSEDED = RevocationReason.REVOCATION_REASON_SUPERSEDED


@dataclass(frozen=True)
class LedgerEntry:
    """One certificate as the ledger holds it."""

    serial_number: str
    spiffe_id: str
    public_key_sha256: bytes
    certificate_der: bytes
    """Empty while it is only planned; and where the ledger was not asked for it."""
    authority_sha256: bytes
    not_before: datetime
    not_after: datetime
    issue_time: datetime
    origin: CertificateOrigin.ValueType
    token_id: str | None = None
    replaces_serial: str | None = None
    planned_tbs: bytes | None = None
    """What is to be signed; None once it is."""
    first_use_time: datetime | None = None
    revoke_time: datetime | None = None
    revocation_reason: RevocationReason.ValueType | None = None
    revoked_by: str = ""
    revocation_note: str = ""
    retire_time: datetime | None = None
    """When its authority ceased to count."""
    authority_chain_pem: bytes = b""
    """Its authority's certificate, and those between it and the root; empty where the ledger was not asked for it."""

    @property
    def planned(self) -> bool:
        """Whether it is not known to have been signed."""
        return self.planned_tbs is not None

    @property
    def revoked(self) -> bool:
        """Whether it was revoked or superseded, or its authority retired."""
        return self.revoke_time is not None or self.retire_time is not None

    def state(self, now: datetime) -> CertificateState.ValueType:
        """What has become of it: the first that holds."""
        if self.planned:
            return CertificateState.CERTIFICATE_STATE_PLANNED
        if self.retire_time is not None:
            return CertificateState.CERTIFICATE_STATE_REVOKED
        if self.revoke_time is not None:
            superseded = self.revocation_reason == _SUPERSEDED
            return (
                CertificateState.CERTIFICATE_STATE_SUPERSEDED
                if superseded
                else CertificateState.CERTIFICATE_STATE_REVOKED
            )
        if self.not_after <= now:
            return CertificateState.CERTIFICATE_STATE_EXPIRED
        return CertificateState.CERTIFICATE_STATE_ACTIVE


def insert_certificate(tx: Transaction, entry: LedgerEntry) -> None:
    """Write a certificate, or what is planned of it, into the ledger."""
    _INSERT.run(
        tx,
        {
            "serial_number": entry.serial_number,
            "spiffe_id": entry.spiffe_id,
            "public_key_sha256": entry.public_key_sha256,
            "certificate_der": entry.certificate_der,
            "authority_sha256": entry.authority_sha256,
            "not_before": to_micros(entry.not_before),
            "not_after": to_micros(entry.not_after),
            "issue_time": to_micros(entry.issue_time),
            "token_id": entry.token_id,
            "replaces_serial": entry.replaces_serial,
            "origin": entry.origin,
            "planned_tbs": entry.planned_tbs,
        },
    )


def complete_certificate(tx: Transaction, serial_number: str, certificate_der: bytes) -> bool:
    """Write what was signed of a plan; False where it is there already, or was revoked meanwhile."""
    completed = {"serial": serial_number, "certificate_der": certificate_der, "planned_tbs": None}
    return _COMPLETE.run(tx, completed) > 0


@dataclass(frozen=True)
class Standing:
    """What there is to know before a certificate is renewed, read at once."""

    held: LedgerEntry | None
    """The certificate; None where the ledger does not have it."""
    is_banned: bool
    """Whether nothing may be issued to its identity."""
    is_key_certified: bool
    """Whether a certificate of the identity that has not expired is for the new key already."""
    has_successors: bool
    """Whether anything was issued, or planned, on its strength."""


def read_standing(
    tx: Transaction, serial_number: str, spiffe_id: str, public_key_sha256: bytes, now: datetime
) -> Standing:
    """How a certificate of an identity stands, for one who wants another for this key."""
    values = {"serial": serial_number, "party": spiffe_id, "key": public_key_sha256, "now": to_micros(now)}
    row = _STANDING.first(tx, values)
    assert row is not None  # noqa: S101 - it selects from one row that is always there
    held = _entry(row) if row["serial_number"] is not None else None
    return Standing(held, row["is_banned"], row["is_key_certified"], row["has_successors"])


def find_certificate(tx: Transaction, serial_number: str) -> LedgerEntry | None:
    """The certificate of this serial number."""
    row = _FIND.first(tx, {"serial": serial_number})
    return _entry(row) if row else None


def certificate_of_token(tx: Transaction, token_id: str) -> LedgerEntry | None:
    """The certificate that a used token earned."""
    row = _OF_TOKEN.first(tx, {"token": token_id})
    return _entry(row) if row else None


def abandon_plan(tx: Transaction, serial_number: str) -> None:
    """Free the token of a plan that can no longer be signed, for another one. The row stays as it was planned."""
    abandoned = certificates.c.serial_number == serial_number
    tx.execute(update(certificates).where(abandoned, certificates.c.planned_tbs.is_not(None)).values(token_id=None))


def lock_certificate(tx: Transaction, serial_number: str) -> LedgerEntry | None:
    """The certificate, held until the unit ends, so that two who build upon it take turns."""
    row = _LOCK.first(tx, {"serial": serial_number})
    return _entry(row) if row else None


def successors(tx: Transaction, serial_number: str) -> list[LedgerEntry]:
    """What was issued, or planned, on the strength of a certificate, and was not revoked."""
    query = _entries().where(certificates.c.replaces_serial == serial_number, certificates.c.revoke_time.is_(None))
    return [_entry(row) for row in tx.execute(query).mappings()]


def issued_since(tx: Transaction, entry: LedgerEntry) -> list[LedgerEntry]:
    """What the identity of a certificate was given after it; plans left out."""
    query = _entries().where(
        certificates.c.spiffe_id == entry.spiffe_id,
        certificates.c.issue_time >= to_micros(entry.issue_time),
        certificates.c.serial_number != entry.serial_number,
        certificates.c.planned_tbs.is_(None),
    )
    return [_entry(row) for row in tx.execute(query).mappings()]


def note_first_use(tx: Transaction, serial_numbers: Collection[str], now: datetime) -> list[str]:
    """Note the first use of those that were not used yet; the serial numbers of the certificates that they replace."""
    # In one order, so that two units that note the same do not wait for each other.
    replaced: list[str] = []
    for serial_number in sorted(serial_numbers):
        row = _NOTE_USE.first(tx, {"serial": serial_number, "first_use_time": to_micros(now)})
        if row and row["replaces_serial"]:
            replaced.append(row["replaces_serial"])
    return replaced


def outlived(tx: Transaction, issued_from: datetime, issued_until: datetime, now: datetime) -> list[str]:
    """Living certificates that were replaced in an interval, ends included, by one that was not used since."""
    successor = certificates.alias("successor")
    query = (
        select(certificates.c.serial_number)
        .distinct()
        .join(successor, successor.c.replaces_serial == certificates.c.serial_number)
        .where(
            successor.c.issue_time.between(to_micros(issued_from), to_micros(issued_until)),
            successor.c.first_use_time.is_(None),
            successor.c.revoke_time.is_(None),
            successor.c.planned_tbs.is_(None),
            certificates.c.not_after > to_micros(now),
            certificates.c.revoke_time.is_(None),
        )
        .order_by(certificates.c.serial_number)
    )
    return list(tx.execute(query).scalars())


def page_of_certificates(
    tx: Transaction,
    spiffe_id: str,
    states: Collection[int],
    expire_after: datetime | None,
    expire_before: datetime | None,
    now: datetime,
    after: tuple[int, str] | None,
    limit: int,
) -> Sequence[LedgerEntry]:
    """Those issued last first, without `certificate_der`; the key of a page is the issue time and the serial number.

    Narrowed to an identity, to states (numbers of `CertificateState`), and to those that end in an interval, unless
    these are left out.
    """
    query = (
        _entries(whole=False).order_by(certificates.c.issue_time.desc(), certificates.c.serial_number.desc())
    ).limit(limit)
    if spiffe_id:
        query = query.where(certificates.c.spiffe_id == spiffe_id)
    if expire_after is not None:
        query = query.where(certificates.c.not_after >= to_micros(expire_after))
    if expire_before is not None:
        query = query.where(certificates.c.not_after < to_micros(expire_before))
    if states:
        conditions = _states(now)
        query = query.where(or_(*(conditions[state] for state in states)))
    if after is not None:
        query = query.where(tuple_(certificates.c.issue_time, certificates.c.serial_number) < after)
    return [_entry(row) for row in tx.execute(query).mappings()]


def place_of_certificate(entry: LedgerEntry) -> tuple[int, str]:
    """Where it stands in a list."""
    return to_micros(entry.issue_time), entry.serial_number


def _entries(*, whole: bool = True) -> Select[Any]:
    columns = [column for column in certificates.c if whole or column.name != "certificate_der"]
    if whole:
        columns.append(authorities.c.chain_pem)
    return select(*columns, authorities.c.retire_time).join(
        authorities, authorities.c.authority_sha256 == certificates.c.authority_sha256
    )


_INSERT = Prepared(
    insert(certificates),
    [
        "serial_number",
        "spiffe_id",
        "public_key_sha256",
        "certificate_der",
        "authority_sha256",
        "not_before",
        "not_after",
        "issue_time",
        "token_id",
        "replaces_serial",
        "origin",
        "planned_tbs",
    ],
)
_COMPLETE = Prepared(
    update(certificates).where(
        certificates.c.serial_number == bindparam("serial"),
        certificates.c.planned_tbs.is_not(None),
        certificates.c.revoke_time.is_(None),
    ),
    ["certificate_der", "planned_tbs"],
)
_FIND = Prepared(_entries().where(certificates.c.serial_number == bindparam("serial")))
_LOCK = Prepared(_entries().where(certificates.c.serial_number == bindparam("serial")).with_for_update(of=certificates))
_OF_TOKEN = Prepared(_entries().where(certificates.c.token_id == bindparam("token")))
_ONE = select(literal(1).label("one")).subquery("one")
_SUCCESSORS = certificates.alias("successors")
_OF_KEY = certificates.alias("of_key")
_STANDING = Prepared(
    select(
        *certificates.c,
        authorities.c.retire_time,
        exists()
        .where(identities.c.spiffe_id == bindparam("party"), identities.c.ban_time.is_not(None))
        .label("is_banned"),
        exists()
        .where(
            _OF_KEY.c.spiffe_id == bindparam("party"),
            _OF_KEY.c.not_after >= bindparam("now"),
            _OF_KEY.c.public_key_sha256 == bindparam("key"),
            _OF_KEY.c.planned_tbs.is_(None),
        )
        .label("is_key_certified"),
        exists().where(_SUCCESSORS.c.replaces_serial == bindparam("serial")).label("has_successors"),
    ).select_from(
        _ONE.outerjoin(certificates, certificates.c.serial_number == bindparam("serial")).outerjoin(
            authorities, authorities.c.authority_sha256 == certificates.c.authority_sha256
        )
    )
)
_NOTE_USE = Prepared(
    update(certificates)
    .where(certificates.c.serial_number == bindparam("serial"), certificates.c.first_use_time.is_(None))
    .returning(certificates.c.replaces_serial),
    ["first_use_time"],
)


def _states(now: datetime) -> Mapping[int, ColumnElement[bool]]:
    """`LedgerEntry.state` in SQL."""
    signed = certificates.c.planned_tbs.is_(None)
    retired = authorities.c.retire_time.is_not(None)
    ended = certificates.c.revoke_time.is_not(None)
    superseded = and_(ended, certificates.c.revocation_reason == _SUPERSEDED)
    standing = and_(signed, ~retired, ~ended)
    return {
        CertificateState.CERTIFICATE_STATE_PLANNED: certificates.c.planned_tbs.is_not(None),
        CertificateState.CERTIFICATE_STATE_REVOKED: and_(
            signed, or_(retired, and_(ended, certificates.c.revocation_reason != _SUPERSEDED))
        ),
        CertificateState.CERTIFICATE_STATE_SUPERSEDED: and_(signed, ~retired, superseded),
        CertificateState.CERTIFICATE_STATE_EXPIRED: and_(standing, certificates.c.not_after <= to_micros(now)),
        CertificateState.CERTIFICATE_STATE_ACTIVE: and_(standing, certificates.c.not_after > to_micros(now)),
    }


def _entry(row: Mapping[Any, Any]) -> LedgerEntry:
    # Rows of the release before say nothing of their origin.
    earned = (
        CertificateOrigin.CERTIFICATE_ORIGIN_ENROLLED
        if row["token_id"] is not None
        else CertificateOrigin.CERTIFICATE_ORIGIN_RENEWED
    )
    return LedgerEntry(
        serial_number=row["serial_number"],
        spiffe_id=row["spiffe_id"],
        public_key_sha256=row["public_key_sha256"],
        certificate_der=row.get("certificate_der", b""),
        authority_sha256=row["authority_sha256"],
        not_before=from_micros(row["not_before"]),
        not_after=from_micros(row["not_after"]),
        issue_time=from_micros(row["issue_time"]),
        origin=row["origin"] or earned,
        token_id=row["token_id"],
        replaces_serial=row["replaces_serial"],
        planned_tbs=row["planned_tbs"],
        first_use_time=from_micros_if(row["first_use_time"]),
        revoke_time=from_micros_if(row["revoke_time"]),
        revocation_reason=row["revocation_reason"],
        revoked_by=row["revoked_by"] or "",
        revocation_note=row["revocation_note"] or "",
        retire_time=from_micros_if(row["retire_time"]),
        authority_chain_pem=row.get("chain_pem", b""),
    )
