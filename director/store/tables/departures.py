"""What was deleted, until the Connector knows of it."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from director.store.tables.base import ID, metadata

departures = Table(
    "departures",
    metadata,
    Column("party_id", ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("delete_time", BigInteger, nullable=False),
    Index(None, "delete_time"),
)
"""Applications and Runtimes that were deleted, and whose identities are still to be revoked. `kind` is APPLICATION or
RUNTIME."""
