"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Ordered by their bytes on both engines, for lists are.
ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")
LABEL_KEY = sa.String(317).with_variant(sa.String(317, collation="C"), "postgresql")
LINE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "applications",
        sa.Column("application_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("configuration_revision", sa.BigInteger(), nullable=False),
        sa.Column("credentials_revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("provider", LINE, server_default="", nullable=False),
        sa.Column("labels", sa.Text(), server_default="{}", nullable=False),
        sa.Column("base_url", sa.Text(), server_default="", nullable=False),
        sa.Column("health_url", sa.Text(), server_default="", nullable=False),
        sa.Column("eventing_runtime_id", ID, server_default="", nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("state_time", sa.BigInteger(), nullable=False),
        sa.Column("state_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("last_seen_time", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("application_id", name="pk_applications"),
        sa.UniqueConstraint("name", name="uq_applications_name"),
    )
    op.create_index(
        "ix_applications_create_time_application_id", "applications", ["create_time", "application_id"], unique=False
    )
    op.create_index("ix_applications_eventing_runtime_id", "applications", ["eventing_runtime_id"], unique=False)
    op.create_index("ix_applications_state_last_seen_time", "applications", ["state", "last_seen_time"], unique=False)
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("resource_id", LABEL_KEY, nullable=False),
        sa.Column("application_id", ID, nullable=True),
        sa.Column("group_id", ID, nullable=True),
        sa.Column("runtime_id", ID, nullable=True),
        sa.PrimaryKeyConstraint("revision", "position", name="pk_changes"),
    )
    op.create_table(
        "data_keys",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("provider_key_id", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_data_keys"),
    )
    op.create_index(
        "uq_data_keys_active",
        "data_keys",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )
    op.create_table(
        "group_applications",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("added_revision", sa.BigInteger(), nullable=False),
        sa.Column("removed_revision", sa.BigInteger(), nullable=True),
        sa.Column("added", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("selected", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_group_applications"),
    )
    op.create_index(
        "ix_group_applications_application_id_group_id",
        "group_applications",
        ["application_id", "group_id"],
        unique=False,
    )
    op.create_index(
        "ix_group_applications_group_id_application_id",
        "group_applications",
        ["group_id", "application_id"],
        unique=False,
    )
    op.create_index(
        "uq_group_applications_living",
        "group_applications",
        ["group_id", "application_id"],
        unique=True,
        sqlite_where=sa.text("removed_revision IS NULL"),
        postgresql_where=sa.text("removed_revision IS NULL"),
    )
    op.create_table(
        "group_runtimes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("runtime_id", ID, nullable=False),
        sa.Column("added_revision", sa.BigInteger(), nullable=False),
        sa.Column("removed_revision", sa.BigInteger(), nullable=True),
        sa.Column("added", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("selected", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_group_runtimes"),
    )
    op.create_index("ix_group_runtimes_group_id_runtime_id", "group_runtimes", ["group_id", "runtime_id"], unique=False)
    op.create_index("ix_group_runtimes_runtime_id_group_id", "group_runtimes", ["runtime_id", "group_id"], unique=False)
    op.create_index(
        "uq_group_runtimes_living",
        "group_runtimes",
        ["group_id", "runtime_id"],
        unique=True,
        sqlite_where=sa.text("removed_revision IS NULL"),
        postgresql_where=sa.text("removed_revision IS NULL"),
    )
    op.create_table(
        "groups",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("application_selector", sa.LargeBinary(), nullable=True),
        sa.Column("runtime_selector", sa.LargeBinary(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", name="pk_groups"),
        sa.UniqueConstraint("name", name="uq_groups_name"),
    )
    op.create_table(
        "label_definitions",
        sa.Column("key", LABEL_KEY, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_label_definitions"),
    )
    op.create_table(
        "notices",
        sa.Column("notice_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("settle_time", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", name="pk_notices"),
    )
    op.create_index("ix_notices_application_id_state", "notices", ["application_id", "state"], unique=False)
    op.create_index("ix_notices_state_create_time", "notices", ["state", "create_time"], unique=False)
    op.create_table(
        "plane",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("plane_id", ID, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("horizon", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_plane_single"),
        sa.PrimaryKeyConstraint("id", name="pk_plane"),
    )
    op.create_table(
        "replies",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "method", "request_id", name="pk_replies"),
    )
    op.create_index("ix_replies_create_time", "replies", ["create_time"], unique=False)
    op.create_table(
        "runtimes",
        sa.Column("runtime_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_url", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("status_revision", sa.BigInteger(), nullable=True),
        sa.Column("status_sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("status_state", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status_failures", sa.Text(), server_default="[]", nullable=False),
        sa.Column("agent_version", sa.Text(), server_default="", nullable=False),
        sa.Column("report_time", sa.BigInteger(), nullable=True),
        sa.Column("ready_time", sa.BigInteger(), nullable=True),
        sa.Column("last_seen_time", sa.BigInteger(), nullable=True),
        sa.Column("labels", sa.Text(), server_default="{}", nullable=False),
        sa.Column("credentials_revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("runtime_id", name="pk_runtimes"),
        sa.UniqueConstraint("name", name="uq_runtimes_name"),
    )
    op.create_index("ix_runtimes_create_time_runtime_id", "runtimes", ["create_time", "runtime_id"], unique=False)
    op.create_table(
        "specifications",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("format", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "format", name="pk_specifications"),
    )
    op.create_table(
        "access_requests",
        sa.Column("access_request_id", ID, nullable=False),
        sa.Column("runtime_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.Column("target_kind", sa.String(length=16), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("refusal", sa.Text(), server_default="", nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("answer_time", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.application_id"],
            name="fk_access_requests_application_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["runtime_id"], ["runtimes.runtime_id"], name="fk_access_requests_runtime_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("access_request_id", name="pk_access_requests"),
    )
    op.create_index(
        "ix_access_requests_application_id_state", "access_requests", ["application_id", "state"], unique=False
    )
    op.create_index(
        "ix_access_requests_runtime_id_target_id", "access_requests", ["runtime_id", "target_id"], unique=False
    )
    op.create_table(
        "application_labels",
        sa.Column("application_id", ID, nullable=False),
        sa.Column("key", LABEL_KEY, nullable=False),
        sa.Column("value", NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.application_id"],
            name="fk_application_labels_application_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("application_id", "key", name="pk_application_labels"),
    )
    op.create_index(
        "ix_application_labels_key_value_application_id",
        "application_labels",
        ["key", "value", "application_id"],
        unique=False,
    )
    op.create_table(
        "bundles",
        sa.Column("bundle_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.application_id"], name="fk_bundles_application_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("bundle_id", name="pk_bundles"),
        sa.UniqueConstraint("application_id", "name", name="uq_bundles_application_id_name"),
    )
    op.create_table(
        "credentials",
        sa.Column("application_id", ID, nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.Column("runtime_id", ID, nullable=False),
        sa.Column("target_kind", sa.String(length=16), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.application_id"],
            name="fk_credentials_application_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("application_id", "target_id", "runtime_id", name="pk_credentials"),
    )
    op.create_index("ix_credentials_runtime_id", "credentials", ["runtime_id"], unique=False)
    op.create_index("ix_credentials_target_id", "credentials", ["target_id"], unique=False)
    op.create_table(
        "runtime_labels",
        sa.Column("runtime_id", ID, nullable=False),
        sa.Column("key", LABEL_KEY, nullable=False),
        sa.Column("value", NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["runtime_id"], ["runtimes.runtime_id"], name="fk_runtime_labels_runtime_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("runtime_id", "key", name="pk_runtime_labels"),
    )
    op.create_index(
        "ix_runtime_labels_key_value_runtime_id", "runtime_labels", ["key", "value", "runtime_id"], unique=False
    )
    op.create_table(
        "selector_anchors",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("member_kind", sa.String(length=16), nullable=False),
        sa.Column("key", LABEL_KEY, nullable=False),
        sa.Column("value", NAME, nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.group_id"], name="fk_selector_anchors_group_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "member_kind", name="pk_selector_anchors"),
    )
    op.create_index(
        "ix_selector_anchors_member_kind_key_value", "selector_anchors", ["member_kind", "key", "value"], unique=False
    )
    op.create_table(
        "specification_fetches",
        sa.Column("offer_id", ID, nullable=False),
        sa.Column("fetch_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("failure", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt_time", sa.BigInteger(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["applications.application_id"],
            name="fk_specification_fetches_application_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("offer_id", name="pk_specification_fetches"),
    )
    op.create_index(
        "ix_specification_fetches_application_id", "specification_fetches", ["application_id"], unique=False
    )
    op.create_index(
        "ix_specification_fetches_state_create_time", "specification_fetches", ["state", "create_time"], unique=False
    )
    op.create_table(
        "webhooks",
        sa.Column("application_id", ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("last_success_time", sa.BigInteger(), nullable=True),
        sa.Column("last_failure_time", sa.BigInteger(), nullable=True),
        sa.Column("last_failure", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.application_id"], name="fk_webhooks_application_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("application_id", name="pk_webhooks"),
    )
    op.create_table(
        "apis",
        sa.Column("api_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("target_url", sa.Text(), nullable=False),
        sa.Column("specification_sha256", sa.String(length=64), nullable=True),
        sa.Column("specification_format", sa.Integer(), nullable=True),
        sa.Column("version", NAME, server_default="", nullable=False),
        sa.Column("version_deprecated", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version_deprecation_notice", sa.Text(), server_default="", nullable=False),
        sa.Column("version_removal_time", sa.BigInteger(), nullable=True),
        sa.Column("version_group", NAME, server_default="", nullable=False),
        sa.Column("bundle_id", ID, nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.application_id"], name="fk_apis_application_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.bundle_id"], name="fk_apis_bundle_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["specification_sha256", "specification_format"],
            ["specifications.sha256", "specifications.format"],
            name="fk_apis_specification_sha256",
        ),
        sa.PrimaryKeyConstraint("api_id", name="pk_apis"),
        sa.UniqueConstraint("application_id", "name", name="uq_apis_application_id_name"),
    )
    op.create_index("ix_apis_bundle_id", "apis", ["bundle_id"], unique=False)
    op.create_index("ix_apis_create_time_api_id", "apis", ["create_time", "api_id"], unique=False)
    op.create_index(
        "ix_apis_specification_sha256_specification_format",
        "apis",
        ["specification_sha256", "specification_format"],
        unique=False,
    )
    op.create_table(
        "documents",
        sa.Column("document_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("title", LINE, nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("bundle_id", ID, nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.application_id"], name="fk_documents_application_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["bundle_id"], ["bundles.bundle_id"], name="fk_documents_bundle_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("document_id", name="pk_documents"),
        sa.UniqueConstraint("application_id", "name", name="uq_documents_application_id_name"),
    )
    op.create_index("ix_documents_bundle_id", "documents", ["bundle_id"], unique=False)
    op.create_table(
        "event_apis",
        sa.Column("event_api_id", ID, nullable=False),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("specification_sha256", sa.String(length=64), nullable=True),
        sa.Column("specification_format", sa.Integer(), nullable=True),
        sa.Column("version", NAME, server_default="", nullable=False),
        sa.Column("version_deprecated", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version_deprecation_notice", sa.Text(), server_default="", nullable=False),
        sa.Column("version_removal_time", sa.BigInteger(), nullable=True),
        sa.Column("version_group", NAME, server_default="", nullable=False),
        sa.Column("bundle_id", ID, nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.application_id"], name="fk_event_apis_application_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["bundle_id"], ["bundles.bundle_id"], name="fk_event_apis_bundle_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["specification_sha256", "specification_format"],
            ["specifications.sha256", "specifications.format"],
            name="fk_event_apis_specification_sha256",
        ),
        sa.PrimaryKeyConstraint("event_api_id", name="pk_event_apis"),
        sa.UniqueConstraint("application_id", "name", name="uq_event_apis_application_id_name"),
    )
    op.create_index("ix_event_apis_bundle_id", "event_apis", ["bundle_id"], unique=False)
    op.create_index(
        "ix_event_apis_create_time_event_api_id", "event_apis", ["create_time", "event_api_id"], unique=False
    )
    op.create_index(
        "ix_event_apis_specification_sha256_specification_format",
        "event_apis",
        ["specification_sha256", "specification_format"],
        unique=False,
    )
