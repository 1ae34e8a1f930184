"""Tests inside a cell, and their reviews

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "varianttestrecord",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ended_on", sa.Date(), nullable=True),
        sa.Column("winner", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_varianttestrecord")),
    )
    with op.batch_alter_table("varianttestrecord", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_varianttestrecord_state"), ["state"], unique=False)
    op.create_table(
        "varianttestreview",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("test", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.Column("reading", sa.Text(), nullable=False),
        sa.Column("shares", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_varianttestreview")),
    )
    with op.batch_alter_table("varianttestreview", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_varianttestreview_test"), ["test"], unique=False)
