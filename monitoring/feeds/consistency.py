"""Consistency: do the feeds agree with each other, with the budgets, and with their own past?

All it says is a warning: what pauses a cell is for data health and triage to say. Feeds count money
and orders differently for good reasons (a platform claims what others claim, too), so it is a
*change* of a ratio that is named, and its level only where no way of counting explains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from liftloop.core.arrays import Array, days_of
from liftloop.core.policy import Policy
from monitoring.feeds.consistency_verdict import Consistency, ConsistencyConfig, Inconsistency

# Rousseeuw and Croux 1993, "Alternatives to the Median Absolute Deviation", JASA 88, 1273-1283: for
# a normal distribution 1.4826 MAD estimates the standard deviation with an efficiency of 37 %: as
# well as the usual estimate from .37 n days. A t distribution with that many degrees for what is
# divided by it is our own approximation.
MAD_TO_SD = 1.4826
MAD_EFFICIENCY = 0.37
Names = tuple[str, ...]
WEEK = 7


def gap_warnings(
    feeds: Sequence[tuple[str, FeedSums, Array | None]], rule: ConsistencyConfig
) -> Iterator[Inconsistency]:
    """Days without rows between a subject's first and last; a cell without a budget owes none."""
    for feed, seen, allowed in feeds:
        told = np.isfinite(next(iter(seen.sums.values())))
        for i, name in enumerate(seen.subjects):
            there = np.flatnonzero(told[:, i])
            if not len(there):
                continue
            inside = np.zeros(len(told), dtype=bool)
            inside[max(there[0], len(told) - rule.anomaly_days) : there[-1] + 1] = True
            owed = inside if allowed is None else inside & (allowed[:, i] != 0)
            missing = np.flatnonzero(owed & ~told[:, i])
            if len(missing):
                subject = " x ".join(name)
                yield Inconsistency(
                    "gaps",
                    feed,
                    subject,
                    f"{subject} lacks {len(missing)} day{'s' if len(missing) > 1 else ''} from "
                    f"{seen.day(missing[0])} to {seen.day(missing[-1])}",
                    {"days": float(len(missing))},
                )


def anomalies(spent: FeedSums, sold: FeedSums, rule: ConsistencyConfig) -> Iterator[Inconsistency]:
    """Single days far from their weekday's history: claims, clicks per unit spent, what was sold,
    orders."""
    with np.errstate(divide="ignore", invalid="ignore"):
        paid = spent.sums["spend"] > 0  # what is switched off claims nothing
        series = [
            (
                "performance",
                "claimed revenue",
                spent,
                np.where(paid, spent.sums["revenue"], np.nan),
            ),
            (
                "performance",
                "clicks per unit spent",
                spent,
                spent.sums["clicks"] / spent.sums["spend"],
            ),
            ("sales", "revenue", sold, sold.sums["revenue"]),
            ("sales", "orders", sold, sold.sums["orders"]),
        ]
    tests = rule.anomaly_days * max(sum(len(s.subjects) for _, _, s, _ in series), 1)
    freedom = MAD_EFFICIENCY * WEEK * (rule.reference_weeks + 1)  # the spread is estimated, too
    threshold = -float(stdtrit(freedom, rule.anomaly_alpha / 2 / tests))
    for feed, what, seen, values in series:
        apart, z = _from_usual(values)
        odd = (np.abs(z) > threshold) & (np.abs(apart) > np.log(rule.anomaly_factor))
        odd[: -rule.anomaly_days] = False
        for row, i in zip(*np.nonzero(odd), strict=True):
            name, change = " x ".join(seen.subjects[i]), float(np.exp(apart[row, i]))
            yield Inconsistency(
                f"a day's {what}",
                feed,
                name,
                f"on {seen.day(row)} the {what} of {name} was {change:.2f} times the usual",
                {"change": change, "z": float(z[row, i]), "threshold": threshold},
            )


