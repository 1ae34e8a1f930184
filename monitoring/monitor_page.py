"""The monitor's page: the verdict in words, its evidence, and the way to Evidently's reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from liftloop.reporting.rendering import render
from monitoring.causes.cause import Triage
from monitoring.verdicts import DriftVerdict


@dataclass(frozen=True, slots=True)
class PageNotes:
    """What the page says beside the findings.

    Attributes
    ----------
    waiting : why a training that is due does not begin, or ""
    agree : where the feeds disagree, a sentence each
    unmeasured : what of the feeds was not compared, a sentence each
    missing : which facts are missing to compare anything, and what to deliver; "" where there are
        enough. Without them no finding means nothing, so "No alarm" is not said.
    """

    waiting: str = ""
    agree: Sequence[str] = ()
    unmeasured: Sequence[str] = ()
    missing: str = ""


NO_NOTES = PageNotes()


@dataclass(frozen=True, slots=True)
class ShownRatio:
    """Measured over predicted revenue of one channel, one segment or all, as text: in the weeks
    before and now with standard errors, and the change in standard errors."""

    of: str
    before: str
    now: str
    change: str


@dataclass(frozen=True, slots=True)
class MonitorPage:
    """What ``templates/pages/monitor_page.html.j2`` shows; ``lead`` is read first, ``noted`` is
    worth knowing."""

    found: Triage
    drift: DriftVerdict
    windows: str
    links: Sequence[tuple[str, str]]
    notes: PageNotes
    lead: Sequence[str]
    noted: Sequence[str]
    measured: Sequence[ShownRatio]


def triage_page(
    found: Triage,
    *,
    drift: DriftVerdict,
    calibration: pd.DataFrame,
    windows: str,
    links: Sequence[tuple[str, str]],
    notes: PageNotes = NO_NOTES,
) -> str:
    """One HTML document without script or outside request.

    Parameters
    ----------
    calibration : as of ``monitoring.response.slopes.calibration``
    windows : what was compared with what, as a sentence
    links : label and relative address of further pages
    notes : what is said beside the findings
    """
    page = MonitorPage(
        found=found,
        drift=drift,
        windows=windows,
        links=links,
        notes=notes,
        lead=_lead(found, notes.missing),
        # Said once: where drift was not judged, the part on features says so.
        noted=[note for note in found.noted if note != drift.summary],
        measured=_measured(calibration),
    )
    return render("pages/monitor_page.html.j2", page=page)


def _lead(found: Triage, missing: str) -> list[str]:
    """What a reader sees first; where nothing was compared, what is missing for it."""
    if not missing:
        return [found.summary]
    return [missing] if found.main is None else [found.summary, missing]


def _measured(table: pd.DataFrame) -> list[ShownRatio]:
    known = table[[math.isfinite(e) for e in table["now_error"]]]
    return [
        ShownRatio(
            of="all" if of == "all" else f"{of} {name}",
            before=_with_error(before, before_error),
            now=_with_error(now, now_error),
            change=f"{z:+z.1f}" if math.isfinite(z) else "–",
        )
        for of, name, before, before_error, now, now_error, z in known.itertuples(index=False)
    ]


def _with_error(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}" if math.isfinite(error) else "–"
