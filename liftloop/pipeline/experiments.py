"""Measuring an experiment from spend and first-party sales: frames in, what it did out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from liftloop.core.experiments.design import GEO, Experiment
from liftloop.core.experiments.power import LEAST_BEFORE, LEAST_WEEKS, WeeklySales
from liftloop.core.experiments.spend_baseline import SpendChange, spend_change
from liftloop.core.experiments.switch_back import LEAST_PAIRS, Turns, measured_turns
from liftloop.core.feeds.deliveries.empty_sales import without_empty_stretches

MOST_WEEKS = 52
A_DAY = timedelta(days=1)


class CannotMeasure(Exception):
    """An experiment cannot be measured; the message says why, and whether more days help
    (``wait``) or it stays so."""

    def __init__(self, words: str, *, wait: bool = False) -> None:
        super().__init__(words)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an experiment did, as its segments' sales tell it.

    Attributes
    ----------
    experiment
        As it was measured: whole weeks or pairs of turns that were run.
    spend_delta, effect
        Signed change of spend and of revenue, money over the experiment.
    error, freedom
        Standard error of the effect, and the degrees of freedom it is known with.
    """

    experiment: Experiment
    spend_delta: float
    effect: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """90 % interval of the effect (Student's t)."""
        from scipy import stats

        half = float(stats.t.isf(0.05, self.freedom)) * self.error
        return self.effect - half, self.effect + half

    @property
    def normal_error(self) -> float:
        """The standard error with which a normal distribution has the same 90 % interval: what the
        experiments feed holds, whose readers know no degrees of freedom."""
        from scipy import stats

        return float(self.error * stats.t.isf(0.05, self.freedom) / stats.norm.isf(0.05))


def measure(experiment: Experiment, *, spend: pd.DataFrame, sales: pd.DataFrame) -> Measurement:
    """Measure an experiment of which every day is known.

    Parameters
    ----------
    spend
        ``performance``: date, segment, channel, spend. Not changed.
    sales
        date, segment, revenue. Not changed.

    Raises
    ------
    CannotMeasure
        When sales do not reach far enough, or the spend did not change.
    """
    names = list(experiment.segments)
    mine = spend[(spend["channel"] == experiment.channel).to_numpy()]
    unknown = sorted(set(names) - set(sales["segment"].astype(str)))
    if unknown or mine.empty:
        lacking = f"the channel {experiment.channel!r}" if mine.empty else f"sales of {unknown[0]}"
        raise CannotMeasure(f"Nothing is known of {lacking}: check the name (liftloop names).")
    effect, error, freedom = _effect(experiment, sales)
    delta = _delta(experiment, mine)
    return Measurement(experiment, delta, effect, error, freedom)


def _effect(experiment: Experiment, sales: pd.DataFrame) -> tuple[float, float, float]:
    names, start, end = list(experiment.segments), experiment.start, experiment.end
    if experiment.design == GEO:
        weeks = experiment.weeks
        weekly = whole_weeks(sales, until=pd.Timestamp(end + A_DAY), extra=weeks)
        found = weekly.measured(names, weeks=weeks) if weekly is not None else None
        if found is None:
            last = _last_day(sales, names)
            raise CannotMeasure(
                f"Sales of {', '.join(names)} and of at least one other segment are needed on "
                f"every day from {max(LEAST_WEEKS, weeks + LEAST_BEFORE)} weeks before {start} to "
                f"{end}.",
                wait=last is None or last < end,
            )
        effect, contrast = found
        return effect, contrast.standard_error(weeks), contrast.freedom(weeks)
    before, inside = daily_sales(sales, names, start=start, end=end)
    if len(inside) < experiment.days:
        raise CannotMeasure(f"Sales of {', '.join(names)} are not known up to {end}.", wait=True)
    turns = Turns(experiment.turn_weeks, experiment.washout_days)
    measured = measured_turns(before, inside, turns, experiment.changed_first)
    if measured is None:
        raise CannotMeasure(
            f"Sales of {', '.join(names)} are needed on every day of the "
            f"{2 * LEAST_PAIRS * turns.weeks} weeks before {start}."
        )
    return measured


def _delta(experiment: Experiment, spend: pd.DataFrame) -> float:
    """The change of spend over the experiment.

    Raises
    ------
    CannotMeasure
        When it is not known, or no more than in other weeks.
    """
    found = change_of_spend(experiment, spend)
    where = f"{experiment.channel} in {', '.join(experiment.segments)}"
    if found is None:
        raise CannotMeasure(
            f"The spend of {where} is not known from a week before {experiment.start} to "
            f"{experiment.end}.",
            wait=True,
        )
    if not found.shows:
        raise CannotMeasure(
            f"The spend of {where} did not change from {experiment.start} to {experiment.end}: "
            f"{found.spent:,.0f} was spent, {found.expected:,.0f} is usual by the four weeks "
            f"before (standard deviation {found.error:,.0f}). There is nothing that sales could "
            "answer to: check dates, segments and channel."
        )
    return found.delta


