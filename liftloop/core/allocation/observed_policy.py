"""The budgets in force before the loop decided anything: what each cell really spends a day, by the
latest days that are complete.

A mean over a month would call a channel that began three days ago a tenth of what it is, and give a
paused one its money back. Each cell therefore has its latest level: the mean of its last seven
complete days, of the days since it began or changed its level where these are fewer, and nothing
where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.allocation.rounding import largest_remainder
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

WINDOW_DAYS = 28  # a cell without a row for so long is no cell any more
WEEK = 7
LATE_DAYS = 2  # last days on which a cell may be late rather than stopped
TOTAL_TOLERANCE = Decimal("0.01")  # no week spends its budgets to the cent
LEAST_CHANGE = 0.2  # a smaller change of level within the week is left to the mean of the week
CLEAR_CHANGE = 4.0  # times the usual scatter from week to week

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SpendLevel:
    """What a cell spends a day, account currency, by the days ``first`` to ``last``."""

    cell: Cell
    daily: float
    first: date
    last: date


def observed_levels(
    performance: pd.DataFrame, *, as_of: date, timezone: str = "UTC"
) -> tuple[SpendLevel, ...]:
    """The latest level of every cell that had a row in the last 28 days with facts.

    Not counted are days that a channel is late behind the others by less than a week, a day that
    was reported before it was over, a last day on which a cell spent less than half of what it
    spent the day before and a week before (it still grows), and one or two last days without any
    spend. A cell that spends nothing for longer than that, and for longer than it ever paused
    between days with spend, stopped: 0.

    Parameters
    ----------
    performance
        The performance facts known on ``as_of``: date, segment, channel, spend (account currency)
        and, where there is one, reported_at.
    as_of
        Only days before it count.
    timezone
        Of the account: when a day is over.
    """
    if performance.empty:
        return ()
    facts = pd.DataFrame(
        {
            "date": pd.to_datetime(performance["date"]).to_numpy(),
            "segment": performance["segment"].astype(str).to_numpy(),
            "channel": performance["channel"].astype(str).to_numpy(),
            "spend": performance["spend"].astype(float).to_numpy(),
            "over": _over(performance, timezone),
        }
    )
    facts = facts[facts["date"] < pd.Timestamp(as_of)]
    if facts.empty:
        return ()
    newest = facts["date"].max()
    window = pd.date_range(newest - timedelta(days=2 * WINDOW_DAYS - 1), newest)
    facts = facts[facts["date"] >= window[0]]
    reported = np.asarray(window.isin(facts["date"]))
    ends = _ends(facts, newest)
    recent = facts["date"] > newest - timedelta(days=WINDOW_DAYS)
    alive = facts.loc[recent].groupby(["segment", "channel"], sort=True).size().index
    spend = facts.pivot_table(
        index="date", columns=["segment", "channel"], values="spend", aggfunc="sum", fill_value=0.0
    ).reindex(window, fill_value=0.0)
    first_row = facts.groupby(["segment", "channel"])["date"].min()
    found = []
    for segment, channel in alive:
        until = (ends[channel] - window[0]).days + 1
        since = (first_row[(segment, channel)] - window[0]).days
        if since >= until:  # it has no day but those that are not over: they are all there is
            until = len(window)
        values = np.asarray(spend[(segment, channel)], dtype=np.float64)[:until]
        daily, first, last = _level(values, reported[:until], since)
        cell = Cell(str(segment), str(channel))
        found.append(SpendLevel(cell, daily, window[first].date(), window[last].date()))
    return tuple(found)


def observed_policy(
    performance: pd.DataFrame,
    *,
    as_of: date,
    total: Decimal | None = None,
    timezone: str = "UTC",
    unit: Decimal = Decimal("0.01"),
    tested: Mapping[Cell, float] = MappingProxyType({}),
) -> Policy | None:
    """Each cell's latest daily spend (:func:`observed_levels`), in whole ``unit``.

    Parameters
    ----------
    total
        The total daily budget, if one is set. Where the cells spend it within 1 %, they are scaled
        to it, exact by the largest remainder; a total that is farther away is not what is spent,
        and the policy sums to what is.
    unit
        The smallest amount of the currency that a budget may have, account currency.
    tested
        What cells that user-level tests alone tell of spend a day, account currency.

    Returns
    -------
    The policy, with 0 for a cell that stopped; None where nothing is spent.
    """
    levels = observed_levels(performance, as_of=as_of, timezone=timezone)
    daily = {level.cell: level.daily for level in levels} | dict(tested)
    names = (
        pd.MultiIndex.from_tuples(
            [(cell.segment, cell.channel) for cell in daily], names=["segment", "channel"]
        )
        if daily
        else None
    )
    spend = pd.Series([*daily.values()], index=names, dtype=float)
    return _scaled(spend, total, unit)


def silent_levels(
    performance: pd.DataFrame, *, as_of: date, timezone: str = "UTC"
) -> tuple[SpendLevel, ...]:
    """The levels of cells whose channel has had no row for some days and is taken to be late: it
    may as well have stopped, which is known only after a week.

    Parameters
    ----------
    performance, as_of, timezone
        As for :func:`observed_levels`.
    """
    levels = observed_levels(performance, as_of=as_of, timezone=timezone)
    newest = max((level.last for level in levels), default=as_of)
    late = [one for one in levels if one.daily > 0 and (newest - one.last).days > LATE_DAYS]
    if not late:
        return ()
    days = pd.to_datetime(performance["date"])
    rows = performance.loc[days.dt.date > newest - timedelta(days=LATE_DAYS + 1), "channel"]
    return tuple(one for one in late if one.cell.channel not in set(rows.astype(str)))


def observed_policy_of_units(
    units: pd.DataFrame, *, total: Decimal | None = None, unit: Decimal = Decimal("0.01")
) -> Policy | None:
    """What a mailing (or any one wave of a user-level test) spent on each cell's treated users.

    Parameters
    ----------
    units
        segment, channel, arm, cost (account currency a user). Here a day stands for one wave.
    total, unit
        As for :func:`observed_policy`, but that a wave is scaled to any total: a test is no daily
        spend that steps could be measured from.

    Returns
    -------
    The policy, or None where no cost is known.
    """
    treated = units.loc[units["arm"] == "treated"]
    if treated.empty or "cost" not in treated.columns:
        return None
    spent = treated.groupby(["segment", "channel"], sort=True)["cost"].sum()
    return _scaled(spent, total, unit, tolerance=None)


def _over(performance: pd.DataFrame, timezone: str) -> NDArray[np.bool_]:
    """Whether each row was reported when its day was over; True where that is not known."""
    if "reported_at" not in performance.columns:
        return np.ones(len(performance), dtype=bool)
    reported = pd.to_datetime(performance["reported_at"], utc=True)
    days = pd.to_datetime(performance["date"]) + timedelta(days=1)
    midnight = days.dt.tz_localize(timezone, ambiguous=True, nonexistent="shift_forward")
    return np.asarray(reported.isna() | (reported >= midnight.dt.tz_convert("UTC")))


def _ends(facts: pd.DataFrame, newest: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """The last day of each channel that counts: its last complete one where it is late by less than
    a week, the account's last complete one where it is silent for longer."""
    early = facts.loc[~facts["over"], ["channel", "date"]]
    unfinished = set(early.itertuples(index=False, name=None))
    last: dict[str, pd.Timestamp] = {}
    days = facts[["channel", "date"]].drop_duplicates()
    for channel, day in days.itertuples(index=False, name=None):
        if (channel, day) not in unfinished:
            last[channel] = max(day, last.get(channel, day))
    complete = max(last.values(), default=newest)
    return {
        channel: last[channel]
        if channel in last and (complete - last[channel]).days < WEEK
        else complete
        for channel in facts["channel"].unique()
    }


