"""The ledger as it began

Revision: 0001, the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "auditentry",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_auditentry")),
        sa.UniqueConstraint("key", name=op.f("uq_auditentry_key")),
    )
    with op.batch_alter_table("auditentry", schema=None) as batch_op:
        batch_op.create_index("ix_auditentry_subject", ["subject"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("feed", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("importer", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows_read", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("stored", sa.Integer(), nullable=False),
        sa.Column("superseded", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("facts_version", sa.Integer(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_feed"), ["feed"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_sha256"), ["sha256"], unique=False)

    op.create_table(
        "message",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("blocks", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_message")),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_message_sequence"), ["sequence"], unique=True)

    op.create_table(
        "monitorverdict",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("drifted", sa.Boolean(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("report", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_monitorverdict")),
    )
    op.create_table(
        "pause",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("segment", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pause")),
    )
    op.create_table(
        "policyversion",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policyversion")),
    )
    op.create_table(
        "training",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("door", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=True),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_training")),
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("previous_policy_version", sa.String(), nullable=False),
        sa.Column("proposal_id", sa.String(), nullable=True),
        sa.Column("rollout_id", sa.String(), nullable=True),
        sa.Column("training_key", sa.String(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("settings_hash", sa.String(), nullable=False),
        sa.Column("expected_gain", sa.Float(), nullable=False),
        sa.Column("gain_low", sa.Float(), nullable=False),
        sa.Column("gain_high", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version"],
            ["policyversion.version"],
            name=op.f("fk_decision_policy_version_policyversion"),
        ),
        sa.ForeignKeyConstraint(
            ["previous_policy_version"],
            ["policyversion.version"],
            name=op.f("fk_decision_previous_policy_version_policyversion"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
    )
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_decision_effective_from"), ["effective_from"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_decision_proposal_id"), ["proposal_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_decision_sequence"), ["sequence"], unique=True)

    op.create_table(
        "policybudget",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("segment", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("daily_cents", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version"],
            ["policyversion.version"],
            name=op.f("fk_policybudget_version_policyversion"),
        ),
        sa.PrimaryKeyConstraint("version", "segment", "channel", name=op.f("pk_policybudget")),
    )
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("previous_policy_version", sa.String(), nullable=False),
        sa.Column("training_key", sa.String(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("settings_hash", sa.String(), nullable=False),
        sa.Column("expected_gain", sa.Float(), nullable=False),
        sa.Column("gain_low", sa.Float(), nullable=False),
        sa.Column("gain_high", sa.Float(), nullable=False),
        sa.Column("share_moved", sa.Float(), nullable=False),
        sa.Column("cells", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version"],
            ["policyversion.version"],
            name=op.f("fk_proposal_policy_version_policyversion"),
        ),
        sa.ForeignKeyConstraint(
            ["previous_policy_version"],
            ["policyversion.version"],
            name=op.f("fk_proposal_previous_policy_version_policyversion"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
    )
    op.create_table(
        "quarantinedrow",
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("feed", sa.String(), nullable=False),
        sa.Column("rules", sa.String(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("resolved_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_quarantinedrow_delivery_id_delivery")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "row_number", name=op.f("pk_quarantinedrow")),
    )
    with op.batch_alter_table("quarantinedrow", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_quarantinedrow_feed"), ["feed"], unique=False)

    op.create_table(
        "rolloutrecord",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("challenger_version", sa.String(), nullable=False),
        sa.Column("incumbent_version", sa.String(), nullable=False),
        sa.Column("canary_segments", sa.Text(), nullable=False),
        sa.Column("control_segments", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("started_on", sa.Date(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["challenger_version"],
            ["policyversion.version"],
            name=op.f("fk_rolloutrecord_challenger_version_policyversion"),
        ),
        sa.ForeignKeyConstraint(
            ["incumbent_version"],
            ["policyversion.version"],
            name=op.f("fk_rolloutrecord_incumbent_version_policyversion"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rolloutrecord")),
    )
    with op.batch_alter_table("rolloutrecord", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rolloutrecord_stage"), ["stage"], unique=False)

    op.create_table(
        "decisionline",
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("segment", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("daily_cents", sa.BigInteger(), nullable=False),
        sa.Column("previous_cents", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("expected", sa.Float(), nullable=True),
        sa.Column("expected_low", sa.Float(), nullable=True),
        sa.Column("expected_high", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name=op.f("fk_decisionline_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("decision_id", "segment", "channel", name=op.f("pk_decisionline")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_decisionline_idempotency_key")),
    )
    op.create_table(
        "rollouttransition",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("from_stage", sa.String(), nullable=False),
        sa.Column("to_stage", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"],
            ["rolloutrecord.id"],
            name=op.f("fk_rollouttransition_rollout_id_rolloutrecord"),
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rollouttransition")),
    )
    with op.batch_alter_table("rollouttransition", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_rollouttransition_rollout_id"), ["rollout_id"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("rollouttransition", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rollouttransition_rollout_id"))

    op.drop_table("rollouttransition")
    op.drop_table("decisionline")
    with op.batch_alter_table("rolloutrecord", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rolloutrecord_stage"))

    op.drop_table("rolloutrecord")
    with op.batch_alter_table("quarantinedrow", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_quarantinedrow_feed"))

    op.drop_table("quarantinedrow")
    op.drop_table("proposal")
    op.drop_table("policybudget")
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_decision_sequence"))
        batch_op.drop_index(batch_op.f("ix_decision_proposal_id"))
        batch_op.drop_index(batch_op.f("ix_decision_effective_from"))

    op.drop_table("decision")
    op.drop_table("training")
    op.drop_table("policyversion")
    op.drop_table("pause")
    op.drop_table("monitorverdict")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_message_sequence"))

    op.drop_table("message")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_delivery_sha256"))
        batch_op.drop_index(batch_op.f("ix_delivery_feed"))

    op.drop_table("delivery")
    with op.batch_alter_table("auditentry", schema=None) as batch_op:
        batch_op.drop_index("ix_auditentry_subject")

    op.drop_table("auditentry")