def change_of_spend(experiment: Experiment, spend: pd.DataFrame) -> SpendChange | None:
    """The change of spend over an experiment; ``spend`` is of its channel. In a switch-back the
    turns without a change say what is usual."""
    days = pd.to_datetime(spend["date"])
    inside = spend["segment"].isin(list(experiment.segments)).to_numpy()
    known = days[inside]
    if known.empty or known.max() < pd.Timestamp(experiment.end):
        return None
    every = pd.date_range(days.min(), experiment.end)
    tested, others = (
        spend.assign(day=days)[mask]
        .groupby("day")["spend"]
        .sum()
        .reindex(every, fill_value=0.0)
        .to_numpy(dtype=float)
        for mask in (inside, ~inside)
    )
    first = (experiment.start - every[0].date()).days
    if experiment.design == GEO:
        return spend_change(tested, others, first=first, days=experiment.days)
    if first < 0:
        return None
    on, test = experiment.on, tested[first:]
    usual, spent = float(test[~on].mean()) * int(on.sum()), float(test[on].sum())
    weeks = test[~on].reshape(-1, 7).sum(axis=1)
    spread = float(weeks.std(ddof=1) / weeks.mean()) if len(weeks) > 1 and weeks.mean() else 0.0
    return SpendChange(spent, usual, spread * usual / max(len(weeks), 1) ** 0.5)


def whole_weeks(rows: pd.DataFrame, *, until: pd.Timestamp, extra: int = 0) -> WeeklySales | None:
    """Revenue of whole weeks, counted back from the day before ``until``: of the segments that lack
    no day of the last six weeks and ``extra``; at most a year and ``extra``."""
    rows = without_empty_stretches(rows)
    days = pd.to_datetime(rows["date"])
    known = rows.assign(day=days)[(days < until).to_numpy()]
    wide = known.pivot_table(index="day", columns="segment", values="revenue", aggfunc="sum")
    if wide.empty:
        return None
    week = ((until - pd.DatetimeIndex(wide.index)).days - 1) // 7
    whole = wide.groupby(week).count() == 7
    sums = wide.groupby(week).sum()
    least, most = LEAST_WEEKS + extra, MOST_WEEKS + extra
    recent = whole.loc[whole.index < least]
    names = [str(name) for name in whole.columns[recent.all() & (len(recent) == least)]]
    weeks = sums.loc[whole[names].all(axis=1) & (sums.index < most), names]
    weeks = weeks.loc[weeks.index == np.arange(len(weeks))]  # up to the first week with a gap
    if len(names) < 2 or len(weeks) < least:
        return None
    return WeeklySales(tuple(names), weeks.iloc[::-1].to_numpy(dtype=float))


def latest_weeks(sales: pd.DataFrame, *, as_of: date) -> WeeklySales | None:
    """Sales of whole weeks, counted back from the last known day, of the segments that lack no day
    of the last six; at most a year. None where that leaves nothing to compare."""
    days = pd.to_datetime(sales["date"])
    known = days[(days < pd.Timestamp(as_of)).to_numpy()]
    if known.empty:
        return None
    return whole_weeks(sales, until=known.max() + pd.Timedelta(days=1))


def daily_sales(
    sales: pd.DataFrame, segments: Sequence[str], *, start: date, end: date | None = None
) -> tuple[Array, Array]:
    """Sales by day of these segments together: of the days before ``start`` that lack none, at most
    two years, and from ``start`` to ``end`` up to the first day that is lacking."""
    rows = without_empty_stretches(sales[sales["segment"].isin(list(segments)).to_numpy()])
    days = pd.to_datetime(rows["date"])
    wide = rows.assign(day=days).pivot_table(
        index="day", columns="segment", values="revenue", aggfunc="sum"
    )
    total = wide[wide.notna().all(axis=1)].sum(axis=1)
    early = pd.date_range(end=start - A_DAY, periods=2 * 7 * MOST_WEEKS)
    before = total.reindex(early).to_numpy(dtype=float)
    gaps = np.flatnonzero(~np.isfinite(before))
    before = before[gaps[-1] + 1 :] if len(gaps) else before
    inside = total.reindex(pd.date_range(start, end or start)).to_numpy(dtype=float)
    missing = np.flatnonzero(~np.isfinite(inside))
    return before, inside[: missing[0]] if len(missing) else inside


def _last_day(sales: pd.DataFrame, names: Sequence[str]) -> date | None:
    """The last day of which sales of all of these segments are known."""
    last = sales[sales["segment"].isin(list(names)).to_numpy()].groupby("segment")["date"].max()
    return None if len(last) < len(set(names)) else pd.to_datetime(last).min().date()
