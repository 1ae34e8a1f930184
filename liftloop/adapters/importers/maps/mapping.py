"""Mapping files: any table becomes a feed by a TOML file (see docs/importers.md).

Every contract column comes from exactly one of ``[rename]``, ``[constants]`` or ``[derived]``; then
``[values]`` may translate its cells. A ``*`` in a column's name stands for several columns
(:mod:`~liftloop.adapters.importers.maps.wildcards`); ``[period]`` spreads rows of weeks or months
over their days (:mod:`~liftloop.adapters.importers.maps.periods`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from liftloop.adapters.importers.feeds import FEEDS, FeedColumns
from liftloop.adapters.importers.tables.days import MAX_DAYS
from liftloop.adapters.importers.tables.sums import KEYS
from liftloop.core.errors import ConfigurationError

_TOP = {
    "name",
    "feed",
    "notes",
    "aggregate",
    "keep",
    "read",
    "rename",
    "constants",
    "derived",
    "values",
    "expand",
    "period",
    "ignore",
}
OPTIONS = ("segment", "channel", "account")  # contract columns that options may give
_READ = {"delimiter", "encoding", "skip_rows", "decimal", "thousands", "null"}
_PERIOD = ("start", "end", "days", "every")
EVERY = ("week", "month", "quarter", "year")
# Column patterns that are no expression: "*_spend", "x*". "a*b" is a product there.
_PATTERN = re.compile(r"\*\w*|\w+\*")
_COL_PATTERN = re.compile(r"""\bcol\(\s*(["'])[^"']*\*[^"']*\1\s*\)""")


@dataclass(frozen=True, slots=True)
class Reading:
    """``[read]``: how the table writes itself. ``stated`` is False where the mapping leaves the
    notation of numbers to be inferred."""

    delimiter: str | None = None
    encoding: str | None = None
    skip_rows: int = 0
    decimal: str = "."
    thousands: str = ","
    null: tuple[str, ...] = ()
    stated: bool = False


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A line of a mapping that stands for several columns of the table.

    ``target``: a column of the feed (``spend``: a row for each column that fits), or a family of
    them (``x_*``: a column for each). ``source``: a column's name with one ``*``, or, where
    ``expression``, an expression with ``col("...*...")``.
    """

    target: str
    source: str
    expression: bool = False

    @property
    def gives_columns(self) -> bool:
        return "*" in self.target


@dataclass(frozen=True, slots=True)
class Period:
    """``[period]``: the days a row covers, the first and the last included.

    ``start``, ``end``: a column of the table or an expression, for the first and the last day; one
    of them with ``days`` (a number of days) or ``every`` (``week``, ``month``...), or both.
    """

    start: str = ""
    end: str = ""
    days: int = 0
    every: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for text in (self.start, self.end) if text)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the contract columns come from: the file's own tables, or one ``[[expand]]`` of them.

    ``renamed``: contract column -> column of the table. ``constants``: contract column -> text.
    ``derived``: contract column -> expression. ``keep``: a condition rows must meet.
    ``wildcards``: lines that stand for several columns; a constant holds where they have none.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    keep: str | None = None
    wildcards: tuple[Wildcard, ...] = ()

    def over(self, base: Columns) -> Columns:
        """These columns laid over ``base``'s; what is named here replaces what was there."""
        mine = {*self.renamed, *self.constants, *self.derived}
        wild = {wildcard.target for wildcard in self.wildcards}
        return Columns(
            {**{k: v for k, v in base.renamed.items() if k not in mine | wild}, **self.renamed},
            {**{k: v for k, v in base.constants.items() if k not in mine}, **self.constants},
            {**{k: v for k, v in base.derived.items() if k not in mine | wild}, **self.derived},
            self.keep or base.keep,
            (*(w for w in base.wildcards if w.target not in mine | wild), *self.wildcards),
        )

    def under(self, top: Columns) -> Columns:
        """``top`` with what these columns give beside it."""
        more = {k: v for k, v in self.constants.items() if k not in top.names}
        return replace(top, constants=top.constants | more)

    @property
    def names(self) -> tuple[str, ...]:
        """The contract columns they give; of families such as ``x_*`` none is known yet."""
        wild = (w.target for w in self.wildcards if not w.gives_columns)
        return tuple(dict.fromkeys((*self.renamed, *self.constants, *self.derived, *wild)))


