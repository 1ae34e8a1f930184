"""The page a marketer reads after a decision: what moved, why, and what is expected of it.

One self-contained HTML file: no script, no outside request. Every name that came in with the data
is escaped: a segment called ``<script>`` is just an odd name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

import pandas as pd

from monitoring.charts import change_bar, gain_chart, response_chart
from monitoring.page_style import STYLE, table_cell

SHOWN = 12  # moves and curves in sight; the others unfold
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


def money(amount: object) -> str:
    """Two places and thousands separators; a dash for what is not known."""
    value = float(amount)  # type: ignore[arg-type]
    return f"{value:,.2f}" if math.isfinite(value) else "–"


def _whole(amount: float) -> str:
    """An estimate: to the unit, as it is not known to the cent."""
    return f"{amount:z,.0f}"


def _in(label: str, currency: str) -> str:
    """The label with its unit, where that is known."""
    return f"{label}, {currency}" if currency else label


def _paragraphs(sentences: Sequence[str], kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return "".join(f"<p{mark}>{escape(s)}</p>" for s in sentences if s)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _tile(label: str, value: str, note: str = "") -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    return f'<div class="tile"><span>{escape(label)}</span><b>{escape(value)}</b>{small}</div>'


def _with_change(moves: pd.DataFrame) -> pd.DataFrame:
    """The moves with what they change, the largest first."""
    change = moves.budget.astype(float) - moves.previous.astype(float)
    ordered = moves.assign(change=change).iloc[(-change.abs()).argsort(kind="stable")]
    return ordered.reset_index(drop=True)


def _tiles(page: DecisionPage, moves: pd.DataFrame) -> str:
    moved = moves[moves.change.abs() >= LEAST]
    total = float(moves.budget.astype(float).sum())
    tiles = []
    # Where nothing moves there is nothing to gain, and "+0 (+0 to +0)" would look like a failure.
    if page.gain is not None and (len(moved) or any(round(v) for v in page.gain)):
        mean, low, high = page.gain
        tiles.append(
            _tile(
                _in("Expected profit a day", page.currency),
                f"{mean:+z,.0f}",
                f"beyond the budgets before; 90 % interval {low:+z,.0f} to {high:+z,.0f}",
            )
        )
    tiles.append(_tile(_in("Budget a day", page.currency), f"{total:,.2f}", "exact to the cent"))
    share = moved.change.clip(lower=0).sum() / total if total else 0.0
    tiles.append(_tile("Money that moves", f"{share:.1%}", "of the daily budget"))
    tiles.append(_tile("Cells that move", f"{len(moved)} of {len(moves)}"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _folded(items: list[str], wrap: Callable[[list[str]], str], noun: str) -> str:
    shown = wrap(items[:SHOWN])
    rest = items[SHOWN:]
    if not rest:
        return shown
    return f"{shown}<details><summary>{len(rest)} more {noun}</summary>{wrap(rest)}</details>"


def _expectation(row: pd.Series) -> str:
    if "expected" not in row or pd.isna(row.expected):
        return "–"
    spread = ""
    if "low" in row and "high" in row and pd.notna(row.low) and pd.notna(row.high):
        spread = f" <small>{_whole(float(row.low))} to {_whole(float(row.high))}</small>"
    return f"{_whole(float(row.expected))}{spread}"


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


def _head(names: Sequence[tuple[str, str]]) -> str:
    """A table's head of (name, further attributes)."""
    cells = "".join(f'<th scope="col"{extra}>{escape(name)}</th>' for name, extra in names)
    return f"<thead><tr>{cells}</tr></thead>"


def _stacked(head: str, rows: str, kind: str = "stack") -> str:
    """A table whose rows stand one below the other where the screen is narrow."""
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{rows}</tbody></table></div>'


