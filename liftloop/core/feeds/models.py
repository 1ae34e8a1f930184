"""The seven feeds, one class each: what a column holds, and the rules a row must keep.

A method marked as a check is a rule; its name is the name under which a row that breaks it goes to
quarantine. A column declared with ``negative=False`` has a rule as well: ``spend_not_negative``.
Rules that need more than the row (the account, the moment of receipt) are in ``context.py``; those
about reading a value at all (``not_a_number``, ``missing_value``...) in ``coercion.py``. Values are
typed, and money is converted, before these rules see them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from liftloop.core.feeds.columns import count, day, flag, instant, number, text

Instant = pd.DatetimeTZDtype
Truth = Any  # a boolean Series; pandas' and Pandera's stubs disagree on its name

ARMS = ("treated", "control")
# Sums rounded to cents can miss the Cauchy-Schwarz bound by a little; a unit error cannot.
BOUND_SLACK = 1e-3


def _is_arm(arm: Any) -> Any:
    return arm.isin(ARMS)


def _squares_fit(rows: pd.DataFrame, count: Any) -> Any:
    """A sum of squares is never below (sum)^2 / n (Cauchy-Schwarz); a missing one fits."""
    least: Any = rows["revenue"] ** 2 / np.maximum(count, 1)
    return ~(rows["revenue_sq"] * (1 + BOUND_SLACK) + 0.01 < least)


class _Dated(pa.DataFrameModel):
    """What every feed has: a day, and (optionally) when the row was reported."""

    date: Series[pa.DateTime] = day()
    reported_at: Series[Instant] = instant(optional=True)

    @pa.check("date")
    @classmethod
    def date_since_1990(cls, date: Series[pa.DateTime]) -> Truth:
        return date >= pd.Timestamp(1990, 1, 1)


class Performance(_Dated):
    """What the ad platforms report.

    Where an export has an id it is what the row is, and the name is a label that may change.
    """

    segment: Series[str] = text()
    channel: Series[str] = text()
    campaign: Series[str] = text(default="all")
    creative: Series[str] = text(default="all")
    account: Series[str] = text(default="", identity=True)
    campaign_id: Series[str] = text(default="", identity=True)
    adset_id: Series[str] = text(default="", identity=True)
    ad_id: Series[str] = text(default="", identity=True)
    spend: Series[float] = number(money=True, negative=False)
    impressions: Series[int] = count(negative=False)
    clicks: Series[int] = count(negative=False)
    conversions: Series[float] = number(negative=False)
    revenue: Series[float] = number(money=True, negative=False)

    @pa.dataframe_check
    @classmethod
    def clicks_at_most_impressions(cls, rows: pd.DataFrame) -> Truth:
        return ~(rows["clicks"] > rows["impressions"])  # a missing one breaks no rule


class Holdout(_Dated):
    """Outcomes of the randomized arms of a cell-day (revenue may be negative: refunds)."""

    segment: Series[str] = text()
    channel: Series[str] = text()
    arm: Series[str] = text()
    stratum: Series[str] = text(default="all")
    users: Series[int] = count()
    converters: Series[int] = count(negative=False)
    conversions: Series[float] = number(negative=False)
    revenue: Series[float] = number()
    revenue_sq: Series[float] = number(negative=False)

    @pa.check("arm")
    @classmethod
    def arm_treated_or_control(cls, arm: Series[str]) -> Truth:
        return _is_arm(arm)

    @pa.check("users")
    @classmethod
    def users_positive(cls, users: Series[int]) -> Truth:
        return users > 0

    @pa.dataframe_check
    @classmethod
    def converters_at_most_users(cls, rows: pd.DataFrame) -> Truth:
        return rows["converters"] <= rows["users"]

    @pa.dataframe_check
    @classmethod
    def revenue_sq_fits_revenue(cls, rows: pd.DataFrame) -> Truth:
        return _squares_fit(rows, rows["users"])


class Units(_Dated):
    """Outcomes of single randomized users. ``date`` is the day of assignment; outcomes and cost are
    those of ``outcome_days`` days from it on (NaN: not recorded)."""

    experiment: Series[str] = text()
    unit_id: Series[str] = text()
    segment: Series[str] = text()
    channel: Series[str] = text(default="")
    arm: Series[str] = text()
    propensity: Series[float] = number(optional=True)
    consent: Series[float] = flag()
    purpose: Series[str] = text(default="")
    assigned_on: Series[pa.DateTime] = day()
    outcome_days: Series[float] = number(optional=True)
    cost: Series[float] = number(optional=True, negative=False)
    converted: Series[int] = count()
    conversions: Series[float] = number(negative=False)
    revenue: Series[float] = number()

    @pa.check("arm")
    @classmethod
    def arm_treated_or_control(cls, arm: Series[str]) -> Truth:
        return _is_arm(arm)

    @pa.check("propensity")
    @classmethod
    def propensity_between_0_and_1(cls, propensity: Series[float]) -> Truth:
        return (propensity > 0) & (propensity < 1)

    @pa.check("outcome_days")
    @classmethod
    def outcome_days_whole_and_positive(cls, outcome_days: Series[float]) -> Truth:
        return (outcome_days >= 1) & (outcome_days % 1 == 0)

    @pa.check("converted")
    @classmethod
    def converted_0_or_1(cls, converted: Series[int]) -> Truth:
        return converted.isin((0, 1))

    @pa.dataframe_check
    @classmethod
    def treated_names_a_channel(cls, rows: pd.DataFrame) -> Truth:
        """Only a control may leave the channel empty: it controls every channel of its test."""
        return (rows["arm"] != "treated") | (rows["channel"] != "")


class Sales(_Dated):
    """First-party outcomes of a segment's day."""

    segment: Series[str] = text()
    orders: Series[float] = number(negative=False)
    revenue: Series[float] = number()


