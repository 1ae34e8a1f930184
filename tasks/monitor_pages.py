"""What a look leaves to read: the monitor's page, Evidently's reports beside it, their links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd

from liftloop.adapters.evidently_store import keep_snapshots, link_report
from liftloop.adapters.tables import Training
from liftloop.adapters.whole_files import write_whole
from liftloop.pipeline.monitor import ComparedWeeks, triage_config
from monitoring.calibration import calibration
from monitoring.consistency_verdict import Consistency
from monitoring.drift import as_html
from monitoring.evidently_pages import snapshots, with_shared_script
from monitoring.telling import Telling
from monitoring.triage_page import triage_page
from monitoring.watched import Watched
from monitoring.windows import Windows
from tasks.comparable import nothing_to_compare
from tasks.context import Loop
from tasks.pages import plain

TITLES = {
    "data": "The data: counts, gaps and ranges",
    "features": "The features, column by column",
    "forecast": "The forecast: errors, calibration, drift of prediction and target",
}
MEANINGS = {
    "data": "A cell and day a row. It shows what is there and what is missing. Ranges move with "
    "every budget: nothing on this page is an alarm by itself.",
    "features": "A cell and day a row. Each metric is set against the mean of its own cell in the "
    "weeks before, so 1 is as before. Detected means that a column moved beyond its own threshold, "
    "which is what LiftLoop goes by. The headline asks whether half of all columns moved, which is "
    "Evidently's rule, not LiftLoop's. spend_share moves because LiftLoop moves money.",
    "forecast": "A cell and week a row, money a day. Measured over foretold is 1 where the model "
    "was right and 1.10 where a tenth more was measured.",
}
# Evidently's page has no title, and cuts its tables off where the window is narrow; on paper it is
# drawn smaller, as its charts keep the width they had on the screen.
STYLE = (
    ".liftloop{font:16px/1.5 system-ui,sans-serif;max-width:74ch;padding:16px 24px 0}"
    ".liftloop h1{font-size:24px;line-height:1.2;margin:0 0 4px}.liftloop p{margin:0 0 8px}"
    ".liftloop a{color:inherit}"
    "[id^=root_metric]{min-width:900px}"
    "@media print{@page{margin:12mm}*{print-color-adjust:exact}"
    "[id^=root_metric]{min-width:1160px;zoom:.58}.js-plotly-plot,tr{break-inside:avoid}}"
)


def write_pages(
    loop: Loop,
    id: str,
    *,
    seen: ComparedWeeks,
    told: Telling,
    trained: Training | None,
    agree: Consistency,
) -> str | None:
    """Write the pages of a verdict and keep its snapshots; the path of the monitor's page inside
    the workspace."""
    name = f"monitor-{seen.watched.as_of}-{id}.html"
    made = snapshots(
        *harmless(seen.watched, seen.windows), triage_config(loop.settings.drift).drift
    )
    links = []
    for kind, snapshot in made.items():
        page, library, script = with_shared_script(as_html(snapshot))
        page = framed(
            page,
            title=f"{TITLES[kind]}, {seen.watched.as_of}",
            sentences=(compared(seen, kind), MEANINGS[kind]),
            back=name,
        )
        file = f"{kind}-{seen.watched.as_of}-{id}.html"
        if not (loop.workspace.reports / library).exists():
            write_whole(loop.workspace.reports / library, script.encode())
        write_whole(loop.workspace.reports / file, page.encode())
        links.append((TITLES[kind], file))
    keep_snapshots(loop.workspace, verdict=id, snapshots=made, as_of=seen.watched.as_of)
    page = triage_page(
        seen.triage,
        drift=seen.drift,
        calibration=calibration(seen.watched),
        windows=seen.windows.sentence,
        links=links,
        waiting=told.waiting,
        agree=tuple(agree.said.values()),
        unmeasured=agree.unmeasured,
        missing=nothing_to_compare(loop, seen.watched.as_of),
    )
    write_whole(loop.workspace.reports / name, page.encode())
    report = f"reports/{name}"
    if trained is not None and trained.run_id is not None:
        link_report(loop.workspace, run_id=trained.run_id, verdict=id, report=report)
    return report


def harmless(watched: Watched, windows: Windows) -> tuple[Watched, Windows]:
    """The same with names that cannot end a script: Evidently writes them into one as they are, and
    a segment called ``</script><script>`` would run in the reader's browser."""

    def safe(name: object) -> str:
        return str(name).replace("<", "‹")

    def sides(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(channel=frame["channel"].map(safe))

    named = replace(
        watched,
        segments=tuple(map(safe, watched.segments)),
        channels=tuple(map(safe, watched.channels)),
    )
    frames = {"current": sides(windows.current), "reference": sides(windows.reference)}
    return named, replace(windows, **frames)


def compared(seen: ComparedWeeks, kind: str) -> str:
    """What Evidently's words current and reference stand for on a page."""
    if kind == "features":
        return f"{seen.windows.sentence} The first are called current, the second reference."
    watched = seen.watched
    early, late = watched.reference // 7, (watched.days - watched.reference) // 7
    return f"Current: the {late} weeks before {watched.as_of}. Reference: the {early} before those."


def framed(page: str, *, title: str, sentences: Sequence[str], back: str) -> str:
    """Evidently's page with a title, what it compares and means, and the way back to the page that
    says what was concluded from it (``back``, a file beside it)."""
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    top = (
        f'<header class="liftloop"><h1>{escape(title)}</h1>{words}'
        f'<p><a href="{escape(back)}">What LiftLoop concluded from it</a></p></header>'
    )
    head = f"<head><title>{escape(title)}</title><style>{STYLE}</style>"
    page = page.replace("<head>", head, 1).replace("<body>", f"<body>{top}<main>", 1)
    return "</main></body>".join(page.rsplit("</body>", 1))


def artifact_of(loop: Loop, verdict: dict[str, Any]) -> str:
    """The verdict as Markdown, for Prefect: what was found, and where to read more."""
    lines = [f"# Facts as of {verdict['as_of']}", "", verdict["summary"], "", verdict["health"], ""]
    lines += [f"- {found['cause']}: {found['sentence']}" for found in verdict["findings"]]
    lines += ["", *(f"- {note}" for note in verdict["noted"])]
    lines += ["", *(f"- Feeds: {line}" for line in verdict["consistency"])]
    lines = [plain(line) for line in lines]  # names come from outside
    if verdict["report"]:
        place = (loop.workspace.root / verdict["report"]).resolve()
        lines += ["", f"Page: [{verdict['report']}]({place.as_uri()})"]
        lines += ["", "All reports over time: `liftloop monitor ui`"]
    return "\n".join([*lines, ""])
