"""How many there are of the things that a list without a filter tells the number of."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNTED = ("applications", "runtimes", "groups", "label_definitions")


def upgrade() -> None:
    """Add the columns, and count."""
    for name in COUNTED:
        op.add_column("plane", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    plane = sa.table("plane", *(sa.column(name, sa.BigInteger()) for name in COUNTED))
    counts = {name: sa.select(sa.func.count()).select_from(sa.table(name)).scalar_subquery() for name in COUNTED}
    op.execute(sa.update(plane).values(counts))
