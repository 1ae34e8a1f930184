"""From a file somebody delivered to rows of a feed: the front door of everything that is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

import pandas as pd

from liftloop.adapters.files.reading import RawTable, ReadOptions, printable, read_table, shown
from liftloop.adapters.importers import platforms as platforms  # registers our importers
from liftloop.adapters.importers.contract_files import (
    import_contract,
    with_constants,
    with_outcome_days,
)
from liftloop.adapters.importers.exports import import_export
from liftloop.adapters.importers.feeds import FEEDS, feeds_with, named_feed
from liftloop.adapters.importers.importer import (
    Importer,
    comes_along,
    known_importers,
    plain,
    register,
)
from liftloop.adapters.importers.maps.mapped import import_mapped
from liftloop.adapters.importers.maps.mapping import load_map
from liftloop.adapters.importers.maps.wildcards import stands_for
from liftloop.adapters.importers.report_rows import ReportAccount
from liftloop.adapters.importers.tables.choosing import rows_where
from liftloop.adapters.importers.tables.columns import normal, refuse_nested
from liftloop.adapters.importers.tables.dayorder import DayOrder
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.core.feeds.deliveries.questions import Stands

__all__ = ["ImportOptions", "Imported", "Importer", "read_delivery", "register"]

PERIODS = " (periods)"  # behind the importer's name of rows that were weeks or months


@dataclass(frozen=True, slots=True)
class Imported:
    """A delivery's rows, named as its feed's contract names them, not yet validated.

    Attributes
    ----------
    feed
        A name in :data:`FEEDS`.
    frame
        One row a row of the delivery, in its order (summed where an importer sums). Days are
        datetime64, counts int64, other numbers float64; a column with a cell of another kind is
        text throughout. Column ``_broken``, when there, says what is wrong with a row that could
        not be read, and is empty for the others.
    importer
        ``contract``, an importer's name, or ``map:<name>``, with :data:`PERIODS` behind it where
        the mapping spreads weeks or months over their days.
    rows_read
        Rows in the file before any are summed; totals rows not counted.
    notes
        Plain sentences: what was assumed, left out, summed or spread.
    periods
        First and last day of each of the periods that a mapping spread; none where rows are days.
    """

    feed: str
    frame: pd.DataFrame
    importer: str
    rows_read: int
    notes: tuple[str, ...]
    periods: tuple[tuple[date, date], ...] = ()


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the person who delivers a file says about it.

    ``segment`` and ``channel`` are given to rows of an export that has none (channel: by default
    the importer's own), and so is ``account``, the name of the advertising account. ``stands`` says
    how the delivery stands to stored rows that overlap: it stands for all of its account-days
    ("replace"), adds to them ("beside"), or is asked about where that is in doubt ("").
    ``timezone`` is the account's, for rows with instants. ``plugins`` are Python files that
    register more importers. ``decimal`` says how numbers are written where the file does not.
    ``where`` are conditions (``COLUMN=VALUE``) of the rows that are meant; rows that differ in one
    of the columns ``parts`` alone are parts, to be added. ``day_order`` says whether 09/01/2026 is
    in January, where the file does not. ``outcome_days`` is over how many days from the assignment
    on outcomes and cost of users count, where a row does not say (0: not stated), and
    ``default_outcome_days`` what the workspace's settings say of it. ``currency`` and the names in
    use are the workspace's: a country and a platform keep the segment and the channel they have
    there. ``without_revenue``: the workspace counts conversions, so a feed may lack its revenue.
    """

    feed: str | None = None
    importer: str | None = None
    mapping: Path | None = None
    spread: bool = False
    segment: str = "all"
    channel: str | None = None
    timezone: str = "UTC"
    plugins: tuple[Path, ...] = ()
    account: str = ""
    stands: Stands = ""
    default_segment: str = ""
    decimal: Literal["", "comma", "point"] = ""
    where: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    day_order: DayOrder = ""
    outcome_days: int = 0
    default_outcome_days: int = 0
    currency: str = ""
    segments_in_use: tuple[str, ...] = ()
    channels_in_use: tuple[str, ...] = ()
    without_revenue: bool = False


def read_delivery(path: Path, options: ImportOptions = ImportOptions()) -> Imported:
    """Read one delivered file into rows of a feed.

    Without options the feed is taken from the folder or file name, then from what the header is
    known to be: a platform's report, or a feed's own columns.

    Raises
    ------
    RefusedFile
        When the file cannot be read, lacks a column or is in a wrong unit; it names the file, the
        column and the fix.
    ConfigurationError
        When an option, a mapping or a plugin is wrong.
    """
    found = _read(path, options)
    if found.feed != "units":
        return found
    frame, asked = with_outcome_days(
        found.frame,
        file=path.name,
        stated=options.outcome_days,
        default=options.default_outcome_days,
    )
    return replace(found, frame=frame, notes=(*found.notes, *asked))


