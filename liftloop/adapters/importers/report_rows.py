"""The rows of a platform's report on their way in: what each is, its numbers, and what is wrong
with it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from liftloop.adapters.importers.channels import Channels
from liftloop.adapters.importers.countries import CountryNames
from liftloop.adapters.importers.importer import Importer, Row
from liftloop.adapters.importers.tables.dayorder import DayOrder
from liftloop.adapters.importers.tables.days import DayReader, checked_period
from liftloop.adapters.importers.tables.notation import currency_of, foreign_sign
from liftloop.adapters.importers.tables.sums import (
    ATTRIBUTED,
    IDS,
    SUMMED,
    WHOLE,
    Sums,
    days_between,
    number,
    spread_row,
)
from liftloop.core.errors import RefusedFile

SHOWN = 1000
_REMEMBERED = 100_000  # cells whose number is kept: small counts come again and again
_TOTAL = re.compile(r"(grand |sub)?total(:.*)?", re.IGNORECASE)
_OFFSET = re.compile(r".*(Z|UTC|[+-]\d\d:?\d\d)")


@dataclass(frozen=True, slots=True)
class ReportAccount:
    """What an export does not say about itself.

    ``channel`` is the one stated for all rows; None leaves it to the importer. ``name`` is the
    advertising account of rows that name none. ``decimal`` is how numbers are
    written (``comma`` or ``point``; empty: inferred). Rows that differ in one of ``parts`` alone
    are added, whatever they look like. ``currency`` is the workspace's; ``segments_in_use`` and
    ``channels_in_use`` are the names its facts have already.
    """

    segment: str
    channel: str | None
    timezone: str
    spread: bool
    name: str = ""
    decimal: str = ""
    parts: tuple[str, ...] = ()
    day_order: DayOrder = ""
    currency: str = ""
    segments_in_use: tuple[str, ...] = ()
    channels_in_use: tuple[str, ...] = ()


@dataclass(slots=True)
class ReportReading:
    """One report on its way in: what its columns are, and what was found so far."""

    importer: Importer
    file: str
    account: ReportAccount
    source: Mapping[str, str]  # contract column -> the export's
    period: tuple[date, date] | None  # told by the preamble, when no column tells a day
    currency: str | None  # told by the header
    day: DayReader
    decimals: Mapping[str, str]  # contract column -> its decimal mark
    channels: Channels
    countries: CountryNames
    why_not: Callable[[Row], str | None] | None  # why a row does not count
    places: list[int] = field(default_factory=list)  # of the rows that could be read
    group: list[int] = field(default_factory=list)
    numbers: list[list[Decimal | None]] = field(default_factory=list)
    keys: dict[tuple[Any, ...], int] = field(default_factory=dict)
    labels: list[tuple[str, str]] = field(default_factory=list)  # campaign and creative of a row
    parsed: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)  # column -> its first unreadable cell
    blank: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    unplaced: int = 0
    totals: int = 0
    totals_amount: Decimal = Decimal(0)  # of the totals rows, where it can be read
    hours: int = 0
    periods: int = 0
    spread_over: tuple[date, date] | None = None

    def take(self, at: int, row: Row, problem: str | None) -> None:
        """Take the row at place ``at`` of the file, keep it apart with its problem, or leave it
        out."""
        importer = self.importer
        if problem and importer.footer and re.search(importer.footer, problem):
            return
        if problem is None and self._is_total(row):
            self.totals += 1
            self.totals_amount += self._amount(row)
            return
        if problem is not None:
            self.broken.append(problem)
            return
        try:
            reason = self.why_not(row) if self.why_not else None
            if reason is not None:
                self.left_out[reason] += 1
                return
            key = self._key(row)
            numbers = [self._number(row, column) for column in SUMMED[importer.feed]]
        except ValueError as error:
            self.broken.append(f"{error}: {_shown(row)}")
            return
        code = self.keys.setdefault(key, len(self.keys))
        if importer.feed == "performance":
            self.labels.append((self._label(row, "campaign"), self._label(row, "creative")))
        self.places.append(at)
        self.group.append(code)
        self.numbers.append(numbers)

    def _is_total(self, row: Row) -> bool:
        """Whether the importer's rule says so, or a row without a day says of itself that it is
        (``Total: Keywords`` in whatever column)."""
        importer = self.importer
        if importer.is_total is not None and importer.is_total(row):
            return True
        day = first_of((*importer.day, *importer.start), row)
        if day is None or str(row[day] or "").strip().lower() not in importer.null:
            return False
        return any(type(cell) is str and _TOTAL.fullmatch(cell.strip()) for cell in row.values())

    def _amount(self, row: Row) -> Decimal:
        """The spend (or revenue) of a row, 0 where it has none."""
        column = "spend" if self.importer.feed == "performance" else "revenue"
        try:
            value = self._parsed(column, self._cell(row, column) or "0")
        except ValueError:
            return Decimal(0)
        return value.scaleb(-6) if self.source.get(column) in self.importer.micros else value

    def _key(self, row: Row) -> tuple[Any, ...]:
        """What a row is: where it has an id, a name is a label that may change."""
        span, segment = self._span(row), self._segment(row)
        if self.importer.feed == "sales":
            return span, segment, self._currency(row)
        ids = {name: self._cell(row, name) or "" for name in IDS}
        ids["account"] = ids["account"] or self.account.name
        campaign = "" if ids["campaign_id"] else self._label(row, "campaign")
        creative = "" if ids["ad_id"] else self._label(row, "creative")
        return (
            span,
            segment,
            self.channels(row),
            campaign,
            creative,
            self._currency(row),
            *ids.values(),
        )

    def _segment(self, row: Row) -> str:
        if self.account.segment != "all":
            return self.account.segment
        column = first_of(self.importer.segment, row)
        if column is None:
            return "all"
        hook = self.importer.cells.get("segment")
        text = hook(row) if hook else self._text(row, column)
        if text is None:
            self.unplaced += 1
            return "all"
        return self.countries(text) if "country" in column else text

    def _label(self, row: Row, column: str) -> str:
        return self._cell(row, column) or "all"

    def _currency(self, row: Row) -> str | None:
        """The currency of the row, of its amount (``12.50 EUR``), or of the header."""
        named = self._cell(row, "currency") or self.currency
        amount = "spend" if self.importer.feed == "performance" else "revenue"
        text = self._cell(row, amount) or ""
        written = currency_of(text)
        if written and named and written != named.upper():
            raise ValueError(f"the amount is in {written} and the row in {named}")
        if not written:
            currency = (named or self.account.currency).upper()
            sign = foreign_sign(text, currency) if currency else None
            if sign:
                raise ValueError(f"the amount {text!r} is in {sign} and the row in {currency}")
        return named or written

    def _span(self, row: Row) -> tuple[date, date]:
        """First and last day of a row."""
        if self.period is not None:
            return self.period
        text = self._text(row, first_of(self.importer.day, row))
        if text is not None:
            day, hourly = self.day(text)
            self.hours += hourly
            return day, day
        start = self._text(row, first_of(self.importer.start, row))
        end = self._text(row, first_of(self.importer.end, row))
        if start is None or end is None:
            raise ValueError("no day")
        first, last = self.day(start)[0], self.day(end)[0]
        if last > first and self.day.labels and _OFFSET.fullmatch(end):
            last -= timedelta(days=1)  # the instant at which the next day begins
        return checked_period(first, last)

    def _cell(self, row: Row, column: str) -> str | None:
        hook = self.importer.cells.get(column)
        return hook(row) if hook else self._text(row, self.source.get(column))

    def _text(self, row: Row, name: str | None) -> str | None:
        value = row.get(name) if name else None
        if value is None:
            return None
        if isinstance(value, (dict, list)):
            raise ValueError(f"column {name!r} holds a nested value")
        text = value.strip() if type(value) is str else str(value).strip()
        if text.isdigit():  # most cells; never a word for nothing
            return text
        return None if text.lower() in self.importer.null else text

    def _number(self, row: Row, column: str) -> Decimal | None:
        """The number of a row, in its unit; None where an attributed one cannot be read."""
        name = self.source.get(column, column)
        optional = column in ATTRIBUTED and self.importer.feed == "performance"
        try:
            text = self._cell(row, column)
            if text is None:
                if name in row:
                    self.blank[column] += 1
                return Decimal(0)
            value = self._parsed(column, text)
            back = self._text(row, self.importer.less.get(name))
            value -= self._parsed(column, back) if back else Decimal(0)
            if column in WHOLE and value % 1:
                raise ValueError(f"{text!r} is not a whole number")
        except ValueError as error:
            if optional:
                self.unread[name] += 1
                self.why.setdefault(name, str(error))
                return None
            raise ValueError(f"column {name!r}: {error}") from None
        if name in self.importer.micros and column not in self.importer.cells:
            if column == "spend" and value % 1 and "micro" not in name:
                raise RefusedFile(
                    self.file,
                    f"{self.importer.name} writes money in millionths, and {text!r} is no whole "
                    "number of them: the amounts are in another unit.",
                    fix="export the report from the platform itself, or describe the file in a "
                    "mapping (--map).",
                    column=name,
                )
            value = value.scaleb(-6)
        return value

    def _parsed(self, column: str, text: str) -> Decimal:
        decimal = self.decimals.get(column, ".")
        value = self.parsed.get((decimal, text))
        if value is None:
            value = number(text, thousands="," if decimal == "." else ".", decimal=decimal)
            if len(self.parsed) < _REMEMBERED:
                self.parsed[decimal, text] = value
        return value

    def summed(self, keep: np.ndarray) -> Sums:
        """The rows of ``keep`` summed by what they are, labelled with their latest names."""
        sums, keys, places = Sums(self.importer.feed), list(self.keys), np.flatnonzero(keep)
        latest = {self.group[at]: self.labels[at] for at in places if self.labels}
        for at in places:
            code = self.group[at]
            key = keys[code][:2]  # sales have no currency of their own
            if code in latest:
                key = (*keys[code][:3], *latest[code], *keys[code][5:])
            sums.add(key, self.numbers[at])
        return sums

    def by_day(self, sums: Sums) -> Sums:
        """``sums`` with one day a key.

        Raises
        ------
        RefusedFile
            When rows span several days and are not to be spread, or mix currencies.
        """
        feed, days = self.importer.feed, Sums(self.importer.feed)
        periods = _periods_of_days(self.file, sums)
        self.periods = len(periods)
        for ((start, end), *rest), numbers in sums.totals.items():
            if ((start, end), *rest) in periods:
                continue
            if start == end:
                days.add((start, *rest), numbers)
                continue
            if not self.account.spread:
                raise RefusedFile(
                    self.file,
                    f"its rows span several days ({start} to {end}, {(end - start).days + 1} "
                    "days).",
                    fix=f"{self.importer.by_day}, or spread each row evenly over its days with "
                    "--spread.",
                )
            self.spread_over = (start, end)
            parts = spread_row(feed, numbers, start, end)
            for day, part in zip(days_between(start, end), parts, strict=True):
                days.add((day, *rest), part)
        if feed == "performance":
            _refuse_mixed_currency(self.file, days)
        return days


def _periods_of_days(file: str, sums: Sums) -> set[tuple[Any, ...]]:
    """Keys of rows over a period that are the sum of rows of its days.

    Raises
    ------
    RefusedFile
        When a row over a period stands beside rows of its days and is not their sum.
    """
    days: dict[tuple[Any, ...], dict[date, Decimal]] = {}
    for ((start, end), *rest), numbers in sums.totals.items():
        if start == end:
            days.setdefault(tuple(rest), {})[start] = numbers[0] or Decimal(0)
    totals = set()
    for ((start, end), *rest), numbers in sums.totals.items():
        within = [v for day, v in days.get(tuple(rest), {}).items() if start <= day <= end]
        if start == end or not within:
            continue
        if abs(sum(within) - (numbers[0] or Decimal(0))) > Decimal("0.01"):
            raise RefusedFile(
                file,
                f"a row from {start} to {end} ({numbers[0]}) stands beside rows of single days of "
                f"it, and is not their sum ({sum(within)}).",
                fix="export the report by day alone.",
            )
        totals.add(((start, end), *rest))
    return totals


def first_of(names: tuple[str, ...], row: Mapping[str, Any]) -> str | None:
    return next((name for name in names if name in row), None)


def _refuse_mixed_currency(file: str, days: Sums) -> None:
    seen: dict[tuple[Any, ...], Any] = {}
    for *key, currency, account, campaign_id, adset_id, ad_id in days.totals:
        other = seen.setdefault((*key, account, campaign_id, adset_id, ad_id), currency)
        if other != currency:
            raise RefusedFile(
                file,
                f"one campaign and day has rows in {other} and in {currency}.",
                fix="export one file a currency, and give each a --channel or --segment.",
                column="currency",
            )


def _shown(row: Row) -> str:
    return json.dumps({k: v for k, v in row.items() if v is not None}, default=str)[:SHOWN]