def _from_usual(values: Array) -> tuple[Array, Array]:
    """Log of (day, subject) values over what is usual for the weekday at the level of the days
    around, and the same in robust standard deviations; NaN (nothing) where too little is known."""
    seen = pd.DataFrame(values).replace([np.inf, -np.inf], np.nan)
    least = seen.where(seen > 0).median() / 100  # a day of nothing is far out, not unknown
    lifted = seen.clip(lower=least, axis=1)
    # of a subject that never had any, nothing is known
    logs = cast(pd.DataFrame, np.log(lifted.where(lifted > 0)))
    weekday = np.arange(len(logs)) % WEEK
    season = (logs - _around(logs)).groupby(weekday).transform("median")
    free = logs - season
    apart = free - _around(free)
    spread = MAD_TO_SD * apart.abs().median()
    enough = (logs.notna().sum() >= 4 * WEEK) & ((seen > 0).sum() >= 0.9 * seen.notna().sum())
    z = apart / spread.where(enough).clip(lower=1e-9)
    return apart.fillna(0.0).to_numpy(), z.fillna(0.0).to_numpy()


def _around(logs: pd.DataFrame) -> pd.DataFrame:
    """The median of the three days before and the three after. A day is not its own neighbour:
    in the median it would draw that to itself, and the spread would look smaller than it is."""
    near = [logs.shift(n).to_numpy() for n in (-3, -2, -1, 1, 2, 3)]
    stacked = np.ma.masked_invalid(np.stack(near))
    median: Any = np.ma.median  # without types in numpy
    return pd.DataFrame(median(stacked, axis=0).filled(np.nan))


def consistency(
    performance: pd.DataFrame,
    *,
    as_of: date,
    holdout: pd.DataFrame | None = None,
    sales: pd.DataFrame | None = None,
    budgets: Sequence[tuple[date, Policy]] = (),
    config: ConsistencyConfig | None = None,
) -> Consistency:
    """Compare the feeds with each other, with the budgets and with their past.

    Parameters
    ----------
    performance, holdout, sales : the feeds of those names as known on ``as_of``; ``sales`` with the
        sums of events where those stand in
    as_of : nothing on or after this day is used
    budgets : (first day, budgets in force from then on), the oldest first; days before the first
        are compared with no budget

    Returns
    -------
    Consistency
        Array are ratios (1: as usual) unless their name says days or z.
    """
    rule = config or ConsistencyConfig()
    days = WEEK * (rule.reference_weeks + 1)
    known: dict[str, Any] = {"as_of": as_of, "days": days}
    spent = daily(
        performance,
        ["segment", "channel"],
        ["spend", "clicks", "conversions", "revenue"],
        **known,
    )
    sold = daily(sales, ["segment"], ["orders", "revenue"], **known)
    arms = daily(holdout, ["segment", "channel", "arm"], ["users"], **known)
    allowed = _allowed(spent, budgets, as_of, days)
    warnings = [
        *_budget_warnings(spent, allowed, rule),
        *_ratio_warnings(spent, sold, allowed, rule),
        *_overclaimed(spent, sold, rule),
        *_arm_warnings(arms, rule),
        *gap_warnings(
            (("performance", spent, allowed), ("holdout", arms, None), ("sales", sold, None)), rule
        ),
        *anomalies(spent, sold, rule),
    ]
    unmeasured = tuple(_unmeasured(spent, sold, arms, budgets, rule))
    return Consistency(as_of, tuple(warnings), unmeasured, nothing=not spent.subjects)


def _allowed(
    spent: FeedSums, budgets: Sequence[tuple[date, Policy]], as_of: date, days: int
) -> Array:
    """The budget in force of each day and cell, NaN before the first budgets."""
    found = np.full((days, len(spent.subjects)), np.nan)
    for since, policy in budgets:
        amounts = {(c.segment, c.channel): float(amount) for c, amount in policy.budgets}
        first = max(days - (as_of - since).days, 0)
        found[first:] = [amounts.get(cast(tuple[str, str], cell), 0.0) for cell in spent.subjects]
    return found


def _budget_warnings(
    spent: FeedSums, allowed: Array, rule: ConsistencyConfig
) -> Iterator[Inconsistency]:
    spend = spent.sums["spend"][-rule.budget_days :]
    allowed = allowed[-rule.budget_days :]
    used = np.isfinite(spend) & np.isfinite(allowed)
    out, due = np.where(used, spend, 0).sum(axis=0), np.where(used, allowed, 0).sum(axis=0)
    for i in np.flatnonzero((used.sum(axis=0) >= rule.least_days) & (out + due > 0)):
        ratio = float(out[i] / due[i]) if due[i] > 0 else np.inf
        if 1 / rule.budget_factor <= ratio <= rule.budget_factor:
            continue
        name, count = " x ".join(spent.subjects[i]), int(used[:, i].sum())
        words = f"is {ratio:.0%} of" if due[i] > 0 else "goes on without"
        yield Inconsistency(
            "spend against budgets",
            "performance",
            name,
            f"the spend of {name} {words} its budget over {count} days",
            {"spend": float(out[i]), "budget": float(due[i]), "days": float(count)},
        )


