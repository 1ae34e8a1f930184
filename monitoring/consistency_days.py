"""Consistency of a feed with its own days: gaps inside a cell's life, and days far from usual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from monitoring.consistency_sums import WEEK, Daily, Numbers
from monitoring.consistency_verdict import ConsistencyConfig, Inconsistency

# Rousseeuw and Croux 1993, "Alternatives to the Median Absolute Deviation", JASA 88, 1273-1283: for
# a normal distribution 1.4826 MAD estimates the standard deviation with an efficiency of 37 %: as
# well as the usual estimate from .37 n days. A t distribution with that many degrees for what is
# divided by it is our own approximation.
MAD_TO_SD = 1.4826
MAD_EFFICIENCY = 0.37


def gap_warnings(
    feeds: Sequence[tuple[str, Daily, Numbers | None]], rule: ConsistencyConfig
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
                    "gaps", feed, subject,
                    f"{subject} lacks {len(missing)} day{'s' if len(missing) > 1 else ''} from "
                    f"{seen.day(missing[0])} to {seen.day(missing[-1])}",
                    {"days": float(len(missing))},
                )  # fmt: skip


def anomalies(spent: Daily, sold: Daily, rule: ConsistencyConfig) -> Iterator[Inconsistency]:
    """Single days far from their weekday's history: claims, clicks per unit spent, what was sold,
    orders."""
    from scipy.stats import t as student

    with np.errstate(divide="ignore", invalid="ignore"):
        paid = spent.sums["spend"] > 0  # what is switched off claims nothing
        series = [
            ("performance", "claimed revenue", spent,
             np.where(paid, spent.sums["revenue"], np.nan)),
            ("performance", "clicks per unit spent", spent,
             spent.sums["clicks"] / spent.sums["spend"]),
            ("sales", "revenue", sold, sold.sums["revenue"]),
            ("sales", "orders", sold, sold.sums["orders"]),
        ]  # fmt: skip
    tests = rule.anomaly_days * max(sum(len(s.subjects) for _, _, s, _ in series), 1)
    freedom = MAD_EFFICIENCY * WEEK * (rule.reference_weeks + 1)  # the spread is estimated, too
    threshold = float(student.isf(rule.anomaly_alpha / 2 / tests, freedom))
    for feed, what, seen, values in series:
        apart, z = _from_usual(values)
        odd = (np.abs(z) > threshold) & (np.abs(apart) > np.log(rule.anomaly_factor))
        odd[: -rule.anomaly_days] = False
        for row, i in zip(*np.nonzero(odd), strict=True):
            name, change = " x ".join(seen.subjects[i]), float(np.exp(apart[row, i]))
            yield Inconsistency(
                f"a day's {what}", feed, name,
                f"on {seen.day(row)} the {what} of {name} was {change:.2f} times the usual",
                {"change": change, "z": float(z[row, i]), "threshold": threshold},
            )  # fmt: skip


def _from_usual(values: Numbers) -> tuple[Numbers, Numbers]:
    """Log of (day, subject) values over what is usual for the weekday at the level of the days
    around, and the same in robust standard deviations; NaN (nothing) where too little is known."""
    seen = pd.DataFrame(values).replace([np.inf, -np.inf], np.nan)
    least = seen.where(seen > 0).median() / 100  # a day of nothing is far out, not unknown
    lifted = seen.clip(lower=least, axis=1)
    logs = np.log(lifted.where(lifted > 0))  # of a subject that never had any, nothing is known
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
    return pd.DataFrame(np.ma.median(stacked, axis=0).filled(np.nan))
