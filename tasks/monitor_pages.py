"""What a look leaves to read: the monitor's page, Evidently's reports beside it, their links."""

from __future__ import annotations

from typing import Any

from liftloop.adapters.evidently_store import keep_snapshots, link_report
from liftloop.adapters.tables import Training
from liftloop.adapters.whole_files import write_whole
from monitoring.calibration import calibration
from monitoring.consistency_verdict import Consistency
from monitoring.drift import as_html
from monitoring.evidently_pages import snapshots, with_shared_script
from monitoring.telling import Telling
from monitoring.triage_page import triage_page
from tasks.context import Loop
from tasks.watching import Look, triage_config

TITLES = {
    "data": "The data: counts, gaps and ranges",
    "features": "The features, column by column",
    "forecast": "The forecast: errors, calibration, drift of prediction and target",
}


def write_pages(
    loop: Loop, id: str, *, seen: Look, told: Telling, trained: Training | None, agree: Consistency
) -> str | None:
    """Write the pages of a verdict and keep its snapshots; the path of the monitor's page inside
    the workspace."""
    made = snapshots(seen.watched, seen.windows, triage_config(loop.settings.drift).drift)
    links = []
    for name, snapshot in made.items():
        page, library, script = with_shared_script(as_html(snapshot))
        file = f"{name}-{seen.watched.as_of}-{id}.html"
        if not (loop.workspace.reports / library).exists():
            write_whole(loop.workspace.reports / library, script.encode())
        write_whole(loop.workspace.reports / file, page.encode())
        links.append((TITLES[name], file))
    keep_snapshots(loop.workspace, verdict=id, snapshots=made, as_of=seen.watched.as_of)
    name = f"monitor-{seen.watched.as_of}-{id}.html"
    page = triage_page(
        seen.triage,
        drift=seen.drift,
        calibration=calibration(seen.watched),
        windows=seen.windows.sentence,
        links=links,
        waiting=told.waiting,
        agree=agree.lines,
    )
    write_whole(loop.workspace.reports / name, page.encode())
    report = f"reports/{name}"
    if trained is not None and trained.run_id is not None:
        link_report(loop.workspace, run_id=trained.run_id, verdict=id, report=report)
    return report


def artifact_of(loop: Loop, verdict: dict[str, Any]) -> str:
    """The verdict as Markdown, for Prefect: what was found, and where to read more."""
    lines = [f"# Facts as of {verdict['as_of']}", "", verdict["summary"], "", verdict["health"], ""]
    lines += [f"- {found['cause']}: {found['sentence']}" for found in verdict["findings"]]
    lines += ["", *(f"- {note}" for note in verdict["noted"])]
    lines += ["", *(f"- Feeds: {line}" for line in verdict["consistency"])]
    if verdict["report"]:
        place = (loop.workspace.root / verdict["report"]).resolve()
        lines += ["", f"Page: [{verdict['report']}]({place.as_uri()})"]
        lines += ["", "All reports over time: `liftloop monitor ui`"]
    return "\n".join([*lines, ""])
