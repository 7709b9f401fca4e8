"""Credentials, the requests for them, and the keys that they are sealed under."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from director.store.tables.base import ID, metadata

credentials = Table(
    "credentials",
    metadata,
    Column("application_id", ID, ForeignKey("applications.application_id", ondelete="CASCADE"), primary_key=True),
    Column("target_id", ID, primary_key=True),
    Column("runtime_id", ID, primary_key=True),
    Column("target_kind", String(16), nullable=False),
    Column("type", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index(None, "runtime_id"),
    Index(None, "target_id"),
)
"""Credentials of APIs and bundles, `target_id`. `runtime_id` is empty for one that is shared. `target_kind` is API or
BUNDLE; `sealed` is the sealed `SuppliedCredential` message."""

access_requests = Table(
    "access_requests",
    metadata,
    Column("access_request_id", ID, primary_key=True),
    Column("runtime_id", ID, ForeignKey("runtimes.runtime_id", ondelete="CASCADE"), nullable=False),
    Column("application_id", ID, ForeignKey("applications.application_id", ondelete="CASCADE"), nullable=False),
    Column("target_id", ID, nullable=False),
    Column("target_kind", String(16), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("refusal", Text, nullable=False, server_default=""),
    Column("create_time", BigInteger, nullable=False),
    Column("answer_time", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Index(None, "application_id", "state"),
    Index(None, "runtime_id", "target_id"),
)
"""Runtimes' questions for credentials of their own, and what became of them."""

data_keys = Table(
    "data_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("provider_key_id", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("create_time", BigInteger, nullable=False),
)
"""The keys that secrets are sealed under, each wrapped under a key that is not here. `state` is ACTIVE, which one of
them is, or RETIRED."""

Index(
    "uq_data_keys_active",
    data_keys.c.state,
    unique=True,
    sqlite_where=data_keys.c.state == "ACTIVE",
    postgresql_where=data_keys.c.state == "ACTIVE",
)
