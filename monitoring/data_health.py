"""Data health: is each cell's feed there, in time, and does it agree with itself and the budgets?

A cell whose facts are late or broken does not move: its budget in force stays. The rest goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.grouping import coded, days_of, joined, summed
from liftloop.core.policy import Cell, Policy
from monitoring.verdicts import CellHealth, HealthVerdict

Index = NDArray[np.intp]
DEFAULT = "the budget in force stays as it is"


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """What is still healthy.

    Attributes
    ----------
    max_lag_days : a cell whose last known day is more days before yesterday is paused
    lookback_days : completeness and consistency are judged on so many days
    least_complete : share of the days, between a cell's first and last day of the lookback, below
        which it is paused
    pacing_warn, pacing_pause : spend over budget (mean of the days since the budgets took effect)
        further from 1 than this factor is told, or pauses the cell (a wrong unit, a broken join)
    """

    max_lag_days: int = 3
    lookback_days: int = 28
    least_complete: float = 0.7
    pacing_warn: float = 1.3
    pacing_pause: float = 4.0


@dataclass(frozen=True, slots=True)
class _Recent:
    """A cell's days of the lookback: the first, how many, how many contradict themselves, and the
    mean spend of those ``paid`` under the budgets in force."""

    first: date
    days: int
    odd: int
    paid: int
    spend: float


def _recent(
    performance: pd.DataFrame, as_of: date, since: date | None, config: HealthConfig
) -> dict[Cell, _Recent]:
    """The lookback of every cell that has facts in it."""
    when, today = days_of(performance["date"]), np.datetime64(as_of, "D")
    near = (when >= today - np.timedelta64(config.lookback_days, "D")) & (when < today)
    rows, when = performance[near], when[near]
    if rows.empty:
        return {}
    cell, cells = _cells(rows)
    first, span = when.min(), config.lookback_days
    day = joined((cell, 1), ((when - first).astype(np.intp), span))
    days = np.unique(day)
    clicks, impressions, spend = (
        rows[name].to_numpy(dtype=float) for name in ("clicks", "impressions", "spend")
    )
    sums = summed(day, spend=spend, odd=((clicks > 0) & (impressions == 0)).astype(float))
    of, dates = days // span, first + days % span
    in_force = dates >= np.datetime64(since, "D") if since else np.zeros(len(days), dtype=bool)

    def each(values: Any) -> list[Any]:
        return np.bincount(of, weights=values, minlength=len(cells)).tolist()

    counts = [each(v) for v in (np.ones(len(days)), sums["odd"] > 0, in_force)]
    spent = [each(np.where(in_force, sums["spend"], 0.0))]
    begin = dates[np.searchsorted(of, np.arange(len(cells)))].astype(object)
    return {
        name: _Recent(begin[i], int(counts[0][i]), int(counts[1][i]), int(counts[2][i]),
                      spent[0][i] / counts[2][i] if counts[2][i] else float("nan"))
        for i, name in enumerate(cells)
    }  # fmt: skip


def _cells(rows: pd.DataFrame) -> tuple[Index, list[Cell]]:
    """Each row's cell as its place (n,) among the cells that have rows."""
    (segment, segments), (channel, channels) = coded(rows["segment"]), coded(rows["channel"])
    pairs, place = np.unique(
        joined((segment, len(segments)), (channel, len(channels))), return_inverse=True
    )
    names = (divmod(int(pair), len(channels)) for pair in pairs)
    return place, [Cell(str(segments[s]), str(channels[c])) for s, c in names]


def _last_days(feed: pd.DataFrame, as_of: date) -> dict[Cell, date]:
    when = days_of(feed["date"])
    known = when < np.datetime64(as_of, "D")
    if not known.any():
        return {}
    cell, cells = _cells(feed[known])
    days, first = when[known], when[known].min()
    last = np.zeros(len(cells), dtype=np.intp)
    np.maximum.at(last, cell, (days - first).astype(np.intp))
    return dict(zip(cells, (first + last).astype(object), strict=True))