def _read(path: Path, options: ImportOptions) -> Imported:
    """The rows as the file has them."""
    if options.feed is not None and options.feed not in FEEDS:
        raise ConfigurationError(
            f"There is no feed {options.feed!r}.", fix=f"use one of {', '.join(FEEDS)}."
        )
    if options.mapping is not None:
        return _by_map(path, options.mapping, options)
    importers = known_importers(options.plugins)
    if options.importer is not None and options.importer not in {*importers, "contract"}:
        raise ConfigurationError(
            f"There is no importer {options.importer!r}.",
            fix=f"use one of {', '.join(sorted(importers))}, or name a file with --plugin.",
        )

    def is_header(cells: Sequence[str]) -> bool:
        plain_names = [plain(cell) for cell in cells]
        if any(importer.matches(plain_names) for importer in importers.values()):
            return True
        return bool(feeds_with(normal(cell) for cell in cells))

    raw = read_table(path, ReadOptions(is_header=is_header))
    if {"test", "variant", "units"} <= {normal(name) for name in raw.header}:
        # what a tool for experiments gives out knows no cell
        options = replace(options, feed=options.feed or "variants")
        raw = with_constants(raw, {"segment": options.segment, "channel": options.channel or ""})
    chosen = _recognise(path, raw, options, importers)
    if isinstance(chosen, str):
        if raw.table is not None:
            refuse_nested(raw, lambda name: FEEDS[chosen].kind(normal(name)) is not None)
        return _by_contract(raw, chosen, options)
    cells = chosen.plain_cells(plain(name) for name in raw.header)
    refuse_nested(raw, lambda name: plain(name) in cells)
    account = ReportAccount(
        options.segment,
        options.channel,
        options.timezone,
        options.spread,
        name=options.account,
        decimal=options.decimal,
        parts=options.parts,
        day_order=options.day_order,
        currency=options.currency,
        segments_in_use=tuple(options.segments_in_use),
        channels_in_use=tuple(options.channels_in_use),
    )
    raw, left_out = rows_where(raw, options.where)
    frame, rows, notes = import_export(chosen, raw, account)
    if options.segment == "all" and options.default_segment and "segment" in frame:
        frame = frame.assign(segment=frame["segment"].replace("all", options.default_segment))
    return Imported(chosen.feed, frame, chosen.name, rows, (*left_out, *notes))


def _recognise(
    path: Path, raw: RawTable, options: ImportOptions, importers: dict[str, Importer]
) -> Importer | str:
    """The importer for the file, or the feed whose own columns it has."""
    if options.importer not in (None, "contract"):
        return importers[str(options.importer)]
    columns = [normal(name) for name in raw.header]
    header = [plain(name) for name in raw.header]
    feed = options.feed or named_feed(path.parent.name, path.name)
    matching = [importer for importer in importers.values() if importer.matches(header)]
    if options.importer == "contract":
        matching = []
    if feed is not None and FEEDS[feed].missing(columns):
        matching = [importer for importer in matching if importer.feed == feed]
    elif feed is not None:
        return feed
    # A plugin named for this read is meant, whatever importers of ours match too.
    matching = [importer for importer in matching if not comes_along(importer)] or matching
    if len(matching) > 1:
        raise RefusedFile(
            raw.file,
            f"it may be a report of {' or '.join(i.name for i in matching)}.",
            fix="say which with --importer.",
        )
    if matching:
        return matching[0]
    found = (feed,) if feed is not None else feeds_with(columns)
    if len(found) != 1:
        raise RefusedFile(
            raw.file,
            f"its columns are of no feed and no known report: {shown(raw.header)}.",
            fix="name the feed with --feed (the missing columns are then told), or the platform "
            "with --importer; export a platform's report in English; or describe the table in a "
            "mapping file with --map.",
        )
    return found[0]


def _by_contract(raw: RawTable, name: str, options: ImportOptions) -> Imported:
    """A plain feed file."""
    raw, left_out = rows_where(raw, options.where)
    frame, notes = import_contract(
        raw,
        name,
        decimal=options.decimal,
        parts=options.parts,
        account=options.account,
        spare=("revenue", "revenue_sq") if options.without_revenue else (),
    )
    return Imported(name, frame, "contract", raw.rows, (*left_out, *notes))


def _by_map(path: Path, mapping: Path, options: ImportOptions) -> Imported:
    segment = "" if options.segment == "all" else options.segment
    stated = {"segment": segment, "channel": options.channel or "", "account": options.account}
    table_map = load_map(
        mapping,
        {name: text for name, text in stated.items() if text},
        {"segment": options.default_segment} if options.default_segment else {},
    )
    if options.decimal:
        table_map = table_map.written_with(options.decimal)
    if options.feed not in (None, table_map.feed.name):
        raise ConfigurationError(
            f"{mapping.name} is for the {table_map.feed.name} feed, not {options.feed}.",
            fix="leave out --feed, or name another mapping.",
        )
    read = table_map.read
    named = {source for table in table_map.tables for source in table.renamed.values()}
    wild = {
        wildcard.source
        for table in table_map.tables
        for wildcard in table.wildcards
        if not wildcard.expression
    }

    def is_header(cells: Sequence[str]) -> bool:
        fit = (any(stands_for(one, c) is not None or one == c for c in cells) for one in wild)
        return named <= set(cells) and all(fit)

    reading = ReadOptions(
        read.delimiter,
        read.encoding,
        read.skip_rows,
        is_header=is_header if named or wild else None,
    )
    raw = read_table(path, reading)
    if raw.table is not None:
        refuse_nested(raw, named.__contains__)
    raw, left_out = rows_where(raw, options.where)
    mapped = import_mapped(table_map, raw, parts=options.parts)
    name = f"map:{printable(table_map.name)}" + (PERIODS if table_map.period else "")
    return Imported(
        table_map.feed.name,
        mapped.frame,
        name,
        raw.rows,
        (*left_out, *mapped.notes),
        mapped.periods,
    )
