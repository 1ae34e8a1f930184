"""Rows of weeks or months under a mapping, spread evenly over the days they cover.

Amounts are exact: the days of a row sum to the row, money to the cent, counts as whole numbers.
Covariates (``x_...``) hold on each of the days. That the days of a row differ is not measured.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.importers.maps.mapping import Period
from liftloop.adapters.importers.tables.days import checked_period
from liftloop.adapters.importers.tables.repeats import counted_rows
from liftloop.adapters.importers.tables.sums import (
    KEYS,
    SUMMED,
    WHOLE,
    days_between,
    number,
    spread_row,
)
from liftloop.core.errors import RefusedFile

MONTHS = {"month": 1, "quarter": 3, "year": 12}
END = "_end"  # the column of the last days, where the table has both ends
_SHOWN = 3  # gaps named in a note
Span = tuple[date, date]


def spread_periods(
    period: Period, file: str, feed: str, frame: pd.DataFrame
) -> tuple[pd.DataFrame, tuple[Span, ...], list[str]]:
    """(rows by day, the periods they were, notes).

    A row without a period or without a readable amount stays one row, marked in ``_broken``; an
    attributed number that breaks a rule is missing on each of the row's days.

    Parameters
    ----------
    frame
        The feed's columns; ``date`` is the first day (the last one where the mapping names the end
        alone), ``_end`` the last day where it names both.

    Raises
    ------
    RefusedFile
        When periods of one key overlap: the money of their days would be kept once and lost once.
    """
    spans, problems = _spans(period, frame)
    marks = list(frame["_broken"]) if "_broken" in frame else [None] * len(frame)
    marks = [None if pd.isna(mark) else str(mark) for mark in marks]
    numbers, missing = _numbers(feed, frame)
    needed = SUMMED[feed] if feed == "sales" else ("spend",)
    for at, row in enumerate(numbers):
        named = dict(zip(SUMMED[feed], row, strict=True))
        bad = [name for name in needed if _is_wrong(name, named[name])]
        if marks[at] is None and problems[at] is not None:
            marks[at] = problems[at]
        elif marks[at] is None and bad:
            cell = frame[bad[0]].iloc[at]
            shown = "is empty" if pd.isna(cell) else f"is {cell!s}"
            marks[at] = f"{bad[0]} {shown}: a row over {_days(spans[at])} days cannot be spread"
    sound = [at for at, mark in enumerate(marks) if mark is None]
    periods = {at: span for at in sound if (span := spans[at]) is not None}
    _refuse_overlaps(file, period, feed, frame, periods)
    made = _spread(feed, frame, periods, numbers)
    apart = [at for at in range(len(frame)) if at not in periods]
    rest = frame.iloc[apart].drop(columns=[END], errors="ignore")
    if apart:
        rest = rest.assign(_broken=pd.Series([marks[at] for at in apart], rest.index, dtype="str"))
    if apart and not pd.api.types.is_datetime64_any_dtype(rest["date"]):
        made = made.assign(date=made["date"].dt.strftime("%Y-%m-%d"))
    distinct = tuple(sorted(set(periods.values())))
    notes = _notes(
        distinct,
        len(periods),
        missing,
        has_covariates=any(str(name).startswith("x_") for name in frame),
    )
    frame = pd.concat([made, rest], ignore_index=True) if apart else made
    return frame, distinct, notes


def last_day(period: Period, first: date) -> date:
    """The last day of the period that begins on ``first``.

    Raises
    ------
    ValueError
        When a month (quarter, year) does not begin on the first of a month.
    """
    if period.every in MONTHS:
        if first.day != 1:
            raise ValueError(f"a {period.every} from {first} does not begin on the 1st")
        return _months_on(first, MONTHS[period.every]) - timedelta(days=1)
    return first + timedelta(days=(period.days or 7) - 1)


def first_day(period: Period, last: date) -> date:
    """The first day of the period that ends on ``last``.

    Raises
    ------
    ValueError
        When a month (quarter, year) does not end on the last of a month.
    """
    if period.every in MONTHS:
        if last.day != monthrange(last.year, last.month)[1]:
            raise ValueError(f"a {period.every} to {last} does not end on the last of a month")
        return _months_on(last.replace(day=1), 1 - MONTHS[period.every])
    return last - timedelta(days=(period.days or 7) - 1)


def _months_on(first: date, months: int) -> date:
    place = first.year * 12 + first.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def _spans(period: Period, frame: pd.DataFrame) -> tuple[list[Span | None], list[str | None]]:
    """The first and last day of each row, and what is wrong with those that have none."""
    spans: list[Span | None] = []
    problems: list[str | None] = []
    ends = frame[END] if END in frame else [None] * len(frame)
    for day, end in zip(frame["date"], ends, strict=True):
        try:
            one = _day(day)
            if period.start and period.end:
                span = one, _day(end)
            elif period.start:
                span = one, last_day(period, one)
            else:
                span = first_day(period, one), one
            spans.append(checked_period(*span))
            problems.append(None)
        except (ValueError, OverflowError) as error:
            spans.append(None)
            problems.append(f"no period: {error}")
    return spans, problems


def _day(cell: Any) -> date:
    if pd.isna(cell):
        raise ValueError("the day is empty")
    if isinstance(cell, str):
        try:
            return date.fromisoformat(cell[:10])
        except ValueError:
            raise ValueError(f"{cell[:40]!r} is no day") from None
    return pd.Timestamp(cell).date()


def _numbers(feed: str, frame: pd.DataFrame) -> tuple[list[list[Decimal | None]], Counter[str]]:
    """The amounts of each row, None where one cannot be read or breaks a rule, and how many of
    each column do."""
    missing: Counter[str] = Counter()
    rows: list[list[Decimal | None]] = []
    for cells in zip(*(frame[name] for name in SUMMED[feed]), strict=True):
        row: dict[str, Decimal | None] = {}
        for name, cell in zip(SUMMED[feed], cells, strict=True):
            try:
                value = None if pd.isna(cell) else number(str(cell))
            except ValueError:
                value = None
            if value is not None and name in WHOLE and value % 1:
                value = None
            row[name] = value
        if feed == "performance":
            for name in ("impressions", "clicks", "conversions", "revenue"):
                value, shown = row[name], row["impressions"]
                more = name == "clicks" and None not in (value, shown) and value > shown  # type: ignore[operator]
                if value is None or value < 0 or more:
                    row[name] = None
                    missing[name] += 1
        rows.append(list(row.values()))
    return rows, missing


def _is_wrong(name: str, value: Decimal | None) -> bool:
    """Whether an amount is missing, or below 0 where it may not be (sales may be paid back)."""
    return value is None or (name != "revenue" and value < 0)


def _spread(
    feed: str,
    frame: pd.DataFrame,
    periods: dict[int, Span],
    numbers: Sequence[Sequence[Decimal | None]],
) -> pd.DataFrame:
    """A row a day of every row of ``periods`` (place -> first and last day)."""
    days: list[date] = []
    parts: list[list[Decimal | None]] = []
    for at, span in periods.items():
        days += days_between(*span)
        parts += spread_row(feed, list(numbers[at]), *span, whole=_whole(feed, numbers[at]))
    repeats = [_days(span) for span in periods.values()]
    places = np.repeat(np.fromiter(periods, dtype=np.int64, count=len(periods)), repeats)
    made = frame.iloc[places].drop(columns=["_broken", END], errors="ignore")
    made = made.reset_index(drop=True)
    made["date"] = (
        pd.Series(pd.to_datetime(days)).dt.as_unit("us")
        if days
        else pd.Series([], dtype="datetime64[us]")
    )
    for place, name in enumerate(SUMMED[feed]):
        column = [part[place] for part in parts]
        if name in WHOLE and None not in column:
            made[name] = pd.Series([int(value or 0) for value in column], dtype="int64")
        else:
            floats = [np.nan if value is None else float(round(value, 6)) for value in column]
            made[name] = pd.Series(floats, dtype="float64")
    return made


def _whole(feed: str, row: Sequence[Decimal | None]) -> frozenset[str]:
    """The counts of a row: orders and conversions that are whole numbers stay so on each day."""
    named = dict(zip(SUMMED[feed], row, strict=True))
    counts = [name for name in ("orders", "conversions") if name in named]
    return WHOLE | {name for name in counts if (value := named[name]) is not None and not value % 1}


def _refuse_overlaps(
    file: str, period: Period, feed: str, frame: pd.DataFrame, periods: dict[int, Span]
) -> None:
    keys = [name for name in KEYS[feed] if name in frame and name != "date"]
    cells = list(zip(*(frame[name] for name in keys), strict=True))
    spans: dict[tuple[str, ...], set[Span]] = {}
    for at, span in periods.items():
        key = tuple("" if pd.isna(cell) else str(cell) for cell in cells[at])
        spans.setdefault(key, set()).add(span)
    for key, found in spans.items():
        for one, other in pairwise(sorted(found)):
            if other[0] <= one[1]:
                of = " ".join(part for part in key if part)
                raise RefusedFile(
                    file,
                    f"its periods overlap: {_shown(one)} and {_shown(other)} of {of}, so that "
                    "money of the same days would replace other money.",
                    fix=f"mend {_length(period)} under [period] (these two begin "
                    f"{(other[0] - one[0]).days} days apart), or leave one kind of rows out with "
                    "keep.",
                )


def _length(period: Period) -> str:
    if period.days:
        return f"days = {period.days}"
    return f'every = "{period.every}"' if period.every else "start and end"


def _notes(
    spans: Sequence[Span], rows: int, missing: Counter[str], *, has_covariates: bool
) -> list[str]:
    if not spans:
        return []
    lengths = sorted({_days(span) for span in spans})
    length = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    notes = [
        f"{counted_rows(rows, ('covers', 'cover'))} {length} days each ({spans[0][0]} to "
        f"{spans[-1][1]}) and were spread evenly over them: the differences between those days "
        "are not measured."
    ]
    if has_covariates:
        notes.append("Covariates (x_...) hold on each day of their period.")
    gaps, reached = [], spans[0][1]
    for first, last in spans[1:]:
        if first > reached + timedelta(days=1):
            gaps.append((reached + timedelta(days=1), first - timedelta(days=1)))
        reached = max(reached, last)
    if gaps:
        listed = ", ".join(_shown(gap) for gap in gaps[:_SHOWN])
        more = f" and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
        notes.append(
            f"Days between the periods that no row covers: {listed}{more} "
            f"({sum(map(_days, gaps))} days). If they belong to the periods, mend [period]."
        )
    notes += [
        f"{counted_rows(count)} no usable number in {name}: it is missing on their days, and the "
        "spend is kept."
        for name, count in missing.items()
    ]
    return notes


def _days(span: Span | None) -> int:
    return (span[1] - span[0]).days + 1 if span else 0


def _shown(span: Span) -> str:
    return f"{span[0]}" if span[0] == span[1] else f"{span[0]} to {span[1]}"
