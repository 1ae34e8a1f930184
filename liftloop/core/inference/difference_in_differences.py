"""Two metrics against the control segments, in whole weeks: sales, and the incremental conversions
that a unit of spend buys.

Segments that began to follow the policy on the same day form a group. For each group, in weeks
counted from that day (so that weekdays cancel),

    contrast = the group's metric - g * the control's metric

minus its mean over the weeks before. The weekly variance of the contrast before the start, widened
to that of Student's t for how few the weeks are, gives the standard error; for sales it is at least
what the segments' own variances add up to, because the canary was drawn among those whose contrast
had been calm, and calm by luck does not last. The groups' relative
changes are averaged by their precision, so that a group of a few days does not drown what others
have shown for weeks. They share their control: the average's error is the average of their errors,
which holds whatever their correlation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.guardrails.noninferiority import MetricChange

WEEK = 7
LEAST_WEEKS_BEFORE = 6
MOST_WEEKS_BEFORE = 26


@dataclass(frozen=True, slots=True)
class _Group:
    """One group at its last look: money or conversions a day, and the level before."""

    effect: float
    error: float
    level: float
    last: date
    weeks: int


@dataclass(frozen=True, slots=True)
class WeeklyContrast:
    """One group's contrast by week from ``began`` on (money or conversions a day), its level
    before, and the least that its weekly variance is held to be."""

    began: date
    weeks: pd.Series
    level: float
    least_variance: float = 0.0


Contrasts = Mapping[tuple[str, ...], WeeklyContrast | str]


def _weekly(table: pd.DataFrame, segments: Collection[str], began: date) -> pd.DataFrame:
    """Mean a day of each value column over the set, by week from ``began`` (negative before); only
    weeks that have every day of every segment, with finite values."""
    mine = table[table.segment.isin(list(segments))]
    values = [name for name in mine.columns if name not in ("date", "segment")]
    mine = mine[np.isfinite(mine[values].to_numpy(float)).all(axis=1)]
    week = np.floor_divide((pd.to_datetime(mine.date) - pd.Timestamp(began)).dt.days, WEEK)
    grouped = mine[values].astype(float).groupby(week)
    sums: pd.DataFrame = grouped.sum() / WEEK
    whole: pd.DataFrame = sums.loc[grouped.size() == WEEK * len(set(segments))]
    return whole


def _each(table: pd.DataFrame, segments: Collection[str], began: date) -> pd.DataFrame:
    """Mean revenue a day by week from ``began`` and segment; NaN where a week lacks a day."""
    mine = table[table.segment.isin(list(segments)) & np.isfinite(table.revenue.astype(float))]
    week = np.floor_divide((pd.to_datetime(mine.date) - pd.Timestamp(began)).dt.days, WEEK)
    grouped = mine.revenue.astype(float).groupby([week, mine.segment])
    sums = grouped.sum().where(grouped.size() == WEEK) / WEEK
    whole: pd.DataFrame = sums.unstack().reindex(columns=list(segments))
    return whole


def _own_variance(each: pd.DataFrame, weights: pd.Series) -> float:
    """Variance of the sum of segments' sales times ``weights``, were nothing common but one wave
    of all: each segment varies around it by itself. ``each``: weeks before, by segment."""
    level = each.mean()
    own = each / level
    own = own.sub(own.mean(axis=1), axis=0)
    series = len(level)
    variance = own.var(ddof=1) * series / (series - 1)
    return float((variance * (level * weights) ** 2).sum())


def _mature(week: int, began: date, as_of: date, wait_days: int) -> bool:
    """At least half of the week lies past the wait after the change, and is older than the wait."""
    middle = began + timedelta(days=WEEK * week + WEEK // 2)
    wait = timedelta(days=wait_days)
    return week >= 0 and middle >= began + wait and middle + wait < as_of


def _measure(group: WeeklyContrast, *, as_of: date, wait_days: int) -> _Group | str:
    """The group's effect from its contrast by week, or why there is none."""
    contrast, began = group.weeks, group.began
    before = contrast[(contrast.index < 0) & (contrast.index >= -MOST_WEEKS_BEFORE)].to_numpy(float)
    if len(before) < LEAST_WEEKS_BEFORE:
        return (
            f"There are {len(before)} whole weeks from before {began} in all segments; "
            f"{LEAST_WEEKS_BEFORE} are needed."
        )
    kept = [week for week in contrast.index if _mature(int(week), began, as_of, wait_days)]
    if not kept:
        return "No whole week under the new policy counts yet."
    freedom = len(before) - 1
    seen = float(((before - before.mean()) ** 2).sum()) / freedom
    variance = max(seen, group.least_variance) * freedom / (freedom - 2)
    if not variance > 0:
        return "The weeks before the start do not vary, so the noise is not known."
    effect = float(contrast[kept].mean() - before.mean())
    error = math.sqrt(variance * (1 / len(kept) + 1 / len(before)))
    last = began + timedelta(days=WEEK * (int(kept[-1]) + 1) - 1)
    return _Group(effect, error, group.level, last, len(kept))


