"""reallocate: propose budgets from the champion's curves under the rules."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.reallocate import propose, show_proposal
from tasks.telling import tell_of_proposal


@flow(name="reallocate")
def reallocate(
    workspace: str, as_of: date | None = None, door: str = "holdout", alone: bool = True
) -> dict[str, Any]:
    """Propose a policy for ``as_of``. ``alone``: no cycle goes on from here, so a new proposal
    emits ``liftloop.plan.proposed``.

    Returns the proposal: id (None when nothing can be proposed), new, reason.
    """
    place, day = resolve(workspace, as_of)
    proposal = propose(place, day, door=door)
    show_proposal(place, proposal)
    if alone:
        tell_of_proposal(place, proposal)
    return proposal
