"""Days on which people buy otherwise: an experiment that holds one measures the day, too.

Fixed retail days that fall in most markets; days of a user's own come from a calendar file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

THURSDAY = 3


def known_days(start: date, end: date) -> dict[date, str]:
    """The well-known days from ``start`` to ``end`` (inclusive), with their names, in order.

    >>> known_days(date(2026, 11, 23), date(2026, 12, 1))
    {datetime.date(2026, 11, 27): 'Black Friday', datetime.date(2026, 11, 30): 'Cyber Monday'}
    """
    found: dict[date, str] = {}
    for year in range(start.year, end.year + 1):
        november = date(year, 11, 1)
        thanksgiving = november + timedelta(days=(THURSDAY - november.weekday()) % 7 + 21)
        named = {
            date(year, 1, 1): "New Year",
            date(year, 2, 14): "Valentine's Day",
            thanksgiving + timedelta(days=1): "Black Friday",
            thanksgiving + timedelta(days=4): "Cyber Monday",
            date(year, 12, 24): "Christmas",
        }
        found |= {day: name for day, name in named.items() if start <= day <= end}
    return dict(sorted(found.items()))


def first_free_start(
    start: date, *, days: int, calendar: Mapping[date, str], latest: int = 8
) -> tuple[date, dict[date, str]]:
    """The first start, ``start`` or up to ``latest`` weeks later, from which ``days`` days hold no
    known day; where there is none, the one with the fewest, and the days it holds.

    Parameters
    ----------
    calendar
        Further days by date, with their names.
    """
    best: tuple[date, dict[date, str]] | None = None
    for later in range(latest + 1):
        first = start + timedelta(weeks=later)
        held = days_inside(first, first + timedelta(days=days - 1), calendar)
        if best is None or len(held) < len(best[1]):
            best = first, held
        if not held:
            break
    assert best is not None
    return best


def days_inside(start: date, end: date, calendar: Mapping[date, str]) -> dict[date, str]:
    """The well-known days and those of the calendar from ``start`` to ``end`` (inclusive)."""
    own = {day: name for day, name in calendar.items() if start <= day <= end}
    return dict(sorted((known_days(start, end) | own).items()))


def day_words(days: Mapping[date, str] | Iterable[tuple[date, str]]) -> str:
    """Named days as people say them: "Black Friday (2026-11-27) and Cyber Monday (2026-11-30)"."""
    items = list(days.items()) if isinstance(days, Mapping) else list(days)
    words = [f"{name} ({day})" for day, name in items[:4]]
    if len(items) > 4:
        words[3:] = [f"{len(items) - 3} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
