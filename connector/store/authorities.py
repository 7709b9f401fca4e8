"""Statements upon the issuing authorities that signed what is in the ledger."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from connector.store.base import Transaction, from_micros_if, to_micros
from connector.store.tables import authorities


@dataclass(frozen=True)
class StoredAuthority:
    """An issuing authority as the ledger knows it. What a release before did not note of it is empty, or None."""

    authority_sha256: bytes
    chain_pem: bytes
    certificate_der: bytes
    key_identifier: bytes
    root_sha256: bytes
    not_after: datetime | None
    retire_time: datetime | None


def record_authority(tx: Transaction, authority_sha256: bytes, chain_pem: bytes) -> bool:
    """Note an issuing authority, so that what it signs can name it; says whether it was new."""
    known = select(authorities.c.authority_sha256).where(authorities.c.authority_sha256 == authority_sha256)
    if tx.execute(known).one_or_none() is not None:
        return False
    with suppress(IntegrityError), tx.begin_nested():  # another instance noted it at the same time
        tx.execute(insert(authorities).values(authority_sha256=authority_sha256, chain_pem=chain_pem))
    return True


def all_authorities(tx: Transaction) -> list[StoredAuthority]:
    """Every one there ever was, by the SHA-256 of its certificate."""
    return [
        StoredAuthority(
            authority_sha256=row.authority_sha256,
            chain_pem=row.chain_pem,
            certificate_der=row.certificate_der or b"",
            key_identifier=row.key_identifier or b"",
            root_sha256=row.root_sha256 or b"",
            not_after=from_micros_if(row.not_after),
            retire_time=from_micros_if(row.retire_time),
        )
        for row in tx.execute(select(authorities).order_by(authorities.c.authority_sha256))
    ]


def describe_authority(
    tx: Transaction,
    authority_sha256: bytes,
    certificate_der: bytes,
    key_identifier: bytes,
    root_sha256: bytes | None,
    not_after: datetime,
) -> None:
    """Note what is in an authority's certificate, and which root it leads to where that is known."""
    described = {
        "certificate_der": certificate_der,
        "key_identifier": key_identifier,
        "not_after": to_micros(not_after),
    }
    if root_sha256 is not None:
        described["root_sha256"] = root_sha256
    tx.execute(update(authorities).where(authorities.c.authority_sha256 == authority_sha256).values(described))


def retire(tx: Transaction, retired: Collection[bytes], now: datetime) -> bool:
    """Have exactly these authorities not count, since now unless it is long so; says whether that changed anything."""
    ended = update(authorities).where(authorities.c.authority_sha256.in_(retired), authorities.c.retire_time.is_(None))
    brought_back = update(authorities).where(
        authorities.c.authority_sha256.not_in(retired), authorities.c.retire_time.is_not(None)
    )
    changed = tx.execute(ended.values(retire_time=to_micros(now))).rowcount
    return changed + tx.execute(brought_back.values(retire_time=None)).rowcount > 0