def change_at(contrasts: Contrasts, *, as_of: date, wait_days: int = 3) -> MetricChange:
    """All groups with evidence as one change; a problem only where none has any.

    Parameters
    ----------
    contrasts : from days before ``as_of`` alone, unless ``wait_days`` are at least 3: then a week
        that counts has ended
    """
    found = {
        names: group
        if isinstance(group, str)
        else _measure(group, as_of=as_of, wait_days=wait_days)
        for names, group in contrasts.items()
    }
    known = {names: g for names, g in found.items() if isinstance(g, _Group)}
    if not known:
        return MetricChange(
            problem=next((w for w in found.values() if isinstance(w, str)), "No segment.")
        )
    groups = list(known.values())
    if not all(g.level > 0 for g in groups):
        return MetricChange(problem="The level before the start is not positive.")
    precision = np.array([(g.level / g.error) ** 2 for g in groups])
    weights = precision / precision.sum()
    return MetricChange(
        effect=float(weights @ [g.effect / g.level for g in groups]),
        standard_error=float(weights @ [g.error / g.level for g in groups]),
        level=sum(g.level for g in groups),
        day=max(g.last for g in groups),
        days=WEEK * max(g.weeks for g in groups),
        covered=tuple(sorted(name for names in known for name in names)),
    )


def _groups(exposed: Mapping[str, date]) -> dict[date, tuple[str, ...]]:
    return {
        began: tuple(sorted(name for name, day in exposed.items() if day == began))
        for began in sorted(set(exposed.values()))
    }


def _before(weeks: pd.DataFrame) -> pd.DataFrame:
    return weeks[(weeks.index < 0) & (weeks.index >= -MOST_WEEKS_BEFORE)]


def sales_change(
    sales: pd.DataFrame,
    *,
    exposed: Mapping[str, date],
    control: Collection[str],
    as_of: date,
    wait_days: int = 3,
) -> MetricChange:
    """First-party revenue of the exposed segments against the control's, as a share of their own
    before. ``g`` is the ratio of both sets' sales before the start.

    Parameters
    ----------
    sales : date, segment, revenue: one row a day and segment
    exposed : segment -> first day under the new policy
    control : segments that keep the old policy
    as_of : nothing on or after this day is known
    wait_days : carry-over and late conversions settle first
    """
    if sales.empty:
        return MetricChange(problem="There are no sales by day and segment.")
    known = sales.loc[
        pd.to_datetime(sales.date) < pd.Timestamp(as_of), ["date", "segment", "revenue"]
    ]
    contrasts = sales_contrasts(known, exposed=exposed, control=control)
    return change_at(contrasts, as_of=as_of, wait_days=wait_days)


def sales_contrasts(
    sales: pd.DataFrame, *, exposed: Mapping[str, date], control: Collection[str]
) -> Contrasts:
    """What :func:`sales_change` reads, by group; a group that cannot be compared says why."""
    found: dict[tuple[str, ...], WeeklyContrast | str] = {}
    for began, names in _groups(exposed).items():
        each = _each(sales, [*names, *control], began)
        both = pd.DataFrame(
            {
                "exposed": each[list(names)].sum(axis=1, skipna=False),
                "control": each[list(control)].sum(axis=1, skipna=False),
            }
        ).dropna()
        before = _before(both)
        if not len(before) or before.control.sum() <= 0 or before.exposed.sum() <= 0:
            found[names] = "The sales before the start are unknown or not positive."
            continue
        scale = before.exposed.sum() / before.control.sum()
        weights = pd.Series(1.0, index=list(names)).reindex(each.columns, fill_value=scale)
        found[names] = WeeklyContrast(
            began,
            both.exposed - scale * both.control,
            float(before.exposed.mean()),
            _own_variance(each.loc[before.index], weights),
        )
    return found


