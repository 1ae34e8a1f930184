"""Turns a platform's report into rows of a feed, as its :class:`Importer` declares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from liftloop.adapters.importers.importer import Importer, Row, currency_in, plain
from liftloop.adapters.importers.sums import (
    SUMMED,
    WHOLE,
    Sums,
    days_between,
    number,
    spread_row,
    sums_frame,
)
from liftloop.adapters.reading import RawTable
from liftloop.core.errors import RefusedFile

MAX_DAYS = 1100  # a report over more than three years is a mistaken date
SHOWN = 1000
_BATCH = 50_000
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_OPTIONAL = ("clicks", "conversions", "revenue")


@dataclass(frozen=True, slots=True)
class Account:
    """What an export does not say about itself."""

    segment: str
    channel: str
    timezone: str
    spread: bool


@dataclass(slots=True)
class _Take:
    """The state of one import."""

    sums: Sums
    broken: list[str] = field(default_factory=list)
    rows: int = 0
    totals: int = 0
    summed: int = 0
    hours: int = 0
    days: dict[str, tuple[date, bool]] = field(default_factory=dict)


def import_export(
    importer: Importer, raw: RawTable, account: Account
) -> tuple[pd.DataFrame, int, tuple[str, ...]]:
    """(frame, rows read, notes) of a report.

    Rows of one key are summed exactly; totals rows are left out; a row that cannot be read is kept
    apart, with the reason in column ``_broken``.

    Raises
    ------
    RefusedFile
        When a needed column is missing, or rows span several days and ``account.spread`` is off.
    """
    names = [plain(name) for name in raw.header]
    source = _sources(importer, raw, names)
    named = {i: cur for i, name in enumerate(raw.header) if (cur := currency_in(name))}
    spend_at = names.index(source["spend"]) if source.get("spend") in names else -1
    currency = named.get(spend_at)
    period = _period(importer, raw, names)
    take = _Take(Sums(importer.feed))
    for at, row in enumerate(_rows(raw, names)):
        problem = raw.broken.get(at)
        if problem and importer.footer and re.search(importer.footer, problem):
            continue
        if problem is None and importer.is_total is not None and importer.is_total(row):
            take.totals += 1
            continue
        take.rows += 1
        try:
            if problem:
                raise ValueError(problem)
            key, numbers = _read_row(importer, source, row, account, take, period)
            take.sums.add((*key, _text(row, source.get("currency"), importer) or currency), numbers)
            take.summed += 1
        except ValueError as error:
            shown = "" if problem else f": {_shown(row)}"
            take.broken.append(f"{error}{shown}")
    if not take.rows:
        raise RefusedFile(raw.file, "it holds no row but totals.", fix="export a period with rows.")
    _widen(importer, raw, take)
    frame, spread_over = _frame(importer, raw.file, take, account)
    return frame, take.rows, _notes(importer, source, names, take, account, spread_over)


def _sources(importer: Importer, raw: RawTable, names: list[str]) -> dict[str, str]:
    """Contract column -> the export's column it comes from."""
    source = {}
    for column, candidates in importer.columns.items():
        found = next((name for name in candidates if name in names), None)
        if found:
            source[column] = found
        elif (
            column in SUMMED[importer.feed]
            and column not in _OPTIONAL
            and column not in importer.cells
        ):
            raise RefusedFile(
                raw.file,
                f"a {importer.name} report needs one of {', '.join(candidates)}; the file has "
                f"{', '.join(raw.header[:20])}.",
                fix="add the column to the report and export it again.",
                column=candidates[0],
            )
    twice = [name for name in source.values() if names.count(name) > 1]
    if twice:
        raise RefusedFile(
            raw.file, "the column is there twice.", fix="keep one of them.", column=twice[0]
        )
    return source


