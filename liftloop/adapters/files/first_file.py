"""What an export says about its account: a workspace is set up from the first one.

The currency stands in a column or behind a header (``Amount spent (GBP)``); the time zone is told
by the offsets of days, by "(in UTC)" in a header or above it, or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from liftloop.adapters.files.reading import RawTable, ReadOptions, read_table
from liftloop.adapters.importers.feeds import feeds_with
from liftloop.adapters.importers.importer import Importer, currency_in, known_importers, plain
from liftloop.adapters.importers.tables.columns import normal, pick_columns
from liftloop.core.errors import RefusedFile

_CODE = re.compile(r"[A-Za-z]{3}")
_UTC = re.compile(r"\(\s*(?:in\s+)?(?:UTC|GMT)\s*\)", re.IGNORECASE)
# The zones asked after first, with the currency that is spent there. An offset alone fits many.
_ZONES = (
    ("GBP", "Europe/London"),
    ("EUR", "Europe/Berlin"),
    ("EUR", "Europe/Helsinki"),
    ("CHF", "Europe/Zurich"),
    ("SEK", "Europe/Stockholm"),
    ("DKK", "Europe/Copenhagen"),
    ("NOK", "Europe/Oslo"),
    ("PLN", "Europe/Warsaw"),
    ("USD", "America/New_York"),
    ("USD", "America/Chicago"),
    ("USD", "America/Denver"),
    ("USD", "America/Los_Angeles"),
    ("CAD", "America/Toronto"),
    ("BRL", "America/Sao_Paulo"),
    ("MXN", "America/Mexico_City"),
    ("ZAR", "Africa/Johannesburg"),
    ("INR", "Asia/Kolkata"),
    ("AED", "Asia/Dubai"),
    ("SGD", "Asia/Singapore"),
    ("CNY", "Asia/Shanghai"),
    ("JPY", "Asia/Tokyo"),
    ("KRW", "Asia/Seoul"),
    ("AUD", "Australia/Sydney"),
    ("NZD", "Pacific/Auckland"),
)


@dataclass(frozen=True, slots=True)
class AccountOfFile:
    """What a file says of its account; None where it says nothing.

    Attributes
    ----------
    currency, timezone
        ISO 4217 code, IANA name.
    notes
        A plain sentence each on what was taken, and from where.
    """

    currency: str | None
    timezone: str | None
    notes: tuple[str, ...]


def account_of_file(
    path: Path, *, currency: str | None = None, timezone: str | None = None
) -> AccountOfFile:
    """Read currency and time zone out of an export, where they are not given.

    Raises
    ------
    RefusedFile
        When the file cannot be read as a table, or its rows are in several currencies.
    """
    importers = known_importers()

    def matching(cells: list[str]) -> list[Importer]:
        return [one for one in importers.values() if one.matches(cells)]

    raw = read_table(
        path,
        ReadOptions(
            is_header=lambda cells: bool(
                matching([plain(cell) for cell in cells]) or feeds_with(map(normal, cells))
            )
        ),
    )
    fitting = matching([plain(name) for name in raw.header])
    notes = []
    if currency is None:
        currency, note = _currency(raw, fitting)
        notes.append(note)
    if timezone is None:
        timezone, note = _timezone(raw, fitting, currency)
        notes.append(note)
    return AccountOfFile(currency, timezone, tuple(notes))


def _currency(raw: RawTable, fitting: list[Importer]) -> tuple[str | None, str]:
    names = {"currency", *(name for one in fitting for name in one.columns.get("currency", ()))}
    counted: Counter[str] = Counter()
    source = ""
    for name, cells in _cells(raw, names):
        codes = Counter(cell.upper() for cell in cells if _CODE.fullmatch(cell))
        if codes:
            counted, source = codes, f"column {name!r}"
            break
    if not counted:
        behind = [(name, code) for name in raw.header if (code := currency_in(name))]
        counted = Counter(code for _, code in behind)
        source = f"header {behind[0][0]!r}" if behind else ""
    if len(counted) > 1:
        several = ", ".join(f"{code} ({rows:,} rows)" for code, rows in counted.most_common(5))
        raise RefusedFile(
            raw.file,
            f"its rows are in several currencies: {several}.",
            fix="say which one is the account's with --currency, and give the others a rate "
            "([[account.rates]]) before you take the file in.",
        )
    for code in counted:
        return code, f"currency {code}: {source} of {raw.file}."
    return None, f"{raw.file} names no currency."


def _timezone(
    raw: RawTable, fitting: list[Importer], currency: str | None
) -> tuple[str | None, str]:
    names = {name for one in fitting for name in (*one.day, *one.start)} or {"date", "occurred_at"}
    for name, cells in _cells(raw, names):
        moments = [m for cell in dict.fromkeys(cells) if (m := _moment(cell)) is not None]
        if moments:
            zone = _zone_of(moments, currency)
            offset = moments[0].strftime("%z")
            shown = f"{offset[:3]}:{offset[3:5]}"
            if zone is None:
                return None, f"days of {raw.file} begin at {shown}: no one zone has all of them."
            return zone, (
                f"time zone {zone}: column {name!r} of {raw.file} has days and times at {shown}; "
                "another zone of that offset is set with --timezone."
            )
    if any(_UTC.search(text) for text in (*raw.header, *raw.preamble)):
        return "UTC", f"time zone UTC: so {raw.file} says."
    return None, f"{raw.file} names no time zone."


def _zone_of(moments: list[datetime], currency: str | None) -> str | None:
    """A zone that has all the offsets, the currency's own first; UTC where there is none to see."""
    if all(moment.utcoffset() == timedelta() for moment in moments):
        return "UTC" if currency != "GBP" or _in_summer(moments) else "Europe/London"
    own = [zone for code, zone in _ZONES if code == currency]
    for zone in (*own, *(zone for _, zone in _ZONES)):
        there = ZoneInfo(zone)
        if all(m.astimezone(there).utcoffset() == m.utcoffset() for m in moments):
            return zone
    offsets = {moment.utcoffset() for moment in moments}
    hours = (offsets.pop() or timedelta()) / timedelta(hours=1)
    return f"Etc/GMT{-int(hours):+d}" if not offsets and hours == int(hours) else None


def _in_summer(moments: list[datetime]) -> bool:
    """Whether some moment is one at which London's clocks are not UTC's."""
    there = ZoneInfo("Europe/London")
    return any(moment.astimezone(there).utcoffset() != timedelta() for moment in moments)


def _moment(cell: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(cell.replace(" UTC", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _cells(raw: RawTable, names: set[str]) -> Iterator[tuple[str, list[str]]]:
    """(column as delivered, its cells that are not empty) for the columns of those plain names."""
    for at, name in enumerate(raw.header):
        if plain(name) in names:
            column = pick_columns(raw, {name: at}, {})[name]
            texts = (str(cell).strip() for cell in column.to_pylist() if cell is not None)
            yield name, [text for text in texts if text]
