"""The two windows drift is judged on: the last weeks of each cell's response, and the weeks before.

A cell is compared with itself: each metric is divided by the cell's own mean over the reference, so
that large and small cells weigh alike and a shift of the mix is no drift of response. What the loop
itself does must not look like drift either: metrics that move with the level of spend (a higher bid
buys dearer clicks) are freed of what the spend explains (``monitoring.causes.own_moves``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from monitoring.causes.own_moves import explained
from monitoring.drift.evidently_drift import DriftConfig

WEEK = 7
YEAR = 52 * WEEK  # the same weekday a year before
RATIOS = {  # metric: (numerator, denominator)
    "cpm": ("spend", "impressions"),
    "ctr": ("clicks", "impressions"),
    "cpc": ("spend", "clicks"),
    "conversion_rate": ("conversions", "clicks"),
    "revenue_per_conversion": ("revenue", "conversions"),
}
CELL = ["segment", "channel"]


@dataclass(frozen=True, slots=True)
class Windows:
    """Frames for :func:`monitoring.drift.evidently_drift.drift`, one row a cell and day, and what
    they span."""

    current: pd.DataFrame
    reference: pd.DataFrame
    sentence: str


def _daily(performance: pd.DataFrame) -> pd.DataFrame:
    """One row a cell and day, numbers as floats; campaigns and creatives summed."""
    columns = ["spend", "impressions", "clicks", "conversions", "revenue"]
    plain = performance[["date", *CELL, *columns]].assign(
        date=pd.to_datetime(performance.date),
        **{c: pd.to_numeric(performance[c].astype(float)) for c in columns},
    )
    # what one campaign does not say, its cell's day does not say
    return plain.groupby(["date", *CELL], as_index=False)[columns].sum(skipna=False)


def _control_revenue(holdout: pd.DataFrame) -> pd.DataFrame:
    """Mean revenue per control user of each cell and day: what people spend without these ads."""
    control = holdout[holdout.arm == "control"]
    plain = control.assign(
        date=pd.to_datetime(control.date),
        users=control.users.astype(float),
        revenue=control.revenue.astype(float),
    )
    sums = plain.groupby(["date", *CELL], as_index=False)[["users", "revenue"]].sum()
    return sums.assign(control_revenue=sums.revenue / sums.users)[
        ["date", *CELL, "control_revenue"]
    ]


def _against_itself(
    daily: pd.DataFrame, metric: str, is_reference: pd.Series, *, moves_with_spend: bool
) -> pd.Series:
    """The metric over the cell's own reference mean, freed of what the level of spend explains."""
    values = daily[metric]
    if moves_with_spend:
        arrays = (values.to_numpy(), daily.spend.to_numpy(), daily.cell.to_numpy())
        values = values * np.exp(-explained(*arrays, is_reference.to_numpy()))
    early = values.where(is_reference).groupby(daily.cell)
    total, count = early.transform("sum"), early.transform("count")
    # A reference day is compared with the others: its own part in the mean would draw it there, and
    # the fewer days are known, the more would the current ones look as if they had moved.
    own = values.where(is_reference)
    level = (total - own.fillna(0.0)) / (count - own.notna()).where(lambda n: n > 0)
    # Digits further back are arithmetic, no traffic; a metric without noise is then constant.
    return (values / level).replace([np.inf, -np.inf], np.nan).round(9)


def windows(
    performance: pd.DataFrame,
    holdout: pd.DataFrame | None = None,
    *,
    as_of: date,
    config: DriftConfig | None = None,
) -> Windows:
    """The current and the reference window before ``as_of``.

    Both are whole weeks, so that each weekday has the same weight in both; the reference is the
    ``reference_weeks`` before the current window (fewer where the facts begin later). Where the
    same weeks of the year before are known it is those instead, each year over its own weeks
    before: a season that comes every year is no drift, nor is a trend.

    Parameters
    ----------
    performance : the feed of that name (several rows a cell and day are summed)
    holdout : the feed of that name, or None
    as_of : nothing on or after this day is used

    Returns
    -------
    Windows
        Columns: segment, channel, spend_share (of the day's total), and each metric over the cell's
        own reference mean. Cells that are new since the reference have no metrics.
    """
    rule = config or DriftConfig()
    weeks = max(rule.window_days // WEEK, 1)
    end = pd.Timestamp(as_of)
    daily = _daily(performance)
    daily = daily[(daily.date >= end - timedelta(days=YEAR + _span(rule))) & (daily.date < end)]
    if holdout is not None and len(holdout):
        daily = daily.merge(_control_revenue(holdout), on=["date", *CELL], how="left")
    current, reference, weeks_before = _compared(daily, end, rule)
    year_before, _, enough = _compared(daily, end - timedelta(days=YEAR), rule)
    if enough >= rule.reference_weeks and 2 * len(year_before) >= len(current):
        sentence = (
            f"The {weeks} weeks before {as_of} over the {weeks_before} before those, against the "
            "same weeks a year before over the weeks before them."
        )
        return Windows(current, year_before, sentence)
    sentence = (
        f"The {weeks} weeks before {as_of} against the {weeks_before} weeks before those, "
        "same weekdays in both."
    )
    return Windows(current, reference, sentence)


def _span(rule: DriftConfig) -> int:
    """Days of the current window and its reference together."""
    return WEEK * (max(rule.window_days // WEEK, 1) + rule.reference_weeks)


def _compared(
    daily: pd.DataFrame, end: pd.Timestamp, rule: DriftConfig
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The weeks before ``end`` and the weeks before those, both over the latter's means, and how
    many weeks these are."""
    begin = end - timedelta(days=WEEK * max(rule.window_days // WEEK, 1))
    first = begin - timedelta(days=WEEK * rule.reference_weeks)
    daily = daily[(daily.date >= first) & (daily.date < end)]
    # Drop the odd days of a history that begins inside the reference: whole weeks only.
    if len(daily):
        whole = (begin - daily.date.min()).days // WEEK
        daily = daily[daily.date >= begin - timedelta(days=WEEK * max(whole, 0))]
    daily = daily.reset_index(drop=True)
    daily["cell"] = daily.groupby(CELL).ngroup()
    is_reference = daily.date < begin
    made = daily[["segment", "channel"]].astype(object)
    made["spend_share"] = daily.spend / daily.groupby("date").spend.transform("sum")
    for name, (top, bottom) in RATIOS.items():
        below = daily[bottom].where(daily[bottom] > 0)
        ratio = daily[top] / below
        made[name] = _against_itself(
            daily.assign(**{name: ratio}), name, is_reference, moves_with_spend=True
        )
    if "control_revenue" in daily:
        made["control_revenue"] = _against_itself(
            daily, "control_revenue", is_reference, moves_with_spend=False
        )
    weeks = daily.date[is_reference].dt.normalize().nunique() // WEEK
    return (
        made[~is_reference].reset_index(drop=True),
        made[is_reference].reset_index(drop=True),
        weeks,
    )
