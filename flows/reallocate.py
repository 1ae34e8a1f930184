"""reallocate: propose budgets from the champion's curves under the rules."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.decision.reallocate import propose, show_proposal
from tasks.flow_outcomes import tell_of_proposal
from tasks.flow_runs import Alone, AsOf, Source, WorkspaceFolder, log, run_name


@flow(name="reallocate", flow_run_name=run_name)
def reallocate(
    workspace: WorkspaceFolder, as_of: AsOf = None, source: Source = "holdout", alone: Alone = True
) -> dict[str, Any]:
    """Propose a policy for ``as_of``. ``alone``: no cycle goes on from here, so a new proposal
    emits ``liftloop.plan.proposed``.

    Returns the proposal: id (None when nothing can be proposed), new, reason.
    """
    place, day = resolve(workspace, as_of)
    proposal = propose(place, day, source=source)
    show_proposal(place, proposal)
    log(proposal["reason"])
    if alone:
        tell_of_proposal(place, proposal)
    return proposal
