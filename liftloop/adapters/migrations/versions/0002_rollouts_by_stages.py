"""Rollouts go through stages, examinations are kept

Revision: 0002, after 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rolloutrecord") as table:
        table.add_column(sa.Column("design", sa.Text(), nullable=False, server_default="{}"))
    with op.batch_alter_table("training") as table:
        table.add_column(sa.Column("examination", sa.Text(), nullable=False, server_default="{}"))