def _weeks(rule: ConsistencyConfig, days: int) -> list[slice]:
    """The last week, then the weeks before it, the newest first."""
    return [slice(days - WEEK * (n + 1), days - WEEK * n) for n in range(rule.reference_weeks + 1)]


def _change(levels: Sequence[float], least: int) -> tuple[float, float] | None:
    """The last of ``levels`` (the newest first, NaN where it is not known) over the median of the
    others, and that change of the log in robust standard deviations; None where the last, or fewer
    than ``least`` others, are known."""
    if np.isnan(levels[0]) or sum(level > 0 for level in levels[1:]) < least:
        return None
    if levels[0] == 0:  # nothing at all in a whole week: no logarithm, and no doubt
        return 0.0, 1e9  # finite: the ledger keeps it as JSON
    logs = np.log([level for level in levels if level > 0])
    usual = float(np.median(logs[1:]))
    spread = MAD_TO_SD * float(np.median(np.abs(logs[1:] - usual)))
    apart = float(logs[0] - usual)
    return float(np.exp(apart)), abs(apart) / max(spread, 1e-9)


def _moved(budgets: Sequence[float]) -> float:
    """The last week's budget over the median of those before; 1 where either is not known."""
    before = [amount for amount in budgets[1:] if np.isfinite(amount)]
    usual = float(np.median(before)) if before else 0.0
    return budgets[0] / usual if budgets[0] > 0 and usual > 0 else 1.0


def _jumps(
    levels: dict[Names, list[float]], factor: float, rule: ConsistencyConfig
) -> Iterator[tuple[Names, float, float]]:
    """(subject, change, z) of those whose last week left the weeks before."""
    for name, weekly in levels.items():
        found = _change(weekly, rule.least_weeks)
        if found and not 1 / factor <= found[0] <= factor and found[1] > rule.least_z:
            yield name, *found


def _ratio_warnings(
    spent: FeedSums, sold: FeedSums, allowed: Array, rule: ConsistencyConfig
) -> Iterator[Inconsistency]:
    """Claims over sales: conversions and revenue by segment, revenue by channel. What was not spent
    claims nothing, and a change that the budgets set explain is none of the feeds."""
    for ours, theirs, part, whole in (
        ("conversions", "orders", 0, "segment"),
        ("revenue", "revenue", 0, "segment"),
        ("revenue", "revenue", 1, "channel"),
    ):
        levels: dict[Names, list[float]] = {}
        budgets: dict[Names, list[float]] = {}
        for rows in _weeks(rule, len(spent.sums[ours])):
            claimed = spent.pooled(spent.per_day(ours, rows), [part])
            paid = spent.pooled(spent.per_day("spend", rows), [part])
            given = spent.pooled(allowed[rows].mean(axis=0), [part])
            by_segment = sold.pooled(sold.per_day(theirs, rows), [0])
            total = sum(by_segment.values())
            for name, amount in claimed.items():
                base = by_segment.get(name, 0.0) if part == 0 else total
                known = base > 0 and paid[name] > 0
                levels.setdefault(name, []).append(amount / base if known else np.nan)
                budgets.setdefault(name, []).append(given[name])
        for name, change, z in _jumps(levels, rule.ratio_factor, rule):
            if 1 / rule.ratio_factor <= change / _moved(budgets[name]) <= rule.ratio_factor:
                continue
            yield Inconsistency(
                f"claimed {ours} against {theirs} sold"
                if ours == "revenue"
                else "claimed conversions against orders",
                "performance and sales",
                f"{whole} {name[0]}",
                f"the claims of {whole} {name[0]} over what was sold are {change:.2f} times "
                "what they were in the weeks before",
                {"change": change, "z": z, "ratio": levels[name][0]},
            )


def _overclaimed(
    spent: FeedSums, sold: FeedSums, rule: ConsistencyConfig
) -> Iterator[Inconsistency]:
    rows = slice(-4 * WEEK, None)
    claimed = spent.pooled(spent.per_day("revenue", rows), [0])
    for name, amount in sold.pooled(sold.per_day("revenue", rows), [0]).items():
        ratio = claimed.get(name, 0.0) / amount if amount > 0 else 0.0
        if ratio > rule.claimed_of_sold:
            yield Inconsistency(
                "more claimed than sold",
                "performance and sales",
                f"segment {name[0]}",
                f"the channels claim {ratio:.0%} of what segment {name[0]} sold in four weeks",
                {"ratio": ratio},
            )


