"""The head of the audit trail beside it, and its signature

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audithead",
        sa.Column("id", COUNT, nullable=False),
        sa.Column("entries", COUNT, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("signed_entries", COUNT, nullable=False),
        sa.Column("signed_hash", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audithead")),
    )
    op.execute(
        "INSERT INTO audithead (id, entries, hash, signed_entries, signed_hash, signature) "
        "SELECT 1, sequence, hash, 0, '', '' FROM auditentry ORDER BY sequence DESC LIMIT 1"
    )
