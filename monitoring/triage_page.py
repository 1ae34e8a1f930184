"""The monitor's page: the verdict in words, its evidence, and the way to Evidently's reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import pandas as pd

from monitoring.causes import Finding, Triage
from monitoring.page_style import STYLE, table_cell
from monitoring.verdicts import DriftVerdict


def triage_page(
    found: Triage,
    *,
    drift: DriftVerdict,
    calibration: pd.DataFrame,
    windows: str,
    links: Sequence[tuple[str, str]],
    waiting: str = "",
    agree: Sequence[str] = (),
    unmeasured: Sequence[str] = (),
    missing: str = "",
) -> str:
    """One HTML document without script or outside request.

    Parameters
    ----------
    calibration : as of ``monitoring.calibration.calibration``
    windows : what was compared with what, as a sentence
    links : label and relative address of further pages
    waiting : why a training that is due does not begin, or ""
    agree : where the feeds disagree, a sentence each
    unmeasured : what of the feeds was not compared, a sentence each
    missing : which facts are missing to compare anything, and what to deliver; "" where there are
        enough. Without them no finding means nothing, so "No alarm" is not said.
    """
    findings = "".join(_finding(one) for one in found.findings)
    more = "".join(f'<p><a href="{escape(a)}">{escape(t)}</a></p>' for t, a in links)
    parts = [
        f"<h1>What the last weeks show, {found.as_of}</h1>",
        *(f'<p class="lead">{escape(s)}</p>' for s in _lead(found, missing)),
        f"<p>{escape(waiting)}</p>" if waiting else "",
        f'<p class="meta">{escape(windows)}</p>' if windows and not missing else "",
        _section("What was found", _table(("Cause", "What", "Act", "Numbers"), findings, "stack")
                 if findings else "" if missing else "<p>Nothing beyond noise.</p>"),
        _section("Where feeds disagree", _paragraphs(agree)),
        _section("Forecast against measurement", _calibration(calibration)),
        _section("How far each feature moved", _columns(drift)),
        _section("What was not compared", _paragraphs(unmeasured)),
        # Said once: where drift was not judged, the section above says so.
        _section("Worth knowing", _paragraphs([n for n in found.noted if n != drift.summary])),
        _section("More", more),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Monitor {found.as_of}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _lead(found: Triage, missing: str) -> list[str]:
    """What a reader sees first; where nothing was compared, what is missing for it."""
    if not missing:
        return [found.summary]
    return [missing] if found.main is None else [found.summary, missing]


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _table(head: Sequence[str], rows: str, kind: str = "stack dense") -> str:
    names = "".join(f'<th scope="col">{escape(n)}</th>' for n in head)
    head_row = f"<thead><tr>{names}</tr></thead>"
    return f'<div class="wide"><table class="{kind}">{head_row}<tbody>{rows}</tbody></table></div>'


def _finding(one: Finding) -> str:
    numbers = ", ".join(f"{name} {value}" for name, value in one.evidence.items())
    return (
        f'<tr><th scope="row">{escape(one.cause.value)}</th><td>{escape(one.sentence)}</td>'
        f"{table_cell('Act', escape(one.act.value))}"
        f"{table_cell('Numbers', escape(numbers) or '–', 'why')}</tr>"
    )


def _calibration(table: pd.DataFrame) -> str:
    known = table[[math.isfinite(e) for e in table["now_error"]]]
    if known.empty:
        return "<p>Nothing was measured that a champion had foretold.</p>"
    rows = "".join(
        f'<tr><th scope="row">{escape("all" if of == "all" else f"{of} {name}")}</th>'
        f"{table_cell('Before', _with_error(before, before_error), 'n')}"
        f"{table_cell('Now', _with_error(now, now_error), 'n')}"
        f"{table_cell('Change', f'{z:+z.1f}' if math.isfinite(z) else '–', 'n')}</tr>"
        for of, name, before, before_error, now, now_error, z in known.itertuples(index=False)
    )
    words = (
        "<p>Measured over foretold incremental revenue (1: as foretold) with standard errors; the "
        "last column is the change in standard errors.</p>"
    )
    return words + _table(("Of", "Before", "Now", "Change"), rows)


def _with_error(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}" if math.isfinite(error) else "–"


def _columns(drift: DriftVerdict) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(c.column)}</th>{table_cell("Method", escape(c.method))}'
        f"{table_cell('Distance', '–' if c.distance is None else f'{c.distance:.3f}', 'n')}"
        f"{table_cell('Threshold', f'{c.threshold:.3f}', 'n')}"
        f"{table_cell('Verdict', _said(c.drifted, c.triggers, c.note))}</tr>"
        for c in drift.columns
    )
    return f"<p>{escape(drift.summary)}</p>" + (
        _table(("Column", "Method", "Distance", "Threshold", "Verdict"), rows) if rows else ""
    )


def _said(drifted: bool, triggers: bool, note: str) -> str:
    if note:
        return escape(note)
    if not drifted:
        return "as before"
    return "moved" if triggers else "moved, by the loop itself"
