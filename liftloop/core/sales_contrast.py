"""A second witness: the canary's sales against the control segments' sales.

Holdout lifts see a channel's effect through a tenth of its users; sales see all of it, through the
noise of everything else. In whole weeks counted from the start (so that weekdays cancel),

    contrast = sales of the canary segments - g * sales of the control segments

with ``g`` the ratio of the two sums over the weeks before. What shocks both sets alike cancels. The
contrast's weekly variance is learned from the weeks before and widened for how few they are.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.evidence import CanaryEvidence, Look

WEEK = 7
LEAST_WEEKS_BEFORE = 6


def _weekly(sales: pd.DataFrame, segments: Collection[str], started_on: date) -> pd.Series:
    """Sum over ``segments`` per day, by week (numbered from the start, negative before); only weeks
    that have every day of every segment."""
    mine = sales[sales.segment.isin(list(segments))]
    ahead = (pd.to_datetime(mine.date) - pd.Timestamp(started_on)).dt.days
    revenue = mine.revenue.astype(float)
    fine = np.isfinite(revenue)
    week = np.floor_divide(ahead[fine], WEEK)
    grouped = revenue[fine].groupby(week)
    full = grouped.size() == WEEK * len(set(segments))
    return grouped.sum()[full] / WEEK


def _spread(contrast: NDArray[np.float64]) -> float:
    """Weekly variance with n - 1 degrees of freedom, widened to the variance of Student's t: the
    boundary is a normal one, and a few weeks know their own spread badly."""
    freedom = len(contrast) - 1
    return float((contrast**2).sum() / freedom * freedom / (freedom - 2))


def sales_evidence(
    sales: pd.DataFrame,
    *,
    canary: Collection[str],
    control: Collection[str],
    started_on: date,
    as_of: date,
    baseline: float,
    canary_spend: float = 0.0,
    wait_days: int = 3,
    revenue_margin: float = 1.0,
    before_weeks: int = 26,
) -> CanaryEvidence:
    """The canary's evidence from first-party sales, to be joined to that from lifts.

    The canary spends in total what it spent before, so a change in revenue is a change in profit.

    Parameters
    ----------
    sales : date, segment, revenue: one row a day and segment
    baseline : as in :func:`liftloop.core.evidence.canary_evidence`
    before_weeks : at most so many weeks before the start are used

    Returns
    -------
    CanaryEvidence
        One look a week; with ``problem`` set when there are fewer than six whole weeks before the
        start or none after it. Never raises for bad values.
    """

    def nothing(problem: str) -> CanaryEvidence:
        return CanaryEvidence((), baseline, canary_spend, problem)

    missing = [name for name in ("date", "segment", "revenue") if name not in sales.columns]
    if missing or sales.empty:
        return nothing("There are no sales by day and segment.")
    known = sales[pd.to_datetime(sales.date) < pd.Timestamp(as_of)]
    both = pd.DataFrame(
        {
            "canary": _weekly(known, canary, started_on),
            "control": _weekly(known, control, started_on),
        }
    ).dropna()
    before = both[(both.index < 0) & (both.index >= -before_weeks)]
    if len(before) < LEAST_WEEKS_BEFORE:
        return nothing(
            f"Sales have {len(before)} whole weeks from before the start in all segments; "
            f"{LEAST_WEEKS_BEFORE} are needed."
        )
    if before.control.sum() <= 0 or not baseline > 0:
        return nothing("The control's sales, or what a loss is measured against, are not positive.")
    scale = before.canary.sum() / before.control.sum()
    variance = _spread((before.canary - scale * before.control).to_numpy())
    if not variance > 0:
        return nothing("The sales of canary and control do not vary before the start.")
    middles = [started_on + timedelta(days=WEEK * int(week) + WEEK // 2) for week in both.index]
    counts = [
        week >= 0
        and middle >= started_on + timedelta(days=wait_days)
        and middle + timedelta(days=wait_days) < as_of
        for week, middle in zip(both.index, middles, strict=True)
    ]
    after = both[counts]
    contrast = revenue_margin * (after.canary - scale * after.control).to_numpy()
    looks = []
    for count, week in enumerate(after.index, start=1):
        error = revenue_margin * np.sqrt(variance * (1 / count + 1 / len(before)))
        day = started_on + timedelta(days=WEEK * (int(week) + 1) - 1)
        looks.append(Look(day, float(contrast[:count].mean()), float(error), WEEK * count))
    if not looks:
        return nothing("No whole week of sales counts yet.")
    return CanaryEvidence(tuple(looks), baseline, canary_spend)
