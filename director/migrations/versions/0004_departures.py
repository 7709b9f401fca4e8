"""What was deleted, until the Connector knows of it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table; what was deleted before is not known any more."""
    op.create_table(
        "departures",
        sa.Column("party_id", _ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("delete_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("party_id", name="pk_departures"),
    )
    op.create_index("ix_departures_delete_time", "departures", ["delete_time"])
