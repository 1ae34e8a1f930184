"""What an importer is: a declaration of how a platform writes its report, and a register of them.

Our own importers are declarations in :mod:`liftloop.adapters.importers.platforms`; a user's stand
in a file of their own that calls :func:`register` and is named by ``--plugin``.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from liftloop.core.errors import ConfigurationError

Row = Mapping[str, Any]
"""One row of an export: plain column name (:func:`plain`) -> cell as delivered."""


@dataclass(frozen=True, slots=True)
class Importer:
    """How one platform's report becomes rows of a feed. Column names are :func:`plain` names.

    Attributes
    ----------
    name, channel
        What ``--importer`` calls it, and the channel its rows get unless ``--channel`` is given.
    signatures
        A file is taken for this platform's when its header holds all names of any one of them.
    columns
        Contract column -> the export's columns it may come from; the first one present is used.
    day
        Columns with the day (or the hour) of a row; the first present is used. Hours are summed to
        days of the account's time zone; a time without an offset is account time.
    start, end
        Columns with the first and last day a row covers, for exports that are not by day.
    period
        Reads the first and last day from the preamble when no column has them.
    starts_only
        The day column tells only where a row's period starts: when all rows start with ``period``
        and it is longer than a day, the report is not by day.
    micros
        Columns in millionths of the currency unit.
    day_formats
        ``strptime`` formats, tried when a day is not ISO 8601.
    null
        Cells that mean "nothing": such a number counts as 0.
    is_total
        Says of a row whether it sums others up; such a row is never counted.
    cells
        Contract column -> function of the row, for what a column alone cannot say. It returns the
        cell as text, or ``None`` for nothing.
    segment
        Columns that give the segment, when the export has one and no ``--segment`` is given. Of a
        column of countries, names and codes of one country are one segment.
    campaign_type
        Columns that say what kind of campaign a row is of (Search, Performance Max...): the channel
        is then ``<channel>_<kind>``, unless ``--channel`` is given.
    zones
        Column of times without an offset -> the time zone they are written in, where it is not the
        account's (``Created (UTC)``).
    less
        The export's column of an amount -> the column that is taken off it (what was paid back).
    counts
        Makes, for one file, a function of its rows that says why a row does not count (a further
        line of an order that is counted, a test, a failed payment), or ``None`` for one that does.
    footer
        Pattern of lines below the table that are no rows (a copyright line).
    notes
        Sentences that go with every import: what is assumed.
    by_day
        How to have the report by day, for the refusal of a report that is not.
    """

    name: str
    channel: str
    signatures: tuple[frozenset[str], ...]
    columns: Mapping[str, tuple[str, ...]]
    day: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    period: Callable[[tuple[str, ...]], tuple[date, date] | None] | None = None
    starts_only: bool = False
    micros: frozenset[str] = frozenset()
    day_formats: tuple[str, ...] = ()
    null: frozenset[str] = frozenset({"", "--", "-", "n/a", "null"})
    is_total: Callable[[Row], bool] | None = None
    cells: Mapping[str, Callable[[Row], str | None]] = field(default_factory=dict)
    segment: tuple[str, ...] = ()
    campaign_type: tuple[str, ...] = ()
    zones: Mapping[str, str] = field(default_factory=dict)
    less: Mapping[str, str] = field(default_factory=dict)
    counts: Callable[[], Callable[[Row], str | None]] | None = None
    footer: str | None = None
    notes: tuple[str, ...] = ()
    by_day: str = "have the report broken down by day"
    feed: str = "performance"

    def plain_cells(self, header: Iterable[str]) -> frozenset[str]:
        """The columns of ``header`` (plain names) that are read as one value a cell: for each
        purpose the first that is there."""
        have = set(header)
        purposes = (
            *self.columns.values(),
            self.day,
            self.start,
            self.end,
            self.segment,
            self.campaign_type,
        )
        first = (next((name for name in names if name in have), None) for names in purposes)
        return frozenset(name for name in first if name is not None) - {*LISTS}

    def matches(self, header: Iterable[str]) -> bool:
        """True when ``header`` (plain names) holds all columns of one of the signatures."""
        have = set(header)
        return any(signature <= have for signature in self.signatures)


# Columns of an advertising API that hold a list of counts by kind, which hooks read.
LISTS = ("actions", "action_values", "conversions", "conversion_values")

_CURRENCY = re.compile(r"\s*\(([A-Z]{3})\)$")
_ZONE = re.compile(r"\s*\(in [^)]*\)$", re.IGNORECASE)


def plain(name: str) -> str:
    """A column name as importers know it: lower case, single blanks, without a currency or time
    zone in brackets behind it (``Amount spent (USD)`` -> ``amount spent``)."""
    name = _ZONE.sub("", _CURRENCY.sub("", name.replace("\xa0", " ").strip()))
    return " ".join(name.lower().split())


def currency_in(name: str) -> str | None:
    """The currency a column name ends with: ``Amount spent (USD)`` -> ``USD``."""
    found = _CURRENCY.search(name.strip())
    return found.group(1) if found else None


_REGISTER: dict[str, Importer] = {}  # those that come with LiftLoop
_collecting: ContextVar[dict[str, Importer] | None] = ContextVar("collecting", default=None)


def register(importer: Importer) -> Importer:
    """Make ``importer`` known. In a plugin file it is known for the reads that name the file."""
    target = _collecting.get()
    (_REGISTER if target is None else target)[importer.name] = importer
    return importer


def comes_along(importer: Importer) -> bool:
    """True for an importer that comes with LiftLoop, False for one of a plugin."""
    return _REGISTER.get(importer.name) is importer


def known_importers(plugins: Iterable[Path] = ()) -> dict[str, Importer]:
    """Our importers and those the plugin files register; a plugin's replaces ours of that name."""
    found = dict(_REGISTER)
    for path in plugins:
        mine: dict[str, Importer] = {}
        token = _collecting.set(mine)
        try:
            runpy.run_path(str(path), run_name="liftloop_plugin")
        except Exception as error:
            raise ConfigurationError(
                f"Plugin {path.name} cannot be run ({type(error).__name__}: {error}).",
                fix="mend the file.",
            ) from error
        finally:
            _collecting.reset(token)
        if not mine:
            raise ConfigurationError(
                f"Plugin {path.name} registers no importer.",
                fix="call register(Importer(...)) in it.",
            )
        found.update(mine)
    return found
