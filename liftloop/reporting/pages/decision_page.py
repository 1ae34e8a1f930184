"""The page a marketer reads after a decision: what moved, why, and what is expected of it.

One self-contained HTML file: no script, no outside request. Its words and their order stand in
``templates/pages/decision_page.html.j2``; what they are about is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd
from markupsafe import Markup

from liftloop.reporting.pages.charts import (
    ChangeBar,
    CurveSamples,
    GainChecks,
    change_bar,
    gain_chart,
    response_chart,
)
from liftloop.reporting.rendering import render

UNREMARKABLE = ("", "incumbent", "full")  # stages that need no badge
LEAST = 0.005  # half a cent: less is no move


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """All a page says. Money is per day, in ``currency``.

    Attributes
    ----------
    sentences : the decision in plain words, the most important first
    gain : profit per day expected beyond that of the budgets before, with the 90 % interval (mean,
        low, high), or None
    moves : one row a cell: segment, channel, previous, budget, reason; and, where known, stage,
        expected, low, high (incremental revenue per day)
    curves : samples of the response curves: segment, channel, spend, mean, low, high, current,
        planned; or None
    rollout_sentences : where the rollout is, what is at risk, what was measured and proven
    waves : one row a wave: wave, segments, plan, since; or None
    measured : one row a check: days (since the rollout began), since (the day that the gain is
        counted from), gained, low, high, in ``currency``; or None
    rollout_marks : (days since the rollout began, word) of steps that the chart names
    guardrails : one row a guardrail: name, verdict, sentence; or None
    would_go_on, would_slow, would_take_back : plain sentences
    history : (day, what it did, why) of the rollout's steps, the last one first
    quality : one row a finding: any columns, shown as they are; or None
    drift : one sentence
    links : label and address of further pages; relative or http(s) addresses only
    """

    title: str
    as_of: date
    decision_id: str
    sentences: Sequence[str]
    moves: pd.DataFrame
    currency: str = ""
    gain: tuple[float, float, float] | None = None
    curves: pd.DataFrame | None = None
    rollout_sentences: Sequence[str] = ()
    waves: pd.DataFrame | None = None
    measured: pd.DataFrame | None = None
    rollout_marks: Sequence[tuple[float, str]] = ()
    guardrails: pd.DataFrame | None = None
    would_go_on: Sequence[str] = ()
    would_slow: Sequence[str] = ()
    would_take_back: Sequence[str] = ()
    history: Sequence[tuple[str, str, str]] = ()
    quality: pd.DataFrame | None = None
    quality_sentence: str = ""
    drift: str = ""
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class CellMove:
    """A row of the table of moves; money a day.

    Attributes
    ----------
    badge
        The rollout's stage, "" where it needs no remark.
    change
        In words, relative to the budget before.
    bar
        The change as a bar, in proportion to the largest one.
    expected, interval
        Incremental revenue and its 90 % interval (low, high); None where not known.
    """

    segment: str
    channel: str
    badge: str
    before: float
    now: float
    change: str
    bar: ChangeBar
    expected: float | None
    interval: tuple[float, float] | None
    reason: str


@dataclass(frozen=True, slots=True)
class GuardrailRow:
    """What a guardrail came to; ``verdict`` is pass, undecided, fail or review."""

    name: str
    verdict: str
    sentence: str


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table of text; each row is as long as ``columns``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class PageFigures:
    """What is computed of a page's content for its template.

    Attributes
    ----------
    gain : as of the page; None also where nothing moves
    total : of the budgets a day
    share : of ``total`` that moves
    moved : how many cells move
    moves : all cells, the largest change first
    curves : (name, drawing) of each response curve, in the order of ``moves``
    measured : the drawing of the gain, a broad and a narrow one; None without a measurement
    links : the harmless ones
    """

    gain: tuple[float, float, float] | None
    total: float
    share: float
    moved: int
    moves: Sequence[CellMove]
    curves: Sequence[tuple[str, Markup]]
    waves: PlainTable | None
    measured: tuple[Markup, Markup] | None
    guardrails: Sequence[GuardrailRow]
    quality: PlainTable | None
    links: Sequence[tuple[str, str]]


def decision_page(content: DecisionPage) -> str:
    """The page as one HTML document (text)."""
    return render("pages/decision_page.html.j2", page=content, figures=_figures(content))


def _figures(page: DecisionPage) -> PageFigures:
    moves = _with_change(page.moves)
    moved = moves[moves.change.abs() >= LEAST]
    total = float(moves.budget.astype(float).sum())
    # Where nothing moves there is nothing to gain, and "+0 (+0 to +0)" would look like a failure.
    gains = page.gain is not None and (len(moved) or any(round(v) for v in page.gain))
    return PageFigures(
        gain=page.gain if gains else None,
        total=total,
        share=float(moved.change.clip(lower=0).sum()) / total if total else 0.0,
        moved=len(moved),
        moves=_moves(moves),
        curves=_curves(page, moves),
        waves=_plain_table(page.waves),
        measured=_measured(page),
        guardrails=_guardrails(page.guardrails),
        quality=_plain_table(page.quality),
        links=[link for link in page.links if _harmless(link[1])],
    )


def _with_change(moves: pd.DataFrame) -> pd.DataFrame:
    """The moves with what they change, the largest first."""
    change = moves.budget.astype(float) - moves.previous.astype(float)
    ordered = moves.assign(change=change).iloc[(-change.abs()).argsort(kind="stable")]
    return ordered.reset_index(drop=True)


def _moves(moves: pd.DataFrame) -> list[CellMove]:
    largest = float(moves.change.abs().max()) if len(moves) else 0.0
    return [_move(row, largest) for _, row in moves.iterrows()]


def _move(row: pd.Series, largest: float) -> CellMove:
    stage = str(row.get("stage", "") or "")
    before, change = float(row.previous), float(row.change)
    expected, low, high = (
        float(row[name]) if name in row and pd.notna(row[name]) else None
        for name in ("expected", "low", "high")
    )
    return CellMove(
        segment=str(row.segment),
        channel=str(row.channel),
        badge="" if stage in UNREMARKABLE else stage,
        before=before,
        now=float(row.budget),
        change=_relative(before, change),
        bar=change_bar(change, largest),
        expected=expected,
        interval=None if low is None or high is None else (low, high),
        reason=str(row.reason),
    )


def _relative(before: float, change: float) -> str:
    """The change as a share of what was; a small one with its decimal, so that it is not "+0%"."""
    if abs(change) < LEAST:
        return "stays"
    if before <= 0:
        return "new"
    share = change / before
    if abs(share) < 0.0005:
        return "under 0.1%"
    return f"{share:+.0%}" if abs(share) >= 0.0095 else f"{share:+.1%}"


def _curves(page: DecisionPage, moves: pd.DataFrame) -> list[tuple[str, Markup]]:
    if page.curves is None or page.curves.empty:
        return []
    order: dict[object, int] = {(r.segment, r.channel): k for k, r in enumerate(moves.itertuples())}
    cells = sorted(
        page.curves.groupby(["segment", "channel"], sort=True),
        key=lambda item: order.get(item[0], len(order)),
    )
    drawn = []
    for (segment, channel), samples in cells:
        sorted_samples = samples.sort_values("spend")
        name = f"{segment} × {channel}"
        at = sorted_samples.iloc[0]
        columns = ("spend", "mean", "low", "high")
        chart = response_chart(
            CurveSamples(**{c: sorted_samples[c].astype(float).tolist() for c in columns}),
            current=float(at.current),
            planned=float(at.planned),
            title=f"Response curve of {name}",
            currency=page.currency,
        )
        drawn.append((name, chart))
    return drawn


def _measured(page: DecisionPage) -> tuple[Markup, Markup] | None:
    if page.measured is None or page.measured.empty:
        return None
    ordered = page.measured.sort_values("days", kind="stable")
    columns = ("days", "since", "gained", "low", "high")
    checks = GainChecks(**{name: ordered[name].astype(float).tolist() for name in columns})
    title = "Profit measured against the budgets replaced, with bounds valid at every check"
    broad, narrow = (
        gain_chart(checks, marks=page.rollout_marks, title=title, narrow=small)
        for small in (False, True)
    )
    return broad, narrow


def _guardrails(found: pd.DataFrame | None) -> list[GuardrailRow]:
    if found is None:
        return []
    rows = found[["name", "verdict", "sentence"]].itertuples(index=False)
    return [GuardrailRow(str(name), str(verdict), str(words)) for name, verdict, words in rows]


def _plain_table(frame: pd.DataFrame | None) -> PlainTable | None:
    if frame is None or frame.empty:
        return None
    return PlainTable(
        columns=[str(column) for column in frame.columns],
        rows=[
            ["–" if value is None or pd.isna(value) else str(value) for value in record]
            for record in frame.itertuples(index=False)
        ],
    )


def _harmless(address: str) -> bool:
    """Whether a link may lead there: over http(s), or to a page beside this one."""
    return address.startswith(("http://", "https://", "./", "../", "#")) or (
        ":" not in address and not address.startswith("/")
    )
