"""rollout: bring a proposal in, canary segments first; judge a running rollout, every day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.report import report
from tasks.context import resolve
from tasks.decision.no_spend_days import keep_no_spend_days
from tasks.decision.rollout import look, settle, show_rollout
from tasks.flow_runs import AsOf, WorkspaceFolder, log, run_name
from tasks.open_work import review_waiting, unpublished
from tasks.operate.publish import apply_budgets, publish_budgets

ProposalId = Annotated[
    str | None,
    Field(json_schema_extra={"description": "Which plan; empty: the day's last one."}),
]


def keep_contracts(place: str, day: date) -> None:
    """Bring out what days without spend, which begin or end on ``day``, ask for."""
    kept = keep_no_spend_days(place, day)
    if kept is not None:
        publish_budgets(place, kept)
        report(place, day, kept)
        log(f"Days without spend begin or end on {day}: {kept}.")


@flow(name="rollout", flow_run_name=run_name)
def rollout(
    workspace: WorkspaceFolder, as_of: AsOf = None, proposal_id: ProposalId = None
) -> dict[str, Any]:
    """Decide what takes effect on ``as_of`` (default: today) and publish it, once.

    Without ``proposal_id`` the day's latest proposal is taken. On a day without one, a running
    rollout is judged all the same: what it then decides is told, and a hold changes nothing.
    Returns the decision: id (None when there is none), new, kind, state, reason, and waiting: what
    does not stand on its platform yet, in sentences.
    """
    place, day = resolve(workspace, as_of)
    for begun in unpublished(place):
        publish_budgets(place, begun)
        report(place, day, begun)
    withdrawn: list[str] = review_waiting(place, day)
    log(*(f"{id} waited for approval and was withdrawn." for id in withdrawn))
    keep_contracts(place, day)
    decision = settle(place, day, proposal_id)
    if decision["id"] is None:
        decision = look(place, day) or decision
    if decision["state"] == "in_force":
        publish_budgets(place, decision["id"])
    keep_contracts(place, day + timedelta(days=1))  # set before the day begins
    decision = {**decision, "waiting": apply_budgets(place)}  # also what an earlier cycle left
    show_rollout(place, decision)
    log(decision["reason"], *decision["waiting"])
    if proposal_id is None and decision["id"]:
        report(place, day, decision["id"])
    return decision