def _moves(moves: pd.DataFrame, currency: str) -> str:
    if moves.empty:
        return "<p>There is no cell to show.</p>"
    largest = float(moves.change.abs().max())
    still = largest < LEAST
    was, now = _in("Before", currency), _in("Now", currency)
    expected = _in("Expected incremental revenue a day", currency)
    rows = []
    for _, row in moves.iterrows():
        stage = str(row.get("stage", "") or "")
        badge = f' <em class="badge">{escape(stage)}</em>' if stage not in UNREMARKABLE else ""
        before, change = float(row.previous), float(row.change)
        told = table_cell(now, f"<b>{money(row.budget)}</b>", "n")
        if not still:
            bar = f'<td class="bars">{change_bar(change, largest)}</td>'
            share = table_cell("Change", _relative(before, change), "n")
            told = f"{table_cell(was, money(before), 'n')}{told}{bar}{share}"
        rows.append(
            f'<tr><th scope="row">{escape(str(row.segment))} <span class="by">×</span> '
            f"{escape(str(row.channel))}{badge}</th>{told}"
            f"{table_cell(_in('Expected revenue a day', currency), _expectation(row), 'n')}"
            f'<td class="why">{escape(str(row.reason))}</td></tr>'
        )
    number = ' class="n"'
    names = [("Cell", ""), (now, number), (expected, ' class="n fold"'), ("Why", "")]
    if not still:
        names[1:2] = [(was, number), (now, number), ("Change", f' colspan="2"{number}')]
    words = "<p>Nothing moves: every cell keeps its budget.</p>" if still else ""
    return words + _folded(rows, lambda some: _stacked(_head(names), "".join(some)), "cells")


def _curves(page: DecisionPage, moves: pd.DataFrame) -> str:
    if page.curves is None or page.curves.empty:
        return ""
    order = {(r.segment, r.channel): k for k, r in enumerate(moves.itertuples())}
    cells = sorted(
        page.curves.groupby(["segment", "channel"], sort=True),
        key=lambda item: order.get(item[0], len(order)),
    )
    figures = []
    for (segment, channel), samples in cells:
        sorted_samples = samples.sort_values("spend")
        name = f"{segment} × {channel}"
        at = sorted_samples.iloc[0]
        columns = ("spend", "mean", "low", "high")
        chart = response_chart(
            **{c: sorted_samples[c].astype(float).tolist() for c in columns},
            current=float(at.current),
            planned=float(at.planned),
            title=f"Response curve of {name}",
            currency=page.currency,
        )
        figures.append(f"<figure><figcaption>{escape(name)}</figcaption>{chart}</figure>")
    unit = f" in {escape(page.currency)}" if page.currency else ""
    legend = (
        '<p class="legend"><i class="key was"></i> budget before <i class="key goes"></i> budget '
        'now <i class="key band"></i> 90 % interval; the line is the expected incremental revenue '
        f"a day{unit}</p>"
    )
    return legend + _folded(
        figures, lambda some: f'<div class="grid-of">{"".join(some)}</div>', "curves"
    )


VERDICTS = {"pass": "passes", "undecided": "undecided", "fail": "fails", "review": "not measurable"}


def _rollout(page: DecisionPage) -> str:
    return (
        _paragraphs(page.rollout_sentences)
        + (_table(page.waves) if page.waves is not None and not page.waves.empty else "")
        + _measured(page)
        + _guardrails(page.guardrails)
        + _deciding(page)
        + _history(page.history)
    )


def _measured(page: DecisionPage) -> str:
    if page.measured is None or page.measured.empty:
        return ""
    ordered = page.measured.sort_values("days", kind="stable")
    columns = ("days", "since", "gained", "low", "high")
    broad, narrow = (
        gain_chart(
            **{name: ordered[name].astype(float).tolist() for name in columns},
            marks=page.rollout_marks,
            title="Profit measured against the budgets replaced, with bounds valid at every check",
            narrow=small,
        )
        for small in (False, True)
    )
    unit = f", {escape(page.currency)}" if page.currency else ""
    legend = (
        f'<p class="legend"><i class="key band"></i> measured gain{unit}, with bounds valid at '
        "every check. Band wholly above zero: the gain is proven, and counting starts anew; wholly "
        "below: the budgets are taken back.</p>"
    )
    return (
        f'<figure class="full"><div class="broad">{broad}</div>'
        f'<div class="narrow">{narrow}</div></figure>{legend}'
    )