def _late(last: date | None, as_of: date, config: HealthConfig, feed: str) -> str:
    if last is None:
        return f"no {feed} facts at all"
    lag = (as_of - timedelta(days=1) - last).days
    return f"{feed} is {lag} days late (last day {last})" if lag > config.max_lag_days else ""


def _inspect(
    cell: Cell,
    recent: _Recent | None,
    *,
    last: date | None,
    holdout_last: date | None,
    budget: float,
    as_of: date,
    config: HealthConfig,
) -> CellHealth:
    reasons, warnings = [], []
    if budget > 0:
        reasons.append(_late(last, as_of, config, "performance"))
    if holdout_last is not None:
        reasons.append(_late(holdout_last, as_of, config, "holdout"))
    missing, pacing = 0, None
    if recent is not None and last is not None:
        span = (last - recent.first).days + 1
        missing = span - recent.days
        if span >= 7 and 1 - missing / span < config.least_complete:
            reasons.append(f"{missing} of {span} days are missing")
        elif missing:
            warnings.append(f"{missing} of {span} days are missing")
        odd = recent.odd
        if odd * 2 > recent.days:
            reasons.append(f"{odd} of {recent.days} days have clicks without impressions")
        elif odd:
            warnings.append(f"{odd} of {recent.days} days have clicks without impressions")
        if budget > 0 and recent.paid >= 3:
            pacing = recent.spend / budget
            apart = max(pacing, 1 / pacing) if pacing > 0 else float("inf")
            words = f"spend runs at {pacing:.0%} of the budget"
            if apart > config.pacing_pause:
                reasons.append(words)
            elif apart > config.pacing_warn:
                warnings.append(words)
    lag = (as_of - timedelta(days=1) - last).days if last else None
    paused = "; ".join(r for r in reasons if r)
    return CellHealth(cell, last, lag, missing, pacing, paused, tuple(warnings))


def health(
    performance: pd.DataFrame,
    *,
    policy: Policy,
    as_of: date,
    holdout: pd.DataFrame | None = None,
    in_force_since: date | None = None,
    config: HealthConfig | None = None,
) -> HealthVerdict:
    """Judge the feeds of every cell of the policy in force.

    Parameters
    ----------
    performance, holdout : the feeds of those names, as known on ``as_of``; holdout may be None, and
        is only asked of cells that have ever had it
    policy : budgets in force; a cell with a zero budget owes no performance rows
    as_of : facts on or after this day are ignored; the last day that can be known is the day before
    in_force_since : first day of these budgets, for pacing; None when it is not known
    """
    rule = config or HealthConfig()
    recent = _recent(performance, as_of, in_force_since, rule)
    last = _last_days(performance, as_of)
    held = _last_days(holdout, as_of) if holdout is not None and len(holdout) else {}
    cells = tuple(
        _inspect(
            cell,
            recent.get(cell),
            last=last.get(cell),
            holdout_last=held.get(cell),
            budget=float(budget),
            as_of=as_of,
            config=rule,
        )
        for cell, budget in policy.budgets
    )
    return HealthVerdict(as_of, cells, DEFAULT, _summary(cells))


def _summary(cells: tuple[CellHealth, ...]) -> str:
    stopped = [c for c in cells if c.paused]
    warned = [c for c in cells if c.warnings and not c.paused]
    if not stopped and not warned:
        return f"All {len(cells)} cells report in time and agree with their budgets."
    parts = []
    if stopped:
        shown = "; ".join(f"{c.cell}: {c.paused}" for c in stopped[:3])
        more = f"; and {len(stopped) - 3} more" if len(stopped) > 3 else ""
        parts.append(
            f"{len(stopped)} of {len(cells)} cells are paused ({shown}{more}): {DEFAULT} until "
            "their facts are sound again."
        )
    if warned:
        first = warned[0]
        parts.append(
            f"{len(warned)} more deserve a look, such as {first.cell}: {'; '.join(first.warnings)}."
        )
    return " ".join(parts)