def incremental_conversions(holdout: pd.DataFrame, performance: pd.DataFrame) -> pd.DataFrame:
    """date, segment, conversions (incremental: mean per treated user less mean per control user,
    times treated users), spend; summed over the cells that have both arms on the day."""
    cell = ["date", "segment", "channel"]
    rows = holdout.assign(
        date=pd.to_datetime(holdout.date),
        stratum=holdout.get("stratum", "all"),
        users=holdout.users.astype(float),
        conversions=holdout.conversions.astype(float),
    )
    sums = rows.groupby([*cell, "stratum", "arm"], as_index=False)[["users", "conversions"]].sum()
    arms = [
        sums[sums.arm == arm].set_index([*cell, "stratum"])[["users", "conversions"]]
        for arm in ("treated", "control")
    ]
    both = arms[0].join(arms[1], how="inner", rsuffix="_held")
    per_user = both.conversions / both.users - both.conversions_held / both.users_held
    lift = (per_user * both.users).groupby(level=cell).sum().rename("conversions")
    paid = performance.assign(
        date=pd.to_datetime(performance.date), spend=performance.spend.astype(float)
    )
    spend = paid.groupby(cell)["spend"].sum()
    cells = pd.concat([lift, spend], axis=1, join="inner").reset_index()
    found: pd.DataFrame = cells.groupby(["date", "segment"], as_index=False)[
        ["conversions", "spend"]
    ].sum()
    return found


def conversions_per_spend_change(
    holdout: pd.DataFrame,
    performance: pd.DataFrame,
    *,
    exposed: Mapping[str, date],
    control: Collection[str],
    as_of: date,
    wait_days: int = 3,
) -> tuple[MetricChange, float]:
    """Incremental conversions beyond what the spend would have bought at the price before, exposed
    against control, as a share of those; and that price (spend per incremental conversion of all
    these segments before the start, NaN where it is not known).

    A ratio of noisy numbers would be biased; this difference is not (Fieller 1954: a bound on a
    ratio is one on a difference).

    Parameters as of :func:`sales_change`; ``holdout`` and ``performance`` are the feeds.
    """
    if holdout.empty or performance.empty:
        return MetricChange(problem="There is no holdout with its spend."), math.nan
    table = incremental_conversions(holdout, performance)
    contrasts, price = conversions_contrasts(
        table[table.date < pd.Timestamp(as_of)], exposed=exposed, control=control
    )
    return change_at(contrasts, as_of=as_of, wait_days=wait_days), price


def conversions_contrasts(
    table: pd.DataFrame, *, exposed: Mapping[str, date], control: Collection[str]
) -> tuple[Contrasts, float]:
    """What :func:`conversions_per_spend_change` reads, from what :func:`incremental_conversions`
    found, by group; and the price."""
    price = _price(table, [*exposed, *control], min(exposed.values(), default=date.max))
    found: dict[tuple[str, ...], WeeklyContrast | str] = {}
    for began, names in _groups(exposed).items():
        if not math.isfinite(price):
            found[names] = (
                "The incremental conversions before the start cannot be told from none, so "
                "what one costs is not known."
            )
            continue
        both = _weekly(table, names, began).join(
            _weekly(table, control, began), how="inner", rsuffix="_held"
        )
        before = _before(both)
        if not len(before) or before.spend_held.sum() <= 0:
            found[names] = f"The holdouts have no whole week from before {began}."
            continue
        scale = before.spend.sum() / before.spend_held.sum()
        beyond = both.conversions - both.spend / price
        beyond_held = both.conversions_held - both.spend_held / price
        found[names] = WeeklyContrast(
            began, beyond - scale * beyond_held, float(before.spend.mean()) / price
        )
    return found, price


def _price(table: pd.DataFrame, segments: Collection[str], began: date) -> float:
    """Spend per incremental conversion of the set before ``began``; NaN unless the conversions are
    at least two standard errors above zero."""
    before = _before(_weekly(table, segments, began))
    weekly = before.conversions
    if len(before) < LEAST_WEEKS_BEFORE:
        return math.nan
    spread = float(weekly.std(ddof=1)) / math.sqrt(len(weekly))
    sure = float(weekly.mean()) > 2 * spread
    return float(before.spend.sum() / weekly.sum()) if sure else math.nan
