"""Days such as ``09/01/2026``: the 1st of September or the 9th of January.

The whole column says which, where one of its days (or the period above the table) has a day after
the 12th, or where its days follow each other in one order alone; then the platform's own way of
writing. What none of them says is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Literal

from liftloop.core.errors import ConfigurationError, RefusedFile

DayOrder = Literal["", "day-first", "month-first"]

# Days that can be read in one way alone, whoever wrote them.
CERTAIN = (
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%Y%m%d",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%a, %b %d, %Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
)
_FORMS: dict[DayOrder, tuple[str, ...]] = {
    "day-first": ("%d/%m/%Y", "%d-%m-%Y", "%d/%m/%y"),
    "month-first": ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y"),
}
_TIMES = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
_PARTED = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})(?![\d/-])")
_DENSE = 3  # days that follow each other, from which on they say an order


def checked_order(text: str) -> DayOrder:
    """``--day-order`` as it may be.

    Raises
    ------
    ConfigurationError
        When it is another word.
    """
    for order in _FORMS:
        if text == order:
            return order
    if not text:
        return ""
    raise ConfigurationError(f"--day-order {text} is no order.", fix=f"use {' or '.join(_FORMS)}.")


def day_forms(
    file: str,
    column: str,
    texts: Collection[str],
    *,
    forms: Sequence[str],
    above: Iterable[str] = (),
    stated: DayOrder = "",
) -> tuple[str, ...]:
    """``strptime`` formats for a column of days.

    Parameters
    ----------
    texts
        The distinct cells of the column.
    forms
        The formats the platform writes itself.
    above
        Lines above the table, which may hold the report's period.
    stated
        The order, where the person who delivers has said it.

    Raises
    ------
    RefusedFile
        When the days can be read in both orders and nothing says in which.
    """
    parted = {match[0]: match for text in texts if (match := _PARTED.match(text))}
    if not parted:
        return (*forms, *CERTAIN)
    own = _own_order(forms)
    ahead = [match for line in above for match in _PARTED.finditer(line)]
    order = stated or _order([*parted.values()], ahead, own)
    if order:
        both = [form + time for form in _FORMS[order] for time in _TIMES]
        slashed = {form for known in _FORMS.values() for form in known}
        return (*both, *(form for form in forms if form not in slashed), *CERTAIN)
    example = sorted(parted)[0]
    raise RefusedFile(
        file,
        f"{example!r} is {' or '.join(_readings(parted[example]))}, and nothing in the file says "
        "which.",
        fix="say --day-order day-first or --day-order month-first.",
        column=column,
    )


def _own_order(forms: Sequence[str]) -> DayOrder:
    """The order the platform writes itself, where it writes such days at all."""
    for order, known in _FORMS.items():
        if set(known) & set(forms):
            return order
    return ""


def _order(
    cells: Sequence[re.Match[str]], ahead: Sequence[re.Match[str]], own: DayOrder
) -> DayOrder:
    possible = [order for order in _FORMS if _all(cells, order) is not None]
    if len(possible) != 1:
        both = [order for order in possible if _all(ahead, order) is not None]
        possible = both if both and ahead else possible
    if len(possible) == 1:
        return possible[0]
    dense: list[DayOrder] = [order for order in possible if _is_dense(_all(cells, order) or set())]
    if len(dense) == 1:
        # A platform that writes one order and a column that only makes sense in the other one
        # contradict each other.
        return dense[0] if own in ("", dense[0]) else ""
    return own if own in possible else ""


def _all(matches: Sequence[re.Match[str]], order: DayOrder) -> set[date] | None:
    """The days in one order, or ``None`` where one of them is none."""
    days = {_day(match, order) for match in matches}
    return None if None in days else {day for day in days if day is not None}


def _day(match: re.Match[str], order: DayOrder) -> date | None:
    first, second, year = (int(part) for part in match.groups())
    day, month = (first, second) if order == "day-first" else (second, first)
    try:
        return date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return None


def _is_dense(days: set[date]) -> bool:
    """Days one after the other: what a report by day has, and days read in a wrong order never."""
    ordered = sorted(days)
    near = sum((later - day).days <= 2 for day, later in pairwise(ordered))
    return len(ordered) >= _DENSE and near >= 0.9 * (len(ordered) - 1)


def _readings(match: re.Match[str]) -> list[str]:
    days = [_day(match, order) for order in _FORMS]
    return [f"{day:%-d %B %Y}" for day in days if day is not None]
