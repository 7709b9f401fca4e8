"""Where an Application takes one-time tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nobody has such a place yet."""
    op.add_column("webhooks", sa.Column("pairing_url", sa.Text(), server_default="", nullable=False))
