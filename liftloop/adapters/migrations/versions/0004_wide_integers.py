"""Seeds, counts and versions beyond 2 ** 31

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WIDE = {
    "delivery": ("rows_read", "received", "stored", "superseded", "quarantined", "facts_version"),
    "quarantinedrow": ("row_number",),
    "rolloutrecord": ("seed",),
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return  # its INTEGER has 64 bits
    for table, columns in WIDE.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.BigInteger(), existing_type=sa.Integer())