def _guardrails(found: pd.DataFrame | None) -> str:
    if found is None or found.empty:
        return ""
    rows = "".join(
        f'<tr><th scope="row" class="name">{escape(str(row.name_))}</th>'
        f'<td class="state {escape(str(row.verdict))}">'
        f"{escape(VERDICTS.get(str(row.verdict), str(row.verdict)))}</td>"
        f'<td class="why">{escape(str(row.sentence))}</td></tr>'
        for row in found.rename(columns={"name": "name_"}).itertuples()
    )
    return _stacked(_head([("Guardrail", ""), ("Verdict", ""), ("What it saw", "")]), rows)


def _deciding(page: DecisionPage) -> str:
    parts = ""
    for title, sentences in (
        ("What moves it forward", page.would_go_on),
        ("What slows it", page.would_slow),
        ("What takes it back", page.would_take_back),
    ):
        if sentences:
            items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
            parts += f"<div><h3>{title}</h3><ul>{items}</ul></div>"
    return f'<div class="pair">{parts}</div>' if parts else ""


def _history(steps: Sequence[tuple[str, str, str]]) -> str:
    if not steps:
        return ""
    rows = "".join(
        f'<tr><th scope="row" class="name">{escape(day)}</th>{table_cell("Step", escape(act))}'
        f'<td class="why">{escape(reason)}</td></tr>'
        for day, act, reason in steps
    )
    table = _stacked(_head([("Day", ""), ("Step", ""), ("Why", "")]), rows)
    return f"<details><summary>Rollout history</summary>{table}</details>"


def _table(frame: pd.DataFrame) -> str:
    names = [str(c) for c in frame.columns]
    rows = []
    for record in frame.itertuples(index=False):
        first, *rest = ("–" if v is None or pd.isna(v) else escape(str(v)) for v in record)
        cells = "".join(table_cell(name, v) for name, v in zip(names[1:], rest, strict=True))
        rows.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return _stacked(_head([(name, "") for name in names]), "".join(rows), "stack dense")


def _links(links: Sequence[tuple[str, str]]) -> str:
    safe = [
        (label, address)
        for label, address in links
        if address.startswith(("http://", "https://", "./", "../", "#"))
        or (":" not in address and not address.startswith("/"))
    ]
    items = "".join(f'<li><a href="{escape(a)}">{escape(t)}</a></li>' for t, a in safe)
    return f"<ul>{items}</ul>" if items else ""


def decision_page(content: DecisionPage) -> str:
    """The page as one HTML document (text)."""
    moves = _with_change(content.moves)
    quality = _paragraphs([content.quality_sentence])
    unit = f" · money in {content.currency}" if content.currency else ""
    if content.quality is not None and not content.quality.empty:
        quality += _table(content.quality)
    body = "".join(
        (
            f"<header><h1>{escape(content.title)}</h1>"
            f'<p class="meta">As of {content.as_of} · decision {escape(content.decision_id)}'
            f"{escape(unit)}</p>"
            f"{_paragraphs(content.sentences[:1], 'lead')}{_paragraphs(content.sentences[1:])}"
            "</header>",
            _tiles(content, moves),
            _section("What moves", _moves(moves, content.currency)),
            _section("What each cell earns, and where it stands", _curves(content, moves)),
            _section("The rollout", _rollout(content)),
            _section("Data quality", quality),
            _section("Drift", _paragraphs([content.drift])),
            _section("More", _links(content.links)),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(content.title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