def _level(spend: Floats, reported: NDArray[np.bool_], since: int) -> tuple[float, int, int]:
    """The latest level and the first and last day it is from.

    Parameters
    ----------
    spend, reported
        A cell's spend of each day, and whether anything was reported on that day; shape (n_days,).
    since
        The cell's first day.
    """
    last = len(spend) - 1
    idle = _idle(spend[-WINDOW_DAYS:])
    if idle > LATE_DAYS or not spend[-WEEK:].any():
        return 0.0, max(last - max(idle, WEEK) + 1, 0), last
    last -= idle or _growing(spend)
    first = max(last - WEEK + 1, 0)
    if not spend[max(first - WEEK, 0) : first].any():  # it began within the week
        began = int(np.flatnonzero(spend[first : last + 1] > 0)[0])
        first = max(first + began, since)
        return _mean(spend, reported, first, last), first, last
    changed = _change(spend, last)
    if changed is None:
        return _mean(spend, reported, first, last), first, last
    first, ratio = changed
    return ratio * _mean(spend, reported, first - WEEK, first - 1), first, last


def _mean(spend: Floats, reported: NDArray[np.bool_], first: int, last: int) -> float:
    days = reported[first : last + 1]
    return float(spend[first : last + 1].sum() / max(int(days.sum()), 1))


