"""What a canary shows: its change in incremental profit against what the control segments did.

Difference in differences, per cell against the cell's own days before:

    effect = sum over canary cells (after - before) - scale * the same sum over control cells

with ``scale`` the canary's spend over the control's before the start, profit = lift times the
revenue margin less the spend, and everything per day. A common season or shock cancels, and so does
what a cell always was.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.finite_horizon import Plan
from liftloop.core.spillover import Spillover

Array = NDArray[np.float64]

LIFT_COLUMNS = (
    "segment",
    "channel",
    "period_start",
    "period_end",
    "days",
    "lift",
    "standard_error",
    "spend",
)


@dataclass(frozen=True, slots=True)
class Look:
    """The evidence up to and with ``day``. Money per day of the whole canary set; positive is a
    gain of the new policy. The standard error holds the uncertainty of the days before."""

    day: date
    effect: float
    standard_error: float
    days: int


@dataclass(frozen=True, slots=True)
class CanaryEvidence:
    """All looks so far, the last one being the one that is judged.

    ``baseline`` is the canary's incremental revenue per day under the incumbent times the revenue
    margin: what losses are measured against. ``problem`` says why nothing can be judged, or is "".
    ``plan`` is what was known before the start; ``at_stake`` what the exposed segments would have
    earned so far under the incumbent (0: not known).
    """

    looks: tuple[Look, ...]
    baseline: float
    canary_spend: float
    problem: str = ""
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    at_stake: float = 0.0
    spillover: Spillover | None = None

    @property
    def last(self) -> Look | None:
        return self.looks[-1] if self.looks else None


def _nothing(problem: str, *, baseline: float = float("nan"), spend: float = 0.0) -> CanaryEvidence:
    return CanaryEvidence((), baseline, spend, problem)


@dataclass(frozen=True, slots=True)
class _Side:
    """One set of segments: profit per day of each period and cell, shape (n_periods, n_cells),
    NaN where there is none."""

    profit: Array
    variance: Array
    days: Array

    def cumulative(self) -> tuple[Array, Array]:
        """Mean per cell up to each period, weighted by days, and the variance of that mean."""
        known = np.isfinite(self.profit)
        days = np.where(known, self.days, 0.0)
        total = np.cumsum(days, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.cumsum(np.where(known, self.profit, 0.0) * days, axis=0) / total
            spread = np.cumsum(np.where(known, self.variance, 0.0) * days**2, axis=0) / total**2
        return mean, spread


def _usable(lifts: pd.DataFrame, revenue_margin: float) -> tuple[pd.DataFrame, int]:
    """Rows whose numbers can be used, with profit and its variance; and how many cannot."""
    numbers = lifts[["days", "lift", "standard_error", "spend"]].astype(float)
    fine = np.isfinite(numbers.to_numpy()).all(axis=1)
    fine &= ((numbers.standard_error > 0) & (numbers.days > 0)).to_numpy()
    kept = pd.DataFrame(
        {
            "cell": lifts.groupby(["segment", "channel"], sort=True).ngroup(),
            "segment": lifts.segment,
            "start": pd.to_datetime(lifts.period_start),
            "end": pd.to_datetime(lifts.period_end),
            "days": numbers.days,
            "profit": revenue_margin * numbers.lift - numbers.spend,
            "revenue": revenue_margin * numbers.lift,
            "variance": (revenue_margin * numbers.standard_error) ** 2,
            "spend": numbers.spend,
        }
    )
    return kept[fine], int((~fine).sum())


def _side(rows: pd.DataFrame, periods: pd.Index, cells: list[int]) -> _Side:
    def table(column: str) -> Array:
        wide = rows.pivot_table(index="end", columns="cell", values=column, aggfunc="sum")
        return wide.reindex(index=periods, columns=cells).to_numpy(float)

    return _Side(table("profit"), table("variance"), table("days"))


def _change(
    before: pd.DataFrame, after: pd.DataFrame, periods: pd.Index
) -> tuple[Array, Array, float]:
    """Sum over cells of (after - before) at each period, its variance, and the share of the set's
    spend before that the comparable cells hold at the last period."""
    cells = sorted(set(before.cell))
    if not cells:
        return np.full(len(periods), np.nan), np.full(len(periods), np.nan), 0.0
    earlier, earlier_var = _side(before, pd.Index(sorted(before.end.unique())), cells).cumulative()
    later, later_var = _side(after, periods, cells).cumulative()
    gap = later - earlier[-1]
    known = np.isfinite(gap)
    total = np.where(known, gap, 0.0).sum(axis=1)
    variance = np.where(known, later_var + earlier_var[-1], 0.0).sum(axis=1)
    spend = before.groupby("cell")["spend"].mean().reindex(cells)
    held = float(spend[known[-1]].sum() / max(float(spend.sum()), 1e-12)) if len(periods) else 0.0
    nothing = ~known.any(axis=1)
    total[nothing], variance[nothing] = np.nan, np.nan
    return total, variance, held


def _split(
    rows: pd.DataFrame, *, started_on: date, as_of: date, wait_days: int, before_days: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Periods before the start, and those after it that count: at least half of a period's days
    must lie past the wait after the start (carry-over), and be older than the wait (late
    conversions)."""
    middle = rows.start + (rows.end - rows.start) / 2
    start, wait = pd.Timestamp(started_on), timedelta(days=wait_days)
    before = rows[(rows.end < start) & (rows.start >= start - timedelta(days=before_days))]
    counts = (
        (rows.start >= start)
        & (middle >= start + wait)
        & (rows.end < pd.Timestamp(as_of))
        & (middle + wait < pd.Timestamp(as_of))
    )
    return before, rows[counts]