@dataclass(frozen=True, slots=True)
class TableMap:
    """A mapping file, checked."""

    name: str
    feed: FeedColumns
    read: Reading
    tables: tuple[Columns, ...]  # one, or one an [[expand]]
    values: dict[str, dict[str, str]]  # contract column -> delivered -> meant; "default" for others
    aggregate: bool
    notes: tuple[str, ...]
    stated: dict[str, str] = field(default_factory=dict)  # contract column -> text, by options
    period: Period | None = None
    ignore: tuple[str, ...] = ()  # columns that no wildcard takes; a * stands for any part of them

    @property
    def period_texts(self) -> tuple[str, ...]:
        return self.period.texts if self.period else ()

    def written_with(self, decimal: str) -> TableMap:
        """This mapping for a table that writes decimals with a ``comma`` or a ``point``."""
        marks = (",", ".") if decimal == "comma" else (".", ",")
        read = replace(self.read, decimal=marks[0], thousands=marks[1], stated=True)
        return replace(self, read=read)


def load_map(
    path: Path,
    stated: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> TableMap:
    """Read and check a mapping file.

    Parameters
    ----------
    stated
        Contract columns the person who delivers has given a value (``--segment``, ``--channel``,
        ``--account``): it stands where the mapping has no such column, or a cell of it is empty.
    defaults
        Contract column -> the workspace's own value, where neither of the two gives one.

    Raises
    ------
    ConfigurationError
        Naming the key that is wrong and how to mend it.
    """
    if path.is_dir() or not path.exists():
        raise ConfigurationError(f"There is no mapping file {path.name}.", fix="check --map.")
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: {error}.", fix="mend the file.") from None
    return _checked(path, said, dict(stated or {}), dict(defaults or {}))


def _refuse_unfit(path: Path, feed: FeedColumns, table: Columns, *, dated: bool) -> None:
    """Refuse a table with columns that the feed has not, or without those it needs."""
    families = [w.target.replace("*", "a") for w in table.wildcards if w.gives_columns]
    strange = [name for name in (*table.names, *families) if feed.kind(name) is None]
    if strange:
        columns = ", ".join((*feed.required, *feed.optional, *feed.prefixes))
        raise ConfigurationError(
            f"{path.name}: {feed.name} has no column {strange[0]!r}.", fix=f"use one of {columns}."
        )
    missing = feed.missing((*table.names, *(["date"] if dated else [])))
    if missing:
        options = [f"--{name}" for name in missing if name in OPTIONS]
        raise ConfigurationError(
            f"{path.name}: it gives no {', '.join(missing)}, which {feed.name} needs.",
            fix="add them to [rename], [constants] or [derived]"
            + (f", or say {' and '.join(options)}." if options else "."),
        )


def _checked(
    path: Path, said: dict[str, Any], stated: dict[str, str], defaults: dict[str, str]
) -> TableMap:
    def wrong(problem: str, fix: str) -> ConfigurationError:
        return ConfigurationError(f"{path.name}: {problem}", fix=fix)

    unknown = sorted(set(said) - _TOP)
    if unknown:
        raise wrong(f"unknown key {unknown[0]!r}.", f"use one of {', '.join(sorted(_TOP))}.")
    feed = FEEDS.get(str(said.get("feed")))
    if feed is None:
        raise wrong(f"feed is {said.get('feed')!r}.", f"use one of {', '.join(FEEDS)}.")
    notes = said.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise wrong("notes is not a list of sentences.", 'write notes = ["..."].')
    aggregate = said.get("aggregate", False)
    if not isinstance(aggregate, bool) or (aggregate and feed.name not in KEYS):
        raise wrong(f"aggregate = {aggregate!r}.", f"true is for {' and '.join(KEYS)} alone.")
    values = {c: _texts(path, f"values.{c}", v) for c, v in _table(path, said, "values").items()}
    base = _columns(path, said, "")
    more = said.get("expand", [])
    if not isinstance(more, list) or not all(isinstance(table, dict) for table in more):
        raise wrong("expand is not a list of tables.", "write [[expand]] once for each.")
    tables = tuple(_columns(path, table, "expand.").over(base) for table in more) or (base,)
    tables = tuple(_with_star(feed, table) for table in tables)
    period = _period(path, said, feed, tables)
    foreign = next((name for name in stated if feed.kind(name) is None), None)
    if foreign:
        raise wrong(f"{feed.name} has no column {foreign}.", f"leave out --{foreign}.")
    beside = {name: text for name, text in defaults.items() if feed.kind(name)} | stated
    tables = tuple(Columns(constants=beside).under(table) for table in tables)
    for table in tables:
        _refuse_unfit(path, feed, table, dated=period is not None)
    return TableMap(
        str(said.get("name") or path.stem),
        feed,
        _reading(path, said),
        tables,
        values,
        aggregate,
        tuple(notes),
        stated,
        period,
        _ignored(path, said),
    )


def _columns(path: Path, said: dict[str, Any], where: str) -> Columns:
    # [rename] reads as people say it: the table's name first, the contract's behind it.
    renamed: dict[str, str] = {}
    wild: list[Wildcard] = []
    for source, target in _texts(path, f"{where}rename", said.get("rename", {})).items():
        if "*" in source + target:
            wild.append(_wildcard(path, Wildcard(target, source)))
        elif target in renamed:
            raise ConfigurationError(
                f"{path.name}: [rename] gives {target!r} twice.", fix="keep one of the two."
            )
        else:
            renamed[target] = source
    constants = _texts(path, f"{where}constants", said.get("constants", {}))
    derived = {}
    for target, text in _texts(path, f"{where}derived", said.get("derived", {})).items():
        if _PATTERN.fullmatch(text.strip()):
            wild.append(_wildcard(path, Wildcard(target, text.strip())))
        elif "*" in target or _COL_PATTERN.search(text):
            wild.append(_wildcard(path, Wildcard(target, text, expression=True)))
        else:
            derived[target] = text
    keep = said.get("keep")
    if keep is not None and not isinstance(keep, str):
        raise ConfigurationError(f"{path.name}: keep is no text.", fix="quote the condition.")
    names = [*renamed, *constants, *derived]
    own = [w.target for w in wild if not w.gives_columns]
    names += [name for name in own if name not in constants or own.count(name) > 1]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigurationError(
            f"{path.name}: {twice!r} is in two of [rename], [constants] and [derived].",
            fix="keep one.",
        )
    return Columns(renamed, constants, derived, keep, tuple(wild))


def _wildcard(path: Path, wildcard: Wildcard) -> Wildcard:
    """The wildcard, if it can be one."""
    source, target = wildcard.source, wildcard.target
    stars = [source.count("*")] if not wildcard.expression else []
    if wildcard.expression:
        stars = [m[0].count("*") for m in _COL_PATTERN.finditer(source)]
    if target.count("*") > 1 or not stars or any(count != 1 for count in stars):
        raise ConfigurationError(
            f"{path.name}: {source!r} = {target!r} is no wildcard: it needs one * in the table's "
            "column, and at most one in the feed's.",
            fix='write "*_spend" = "spend" for a row a column, or "*" = "x_*" for a column each.',
        )
    return wildcard


def _with_star(feed: FeedColumns, table: Columns) -> Columns:
    """The columns with what the ``*`` of their wildcards stands for: the channel, else the
    segment, where the mapping gives it no other way."""
    rows = [wildcard for wildcard in table.wildcards if not wildcard.gives_columns]
    free = next(
        (c for c in ("channel", "segment") if c in feed.required and c not in table.names), None
    )
    if not rows or free is None or any("*" in text for text in table.constants.values()):
        return table
    return replace(table, constants=table.constants | {free: "*"})


def _ignored(path: Path, said: dict[str, Any]) -> tuple[str, ...]:
    found = said.get("ignore", [])
    texts = isinstance(found, list) and all(isinstance(name, str) for name in found)
    if not texts or any(name.count("*") > 1 for name in found):
        raise ConfigurationError(
            f"{path.name}: ignore is no list of columns.",
            fix='write ignore = ["total_spend", "*_index"], with at most one * in each.',
        )
    return tuple(found)


def _period(
    path: Path, said: dict[str, Any], feed: FeedColumns, tables: Iterable[Columns]
) -> Period | None:
    """``[period]``, checked; None where the mapping has none.

    Raises
    ------
    ConfigurationError
        When it cannot be told which days a row covers, or the feed has no amounts to spread.
    """
    if "period" not in said:
        return None

    def wrong(problem: str, fix: str) -> ConfigurationError:
        return ConfigurationError(f"{path.name}: [period] {problem}", fix=fix)

    found = _table(path, said, "period")
    unknown = sorted(set(found) - set(_PERIOD))
    if unknown:
        raise wrong(f"has an unknown key {unknown[0]!r}.", f"use {', '.join(_PERIOD)}.")
    if feed.name not in KEYS:
        raise wrong(f"cannot spread {feed.name}.", f"it is for {' and '.join(KEYS)} alone.")
    start, end = found.get("start", ""), found.get("end", "")
    days, every = found.get("days", 0), found.get("every", "")
    if not isinstance(start, str) or not isinstance(end, str) or not (start or end):
        raise wrong(
            "names no column of the first or the last day.",
            'write start = "week_start" (or end = "week_end"), the column or an expression.',
        )
    if type(days) is not int or not 0 <= days <= MAX_DAYS or ("days" in found and not days):
        raise wrong(f"days is {days!r}.", f"give a whole number from 1 to {MAX_DAYS}.")
    if every not in ("", *EVERY) or ("every" in found and not every):
        raise wrong(f"every is {every!r}.", f"use one of {', '.join(EVERY)}, or days = 7.")
    lengths = [bool(days), bool(every), bool(start and end)]
    if sum(lengths) != 1:
        raise wrong(
            "does not say how many days a row covers."
            if not any(lengths)
            else "says in two ways how many days a row covers.",
            'keep one: days = 7, every = "month", or both start and end.',
        )
    if any("date" in table.names for table in tables):
        raise wrong(
            "and another line both give the date.", "leave date out: it follows from the period."
        )
    return Period(start, end, days, every)


def _table(path: Path, said: dict[str, Any], key: str) -> dict[str, Any]:
    found = said.get(key, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path.name}: {key} is no table.", fix=f"write [{key}].")
    return found


def _texts(path: Path, key: str, found: object) -> dict[str, str]:
    """A table of plain values, as text."""
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path.name}: {key} is no table.", fix=f"write [{key}].")
    for name, value in found.items():
        if isinstance(value, (dict, list)):
            raise ConfigurationError(
                f"{path.name}: {key}.{name} is not a plain value.", fix="give text or a number."
            )
    return {name: str(value) for name, value in found.items()}


def _reading(path: Path, said: dict[str, Any]) -> Reading:
    read = _table(path, said, "read")
    unknown = sorted(set(read) - _READ)
    if unknown:
        raise ConfigurationError(
            f"{path.name}: [read] has an unknown key {unknown[0]!r}.",
            fix=f"use one of {', '.join(sorted(_READ))}.",
        )
    for key in ("delimiter", "decimal", "thousands"):
        mark = read.get(key, ",")
        if not isinstance(mark, str) or len(mark) != 1:
            raise ConfigurationError(
                f"{path.name}: [read] {key} is {mark!r}.", fix="give one character."
            )
    skip, null = read.get("skip_rows", 0), read.get("null", [])
    if type(skip) is not int or not 0 <= skip <= 10_000 or not isinstance(null, list):
        raise ConfigurationError(
            f"{path.name}: [read] skip_rows or null is wrong.",
            fix='write skip_rows = 2, null = ["NA"].',
        )
    decimal = read.get("decimal", ".")
    return Reading(
        read.get("delimiter"),
        read.get("encoding"),
        skip,
        decimal,
        read.get("thousands", "." if decimal == "," else ","),
        tuple(str(token) for token in null),
        stated="decimal" in read or "thousands" in read,
    )
