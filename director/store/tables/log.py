"""The change log, and the first answers to requests."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, String, Table, Text

from director.store.tables.base import ID, LABEL_KEY, metadata

COUNTED = ("applications", "runtimes", "groups", "label_definitions")
"""The tables whose rows are counted as they come and go."""

plane = Table(
    "plane",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("plane_id", ID, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("horizon", BigInteger, nullable=False),
    *(Column(table, BigInteger, nullable=False, server_default="0") for table in COUNTED),
    CheckConstraint("id = 1", name="single"),
)
"""One row: which plane this is, its last revision, and the oldest revision from which a reader can resume.

A column that is named as another table says how many rows that table has: to count them takes long on PostgreSQL.
"""

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
    Column("resource_id", LABEL_KEY, nullable=False),
    Column("application_id", ID),
    Column("group_id", ID),
    Column("runtime_id", ID),
)
"""The change log: a revision for each unit of work that changed something, a row for each thing it changed."""

replies = Table(
    "replies",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("request_id", ID, primary_key=True),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Index(None, "create_time"),
)
"""First answers to requests that carried a request id (AIP-155), to be given again."""
