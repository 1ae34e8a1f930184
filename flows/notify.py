"""notify: deliver what is queued, whatever else the loop does."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.notify import deliver_messages, summarize_if_due


@flow(name="notify")
def notify(workspace: str) -> dict[str, Any]:
    """Deliver queued messages, in order; those of a Slack that was down go out now. A week that no
    cycle has summed up by Tuesday is summed up here.

    Returns how many were delivered, refused, wait, or are held for the end of the quiet hours.
    """
    place, day = resolve(workspace, None)
    summarize_if_due(place, day)
    return deliver_messages(place)
