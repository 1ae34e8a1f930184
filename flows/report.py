"""report: say what was decided and why, to people."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from liftloop.core.failed_reports import or_skip
from tasks.context import resolve
from tasks.flow_runs import AsOf, WorkspaceFolder, log, run_name
from tasks.report.loop_value import measure_worth
from tasks.report.notify import (
    announce,
    deliver_messages,
    latest_decision,
    summarize_week,
    write_page,
)

DecisionId = Annotated[
    str | None,
    Field(json_schema_extra={"description": "Which decision; empty: the day's last one."}),
]


@flow(name="report", flow_run_name=run_name)
def report(
    workspace: WorkspaceFolder, as_of: AsOf = None, decision_id: DecisionId = None
) -> dict[str, Any]:
    """Write the decision's page and its message, once, and once a week and once a month what they
    came to. Returns page and message (paths inside the workspace) and the message's text; all None
    when nothing was decided. What fails of it is skipped, and named in ``skipped``."""
    place, day = resolve(workspace, as_of)
    decision = decision_id or latest_decision(place, day)
    skipped: list[str] = []
    or_skip(skipped, "What the loop gained", lambda: measure_worth(place, day))
    said = {"decision": None, "page": None, "message": None, "text": None}
    if decision is not None:
        page = or_skip(skipped, "The decision's page", lambda: write_page(place, decision))
        or_skip(skipped, "The week's summary", lambda: summarize_week(place, day))
        said = announce(place, decision, page)
        log(said["text"] or "")
    elif or_skip(skipped, "The week's summary", lambda: summarize_week(place, day)):
        deliver_messages(place)
    log("\n".join(skipped))
    return {**said, "skipped": skipped}
