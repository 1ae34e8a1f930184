"""Days as reports write them, in the account's time zone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from liftloop.core.errors import RefusedFile

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MIDNIGHT = time()
MAX_DAYS = 1100  # a report over more than three years is a mistaken date


class DayReader:
    """Reads days, and hours as the account day they fall on; remembers what it has read.

    A time with an offset is turned to the account's zone; one without is account time. Where
    ``labels`` is on, a time is the name of a day (:func:`are_labels`): the day as it is written.
    ``written_in`` is the time zone of times without an offset, where it is not the account's.
    """

    def __init__(
        self,
        forms: Sequence[str],
        timezone: str,
        *,
        labels: bool = False,
        written_in: str | None = None,
    ) -> None:
        self._forms = forms
        self._zone = ZoneInfo(timezone)
        self.labels = labels
        self._written_in = ZoneInfo(written_in) if written_in else None
        self._days: dict[str, tuple[date, bool]] = {}

    def __call__(self, text: str) -> tuple[date, bool]:
        """(account day, whether the text is an hour of it).

        Raises
        ------
        ValueError
            When it is no day in ISO 8601 or one of the forms.
        """
        day = self._days.get(text)
        if day is None:
            day = self._days[text] = self._read(text)
        return day

    def _read(self, text: str) -> tuple[date, bool]:
        if _ISO_DAY.fullmatch(text):
            return date.fromisoformat(text), False
        for form in self._forms:
            try:
                moment = datetime.strptime(text, form)
            except ValueError:
                continue
            if "%H" in form:
                return self._account_day(moment), not self.labels
            return moment.date(), False
        try:
            return self._account_day(datetime.fromisoformat(_iso(text))), not self.labels
        except (ValueError, OverflowError):
            raise ValueError(f"{text[:40]!r} is not a day this report writes") from None

    def _account_day(self, moment: datetime) -> date:
        if self.labels:
            return moment.date()
        if moment.tzinfo is None and self._written_in is not None:
            moment = moment.replace(tzinfo=self._written_in)
        return (moment.astimezone(self._zone) if moment.tzinfo else moment).date()


def are_labels(
    texts: Iterable[str], forms: Sequence[str] = (), ends: Mapping[str, str] | None = None
) -> bool:
    """Whether the times of a whole column name days: each is the midnight its own offset has.

    ``2026-09-01T00:00:00+02:00`` is 1 September, whatever the account's zone is; a column that also
    has other hours is one of instants. Where clocks go forward at midnight, a day starts at one.

    Parameters
    ----------
    texts
        The distinct cells of the column.
    forms
        ``strptime`` formats the column may be written in.
    ends
        Cell -> where that row ends, for tables that say so: an hour is no day.
    """
    starts: dict[date, set[time]] = {}
    spans = set()
    for text in texts:
        moment = _moment(text, forms)
        if moment is None:
            continue
        starts.setdefault(moment.date(), set()).add(moment.time())
        end = _moment((ends or {}).get(text, ""), forms)
        if end is not None and (end.tzinfo is None) == (moment.tzinfo is None):
            spans.add(end - moment)
    late = [times for times in starts.values() if times != {_MIDNIGHT}]
    if any(timedelta() < span < timedelta(hours=22) for span in spans):
        return False
    return bool(starts) and len(late) < len(starts) / 2 and all(t == {time(1)} for t in late)


def _moment(text: str, forms: Sequence[str]) -> datetime | None:
    """The time a cell tells; None for a plain day and for what is no day at all."""
    if not text or _ISO_DAY.fullmatch(text):
        return None
    for form in forms:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        return moment if "%H" in form else None
    try:
        return datetime.fromisoformat(_iso(text))
    except ValueError:
        return None


def _iso(text: str) -> str:
    """``2026-09-01 00:00:00 UTC``, as BigQuery writes it, in ISO 8601."""
    return text.removesuffix(" UTC") + "+00:00" if text.endswith(" UTC") else text


def foreign_midnight(
    texts: Iterable[str], timezone: str, ends: Mapping[str, str] | None = None
) -> str | None:
    """A cell of a column whose rows all begin at one time of day that is no midnight of the
    account; None for every other column. Such rows are days of another time zone, and what of their
    money is of which account day is not in the file.

    Parameters
    ----------
    texts
        The distinct cells of the column; a single day says nothing.
    ends
        Cell -> where that row ends, for tables that say so: a row as long as a day is one.
    """
    zone = ZoneInfo(timezone)
    for start, end in (ends or {}).items():
        first, last = _moment(start, ()), _moment(end, ())
        if first is None or last is None or first.tzinfo is None or last.tzinfo is None:
            continue
        whole = timedelta(hours=23) <= last - first <= timedelta(hours=25)
        if whole and first.astimezone(zone).time() != _MIDNIGHT:
            return start
    moments = [(text, moment) for text in texts if (moment := _moment(text, ())) is not None]
    if any(moment.tzinfo is None for _, moment in moments):
        return None
    dates = [moment.date() for _, moment in moments]
    if len(dates) < 2 or len(set(dates)) < len(dates):
        return None
    begins = [moment.astimezone(UTC) for _, moment in moments]
    minutes = {moment.hour * 60 + moment.minute for moment in begins}
    if max(minutes) - min(minutes) > 60:  # an hour apart where clocks change
        return None
    local = [moment.astimezone(zone) for _, moment in moments]
    if sum(moment.time() == _MIDNIGHT for moment in local) > len(local) / 2:
        return None
    return moments[0][0]


def refuse_long_rows(file: str, column: str, ends: Mapping[str, str], by_day: str) -> None:
    """Refuse a table with a start and an end a row, read by its start, whose rows are totals.

    Parameters
    ----------
    ends
        Cell of the start -> cell of the end.

    Raises
    ------
    RefusedFile
        When a row is longer than a day, or an hour more where clocks go back.
    """
    for start, end in ends.items():
        first, last = _instant(start), _instant(end)
        if first is None or last is None or (first.tzinfo is None) != (last.tzinfo is None):
            continue
        if last - first > timedelta(hours=25):
            raise RefusedFile(
                file,
                f"its rows span several days (such as {start} to {end}).",
                fix=f"{by_day} and export it again.",
                column=column,
            )


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(_iso(text))
    except ValueError:
        return None


def checked_period(start: date, end: date) -> tuple[date, date]:
    """The period, if it can be one."""
    if start > end:
        raise ValueError(f"the period ends ({end}) before it starts ({start})")
    if (end - start).days > MAX_DAYS:
        raise ValueError(f"the period {start} to {end} is longer than {MAX_DAYS} days")
    return start, end