def _arm_warnings(arms: FeedSums, rule: ConsistencyConfig) -> Iterator[Inconsistency]:
    levels: dict[Names, list[float]] = {name: [] for name in arms.subjects}
    for rows in _weeks(rule, len(arms.sums["users"])):
        for name, users in zip(arms.subjects, arms.per_day("users", rows), strict=True):
            levels[name].append(float(users) if users > 0 else np.nan)  # not told: late, or off
    for name, change, z in _jumps(levels, rule.arm_factor, rule):
        cell = " x ".join(name[:2])
        yield Inconsistency(
            "arm sizes",
            "holdout",
            f"{cell}, {name[2]}",
            f"the {name[2]} arm of {cell} has {change:.2f} times the users it had",
            {"change": change, "z": z, "users": levels[name][0]},
        )


def _unmeasured(
    spent: FeedSums,
    sold: FeedSums,
    arms: FeedSums,
    budgets: Sequence[object],
    rule: ConsistencyConfig,
) -> Iterator[str]:
    if not spent.subjects:
        yield "No performance facts to compare."
    if not sold.subjects:
        yield "Claims were compared with no sales: there are none."
    if not arms.subjects:
        yield "Arm sizes were not looked at: there is no holdout."
    if not budgets:
        yield "Spend was compared with no budgets: the loop has not set any yet."
    told = np.isfinite(spent.sums["spend"]).any(axis=1).sum()
    if spent.subjects and told < WEEK * (rule.least_weeks + 1):
        yield f"Changes against the weeks before need {rule.least_weeks} weeks of facts before."


@dataclass(frozen=True, slots=True)
class FeedSums:
    """Sums of a feed: ``sums`` by column, each (day, subject), NaN where nothing was told; the last
    row is the day before the look."""

    subjects: tuple[Names, ...]
    sums: dict[str, Array]
    as_of: date

    def day(self, row: int) -> date:
        """The day of a row."""
        rows = len(next(iter(self.sums.values())))
        day: date = (np.datetime64(self.as_of, "D") - (rows - row)).astype(object)
        return day

    def per_day(self, column: str, rows: slice) -> Array:
        """Mean of the days told within ``rows``, (subject,); 0 where none was."""
        part = self.sums[column][rows]
        told = np.isfinite(part).sum(axis=0)
        return np.asarray(np.nansum(part, axis=0) / np.maximum(told, 1))

    def pooled(self, values: Array, by: Sequence[int]) -> dict[Names, float]:
        """``values`` (subject,) summed over the subjects that agree in the name parts ``by``."""
        found: dict[Names, float] = {}
        for subject, value in zip(self.subjects, values, strict=True):
            name = tuple(subject[part] for part in by)
            found[name] = found.get(name, 0.0) + float(value)
        return found


def daily(
    feed: pd.DataFrame | None, by: Sequence[str], columns: Sequence[str], *, as_of: date, days: int
) -> FeedSums:
    """Lay out the ``days`` days before ``as_of``; all rows of a day and subject are summed."""
    if feed is None or feed.empty:
        return FeedSums((), {name: np.full((days, 0), np.nan) for name in columns}, as_of)
    row = days_of(feed["date"]).astype(np.int64) - np.datetime64(as_of, "D").astype(np.int64) + days
    inside = (row >= 0) & (row < days)
    plain = pd.DataFrame({name: feed[name].astype(str).to_numpy() for name in by})
    for name in columns:
        plain[name] = feed[name].to_numpy().astype(np.float64)
    plain = plain.assign(row=row)[inside]
    # what one row does not say, the day of its subject does not say
    summed = plain.groupby([*by, "row"], observed=True)[list(columns)].sum(skipna=False)
    unstacked = cast(pd.DataFrame, summed.unstack("row"))
    wide = unstacked.reindex(columns=pd.MultiIndex.from_product([columns, range(days)]))
    subjects = tuple(n if isinstance(n, tuple) else (n,) for n in wide.index)
    return FeedSums(subjects, {name: wide[name].to_numpy().T for name in columns}, as_of)
