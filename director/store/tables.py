"""The Director's tables, as SQLAlchemy Core metadata.

Ids are UUIDs in their canonical text form. Times are whole microseconds since the Unix epoch, UTC. A `revision` is
a place in the change log. An `etag` is not stored: it follows from the row's revision.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""All tables of the service. Constraints are named, so that a migration can change each of them."""

_ID = String(36)
_NAME = String(63)
_SHA256 = String(64)
_ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only under this type

plane = Table(
    "plane",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("plane_id", _ID, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("horizon", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""One row: which plane this is, its last revision, and the oldest revision from which a reader can resume."""

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("action", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("resource_id", _ID, nullable=False),
    Column("application_id", _ID),
    Column("group_id", _ID),
    Column("runtime_id", _ID),
)
"""The change log: a revision for each unit of work that changed something, a row for each thing it changed."""

applications = Table(
    "applications",
    metadata,
    Column("application_id", _ID, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("configuration_revision", BigInteger, nullable=False),
)
"""`configuration_revision` is the last revision at which what a Runtime knows of the Application changed."""

specifications = Table(
    "specifications",
    metadata,
    Column("sha256", _SHA256, primary_key=True),
    Column("format", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("problems", Text, nullable=False),
)
"""Documents, each once however many offers it describes. The format is part of the key, for the same bytes may be
a good document of one format and a bad one of another. `problems` is a JSON array of strings."""


def _offers(name: str, id_column: str, *own: Column[str]) -> Table:
    """The table of one kind of thing that Applications offer; `own` are columns that only this kind has."""
    return Table(
        name,
        metadata,
        Column(id_column, _ID, primary_key=True),
        Column(
            "application_id",
            _ID,
            ForeignKey("applications.application_id", ondelete="CASCADE"),
            nullable=False,
        ),
        Column("name", _NAME, nullable=False),
        Column("description", Text, nullable=False),
        *own,
        Column("specification_sha256", _SHA256),
        Column("specification_format", Integer),
        Column("create_time", BigInteger, nullable=False),
        Column("update_time", BigInteger, nullable=False),
        Column("revision", BigInteger, nullable=False),
        UniqueConstraint("application_id", "name"),
        ForeignKeyConstraint(
            ["specification_sha256", "specification_format"],
            ["specifications.sha256", "specifications.format"],
        ),
        Index(None, "specification_sha256", "specification_format"),
    )


apis = _offers("apis", "api_id", Column("target_url", Text, nullable=False))
"""The APIs that Applications offer."""

event_apis = _offers("event_apis", "event_api_id")
"""The Event APIs that Applications offer."""

groups = Table(
    "groups",
    metadata,
    Column("group_id", _ID, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
"""Groups; who is in them stands in `group_applications` and `group_runtimes`."""

runtimes = Table(
    "runtimes",
    metadata,
    Column("runtime_id", _ID, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("event_url", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("status_revision", BigInteger),
    Column("status_sha256", Text, nullable=False, server_default=""),
    Column("status_state", Integer, nullable=False, server_default="0"),
    Column("status_failures", Text, nullable=False, server_default="[]"),
    Column("agent_version", Text, nullable=False, server_default=""),
    Column("report_time", BigInteger),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
"""Runtimes. The `status_*` columns, `agent_version` and `report_time` are the agent's last report;
`status_failures` is a JSON array of `{"application_id", "message"}`."""


def _memberships(name: str, member_column: str) -> Table:
    """The table of one kind of membership.

    A membership that ends keeps its row with `removed_revision` set, so that who was in a group at an earlier
    revision can be told: the row held at revision r when added_revision <= r and (removed_revision is null or
    removed_revision > r). There are no foreign keys, for the history outlives the members.
    """
    table = Table(
        name,
        metadata,
        Column("id", _ROW_NUMBER, primary_key=True),
        Column("group_id", _ID, nullable=False),
        Column(member_column, _ID, nullable=False),
        Column("added_revision", BigInteger, nullable=False),
        Column("removed_revision", BigInteger),
        Index(None, "group_id", member_column),
        Index(None, member_column, "group_id"),
    )
    living = table.c.removed_revision.is_(None)
    Index(
        f"uq_{name}_living",
        table.c.group_id,
        table.c[member_column],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )
    return table


group_applications = _memberships("group_applications", "application_id")
"""Which Applications are, or were, in which groups."""

group_runtimes = _memberships("group_runtimes", "runtime_id")
"""Which Runtimes are, or were, in which groups."""

webhooks = Table(
    "webhooks",
    metadata,
    Column(
        "application_id",
        _ID,
        ForeignKey("applications.application_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("url", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("last_success_time", BigInteger),
    Column("last_failure_time", BigInteger),
    Column("last_failure", Text, nullable=False, server_default=""),
)
"""Where an Application hears of its Runtimes. The signing secret is stored sealed, never plain."""

notices = Table(
    "notices",
    metadata,
    Column("notice_id", _ID, primary_key=True),
    Column("application_id", _ID, nullable=False),
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

replies = Table(
    "replies",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("request_id", _ID, primary_key=True),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Index(None, "create_time"),
)
"""First answers to requests that carried a request id (AIP-155), to be given again."""
