"""The Connector's tables: one-time tokens, the ledger of certificates, what was revoked, the audit.

Times are whole microseconds since the Unix epoch, UTC. Serial numbers are lowercase hexadecimal, two digits an octet.
Enumerations are kept by the contract's numbers. States are derived and never stored. Nothing here opens anything:
tokens are kept as the SHA-256 of their secret, keys as the SHA-256 of their public half.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from connector.store.base import ID, SERIAL, SPIFFE_ID, metadata

_REVOKED = text("revoke_time IS NOT NULL")

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", ID, primary_key=True),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("spiffe_id", SPIFFE_ID, nullable=False),
    Column("issue_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("supersede_time", BigInteger),
    Column("use_time", BigInteger),
    Column("public_key_sha256", LargeBinary),
    Column("issuer", Text),
    Column("revoke_time", BigInteger),
    Column("delivery_state", SmallInteger),
    Column("delivery_time", BigInteger),
    Column("delivery_failure", Text),
    Column("dns_names", Text),
    Column("ip_addresses", Text),
    Index(None, "spiffe_id"),
    Index(None, "issue_time", "token_id"),
)
"""One-time tokens. `use_time` and `public_key_sha256` are set once, together: when, and with which key, it was used.
Whatever sets `revoke_time` sets `supersede_time`, too: an instance of the release before knows only that. `dns_names`
and `ip_addresses` are JSON lists, and only a service's token has them. Rows of the release before have no `issuer`."""

authorities = Table(
    "authorities",
    metadata,
    Column("authority_sha256", LargeBinary, primary_key=True),
    Column("chain_pem", LargeBinary, nullable=False),
    Column("certificate_der", LargeBinary),
    Column("key_identifier", LargeBinary),
    Column("root_sha256", LargeBinary),
    Column("not_after", BigInteger),
    Column("retire_time", BigInteger),
)
"""Issuing authorities that have signed what is in the ledger, each with its chain below the root, PEM. It is live while
it has no `retire_time` and its `not_after` is to come. The other columns are filled in at each start of an instance."""

certificates = Table(
    "certificates",
    metadata,
    Column("serial_number", SERIAL, primary_key=True),
    Column("spiffe_id", SPIFFE_ID, nullable=False),
    Column("public_key_sha256", LargeBinary, nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("authority_sha256", LargeBinary, ForeignKey("authorities.authority_sha256"), nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("issue_time", BigInteger, nullable=False),
    Column("token_id", ID, ForeignKey("tokens.token_id"), unique=True),
    Column("replaces_serial", SERIAL),
    Column("origin", SmallInteger),
    Column("planned_tbs", LargeBinary),
    Column("first_use_time", BigInteger),
    Column("revoke_time", BigInteger),
    Column("revocation_reason", SmallInteger),
    Column("revoked_by", Text),
    Column("revocation_note", Text),
    Index(None, "spiffe_id", "not_after"),
    Index(None, "spiffe_id", "issue_time"),
    Index(None, "issue_time", "serial_number"),
    Index(None, "not_after"),
    Index(None, "replaces_serial"),
    Index("ix_certificates_revoked", "not_after", sqlite_where=_REVOKED, postgresql_where=_REVOKED),
)
"""The ledger: every certificate that was to be signed, with the token (enrolment) or the certificate (renewal,
recovery) that earned it. While it is only planned, `certificate_der` is empty and `planned_tbs` says what is to be
signed. A token has one certificate at most. `replaces_serial` may name one from outside of the ledger. What was
superseded has a `revoke_time` and the reason SUPERSEDED. Rows of the release before have no `origin`: with a `token_id`
it is ENROLLED, else RENEWED."""

identities = Table(
    "identities",
    metadata,
    Column("spiffe_id", SPIFFE_ID, primary_key=True),
    Column("ban_time", BigInteger),
    Column("revoke_time", BigInteger, nullable=False),
    Column("revocation_reason", SmallInteger, nullable=False),
    Column("revoked_by", Text, nullable=False),
    Column("revocation_note", Text, nullable=False),
)
"""Identities that were ever evicted or banned; `ban_time` is set while one is banned. All others are those that tokens
and certificates name."""

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("ledger_id", ID, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("horizon", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""One row: which ledger this is, the last revision of its log of revocations, and the oldest one from which a reader
can resume."""

revocations = Table(
    "revocations",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("serial_number", SERIAL),
    Column("not_after", BigInteger),
    Column("reason", SmallInteger),
    Column("spiffe_id", SPIFFE_ID),
    Index(None, "time"),
)
"""The log of revocations: a revision for each unit of work that revoked or restored something, a row for each thing.
`kind` is CERTIFICATE (with `serial_number`, `not_after`, `reason`), BAN or RESTORE (with `spiffe_id`), or AUTHORITIES:
which of them are live has changed."""

crls = Table(
    "crls",
    metadata,
    Column("authority_sha256", LargeBinary, ForeignKey("authorities.authority_sha256"), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("this_update", BigInteger, nullable=False),
    Column("next_update", BigInteger, nullable=False),
    Column("crl_der", LargeBinary, nullable=False),
)
"""The last certificate revocation list of each authority, and the revision of the log that it tells of."""

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
    Column("token_id", ID),
    Column("serial_number", SERIAL),
    Column("detail", Text, nullable=False),
    Index(None, "time"),
    Index(None, "spiffe_id"),
)
"""Who did what, and from where. `actor` is a SPIFFE ID, or empty for a newcomer who has none yet."""
