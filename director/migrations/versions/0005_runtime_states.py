"""Since when and why a Runtime is in its state, and what it was before it was STALE."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and an index; since when is known as far as the report and the creation tell."""
    op.add_column("runtimes", sa.Column("state_time", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("runtimes", sa.Column("state_reason", sa.Text(), server_default="", nullable=False))
    op.add_column("runtimes", sa.Column("state_before", sa.Integer(), server_default="0", nullable=False))
    op.add_column("runtimes", sa.Column("stuck_revision", sa.BigInteger()))
    times = ("ready_time", "report_time", "create_time")
    runtimes = sa.table("runtimes", sa.column("state_time"), *(sa.column(name) for name in times))
    since = sa.func.coalesce(*(runtimes.c[name] for name in times))
    op.execute(sa.update(runtimes).values(state_time=since))
    op.create_index("ix_runtimes_report_time", "runtimes", ["report_time"])
