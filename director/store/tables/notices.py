"""Webhooks and what is sent to them."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from director.store.tables.base import ID, metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column(
        "application_id",
        ID,
        ForeignKey("applications.application_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("url", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("last_success_time", BigInteger),
    Column("last_failure_time", BigInteger),
    Column("last_failure", Text, nullable=False, server_default=""),
    Column("pairing_url", Text, nullable=False, server_default=""),
)
"""Where an Application hears of its Runtimes, and where it takes one-time tokens, empty for nowhere. The signing secret
is stored sealed, never plain."""

notices = Table(
    "notices",
    metadata,
    Column("notice_id", ID, primary_key=True),
    Column("application_id", ID, nullable=False),
    Column("type", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("settle_time", BigInteger),
    Index(None, "state", "create_time"),
    Index(None, "application_id", "state"),
)
"""The outbox of webhook notices. `state` is WAITING, DELIVERED or FAILED; `body` is JSON text."""