class Events(_Dated):
    """Single server-side conversions. ``date`` is the account's day of ``occurred_at``."""

    event_id: Series[str] = text()
    occurred_at: Series[Instant] = instant()
    segment: Series[str] = text()
    channel: Series[str] = text(default="")
    unit_id: Series[str] = text(default="")
    consent: Series[float] = flag()
    purpose: Series[str] = text(default="")
    orders: Series[float] = number(default=1.0, negative=False)
    revenue: Series[float] = number(money=True)


class Experiments(_Dated):
    """Lift tests run elsewhere. ``date`` is the last day; any sign of a result is evidence."""

    experiment: Series[str] = text()
    segments: Series[str] = text(longest=100_000)
    channel: Series[str] = text()
    start: Series[pa.DateTime] = day()
    end: Series[pa.DateTime] = day()
    spend_delta: Series[float] = number()
    incremental_revenue: Series[float] = number()
    standard_error: Series[float] = number()

    @pa.check("segments")
    @classmethod
    def segments_all_named(cls, segments: Series[str]) -> Truth:
        named = segments.str.split(";").map(lambda names: all(name.strip() for name in names))
        return named.astype(bool)

    @pa.check("standard_error")
    @classmethod
    def standard_error_positive(cls, standard_error: Series[float]) -> Truth:
        return standard_error > 0

    @pa.dataframe_check
    @classmethod
    def start_not_after_end(cls, rows: pd.DataFrame) -> Truth:
        return rows["start"] <= rows["end"]


class Variants(_Dated):
    """Outcomes of the variants of a test inside a cell (creatives, bids, audiences), by the day on
    which their units were assigned: a day that is reported again has more of them."""

    test: Series[str] = text()
    segment: Series[str] = text()
    channel: Series[str] = text()
    variant: Series[str] = text()
    units: Series[int] = count()
    spend: Series[float] = number(default=0.0, money=True, negative=False)
    conversions: Series[float] = number(negative=False)
    revenue: Series[float] = number()
    revenue_sq: Series[float] = number(optional=True, negative=False)

    @pa.check("units")
    @classmethod
    def units_positive(cls, units: Series[int]) -> Truth:
        return units > 0

    @pa.dataframe_check
    @classmethod
    def revenue_sq_fits_revenue(cls, rows: pd.DataFrame) -> Truth:
        return _squares_fit(rows, rows["units"])