def _period(importer: Importer, raw: RawTable, names: list[str]) -> tuple[date, date] | None:
    if any(name in names for name in (*importer.day, *importer.start)):
        return None
    period = importer.period(raw.preamble) if importer.period else None
    if period is None:
        raise RefusedFile(
            raw.file,
            f"no column says which day a row is of (looked for "
            f"{', '.join((*importer.day, *importer.start))}).",
            fix=f"{importer.by_day} and export it again.",
        )
    return period


def _rows(raw: RawTable, names: list[str]) -> Iterator[Row]:
    if raw.records is not None:
        for record in raw.records:
            yield {plain(key): value for key, value in record.items()}
        return
    assert raw.table is not None
    for batch in raw.table.to_batches(max_chunksize=_BATCH):
        columns = [column.to_pylist() for column in batch.columns]
        for cells in zip(*columns, strict=True):
            yield dict(zip(names, cells, strict=True))


def _read_row(
    importer: Importer,
    source: Mapping[str, str],
    row: Row,
    account: Account,
    take: _Take,
    period: tuple[date, date] | None,
) -> tuple[tuple[Any, ...], list[Decimal]]:
    start, end = period or _span(importer, row, account, take)
    segment = account.segment
    if segment == "all":
        found = next((name for name in importer.segment if name in row), None)
        segment = _text(row, found, importer) or segment
    numbers = [_number(importer, source, row, column) for column in SUMMED[importer.feed]]
    if importer.feed == "sales":
        return ((start, end), segment), numbers
    campaign = _cell(importer, source, row, "campaign") or "all"
    creative = _cell(importer, source, row, "creative") or "all"
    return ((start, end), segment, account.channel, campaign, creative), numbers


def _cell(importer: Importer, source: Mapping[str, str], row: Row, column: str) -> str | None:
    hook = importer.cells.get(column)
    return hook(row) if hook else _text(row, source.get(column), importer)


def _text(row: Row, name: str | None, importer: Importer) -> str | None:
    value = row.get(name) if name else None
    if value is None:
        return None
    if isinstance(value, (dict, list)):
        raise ValueError(f"column {name!r} holds a nested value")
    text = str(value).strip()
    return None if text.lower() in importer.null else text


def _number(importer: Importer, source: Mapping[str, str], row: Row, column: str) -> Decimal:
    text = _cell(importer, source, row, column)
    if text is None:
        return Decimal(0)
    try:
        value = number(text)
    except ValueError as error:
        raise ValueError(f"column {source.get(column, column)!r}: {error}") from None
    if source.get(column) in importer.micros and column not in importer.cells:
        value = value.scaleb(-6)
    if column in WHOLE and value != value.to_integral_value():
        raise ValueError(f"column {source.get(column, column)!r}: {text!r} is not a whole number")
    return value


def _span(importer: Importer, row: Row, account: Account, take: _Take) -> tuple[date, date]:
    """First and last day of a row."""
    name = next((name for name in importer.day if name in row), None)
    if name is not None and (text := _text(row, name, importer)) is not None:
        day, hourly = _day(importer, text, account, take)
        take.hours += hourly
        return day, day
    found = []
    for names in (importer.start, importer.end):
        name = next((name for name in names if name in row), None)
        text = _text(row, name, importer)
        if text is None:
            raise ValueError("no day")
        found.append(_day(importer, text, account, take)[0])
    if not found[0] <= found[1]:
        raise ValueError(f"the period ends ({found[1]}) before it starts ({found[0]})")
    if (found[1] - found[0]).days > MAX_DAYS:
        raise ValueError(f"the period {found[0]} to {found[1]} is longer than {MAX_DAYS} days")
    return found[0], found[1]


def _day(importer: Importer, text: str, account: Account, take: _Take) -> tuple[date, bool]:
    """(account day, whether the text told a time too)."""
    known = take.days.get(text)
    if known is None:
        known = take.days[text] = _parse_day(importer, text, account.timezone)
    return known


