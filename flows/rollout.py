"""rollout: bring a proposal in, canary segments first; judge a running rollout."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.publish import publish_budgets, resume_platforms
from tasks.rollout import settle, show_rollout


@flow(name="rollout")
def rollout(
    workspace: str, as_of: date | None = None, proposal_id: str | None = None
) -> dict[str, Any]:
    """Decide what takes effect on ``as_of`` and publish it, once.

    Without ``proposal_id`` the day's latest proposal is taken. Returns the decision: id (None when
    there is no proposal), new, kind, state, reason.
    """
    place, day = resolve(workspace, as_of)
    decision = settle(place, day, proposal_id)
    if decision["state"] == "in_force":
        publish_budgets(place, decision["id"])
    else:  # nothing new to publish; what an earlier cycle could not set is tried again
        resume_platforms(place)
    show_rollout(place, decision)
    return decision
