"""Old rows leave the workspace: how long feeds are kept is set under ``[privacy.retention]``."""

from __future__ import annotations

from liftloop.adapters.privacy.retention import Expired, apply_retention
from tasks.context import open_loop
from tasks.step import step


@step("apply retention")
def retain(workspace: str, actor: str | None = None) -> list[Expired]:
    """Remove the rows that are older today than their feed is kept for; doing it again removes
    nothing. Whatever an earlier run left half done is finished first."""
    loop = open_loop(workspace)
    return apply_retention(
        loop.workspace,
        loop.settings.privacy.retention.model_dump(),
        today=loop.today(),
        engine=loop.engine,
        actor=actor or loop.actor,
    )
