"""Alembic's environment: always online, always on the connection that the caller hands over.

The caller has begun the transaction (and holds the writer's lock), so a migration is applied whole
or not at all on SQLite too, and a second process waits instead of racing.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from liftloop.adapters.ledger.tables import Instant, Table


def _render(kind: str, what: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our type as the plain one it stands for: old migrations must not import new code."""
    if kind == "type" and isinstance(what, Instant):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table="liftloop_version",
    render_as_batch=True,
    render_item=_render,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
