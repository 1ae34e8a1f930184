"""What a look leaves to read: the monitor's page, Evidently's reports beside it, their links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.pasteable import pasteable_page
from liftloop.adapters.registry.evidently_store import keep_snapshots, link_report
from liftloop.pipeline.monitor import ComparedWeeks, triage_config
from liftloop.reporting.rendering import render
from monitoring.alerts import Telling
from monitoring.drift.evidently_drift import as_html
from monitoring.drift.evidently_reports import snapshots, with_shared_script
from monitoring.drift.windows import Windows
from monitoring.feeds.consistency_verdict import Consistency
from monitoring.monitor_page import PageNotes, triage_page
from monitoring.panel import Watched
from monitoring.response.slopes import calibration
from tasks.context import Loop
from tasks.links import link
from tasks.monitor.comparable import nothing_to_compare

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
    "and the headline counts these as LiftLoop does; whether half of them moved is Evidently's "
    "rule alone. spend_share and channel move because LiftLoop moves money: shown, not counted.",
    "forecast": "A cell and week a row, money a day. Measured over predicted is 1 where the model "
    "was right and 1.10 where a tenth more was measured. The weighted error (wMAPE) is the summed "
    "absolute error over the summed absolute measurement. Of the measurements' 90 % intervals "
    "about nine in ten hold the prediction where the model is right. Weeks are named by "
    "their first day.",
}


@dataclass(frozen=True, slots=True, eq=False)
class VerdictBasis:
    """What a monitor's verdict rests on.

    Attributes
    ----------
    id : the verdict's key
    seen : the last weeks against those before
    told : what is news of it, and what it starts
    trained : the model that predicted these weeks, None where there was none
    agree : whether the feeds agree with each other
    skipped : what could not be compared or written, a sentence each; what fails later joins them
    """

    id: str
    seen: ComparedWeeks
    told: Telling
    trained: Training | None
    agree: Consistency
    skipped: list[str]


def write_pages(loop: Loop, basis: VerdictBasis) -> str | None:
    """Write the pages of a verdict and keep its snapshots; the path of the monitor's page inside
    the workspace, None where the feeds could not be looked at. What of Evidently's reports fails is
    named in ``basis.skipped``."""
    id, seen, told, agree = basis.id, basis.seen, basis.told, basis.agree
    if seen.watched is None:
        return None
    name = f"monitor-{seen.watched.as_of}-{id}.html"
    made = snapshots(
        *harmless(seen.watched, seen.windows),
        triage_config(loop.settings.drift).drift,
        basis.skipped,
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
        notes=PageNotes(
            waiting=told.waiting,
            agree=tuple(agree.said.values()),
            unmeasured=agree.unmeasured,
            missing=nothing_to_compare(loop, seen.watched.as_of),
        ),
    )
    write_whole(loop.workspace.reports / name, pasteable_page(page, loop.workspace).encode())
    report = f"reports/{name}"
    trained = basis.trained
    if trained is not None and trained.run_id is not None:
        link_report(loop.workspace, run_id=trained.run_id, verdict=id, report=report)
    return report


def harmless(watched: Watched, windows: Windows) -> tuple[Watched, Windows]:
    """The same with names that cannot end a script: Evidently writes them into one as they are, and
    a segment called ``</script><script>`` would run in the reader's browser."""

    def safe(name: object) -> str:
        return str(name).replace("<", "‹")

    def sides(frame: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in ("segment", "channel") if name in frame.columns]
        return frame.assign(**{name: frame[name].map(safe) for name in names})

    named = replace(
        watched,
        segments=tuple(map(safe, watched.segments)),
        channels=tuple(map(safe, watched.channels)),
    )
    current, reference = sides(windows.current), sides(windows.reference)
    return named, replace(windows, current=current, reference=reference)


def compared(seen: ComparedWeeks, kind: str) -> str:
    """What Evidently's words current and reference stand for on a page."""
    if kind == "features":
        return f"{seen.windows.sentence} The first are called current, the second reference."
    watched = seen.watched
    assert watched is not None, "the other kinds are written where feeds were watched"
    early, late = watched.reference // 7, (watched.days - watched.reference) // 7
    return f"Current: the {late} weeks before {watched.as_of}. Reference: the {early} before those."


@dataclass(frozen=True, slots=True)
class EvidentlyPage:
    """One of Evidently's pages, cut where something is added, and what is: a title, what it
    compares and means, and the way back to the page that says what was concluded from it
    (``back``, a file beside it)."""

    title: str
    sentences: Sequence[str]
    back: str
    before: Markup
    head: Markup
    body: Markup
    after: Markup


def framed(page: str, *, title: str, sentences: Sequence[str], back: str) -> str:
    """Evidently's page with the title, sentences and way back of :class:`EvidentlyPage`."""
    before, _, rest = page.partition("<head>")
    head, _, rest = rest.partition("<body>")
    body, _, after = rest.rpartition("</body>")
    parts = map(Markup, (before, head, body, after))  # Evidently's own, as they are
    cut = EvidentlyPage(title, sentences, back, *parts)
    return render("pages/evidently_page.html.j2", page=cut)


def artifact_of(loop: Loop, verdict: dict[str, Any]) -> str:
    """The verdict as Markdown, for Prefect: what was found, and where to read more."""
    report = verdict["report"]
    found = link(loop, "Page", report).address if report else ""
    address = Markup(found.replace("(", "%28").replace(")", "%29"))  # else percent-encoded
    return render("markdown/monitor.md.j2", verdict=verdict, address=address)
