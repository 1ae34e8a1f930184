"""Turns a platform's report into rows of a feed, as its :class:`Importer` declares, and refuses one
whose unit, currency or days cannot be right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd

from liftloop.adapters.files.reading import RawTable, shown
from liftloop.adapters.importers.channels import channels_of
from liftloop.adapters.importers.countries import CountryNames
from liftloop.adapters.importers.importer import Importer, Row, currency_in, plain
from liftloop.adapters.importers.report_columns import day_reader, decimals_of, rows_of
from liftloop.adapters.importers.report_rows import ReportAccount, ReportReading
from liftloop.adapters.importers.tables.days import checked_period
from liftloop.adapters.importers.tables.repeats import counted_rows
from liftloop.adapters.importers.tables.selecting import select_rows
from liftloop.adapters.importers.tables.sums import (
    ATTRIBUTED,
    IDS,
    SUMMED,
    Sums,
    has_id,
    sums_frame,
)
from liftloop.core.errors import RefusedFile

# No thousand impressions cost less than a thousandth of a currency unit. Amounts of whole units
# that are taken for millionths do.
_LEAST_CPM = Decimal("0.001")
_ENOUGH = 1000  # impressions
_BATCH = 50_000


def refuse_unit(
    file: str, importer: Importer, column: str, rows: Sequence[Sequence[Decimal | None]]
) -> None:
    """Refuse a report whose spend is read in millionths and cannot be in millionths.

    Parameters
    ----------
    column
        The column of the spend.
    rows
        Spend and impressions first, a row of the report each.

    Raises
    ------
    RefusedFile
        When a thousand impressions would cost next to nothing.
    """
    if column not in importer.micros:
        return
    spend = sum((row[0] or Decimal(0) for row in rows), Decimal(0))
    impressions = sum((row[1] or Decimal(0) for row in rows), Decimal(0))
    if spend <= 0 or impressions < _ENOUGH or spend * 1000 / impressions >= _LEAST_CPM:
        return
    raise RefusedFile(
        file,
        f"read in millionths, as {importer.name} writes money, {spend * 1_000_000:,.0f} is "
        f"{spend:f} for {impressions:,.0f} impressions: the amounts are in whole units already.",
        fix="export the report from the platform itself, or describe the file in a mapping "
        "(--map).",
        column=column,
    )


def refuse_currency(file: str, currencies: Collection[str | None], account: str) -> None:
    """Refuse sales in several currencies, or in another one than the workspace's.

    Parameters
    ----------
    currencies
        Those of the rows; None for rows that name none.
    account
        The workspace's currency, or "" where it is not known.

    Raises
    ------
    RefusedFile
        Sales have no currency of their own: their amounts are added as they are.
    """
    named = sorted({currency.strip().upper() for currency in currencies if currency})
    if len(named) > 1:
        raise RefusedFile(
            file,
            f"its amounts are in {' and in '.join(named)}, which cannot be added.",
            fix=f"export the amounts in one currency{f', {account}' if account else ''}.",
            column="currency",
        )
    if named and account and named[0] != account.upper():
        raise RefusedFile(
            file,
            f"its amounts are in {named[0]}, and the workspace's currency is {account}.",
            fix=f'export the amounts in {account}, or set currency = "{named[0]}" under [account] '
            "in liftloop.toml where that is the shop's currency.",
            column="currency",
        )


def refuse_weeks(file: str, spans: Collection[tuple[date, date]], by_day: str) -> None:
    """Refuse a report whose days are a week or a month apart: each row covers what is between.

    Raises
    ------
    RefusedFile
        When all rows are so, and there are at least two of them.
    """
    days = sorted({start for start, end in spans if start == end})
    gaps = {(later - day).days for day, later in pairwise(days)}
    if not gaps or not (gaps == {7} or gaps <= {28, 29, 30, 31}):
        return
    what = "weeks" if gaps == {7} else "months"
    raise RefusedFile(
        file,
        f"its rows are {what}, not days ({days[0]}, {days[1]}...).",
        fix=f"{by_day} and export it again.",
    )


def import_export(
    importer: Importer, raw: RawTable, account: ReportAccount
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
    amount = source.get("spend") or source.get("revenue")
    money = next((i for i, name in enumerate(names) if name == amount), None)
    reading = ReportReading(
        importer,
        raw.file,
        account,
        source,
        _period(importer, raw, names),
        None if money is None else currency_in(raw.header[money]),
        day_reader(importer, raw, names, timezone=account.timezone, order=account.day_order),
        decimals_of(importer, raw, names, source=source, stated=account.decimal),
        channels_of(
            importer, raw.file, names, given=account.channel, in_use=account.channels_in_use
        ),
        CountryNames(account.segments_in_use),
        importer.counts() if importer.counts else None,
    )
    for at, row in enumerate(_rows(raw, names)):
        reading.take(at, row, raw.broken.get(at))
    rows = len(reading.places) + len(reading.broken)
    if not rows:
        what = ", ".join(("totals", *reading.left_out))
        raise RefusedFile(
            raw.file, f"it holds no row but {what}.", fix="export a period with rows."
        )
    if importer.feed == "sales":
        refuse_currency(raw.file, {key[2] for key in reading.keys}, account.currency)
    else:
        refuse_unit(raw.file, importer, source["spend"], reading.numbers)
    if importer.counts is None:  # an importer of single orders says itself what counts
        _refuse_no_money(reading)
    group = np.array(reading.group, dtype=np.int64)
    keep, selected = select_rows(
        rows_of(importer, raw, reading.places, reading.numbers),
        group,
        identified=np.array([has_id(importer.feed, key) for key in reading.keys], bool)[group],
        parts=account.parts,
    )
    sums = reading.summed(keep)
    _widen(importer, raw, sums)
    if importer.starts_only:
        refuse_weeks(raw.file, {key[0] for key in sums.totals}, importer.by_day)
    made = len(sums.totals)
    frame = sums_frame(importer.feed, reading.by_day(sums).totals)
    blank = [name for name in ("currency", *IDS) if name in frame and _empty(frame[name])]
    frame = frame.drop(columns=blank)
    if reading.broken:
        lost = pd.DataFrame({"_broken": pd.Series(reading.broken, dtype="str")})
        frame = pd.concat([frame, lost], ignore_index=True)
    notes = _notes(reading, names)
    of = "campaign" if importer.feed == "performance" else "segment"
    if int(keep.sum()) != made:
        notes.append(f"{int(keep.sum()):,} rows were summed to {made:,}, one a day and {of}.")
    return frame, rows, (*notes, *selected)


def _refuse_no_money(reading: ReportReading) -> None:
    """An empty column of spend beside deliveries is a spend left out of the report, not 0."""
    if not reading.places or reading.blank["spend"] < len(reading.places):
        return
    shown = SUMMED[reading.importer.feed].index("impressions")
    if any(row[shown] for row in reading.numbers):
        raise RefusedFile(
            reading.file,
            "no row has an amount, and impressions were delivered.",
            fix="export the report again with the amounts spent.",
            column=reading.source.get("spend"),
        )


def _empty(column: pd.Series) -> bool:
    return bool(column.isna().all() or (column.fillna("") == "").all())


def _sources(importer: Importer, raw: RawTable, names: list[str]) -> dict[str, str]:
    """Contract column -> the export's column it comes from."""
    source = {}
    optional = ATTRIBUTED if importer.feed == "performance" else ()
    needed = {*SUMMED[importer.feed]} - {*optional, *importer.cells}
    for column, candidates in importer.columns.items():
        found = next((name for name in candidates if name in names), None)
        if found:
            source[column] = found
        elif column in needed:
            raise RefusedFile(
                raw.file,
                f"a {importer.name} report needs one of {', '.join(candidates)}; the file has "
                f"{shown(raw.header)}.",
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
    try:
        return checked_period(*period)
    except ValueError as error:
        raise RefusedFile(raw.file, f"{error}.", fix="export the period again.") from None


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


def _widen(importer: Importer, raw: RawTable, sums: Sums) -> None:
    """Where the day column tells only a start and every row starts with the report, each row covers
    the whole report."""
    period = importer.period(raw.preamble) if importer.starts_only and importer.period else None
    if period is None or period[0] >= period[1]:
        return
    if all(key[0] == (period[0], period[0]) for key in sums.totals):
        sums.totals = {(period, *key[1:]): row for key, row in sums.totals.items()}


def _names_notes(reading: ReportReading) -> list[str]:
    """What was left out, and what the channels and segments are called."""
    notes = reading.channels.notes
    if reading.left_out:
        listed = ", ".join(f"{count:,} {why}" for why, count in reading.left_out.items())
        notes.append(f"Rows left out: {listed}.")
    if reading.countries.joined:
        pairs = sorted(reading.countries.joined.items())[:10]
        notes.append(
            f"Countries go by one name each: {', '.join(f'{a} is {b}' for a, b in pairs)}."
        )
    if reading.unplaced:
        notes.append(f"{counted_rows(reading.unplaced)} no country or region: segment 'all'.")
    return notes


def _notes(reading: ReportReading, names: list[str]) -> list[str]:
    importer, zone = reading.importer, reading.account.timezone
    notes = [*importer.notes]
    if reading.totals:
        amount = "revenue" if importer.feed == "sales" else "spend"
        notes.append(
            f"Totals rows left out: {reading.totals} ({reading.totals_amount:,.2f} {amount})."
        )
    if reading.periods:
        notes.append(
            f"Rows over a period that are the sum of its days, left out: {reading.periods}."
        )
    notes += _names_notes(reading)
    if reading.hours and importer.counts is None:
        notes.append(f"Rows by the hour, taken as days in {zone}: {reading.hours}.")
    if reading.spread_over:
        first, last = reading.spread_over
        notes.append(
            f"Rows that cover several days (such as {first} to {last}) were spread evenly over "
            "them: the differences between those days are not measured."
        )
    return [*notes, *_column_notes(reading, names)]


def _column_notes(reading: ReportReading, names: list[str]) -> list[str]:
    """Columns that are not there or were taken for others, and cells that say nothing."""
    importer = reading.importer
    notes = []
    for column in SUMMED[importer.feed]:
        first_choice = importer.columns.get(column, (column,))[0]
        if column in importer.cells:
            continue
        if column not in reading.source:
            notes.append(f"The report has no column for {column}: 0 stands for it.")
        elif reading.source[column] != first_choice:
            notes.append(f"Column {reading.source[column]!r} was taken for {column}.")
    found = next((name for name in importer.segment if name in names), None)
    if found and reading.account.segment == "all":
        notes.append(f"Column {found!r} was taken for segment.")
    for column, count in reading.blank.items():
        name = reading.source.get(column, column)
        notes.append(f"{counted_rows(count)} nothing in {name!r}: taken as 0.")
    for name, count in reading.unread.items():
        notes.append(
            f"{counted_rows(count)} an unreadable cell in {name!r} (the first: "
            f"{reading.why[name]}): "
            "it is missing there, not 0."
        )
    return notes
