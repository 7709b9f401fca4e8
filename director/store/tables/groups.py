"""Groups and their members."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, Text, false, true

from director.store.tables.base import ID, LABEL_KEY, LABEL_VALUE, NAME, ROW_NUMBER, metadata

groups = Table(
    "groups",
    metadata,
    Column("group_id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("application_selector", LargeBinary),
    Column("runtime_selector", LargeBinary),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
"""Groups; who is in them stands in `group_applications` and `group_runtimes`. The selectors are serialised
`LabelSelector` messages."""

selector_anchors = Table(
    "selector_anchors",
    metadata,
    Column("group_id", ID, ForeignKey("groups.group_id", ondelete="CASCADE"), primary_key=True),
    Column("member_kind", String(16), primary_key=True),
    Column("key", LABEL_KEY, nullable=False),
    Column("value", LABEL_VALUE),
    Index(None, "member_kind", "key", "value"),
)
"""For each selector, one label without which nothing fits it: the groups that a labelled thing may belong to are found
by its labels alone. `value` is null where any value may do, and `key` empty where no single label decides.
`member_kind` is APPLICATION or RUNTIME."""


def _memberships(name: str, member_column: str) -> Table:
    """The table of one kind of membership.

    A membership that ends keeps its row with `removed_revision` set, so that who was in a group at an earlier
    revision can be told: the row held at revision r when added_revision <= r and (removed_revision is null or
    removed_revision > r). There are no foreign keys, for the history outlives the members. `added` says that it was
    asked for by name, `selected` that the group's selector asks for it; it ends when neither is so.
    """
    table = Table(
        name,
        metadata,
        Column("id", ROW_NUMBER, primary_key=True),
        Column("group_id", ID, nullable=False),
        Column(member_column, ID, nullable=False),
        Column("added_revision", BigInteger, nullable=False),
        Column("removed_revision", BigInteger),
        Column("added", Boolean, nullable=False, server_default=true()),
        Column("selected", Boolean, nullable=False, server_default=false()),
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
