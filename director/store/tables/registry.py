"""Applications, Runtimes and their labels."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from director.store.tables.base import ID, LABEL_KEY, LABEL_VALUE, LINE, NAME, metadata

applications = Table(
    "applications",
    metadata,
    Column("application_id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("configuration_revision", BigInteger, nullable=False),
    Column("credentials_revision", BigInteger, nullable=False, server_default="0"),
    Column("provider", LINE, nullable=False, server_default=""),
    Column("labels", Text, nullable=False, server_default="{}"),
    Column("base_url", Text, nullable=False, server_default=""),
    Column("health_url", Text, nullable=False, server_default=""),
    Column("eventing_runtime_id", ID, nullable=False, server_default=""),
    Column("state", Integer, nullable=False),
    Column("state_time", BigInteger, nullable=False),
    Column("state_reason", Text, nullable=False, server_default=""),
    Column("last_seen_time", BigInteger),
    Index(None, "state", "last_seen_time"),
    Index(None, "eventing_runtime_id"),
    Index(None, "create_time", "application_id"),
)
"""`configuration_revision` is the last revision at which what a Runtime knows of the Application changed,
`credentials_revision` that at which one of its shared credentials did. `labels` is a JSON object; `application_labels`
holds the same to be searched. The `state_*` columns and `last_seen_time` are no part of what a revision names."""


def _labels(name: str, id_column: str, holders: str) -> Table:
    """The index of the labels of one kind of thing: a row for each label, written whenever `labels` is."""
    return Table(
        name,
        metadata,
        Column(id_column, ID, ForeignKey(f"{holders}.{id_column}", ondelete="CASCADE"), primary_key=True),
        Column("key", LABEL_KEY, primary_key=True),
        Column("value", LABEL_VALUE, nullable=False),
        Index(None, "key", "value", id_column),
    )


application_labels = _labels("application_labels", "application_id", "applications")
"""The labels of Applications."""

runtimes = Table(
    "runtimes",
    metadata,
    Column("runtime_id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("event_url", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("state_time", BigInteger, nullable=False, server_default="0"),
    Column("state_reason", Text, nullable=False, server_default=""),
    Column("state_before", Integer, nullable=False, server_default="0"),
    Column("stuck_revision", BigInteger),
    Column("status_revision", BigInteger),
    Column("status_sha256", Text, nullable=False, server_default=""),
    Column("status_state", Integer, nullable=False, server_default="0"),
    Column("status_failures", Text, nullable=False, server_default="[]"),
    Column("agent_version", Text, nullable=False, server_default=""),
    Column("report_time", BigInteger),
    Column("ready_time", BigInteger),
    Column("last_seen_time", BigInteger),
    Column("labels", Text, nullable=False, server_default="{}"),
    Column("credentials_revision", BigInteger, nullable=False, server_default="0"),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index(None, "create_time", "runtime_id"),
    Index(None, "report_time"),
)
"""Runtimes. The `status_*` columns, `agent_version` and `report_time` are the agent's last report;
`status_failures` is a JSON array of `{"application_id", "message"}`. `ready_time` is since when it is READY, null
where it is not; `credentials_revision` the last revision at which a credential for it alone changed.

`state_before` is of use while it is STALE: the state that its reports give it, to which it turns back. So is
`stuck_revision`: where set, it is STALE until it says what became of that revision or a later one; else it was silent.
`state_time` is 0 where a release that does not know of it made the Runtime."""

runtime_labels = _labels("runtime_labels", "runtime_id", "runtimes")
"""The labels of Runtimes."""

label_definitions = Table(
    "label_definitions",
    metadata,
    Column("key", LABEL_KEY, primary_key=True),
    Column("description", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
"""Which values labels may have; `schema` is a JSON Schema, empty where any will do."""