def _per_day(rows: pd.DataFrame, column: str) -> float:
    """Mean per day of ``column`` over each cell's days, summed over cells."""
    weighted = (rows[column] * rows.days).groupby(rows.cell).sum()
    return float((weighted / rows.days.groupby(rows.cell).sum()).sum())


def canary_evidence(
    lifts: pd.DataFrame,
    *,
    canary: Collection[str],
    control: Collection[str],
    started_on: date,
    as_of: date,
    wait_days: int = 3,
    revenue_margin: float = 1.0,
    baseline: float | None = None,
    before_days: int = 56,
    coverage: float = 0.8,
) -> CanaryEvidence:
    """The canary's evidence from holdout lifts.

    Parameters
    ----------
    lifts : one row a cell and period (a day or a week): segment, channel, period_start and
        period_end (inclusive), days, lift (incremental revenue per day), standard_error (of lift),
        spend (per day)
    canary, control : the segments that follow the new policy, and those that keep the old
    started_on : first day of the new policy
    as_of : nothing on or after this day is known
    wait_days : carry-over and late conversions settle first
    revenue_margin : profit per unit of revenue, before the spend
    baseline : the canary's incremental revenue per day under the incumbent times the margin, as
        the model saw it at the start; by default the mean of its lifts before the start
    coverage : least share of the spend before that the comparable cells must hold, on each side

    Returns
    -------
    CanaryEvidence
        With ``problem`` set, and no looks, when nothing can be judged. Never raises for bad values.
    """
    missing = [name for name in LIFT_COLUMNS if name not in lifts.columns]
    if missing:
        return _nothing(f"The lifts lack the columns {', '.join(missing)}.")
    rows, dropped = _usable(lifts, revenue_margin)
    before, after = _split(
        rows, started_on=started_on, as_of=as_of, wait_days=wait_days, before_days=before_days
    )
    sides = {
        name: (before[before.segment.isin(group)], after[after.segment.isin(group)])
        for name, group in (("canary", list(canary)), ("control", list(control)))
    }
    for name, (earlier, _) in sides.items():
        if earlier.empty:
            return _nothing(f"The {name} segments have no lift from before {started_on}.")
    spend = {n: _per_day(earlier, "spend") for n, (earlier, _) in sides.items()}
    against = _per_day(sides["canary"][0], "revenue") if baseline is None else baseline
    if not (np.isfinite(against) and against > 0):
        return _nothing(
            "The canary segments earned no measurable incremental revenue before the start, so a "
            "loss has nothing to be measured against.",
            spend=spend["canary"],
        )
    for name, (_, later) in sides.items():
        if later.empty:
            return _nothing(
                f"No day of the {name} segments counts yet: carry-over and late conversions need "
                f"{wait_days} days.",
                baseline=against,
                spend=spend["canary"],
            )
    if spend["control"] <= 0 or spend["canary"] <= 0:
        return _nothing("The canary or the control segments spent nothing before the start.")
    periods = pd.Index(sorted(set(after.end)))
    gain, gain_var, held = _change(*sides["canary"], periods)
    other, other_var, other_held = _change(*sides["control"], periods)
    for name, share in (("canary", held), ("control", other_held)):
        if share < coverage:
            return _nothing(
                f"Only {share:.0%} of the {name} segments' spend has lifts both before and after "
                f"the start; {coverage:.0%} is needed.",
                baseline=against,
                spend=spend["canary"],
            )
    scale = spend["canary"] / spend["control"]
    effects, variances = gain - scale * other, gain_var + scale**2 * other_var
    lengths = after.groupby("end").days.max().reindex(periods).cumsum()
    looks = tuple(
        Look(end.date(), float(effect), float(np.sqrt(variance)), int(days))
        for end, effect, variance, days in zip(periods, effects, variances, lengths, strict=True)
        if np.isfinite(effect) and variance > 0
    )
    notes = (f"{dropped} lifts without a usable number were left out.",) if dropped else ()
    return CanaryEvidence(looks, against, spend["canary"], "", notes)


def combine(first: CanaryEvidence, second: CanaryEvidence) -> CanaryEvidence:
    """Two independent streams of evidence about the same canary, joined by adding information.

    A stream that cannot be judged leaves the other as it is, with a note. Looks are joined by day;
    a stream without a look on a day counts with its last one before.
    """
    if first.problem or second.problem:
        kept, lost = (second, first) if first.problem else (first, second)
        return replace(kept, notes=(*kept.notes, lost.problem)) if lost.problem else kept
    looks = []
    for day in sorted({look.day for look in (*first.looks, *second.looks)}):
        parts = [
            max((k for k in stream.looks if k.day <= day), key=lambda k: k.day, default=None)
            for stream in (first, second)
        ]
        known = [part for part in parts if part is not None]
        information = sum(part.standard_error**-2 for part in known)
        effect = sum(part.effect * part.standard_error**-2 for part in known) / information
        looks.append(Look(day, effect, information**-0.5, max(part.days for part in known)))
    return replace(first, looks=tuple(looks), notes=(*first.notes, *second.notes))