def _parse_day(importer: Importer, text: str, timezone: str) -> tuple[date, bool]:
    if _ISO_DAY.fullmatch(text):
        return date.fromisoformat(text), False
    moment: datetime | None = None
    for form in importer.day_formats:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        if "%H" not in form:
            return moment.date(), False
        break
    if moment is None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a day this report writes") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(ZoneInfo(timezone))
    return moment.date(), True


def _widen(importer: Importer, raw: RawTable, take: _Take) -> None:
    """Where the day column tells only a start and every row starts with the report, each row covers
    the whole report."""
    period = importer.period(raw.preamble) if importer.starts_only and importer.period else None
    if period is None or period[0] >= period[1]:
        return
    if all(key[0] == (period[0], period[0]) for key in take.sums.totals):
        take.sums.totals = {(period, *key[1:]): row for key, row in take.sums.totals.items()}


def _frame(
    importer: Importer, file: str, take: _Take, account: Account
) -> tuple[pd.DataFrame, tuple[date, date] | None]:
    by_day = Sums(importer.feed)
    spread_over: tuple[date, date] | None = None
    for key, numbers in take.sums.totals.items():
        (start, end), *rest = key
        rest = rest if importer.feed == "performance" else rest[:1]
        if start == end:
            by_day.add((start, *rest), numbers)
            continue
        if not account.spread:
            raise RefusedFile(
                file,
                f"its rows span several days ({start} to {end}, {(end - start).days + 1} days).",
                fix=f"{importer.by_day}, or spread each row evenly over its days with --spread.",
            )
        spread_over = (start, end)
        for day, part in zip(
            days_between(start, end), spread_row(importer.feed, numbers, start, end), strict=True
        ):
            by_day.add((day, *rest), part)
    _refuse_mixed_currency(importer, file, by_day)
    frame = sums_frame(importer.feed, by_day.totals)
    if "currency" in frame and frame["currency"].isna().all():
        frame = frame.drop(columns="currency")
    if take.broken:
        lost = pd.DataFrame({"_broken": pd.Series(take.broken, dtype="str")})
        frame = pd.concat([frame, lost], ignore_index=True)
    return frame, spread_over


def _refuse_mixed_currency(importer: Importer, file: str, by_day: Sums) -> None:
    if importer.feed != "performance":
        return
    seen: dict[tuple[Any, ...], Any] = {}
    for *key, currency in by_day.totals:
        other = seen.setdefault(tuple(key), currency)
        if other != currency:
            raise RefusedFile(
                file,
                f"one campaign and day has rows in {other} and in {currency}.",
                fix="export one file a currency, and give each a --channel or --segment.",
                column="currency",
            )


def _shown(row: Row) -> str:
    return json.dumps({k: v for k, v in row.items() if v is not None}, default=str)[:SHOWN]


def _notes(
    importer: Importer,
    source: Mapping[str, str],
    names: list[str],
    take: _Take,
    account: Account,
    spread_over: tuple[date, date] | None,
) -> tuple[str, ...]:
    made = len(take.sums.totals)
    notes = [*importer.notes]
    if take.totals:
        notes.append(f"{take.totals} totals rows were left out.")
    if take.hours:
        notes.append(f"{take.hours} hourly rows were summed to days in {account.timezone}.")
    if take.summed != made:
        notes.append(f"{take.summed} rows were summed to {made}, one a day and campaign.")
    if spread_over:
        notes.append(
            f"Rows that cover several days (such as {spread_over[0]} to {spread_over[1]}) were "
            "spread evenly over their days: the days' differences are not measured."
        )
    for column in SUMMED[importer.feed]:
        first = importer.columns.get(column, (column,))[0]
        if column in importer.cells:
            continue
        if column not in source:
            notes.append(f"The report has no column for {column}: 0 stands for it.")
        elif source[column] != first:
            notes.append(f"Column {source[column]!r} was taken for {column}.")
    found = next((name for name in importer.segment if name in names), None)
    if found and account.segment == "all":
        notes.append(f"Column {found!r} was taken for segment.")
    return tuple(notes)
