"""Incremental profit week by week: measured, predicted, and of the budgets left as they were. Pure.

Profit of a day is the margin times incremental revenue less the spend. Measured profit rests on the
holdouts' lifts: a day without a lift of a segment counts with the segment's mean over the week.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from liftloop.core.arrays import Z90, Array
from liftloop.core.curves.gain import Estimate
from liftloop.core.inference.panels import Daily


@dataclass(frozen=True, slots=True)
class DayProfit:
    """What was predicted of the budgets that took effect ``on`` a day: profit a day until the
    next ones; None where nothing was predicted of them."""

    on: date
    profit: float | None


@dataclass(frozen=True, slots=True)
class WeekProfit:
    """Incremental profit of the ``days`` from ``first`` on, account currency.

    Attributes
    ----------
    measured
        By the holdouts, with its 90 % interval; None where some segment had no lift.
    predicted
        When the budgets of these days were decided; None where of a part of them nothing was.
    left
        With the budgets from before the first decision, by the curves, with its 90 % interval.
    """

    first: date
    days: int
    measured: Estimate | None
    predicted: float | None
    left: Estimate


def weekly_profit(
    daily: Daily | None,
    *,
    weeks: Sequence[tuple[date, date]],
    decided: Sequence[DayProfit],
    left: Array,
    margin: float,
) -> list[WeekProfit]:
    """Each week's profit.

    Parameters
    ----------
    daily
        Facts of all segments; None where there are no holdouts.
    weeks
        First day, and the day after the last one.
    decided
        The first one first.
    left
        Draws of the profit a day of the budgets left as they were, shape (n_draws,).
    """
    return [
        WeekProfit(
            first,
            (until - first).days,
            None if daily is None else measured_profit(daily, first, until, margin=margin),
            _predicted(decided, first, until),
            Estimate.of((until - first).days * left),
        )
        for first, until in weeks
    ]


def measured_profit(daily: Daily, first: date, until: date, *, margin: float) -> Estimate | None:
    """Profit of all segments from ``first`` to the day before ``until``; None where some segment
    has no lift or no spend in these days."""
    days = slice(max((first - daily.first).days, 0), max((until - daily.first).days, 0))
    lift, error, spend = daily.lift[days], daily.lift_error[days], daily.spend[days]
    known = np.isfinite(lift) & np.isfinite(error)
    if not len(lift) or not known.any(axis=0).all() or not np.isfinite(spend).any(axis=0).all():
        return None
    count = known.sum(axis=0)
    mean = np.where(known, lift, 0.0).sum(axis=0) / count
    variance = (np.where(known, error, 0.0) ** 2).sum(axis=0) / count**2
    length = (until - first).days
    profit = length * (margin * float(mean.sum()) - float(np.nanmean(spend, axis=0).sum()))
    deviation = length * margin * math.sqrt(float(variance.sum()))
    return Estimate(profit, profit - Z90 * deviation, profit + Z90 * deviation)


def _predicted(decided: Sequence[DayProfit], first: date, until: date) -> float | None:
    total = 0.0
    for day in (first + timedelta(days=n) for n in range((until - first).days)):
        held = [one for one in decided if one.on <= day]
        if not held or held[-1].profit is None:
            return None
        total += held[-1].profit
    return total


def summed(weeks: Sequence[WeekProfit]) -> WeekProfit | None:
    """The weeks that were measured, as one: weeks' measurements are independent of each other,
    what the curves say of the budgets left as they were is not. None where none was measured."""
    known = [week for week in weeks if week.measured is not None]
    if not known:
        return None
    measured = [week.measured for week in known if week.measured is not None]
    mean = sum(one.mean for one in measured)
    deviation = math.hypot(*((one.high - one.low) / 2 for one in measured))
    predicted = [week.predicted for week in known]
    told = [value for value in predicted if value is not None]
    return WeekProfit(
        known[0].first,
        sum(week.days for week in known),
        Estimate(mean, mean - deviation, mean + deviation),
        sum(told) if len(told) == len(predicted) else None,
        Estimate(*(sum(getattr(w.left, end) for w in known) for end in ("mean", "low", "high"))),
    )
