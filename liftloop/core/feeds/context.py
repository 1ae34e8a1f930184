"""Rules that need more than the row: the account's currency and zone, the moment of receipt.

Rules kept here: ``date_not_in_future``, ``reported_at_not_in_future``,
``currency_is_three_letters``, ``currency_has_rate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Mask

# Days that no zone can carry over the edge of the calendar. Rows beyond are rejected anyhow.
FIRST_DAY, LAST_DAY = np.datetime64("1900-01-01", "us"), np.datetime64("9000-01-01", "us")
CLOCK_SKEW = timedelta(days=1)  # how far ahead of ours a sender's clock may be


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of ``currency`` is worth in the account's, from ``start`` to ``end``."""

    currency: str
    rate: Decimal
    start: date = date.min
    end: date = date.max


@dataclass(frozen=True, slots=True)
class Account:
    """The account's currency (ISO 4217), time zone (IANA) and exchange rates."""

    currency: str = "USD"
    timezone: str = "UTC"
    rates: tuple[Rate, ...] = ()


def midnight(day: date, timezone: str) -> datetime:
    """The instant (UTC) at which ``day`` begins in ``timezone``."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def account_days(instants: pd.Series[Any], timezone: str) -> pd.Series[Any]:
    """The account's day of each instant, as datetime64[us]."""
    local = instants.dt.tz_convert(timezone).dt.tz_localize(None)
    days: pd.Series[Any] = local.dt.normalize().dt.as_unit("us")
    return days


def day_after(days: pd.Series[Any], timezone: str) -> pd.Series[Any]:
    """00:00 of the day after each day in ``timezone``, as UTC instants.

    When a row says nothing of when it was reported, it counts as reported then (contract 5).
    """
    places, distinct = pd.factorize(days)
    starts = []
    for day in np.clip(np.asarray(distinct, dtype="M8[us]"), FIRST_DAY, LAST_DAY):
        following = pd.Timestamp(day).date() + timedelta(days=1)
        starts.append(midnight(following, timezone).replace(tzinfo=None))
    begun = np.array(starts, dtype="M8[us]")
    return pd.Series(begun[places] if len(begun) else begun).dt.tz_localize("UTC")


def future_days(days: pd.Series[Any], *, account: Account, received_at: datetime) -> Mask:
    """Rows of a day that had not begun, in the account's zone, when they were received."""
    today = received_at.astimezone(ZoneInfo(account.timezone)).date()
    late: Mask = days.to_numpy() > np.datetime64(today, "us")
    return late


def future_reports(reported_at: pd.Series[Any], received_at: datetime) -> Mask:
    """Rows reported after they were received. Kept, such a row could never be restated."""
    latest = pd.Timestamp(received_at + CLOCK_SKEW)
    late: Mask = (reported_at > latest).to_numpy()
    return late


def conversion(
    currency: pd.Series[Any], days: pd.Series[Any], *, account: Account
) -> tuple[NDArray[np.float64] | None, dict[str, Mask]]:
    """What to multiply each row's money by, None when all of it is in the account's currency.

    An empty currency is the account's. The first rate that covers the row's day is used.
    """
    places, distinct = pd.factorize(currency)
    foreign = [str(code).upper() for code in distinct]
    if all(code in ("", account.currency) for code in foreign):
        return None, {}
    factor = np.ones(len(currency))
    unknown, malformed = np.zeros(len(currency), bool), np.zeros(len(currency), bool)
    moments = days.to_numpy()
    for place, code in enumerate(foreign):
        if code in ("", account.currency):
            continue
        rows = places == place
        if len(code) != 3 or not (code.isascii() and code.isalpha()):
            malformed |= rows
            continue
        factor[rows] = _factors(code, moments[rows], account.rates)
        unknown |= rows & np.isnan(factor)
    broken = {"currency_is_three_letters": malformed, "currency_has_rate": unknown}
    return np.nan_to_num(factor, nan=1.0), {k: mask for k, mask in broken.items() if mask.any()}


def _factors(code: str, days: NDArray[Any], rates: Sequence[Rate]) -> NDArray[np.float64]:
    factors = np.full(len(days), np.nan)
    for rate in rates:
        if rate.currency.upper() != code:
            continue
        first, last = np.datetime64(rate.start, "us"), np.datetime64(rate.end, "us")
        factors[np.isnan(factors) & (days >= first) & (days <= last)] = float(rate.rate)
    return factors
