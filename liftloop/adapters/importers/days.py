"""Days as reports write them, in the account's time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")
MAX_DAYS = 1100  # a report over more than three years is a mistaken date


class DayReader:
    """Reads days, and hours as the account day they fall on; remembers what it has read.

    A time with an offset is turned to the account's zone; one without is account time.
    """

    def __init__(self, forms: Sequence[str], timezone: str) -> None:
        self._forms = forms
        self._zone = ZoneInfo(timezone)
        self._known: dict[str, tuple[date, bool]] = {}

    def __call__(self, text: str) -> tuple[date, bool]:
        """(account day, whether the text told a time too).

        Raises
        ------
        ValueError
            When it is no day in ISO 8601 or one of the forms.
        """
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._read(text)
        return known

    def _read(self, text: str) -> tuple[date, bool]:
        if _ISO_DAY.fullmatch(text):
            return date.fromisoformat(text), False
        for form in self._forms:
            try:
                moment = datetime.strptime(text, form)
            except ValueError:
                continue
            return moment.date(), "%H" in form
        try:
            moment = datetime.fromisoformat(text)
            return (moment.astimezone(self._zone) if moment.tzinfo else moment).date(), True
        except (ValueError, OverflowError):
            raise ValueError(f"{text[:40]!r} is not a day this report writes") from None


def checked_period(start: date, end: date) -> tuple[date, date]:
    """The period, if it can be one."""
    if start > end:
        raise ValueError(f"the period ends ({end}) before it starts ({start})")
    if (end - start).days > MAX_DAYS:
        raise ValueError(f"the period {start} to {end} is longer than {MAX_DAYS} days")
    return start, end
