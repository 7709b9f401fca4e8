"""Statements upon certificate revocation lists."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from certs.revocation_list import RevokedEntry
from connector.store.base import Transaction, from_micros, to_micros
from connector.store.tables import certificates, crls


@dataclass(frozen=True)
class StoredList:
    """The last list of an authority, and the revision of the log that it tells of."""

    number: int
    revision: int
    this_update: datetime
    next_update: datetime
    crl_der: bytes


def read_list(tx: Transaction, authority_sha256: bytes) -> StoredList | None:
    """The last list of an authority."""
    row = tx.execute(select(crls).where(crls.c.authority_sha256 == authority_sha256)).one_or_none()
    if row is None:
        return None
    return StoredList(
        number=row.number,
        revision=row.revision,
        this_update=from_micros(row.this_update),
        next_update=from_micros(row.next_update),
        crl_der=row.crl_der,
    )


def entries_of(tx: Transaction, authority_sha256: bytes, ending_after: datetime) -> list[RevokedEntry]:
    """The certificates of an authority that were revoked or superseded, and do not end before a time."""
    query = select(certificates.c.serial_number, certificates.c.revoke_time, certificates.c.revocation_reason).where(
        certificates.c.authority_sha256 == authority_sha256,
        certificates.c.revoke_time.is_not(None),
        certificates.c.not_after >= to_micros(ending_after),
    )
    return [
        RevokedEntry(row.serial_number, from_micros(row.revoke_time), row.revocation_reason)
        for row in tx.execute(query)
    ]


def replace_list(tx: Transaction, authority_sha256: bytes, new: StoredList) -> bool:
    """Keep a list in place of the one numbered just before it; False where another one came in between."""
    values = {
        "number": new.number,
        "revision": new.revision,
        "this_update": to_micros(new.this_update),
        "next_update": to_micros(new.next_update),
        "crl_der": new.crl_der,
    }
    previous = update(crls).where(crls.c.authority_sha256 == authority_sha256, crls.c.number == new.number - 1)
    if tx.execute(previous.values(values)).rowcount:
        return True
    if new.number > 1:
        return False
    try:
        with tx.begin_nested():
            tx.execute(insert(crls).values(authority_sha256=authority_sha256, **values))
    except IntegrityError:  # another instance made the first one at the same time
        return False
    return True
