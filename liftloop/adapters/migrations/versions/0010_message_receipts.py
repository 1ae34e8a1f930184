"""What each channel has got of a message

Revision: 0010, after 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "messagereceipt",
        sa.Column("message_key", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_key"], ["message.key"], name=op.f("fk_messagereceipt_message_key_message")
        ),
        sa.PrimaryKeyConstraint("message_key", "channel", name=op.f("pk_messagereceipt")),
    )


def downgrade() -> None:
    op.drop_table("messagereceipt")
