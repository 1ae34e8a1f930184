"""Exact sums: rows of one day and campaign become one, to the last millionth.

Money and fractions are added as decimals, counts as integers; a float is made once, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

WHOLE = frozenset({"impressions", "clicks"})
KEYS = {
    "performance": ("date", "segment", "channel", "campaign", "creative", "currency"),
    "sales": ("date", "segment"),
}
SUMMED = {
    "performance": ("spend", "impressions", "clicks", "conversions", "revenue"),
    "sales": ("orders", "revenue"),
}
LARGEST = Decimal(10) ** 15
_MICRO = Decimal("0.000001")
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
# Western (1,234,567) and Indian (12,34,567) groups; "1,23" is neither and is not a number here.
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{2,3})*,\d{3}(\.\d*)?")


def number(text: str, *, thousands: str = ",", decimal: str = ".") -> Decimal:
    """The exact number ``text`` says.

    Raises
    ------
    ValueError
        When it says none, or one no account has ever seen (1e15 and more).
    """
    shown = text.strip().lstrip("$€£¥₹")
    if thousands != "," or decimal != ".":
        table = {thousands: ",", decimal: "."}
        shown = "".join(table.get(c, c) for c in shown)
    if _GROUPED.fullmatch(shown):
        shown = shown.replace(",", "")
    elif not _PLAIN.fullmatch(shown):
        raise ValueError(f"{text[:40]!r} is not a number")
    value = Decimal(shown)
    if abs(value) >= LARGEST:
        raise ValueError(f"{text[:40]!r} is too large to be true")
    return value


@dataclass(slots=True)
class Sums:
    """Collects rows by key and sums them, in the order the keys first came."""

    feed: str
    totals: dict[tuple[Any, ...], list[Decimal]] = field(default_factory=dict)

    def add(self, key: tuple[Any, ...], numbers: Iterable[Decimal]) -> None:
        have = self.totals.get(key)
        if have is None:
            self.totals[key] = list(numbers)
        else:
            for i, value in enumerate(numbers):
                have[i] += value


def sums_frame(feed: str, totals: dict[tuple[Any, ...], list[Decimal]]) -> pd.DataFrame:
    """The summed rows with the feed's column names; keys start with the day (a ``date``)."""
    columns: dict[str, Any] = {}
    keys = list(totals)
    for i, name in enumerate(KEYS[feed]):
        cells = [key[i] for key in keys]
        if name == "date":
            columns[name] = pd.Series(pd.to_datetime(cells).as_unit("us"))
        else:
            columns[name] = pd.Series(cells, dtype="str")
    for i, name in enumerate(SUMMED[feed]):
        if name in WHOLE:
            columns[name] = pd.Series([int(row[i]) for row in totals.values()], dtype="int64")
        else:
            rounded = [float(row[i].quantize(_MICRO)) for row in totals.values()]
            columns[name] = pd.Series(rounded, dtype="float64")
    return pd.DataFrame(columns)


def spread_evenly(total: Decimal, days: int, *, unit: Decimal) -> list[Decimal]:
    """``total`` over ``days`` equal parts, exact: what does not divide goes, one ``unit`` each, to
    the first days. So a smaller total never exceeds a larger one on any day (clicks, impressions).

    Examples
    --------
    >>> spread_evenly(Decimal("1.00"), 3, unit=Decimal("0.01"))
    [Decimal('0.34'), Decimal('0.33'), Decimal('0.33')]
    """
    units = total / unit
    whole = int(units.to_integral_value(rounding="ROUND_DOWN"))
    each, more = divmod(abs(whole), days)
    sign = -1 if whole < 0 else 1
    parts = [sign * (each + (1 if i < more else 0)) * unit for i in range(days)]
    parts[0] += total - whole * unit
    return parts


def spread_row(feed: str, numbers: list[Decimal], start: date, end: date) -> list[list[Decimal]]:
    """One row's numbers over the days from ``start`` to ``end``, both included."""
    days = (end - start).days + 1
    parts = []
    for name, total in zip(SUMMED[feed], numbers, strict=True):
        if name in WHOLE:
            unit = Decimal(1)
        else:
            # Cents stay cents; what already has finer places, or counts parts, goes in millionths.
            cents = name in ("spend", "revenue") and total == total.quantize(Decimal("0.01"))
            unit = Decimal("0.01") if cents else _MICRO
        parts.append(spread_evenly(total, days, unit=unit))
    return [list(day) for day in zip(*parts, strict=True)]


def days_between(start: date, end: date) -> list[date]:
    return [start + timedelta(days=i) for i in range((end - start).days + 1)]
