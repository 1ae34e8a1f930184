"""notify: deliver what is queued, whatever else the loop does."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.flow_runs import WorkspaceFolder, log, run_name
from tasks.report.notify import deliver_messages, summarize_if_due


@flow(name="notify", flow_run_name=run_name)
def notify(workspace: WorkspaceFolder) -> dict[str, Any]:
    """Deliver queued messages, in order; those of a Slack that was down go out now. A week that no
    cycle has summed up by Tuesday is summed up here.

    Returns how many were delivered, refused, wait, or are held for the end of the quiet hours.
    """
    place, day = resolve(workspace, None)
    summarize_if_due(place, day)
    sent: dict[str, Any] = deliver_messages(place)
    log(f"{sent['delivered']} messages delivered, {sent['waiting']} wait.", sent["problem"] or "")
    return sent
