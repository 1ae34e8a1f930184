"""What the declarations of the platforms are put together from."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache

from liftloop.adapters.importers.importer import Row

NOTHING = frozenset({"", "-", "--", "—", "n/a", "na", "null", "none", "(not set)"})
"""Cells that stand for no name or id, in lower case."""
GRAND_TOTAL = r"(grand )?totals?( of [\d,.]+ .*)?(:.*)?"
"""TikTok closes a report with "Total of 12 results", others with "Total" or "Grand total"."""
Why = Callable[[Row], "str | None"]
"""Says why a row does not count, or None for one that does."""


def headers(*names: str) -> tuple[frozenset[str], ...]:
    """Signatures, one a text, from column names with ``|`` between them."""
    return tuple(frozenset(name.strip() for name in header.split("|")) for header in names)


def text_of(row: Row, *names: str) -> str | None:
    """The first of the row's cells ``names`` that says something, as text."""
    for name in names:
        text = str(row.get(name) or "").strip()
        if text.lower() not in NOTHING:
            return text
    return None


def total_in(*columns: str, says: str = r"total(:.*)?") -> Callable[[Row], bool]:
    """A rule for totals rows: one of ``columns`` says just that (``Total``, ``Total: Account``).
    A campaign called "Total Wireless" is none."""
    pattern = re.compile(says, re.IGNORECASE)

    @lru_cache(maxsize=10_000)  # names come again and again
    def says_so(text: str) -> bool:
        return pattern.fullmatch(text.strip()) is not None

    def is_total(row: Row) -> bool:
        for name in columns:
            cell = row.get(name)
            if cell and says_so(str(cell)):
                return True
        return False

    return is_total


def adset_from(*, ids: tuple[str, ...], names: tuple[str, ...]) -> Callable[[Row], str | None]:
    """The ad set of a row: its id, or ``name:`` and its name where the export has no id, so that
    two ad sets with one ad name stay apart."""

    def adset(row: Row) -> str | None:
        known = text_of(row, *ids)
        if known is not None:
            return known
        name = text_of(row, *names)
        return None if name is None else f"name:{name}"

    return adset


_DAY_FORMS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%Y-%m-%d")


def english_period(preamble: tuple[str, ...]) -> tuple[date, date] | None:
    """The period a preamble names: ``July 8, 2025 - July 31, 2025``, or a single day."""
    for line in preamble:
        text = line.strip().strip('"')
        parts = re.split(r"\s+[-–]\s+|\s+to\s+", text)
        days = [day for part in parts if (day := _english_day(part)) is not None]
        if days and len(days) == len(parts) <= 2:
            return days[0], days[-1]
    return None


def _english_day(text: str) -> date | None:
    for form in _DAY_FORMS:
        try:
            return datetime.strptime(text.strip(), form).date()
        except ValueError:
            continue
    return None


def truth(row: Row, name: str) -> bool:
    """Whether a cell says yes."""
    return str(row.get(name) or "").strip().lower() in ("true", "1", "yes")


def one(row: Row) -> str | None:
    """A row is one order."""
    return "1"


def listed_once(what: str) -> Callable[[str | None], str | None]:
    """Says why an id does not count again: ``what``, where it was counted before."""
    counted: set[str] = set()

    def again(id: str | None) -> str | None:
        if id is None or id not in counted:
            counted.update(() if id is None else (id,))
            return None
        return f"{what} listed twice"

    return again


def no_day(*columns: str) -> Callable[[Row], bool]:
    """Totals rows: they are of none of what the rows are of, or say what they are."""
    named = total_in(*columns, says=r"(grand )?totals?(:.*)?|summary")

    def is_total(row: Row) -> bool:
        there = [str(row[name] or "").strip() for name in columns if name in row]
        return (bool(there) and not any(there)) or named(row)

    return is_total
