"""report: say what was decided and why, to people."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.notify import (
    announce,
    deliver_messages,
    latest_decision,
    summarize_week,
    write_page,
)
from tasks.worth import measure_worth


@flow(name="report")
def report(
    workspace: str, as_of: date | None = None, decision_id: str | None = None
) -> dict[str, Any]:
    """Write the decision's page and its message, once, and once a week and once a month what they
    came to. Returns page and message (paths inside the workspace) and the message's text; all None
    when nothing was decided."""
    place, day = resolve(workspace, as_of)
    decision = decision_id or latest_decision(place, day)
    measure_worth(place, day)
    said = {"decision": None, "page": None, "message": None, "text": None}
    if decision is not None:
        said = announce(place, decision, write_page(place, decision))
    if summarize_week(place, day):
        deliver_messages(place)
    return said
