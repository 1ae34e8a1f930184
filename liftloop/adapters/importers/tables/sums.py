"""Exact sums: rows of one day and campaign become one, to the last millionth.

Money and fractions are added as decimals, counts as integers; a float is made once, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from math import nan
from typing import Any

import pandas as pd

WHOLE = frozenset({"impressions", "clicks"})
ATTRIBUTED = ("clicks", "conversions", "revenue")  # of performance rows: missing, the spend stays
IDS = ("account", "campaign_id", "adset_id", "ad_id")
KEYS = {
    "performance": ("date", "segment", "channel", "campaign", "creative", "currency", *IDS),
    "sales": ("date", "segment"),
}
SUMMED = {
    "performance": ("spend", "impressions", "clicks", "conversions", "revenue"),
    "sales": ("orders", "revenue"),
}
LARGEST = Decimal(10) ** 15
_MICRO = Decimal("0.000001")
_PLAIN = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
# Western (1,234,567) and Indian (12,34,567) groups; "1,23" and "0,125" are neither.
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{2,3})*,[0-9]{3}(\.[0-9]*)?")
_SAME = str.maketrans(
    dict.fromkeys("\u2212\u2012\u2013\ufe63\uff0d", "-")
    | dict.fromkeys("\xa0\u2007\u2009\u202f\u2002\u2003\u2008\u200a", " ")
    | dict.fromkeys("\u2019\u2018\u02bc\u00b4`", "'")
)
_UNIT = r"(?:[A-Z]{3}|[A-Z]{0,3}[$€£¥₹₩₽₺₴₫฿₪₦₱]|kr\.?|zł|Kč|Ft|Fr\.|lei)"
_AMOUNT = re.compile(
    rf"([-+]?)\s*(?:{_UNIT}\s*)?([-+]?)\s*([0-9.,][^A-Za-z$€£]*(?:[eE][-+]?[0-9]+)?)"
)
_UNIT_BEHIND = re.compile(rf"\s*{_UNIT}$")
_BLANK_GROUPS = re.compile(r"[0-9]{1,3}(?:[ '][0-9]{3})+([.,][0-9]*)?")


def bare(text: str) -> tuple[str, bool]:
    """(sign, digits and marks of ``text`` alone, whether blanks or apostrophes part thousands).

    Currency signs and codes go, brackets and a minus behind become a minus in front. What is no
    amount comes back as it is.

    Examples
    --------
    >>> bare("(1'234.50)"), bare("12,50 €"), bare("USD -3"), bare("Brand")
    (('-1234.50', True), ('12,50', False), ('-3', False), ('Brand', False))
    """
    shown = text.translate(_SAME).strip()
    if shown.isascii() and shown.replace(".", "", 1).isdigit():
        return shown, False
    sign = ""
    if shown.startswith("(") and shown.endswith(")"):
        sign, shown = "-", shown[1:-1].strip()
    shown = _UNIT_BEHIND.sub("", shown)
    if shown.endswith("-") and not sign:
        sign, shown = "-", shown[:-1].strip()
    amount = _AMOUNT.fullmatch(shown)
    if amount is None or sum(map(bool, (sign, *amount.group(1, 2)))) > 1:
        return text, False
    sign, digits = sign or amount.group(1) or amount.group(2), amount.group(3).strip()
    if not _BLANK_GROUPS.fullmatch(digits):
        return sign + digits, False
    return sign + digits.replace(" ", "").replace("'", ""), True


def number(text: str, *, thousands: str = ",", decimal: str = ".") -> Decimal:
    """The exact number ``text`` says.

    Raises
    ------
    ValueError
        When it says none, or one no account has ever seen (1e15 and more).
    """
    if len(text) < 15 and text.isascii() and text.isdigit():  # most cells, and quick to tell
        return Decimal(text)
    shown, _ = bare(text)
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


def has_id(feed: str, key: tuple[Any, ...]) -> bool:
    """Whether the finest detail of a row of ``feed`` (ad, else ad set, else campaign) has an id, so
    that another row of that key is no other ad of the same name."""
    if feed != "performance":
        return False
    creative, campaign_id, adset_id, ad_id = key[4], *key[7:10]
    if ad_id:
        return True
    if creative not in ("", "all", None):
        return False
    return bool(adset_id or campaign_id) and not str(adset_id).startswith("name:")


@dataclass(slots=True)
class Sums:
    """Collects rows by key and sums them, in the order the keys first came."""

    feed: str
    totals: dict[tuple[Any, ...], list[Decimal | None]] = field(default_factory=dict)

    def add(self, key: tuple[Any, ...], numbers: Iterable[Decimal | None]) -> None:
        """Add a row; a sum with a missing part (None) is missing."""
        have = self.totals.get(key)
        if have is None:
            self.totals[key] = list(numbers)
        else:
            for i, value in enumerate(numbers):
                sofar = have[i]
                have[i] = None if sofar is None or value is None else sofar + value


def sums_frame(feed: str, totals: dict[tuple[Any, ...], list[Decimal | None]]) -> pd.DataFrame:
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
        sums = [row[i] for row in totals.values()]
        if name in WHOLE and None not in sums:
            whole: list[Any] = [int(value) for value in sums if value is not None]
            columns[name] = pd.Series(whole, dtype="int64")
        else:
            rounded = [nan if value is None else float(value.quantize(_MICRO)) for value in sums]
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


def spread_row(
    feed: str,
    numbers: list[Decimal | None],
    start: date,
    end: date,
    *,
    whole: frozenset[str] = WHOLE,
) -> list[list[Decimal | None]]:
    """One row's numbers over the days from ``start`` to ``end``, both included; those of ``whole``
    as whole numbers."""
    days = (end - start).days + 1
    parts: list[list[Any]] = []
    for name, total in zip(SUMMED[feed], numbers, strict=True):
        if total is None:
            parts.append([None] * days)
            continue
        if name in whole:
            unit = Decimal(1)
        else:
            # Cents stay cents; what already has finer places, or counts parts, goes in millionths.
            cents = name in ("spend", "revenue") and total == total.quantize(Decimal("0.01"))
            unit = Decimal("0.01") if cents else _MICRO
        parts.append(spread_evenly(total, days, unit=unit))
    return [list(day) for day in zip(*parts, strict=True)]


def days_between(start: date, end: date) -> list[date]:
    return [start + timedelta(days=i) for i in range((end - start).days + 1)]