def _idle(spend: Floats) -> int:
    """How many last days had no spend; 0 where it paused as long before and spent again."""
    spent = np.flatnonzero(spend > 0)
    if not len(spent):
        return len(spend)
    idle = len(spend) - 1 - int(spent[-1])
    usual = int(np.diff(spent).max()) - 1 if len(spent) > 1 else 0
    return idle if idle > usual else 0


def _growing(spend: Floats) -> int:
    """1 where the last day is less than half of the day before and of the same weekday before."""
    if len(spend) <= WEEK:
        return 0
    return int(spend[-1] < 0.5 * min(spend[-2], spend[-1 - WEEK]))


def _change(spend: Floats, last: int) -> tuple[int, float] | None:
    """The first day of a new level that began within the week, and how many times the old one it
    is; None where the week has one level.

    Days are compared with the same weekday a week before, so that no weekly pattern looks like a
    change; it must be far beyond the scatter of such comparisons before.
    """
    if last + 1 < 3 * WEEK:
        return None
    now, before = spend[WEEK : last + 1], spend[: last + 1 - WEEK]
    if not (now[-2 * WEEK :] > 0).all() or not (before[-2 * WEEK :] > 0).all():
        return None
    ratios = np.log(now[-2 * WEEK :] / before[-2 * WEEK :])
    best: tuple[float, int] | None = None
    for days in range(2, WEEK):
        after, earlier = ratios[-days:], ratios[:-days]
        usual = float(np.median(earlier))
        scatter = 1.4826 * float(np.median(np.abs(earlier - usual)))
        step = float(after.mean()) - usual
        far = max(LEAST_CHANGE, CLEAR_CHANGE * scatter / np.sqrt(days))
        apart = after.min() > earlier.max() if step > 0 else after.max() < earlier.min()
        if abs(step) >= far and apart and (best is None or abs(step) > best[0] + 1e-12):
            best = (abs(step), days)
    if best is None:
        return None
    first = last - best[1] + 1
    return first, float(spend[first : last + 1].sum() / spend[first - WEEK : last + 1 - WEEK].sum())


def _scaled(
    spend: pd.Series[float],
    total: Decimal | None,
    unit: Decimal,
    *,
    tolerance: Decimal | None = TOTAL_TOLERANCE,
) -> Policy | None:
    """Whole units near ``spend``, by (segment, channel), by the largest remainder; in proportion
    to it, with the sum ``total``, where that is within ``tolerance`` (None: at any distance)."""
    if not spend.sum() > 0:
        return None
    smallest = to_cents(unit)
    target = to_cents(float(spend.sum()))
    if total is not None and (
        tolerance is None or abs(to_cents(total) - target) <= tolerance * target
    ):
        target = to_cents(total)
    target = round(target / smallest)
    exact = np.asarray(spend / spend.sum() * target, dtype=np.float64)
    nothing, most = np.zeros(len(exact), np.int64), np.full(len(exact), target, np.int64)
    whole = largest_remainder(exact, nothing, most, target)
    return Policy.of(
        {
            Cell(str(segment), str(channel)): from_cents(int(value) * smallest)
            for (segment, channel), value in zip(spend.index, whole, strict=True)
        }
    )
