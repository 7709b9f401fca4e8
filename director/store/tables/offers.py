"""What Applications offer."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from director.store.tables.base import ID, LINE, NAME, SHA256, metadata

specifications = Table(
    "specifications",
    metadata,
    Column("sha256", SHA256, primary_key=True),
    Column("format", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("problems", Text, nullable=False),
)
"""Documents, each once however many offers it describes. The format is part of the key, for the same bytes may be
a good document of one format and a bad one of another. `problems` is a JSON array of strings."""

specification_fetches = Table(
    "specification_fetches",
    metadata,
    Column("offer_id", ID, primary_key=True),
    Column("fetch_id", ID, nullable=False),
    Column("application_id", ID, ForeignKey("applications.application_id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("format", Integer, nullable=False),
    Column("state", Integer, nullable=False),
    Column("failure", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("attempt_time", BigInteger),
    Column("create_time", BigInteger, nullable=False),
    Index(None, "application_id"),
    Index(None, "state", "create_time"),
)
"""Where the document of an API or Event API, `offer_id`, is fetched from, and how that goes. `fetch_id` is new each
time that a fetch is asked for, so that a late outcome of an earlier one is told from it."""

bundles = Table(
    "bundles",
    metadata,
    Column("bundle_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id", ondelete="CASCADE"), nullable=False),
    Column("name", NAME, nullable=False),
    Column("description", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("application_id", "name"),
)
"""Bundles of APIs and Event APIs, which name the one that they are in."""

documents = Table(
    "documents",
    metadata,
    Column("document_id", ID, primary_key=True),
    Column("application_id", ID, ForeignKey("applications.application_id", ondelete="CASCADE"), nullable=False),
    Column("name", NAME, nullable=False),
    Column("description", Text, nullable=False),
    Column("title", LINE, nullable=False),
    Column("format", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("bundle_id", ID, ForeignKey("bundles.bundle_id", ondelete="SET NULL")),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("application_id", "name"),
    Index(None, "bundle_id"),
)
"""Texts that Applications give to those who use what they offer."""


def _offers(name: str, id_column: str, *own: Column[str]) -> Table:
    """The table of one kind of thing that Applications offer; `own` are columns that only this kind has."""
    return Table(
        name,
        metadata,
        Column(id_column, ID, primary_key=True),
        Column(
            "application_id",
            ID,
            ForeignKey("applications.application_id", ondelete="CASCADE"),
            nullable=False,
        ),
        Column("name", NAME, nullable=False),
        Column("description", Text, nullable=False),
        *own,
        Column("specification_sha256", SHA256),
        Column("specification_format", Integer),
        Column("version", NAME, nullable=False, server_default=""),
        Column("version_deprecated", Boolean, nullable=False, server_default=false()),
        Column("version_deprecation_notice", Text, nullable=False, server_default=""),
        Column("version_removal_time", BigInteger),
        Column("version_group", NAME, nullable=False, server_default=""),
        Column("bundle_id", ID, ForeignKey("bundles.bundle_id", ondelete="SET NULL")),
        Column("create_time", BigInteger, nullable=False),
        Column("update_time", BigInteger, nullable=False),
        Column("revision", BigInteger, nullable=False),
        UniqueConstraint("application_id", "name"),
        ForeignKeyConstraint(
            ["specification_sha256", "specification_format"],
            ["specifications.sha256", "specifications.format"],
        ),
        Index(None, "specification_sha256", "specification_format"),
        Index(None, "bundle_id"),
        Index(None, "create_time", id_column),
    )


apis = _offers("apis", "api_id", Column("target_url", Text, nullable=False))
"""The APIs that Applications offer."""

event_apis = _offers("event_apis", "event_api_id")
"""The Event APIs that Applications offer."""
