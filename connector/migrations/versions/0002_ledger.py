"""What becomes of tokens, certificates and identities: issuers, deliveries, plans, uses, revocations and their log.

Nothing is taken away, and nothing new has to be written: an instance of the release before works on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SPIFFE_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_REVOKED = sa.text("revoke_time IS NOT NULL")


def upgrade() -> None:
    """Add the columns, the tables and the indexes."""
    if op.get_context().dialect.name == "postgresql":  # SQLite orders texts by their bytes in any case
        for table in ("tokens", "certificates"):
            op.alter_column(table, "spiffe_id", type_=sa.Text(collation="C"), existing_nullable=False)
    _tokens()
    _authorities()
    _certificates()
    _revocations()


def _tokens() -> None:
    for column in (
        sa.Column("issuer", sa.Text),
        sa.Column("revoke_time", sa.BigInteger),
        sa.Column("delivery_state", sa.SmallInteger),
        sa.Column("delivery_time", sa.BigInteger),
        sa.Column("delivery_failure", sa.Text),
        sa.Column("dns_names", sa.Text),
        sa.Column("ip_addresses", sa.Text),
    ):
        op.add_column("tokens", column)
    op.create_index("ix_tokens_issue_time_token_id", "tokens", ["issue_time", "token_id"])


def _authorities() -> None:
    for column in (
        sa.Column("certificate_der", sa.LargeBinary),
        sa.Column("key_identifier", sa.LargeBinary),
        sa.Column("root_sha256", sa.LargeBinary),
        sa.Column("not_after", sa.BigInteger),
        sa.Column("retire_time", sa.BigInteger),
    ):
        op.add_column("authorities", column)


def _certificates() -> None:
    for column in (
        sa.Column("origin", sa.SmallInteger),
        sa.Column("planned_tbs", sa.LargeBinary),
        sa.Column("first_use_time", sa.BigInteger),
        sa.Column("revoke_time", sa.BigInteger),
        sa.Column("revocation_reason", sa.SmallInteger),
        sa.Column("revoked_by", sa.Text),
        sa.Column("revocation_note", sa.Text),
    ):
        op.add_column("certificates", column)
    for columns in (
        ["spiffe_id", "issue_time"],
        ["issue_time", "serial_number"],
        ["not_after"],
        ["replaces_serial"],
    ):
        op.create_index(f"ix_certificates_{'_'.join(columns)}", "certificates", columns)
    op.create_index(
        "ix_certificates_revoked", "certificates", ["not_after"], sqlite_where=_REVOKED, postgresql_where=_REVOKED
    )


def _revocations() -> None:
    op.create_table(
        "identities",
        sa.Column("spiffe_id", _SPIFFE_ID, nullable=False),
        sa.Column("ban_time", sa.BigInteger),
        sa.Column("revoke_time", sa.BigInteger, nullable=False),
        sa.Column("revocation_reason", sa.SmallInteger, nullable=False),
        sa.Column("revoked_by", sa.Text, nullable=False),
        sa.Column("revocation_note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("spiffe_id", name="pk_identities"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("ledger_id", sa.String(36), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("horizon", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
        sa.CheckConstraint("id = 1", name="ck_ledger_single"),
    )
    op.create_table(
        "revocations",
        sa.Column("revision", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("serial_number", sa.String(40)),
        sa.Column("not_after", sa.BigInteger),
        sa.Column("reason", sa.SmallInteger),
        sa.Column("spiffe_id", _SPIFFE_ID),
        sa.PrimaryKeyConstraint("revision", "position", name="pk_revocations"),
    )
    op.create_index("ix_revocations_time", "revocations", ["time"])
    op.create_table(
        "crls",
        sa.Column("authority_sha256", sa.LargeBinary, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("this_update", sa.BigInteger, nullable=False),
        sa.Column("next_update", sa.BigInteger, nullable=False),
        sa.Column("crl_der", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("authority_sha256", name="pk_crls"),
        sa.ForeignKeyConstraint(
            ["authority_sha256"], ["authorities.authority_sha256"], name="fk_crls_authority_sha256"
        ),
    )
