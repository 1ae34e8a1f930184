"""report: say what was decided and why, to people."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.notify import announce, latest_decision, write_page


@flow(name="report")
def report(
    workspace: str, as_of: date | None = None, decision_id: str | None = None
) -> dict[str, Any]:
    """Write the decision's page and its message, once. Returns page and message (paths inside the
    workspace) and the message's text; all None when nothing was decided."""
    place, day = resolve(workspace, as_of)
    decision = decision_id or latest_decision(place, day)
    if decision is None:
        return {"decision": None, "page": None, "message": None, "text": None}
    page = write_page(place, decision)
    return announce(place, decision, page)
