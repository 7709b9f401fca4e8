"""The first tables: tokens, authorities, the ledger of certificates, the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(36), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary, nullable=False),
        sa.Column("spiffe_id", sa.Text, nullable=False),
        sa.Column("issue_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.Column("supersede_time", sa.BigInteger),
        sa.Column("use_time", sa.BigInteger),
        sa.Column("public_key_sha256", sa.LargeBinary),
        sa.PrimaryKeyConstraint("token_id", name="pk_tokens"),
        sa.UniqueConstraint("secret_sha256", name="uq_tokens_secret_sha256"),
    )
    op.create_index("ix_tokens_spiffe_id", "tokens", ["spiffe_id"])
    op.create_table(
        "authorities",
        sa.Column("authority_sha256", sa.LargeBinary, nullable=False),
        sa.Column("chain_pem", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("authority_sha256", name="pk_authorities"),
    )
    op.create_table(
        "certificates",
        sa.Column("serial_number", sa.String(40), nullable=False),
        sa.Column("spiffe_id", sa.Text, nullable=False),
        sa.Column("public_key_sha256", sa.LargeBinary, nullable=False),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
        sa.Column("authority_sha256", sa.LargeBinary, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("issue_time", sa.BigInteger, nullable=False),
        sa.Column("token_id", sa.String(36)),
        sa.Column("replaces_serial", sa.String(40)),
        sa.PrimaryKeyConstraint("serial_number", name="pk_certificates"),
        sa.ForeignKeyConstraint(
            ["authority_sha256"], ["authorities.authority_sha256"], name="fk_certificates_authority_sha256"
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name="fk_certificates_token_id"),
        sa.UniqueConstraint("token_id", name="uq_certificates_token_id"),
    )
    op.create_index("ix_certificates_spiffe_id_not_after", "certificates", ["spiffe_id", "not_after"])
    op.create_table(
        "audit",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("spiffe_id", sa.Text),
        sa.Column("token_id", sa.String(36)),
        sa.Column("serial_number", sa.String(40)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_audit"),
    )
    op.create_index("ix_audit_time", "audit", ["time"])
    op.create_index("ix_audit_spiffe_id", "audit", ["spiffe_id"])
