"""The first tables: operations with their steps, runtimes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("runtime_key", sa.String(36), nullable=False),
        sa.Column("runtime_id", sa.String(36)),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("request_id", sa.String(36)),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("error", sa.LargeBinary),
        sa.Column("response", sa.LargeBinary),
        sa.PrimaryKeyConstraint("operation_id", name="pk_operations"),
        sa.UniqueConstraint("caller", "kind", "request_id", name="uq_operations_caller_kind_request_id"),
    )
    op.create_index("ix_operations_end_time", "operations", ["end_time"])
    op.create_index("ix_operations_create_time_operation_id", "operations", ["create_time", "operation_id"])
    op.create_table(
        "steps",
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.PrimaryKeyConstraint("operation_id", "position", name="pk_steps"),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.operation_id"], ondelete="CASCADE", name="fk_steps_operation_id"
        ),
    )
    op.create_table(
        "runtimes",
        sa.Column("runtime_key", sa.String(36), nullable=False),
        sa.Column("runtime_id", sa.String(36)),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("driver", sa.String(63), nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("runtime_key", name="pk_runtimes"),
        sa.UniqueConstraint("runtime_id", name="uq_runtimes_runtime_id"),
    )
    op.create_index("ix_runtimes_name_runtime_key", "runtimes", ["name", "runtime_key"])
    op.create_index("ix_runtimes_state", "runtimes", ["state"])
