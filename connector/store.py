"""The Connector's tables and every statement on them: one-time tokens, the ledger of certificates, the audit.

Times are whole microseconds since the Unix epoch, UTC. Serial numbers are lowercase hexadecimal. Nothing here opens
anything: tokens are kept as the SHA-256 of their secret, keys as the SHA-256 of their public half.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

Transaction = Connection

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""All tables of the service. Constraints are named, so that a migration can change each of them."""

_ID = String(36)
_SERIAL = String(40)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", _ID, primary_key=True),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("spiffe_id", Text, nullable=False),
    Column("issue_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("supersede_time", BigInteger),
    Column("use_time", BigInteger),
    Column("public_key_sha256", LargeBinary),
    Index(None, "spiffe_id"),
)
"""One-time tokens. `use_time` and `public_key_sha256` are set once, together: when, and with which key, it was used."""

authorities = Table(
    "authorities",
    metadata,
    Column("authority_sha256", LargeBinary, primary_key=True),
    Column("chain_pem", LargeBinary, nullable=False),
)
"""Issuing authorities that have signed what is in the ledger, each with its chain below the root, PEM."""

certificates = Table(
    "certificates",
    metadata,
    Column("serial_number", _SERIAL, primary_key=True),
    Column("spiffe_id", Text, nullable=False),
    Column("public_key_sha256", LargeBinary, nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("authority_sha256", LargeBinary, ForeignKey("authorities.authority_sha256"), nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("issue_time", BigInteger, nullable=False),
    Column("token_id", _ID, ForeignKey("tokens.token_id"), unique=True),
    Column("replaces_serial", _SERIAL),
    Index(None, "spiffe_id", "not_after"),
)
"""The ledger: every certificate that left, with the token (enrolment) or the certificate (renewal) that earned it. A
token has one certificate at most. `replaces_serial` may name one from outside of the ledger: `moorage up` makes the
services' and the administrator's first ones."""

audit = Table(
    "audit",
    metadata,
    Column("event_id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("spiffe_id", Text),
    Column("token_id", _ID),
    Column("serial_number", _SERIAL),
    Column("detail", Text, nullable=False),
    Index(None, "time"),
    Index(None, "spiffe_id"),
)
"""Who did what, and from where. `actor` is a SPIFFE ID, or empty for a newcomer who has none yet."""


class Action(StrEnum):
    """What an audit event tells of."""

    TOKEN_ISSUED = "TOKEN_ISSUED"  # noqa: S105 - a name
    TOKEN_REFUSED = "TOKEN_REFUSED"  # noqa: S105 - a name
    ENROLLED = "ENROLLED"
    ENROLLED_AGAIN = "ENROLLED_AGAIN"
    RENEWED = "RENEWED"


@dataclass(frozen=True)
class Origin:
    """Where a call came from: what every audit event records beside its matter."""

    actor: str
    """SPIFFE ID; empty for a newcomer."""
    address: str
    request_id: str


@dataclass(frozen=True)
class StoredToken:
    """What the plane keeps of a one-time token."""

    token_id: str
    spiffe_id: str
    expire_time: datetime
    superseded: bool
    public_key_sha256: bytes | None
    """The key that it was used with; None while it is unused."""


@dataclass(frozen=True)
class LedgerEntry:
    """One certificate as the ledger holds it."""

    serial_number: str
    spiffe_id: str
    public_key_sha256: bytes
    certificate_der: bytes
    authority_sha256: bytes
    not_before: datetime
    not_after: datetime
    issue_time: datetime
    token_id: str | None = None
    replaces_serial: str | None = None


def insert_token(
    tx: Transaction, token_id: str, secret_sha256: bytes, spiffe_id: str, issue_time: datetime, expire_time: datetime
) -> None:
    """Add a token; the unused ones that the identity had are superseded and work no more."""
    tx.execute(
        update(tokens)
        .where(tokens.c.spiffe_id == spiffe_id, tokens.c.use_time.is_(None), tokens.c.supersede_time.is_(None))
        .values(supersede_time=_micros(issue_time))
    )
    tx.execute(
        insert(tokens).values(
            token_id=token_id,
            secret_sha256=secret_sha256,
            spiffe_id=spiffe_id,
            issue_time=_micros(issue_time),
            expire_time=_micros(expire_time),
        )
    )


def use_token(tx: Transaction, secret_sha256: bytes, public_key_sha256: bytes, now: datetime) -> StoredToken | None:
    """Use up the token, in one statement that only one caller can win; None when it cannot be used."""
    row = tx.execute(
        update(tokens)
        .where(
            tokens.c.secret_sha256 == secret_sha256,
            tokens.c.use_time.is_(None),
            tokens.c.supersede_time.is_(None),
            tokens.c.expire_time > _micros(now),
        )
        .values(use_time=_micros(now), public_key_sha256=public_key_sha256)
        .returning(*tokens.c)
    ).one_or_none()
    return _token(row) if row else None


def find_token(tx: Transaction, secret_sha256: bytes) -> StoredToken | None:
    """The token, whatever became of it."""
    row = tx.execute(select(tokens).where(tokens.c.secret_sha256 == secret_sha256)).one_or_none()
    return _token(row) if row else None


def record_authority(tx: Transaction, authority_sha256: bytes, chain_pem: bytes) -> None:
    """Note an issuing authority, unless it is noted already, so that what it signs can name it."""
    known = select(authorities.c.authority_sha256).where(authorities.c.authority_sha256 == authority_sha256)
    if tx.execute(known).one_or_none() is None:
        tx.execute(insert(authorities).values(authority_sha256=authority_sha256, chain_pem=chain_pem))


def insert_certificate(tx: Transaction, entry: LedgerEntry) -> None:
    """Write a certificate into the ledger."""
    tx.execute(
        insert(certificates).values(
            serial_number=entry.serial_number,
            spiffe_id=entry.spiffe_id,
            public_key_sha256=entry.public_key_sha256,
            certificate_der=entry.certificate_der,
            authority_sha256=entry.authority_sha256,
            not_before=_micros(entry.not_before),
            not_after=_micros(entry.not_after),
            issue_time=_micros(entry.issue_time),
            token_id=entry.token_id,
            replaces_serial=entry.replaces_serial,
        )
    )


def certificate_of_token(tx: Transaction, token_id: str) -> tuple[LedgerEntry, bytes]:
    """The certificate that a used token earned, and its authority's chain (PEM)."""
    row = tx.execute(
        select(certificates, authorities.c.chain_pem)
        .join(authorities, authorities.c.authority_sha256 == certificates.c.authority_sha256)
        .where(certificates.c.token_id == token_id)
    ).one()
    return _entry(row), row.chain_pem


def key_is_certified(tx: Transaction, spiffe_id: str, public_key_sha256: bytes, now: datetime) -> bool:
    """Whether a certificate of the identity that has not expired is for this key."""
    living = select(certificates.c.serial_number).where(
        certificates.c.spiffe_id == spiffe_id,
        certificates.c.not_after >= _micros(now),
        certificates.c.public_key_sha256 == public_key_sha256,
    )
    return tx.execute(living.limit(1)).one_or_none() is not None


def record(
    tx: Transaction,
    action: Action,
    origin: Origin,
    time: datetime,
    *,
    spiffe_id: str | None = None,
    token_id: str | None = None,
    serial_number: str | None = None,
    detail: str = "",
) -> None:
    """Write an audit event, in the transaction of what it tells of."""
    tx.execute(
        insert(audit).values(
            time=_micros(time),
            action=action,
            actor=origin.actor,
            address=origin.address,
            request_id=origin.request_id,
            spiffe_id=spiffe_id,
            token_id=token_id,
            serial_number=serial_number,
            detail=detail,
        )
    )


def _token(row: Row[Any]) -> StoredToken:
    return StoredToken(
        token_id=row.token_id,
        spiffe_id=row.spiffe_id,
        expire_time=_time(row.expire_time),
        superseded=row.supersede_time is not None,
        public_key_sha256=row.public_key_sha256,
    )


def _entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        serial_number=row.serial_number,
        spiffe_id=row.spiffe_id,
        public_key_sha256=row.public_key_sha256,
        certificate_der=row.certificate_der,
        authority_sha256=row.authority_sha256,
        not_before=_time(row.not_before),
        not_after=_time(row.not_after),
        issue_time=_time(row.issue_time),
        token_id=row.token_id,
        replaces_serial=row.replaces_serial,
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _time(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
