"""Mapping files: any table becomes a feed by a TOML file (see docs/importers.md).

Every contract column comes from exactly one of ``[rename]``, ``[constants]`` or ``[derived]``; then
``[values]`` may translate its cells.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from liftloop.adapters.importers.feeds import FEEDS, Feed
from liftloop.adapters.importers.sums import KEYS
from liftloop.core.errors import ConfigurationError

_TOP = {
    "name", "feed", "notes", "aggregate", "keep", "read",
    "rename", "constants", "derived", "values", "expand",
}  # fmt: skip
OPTIONS = ("segment", "channel", "account")  # contract columns that options may give
_READ = {"delimiter", "encoding", "skip_rows", "decimal", "thousands", "null"}


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
class Columns:
    """Where the contract columns come from: the file's own tables, or one ``[[expand]]`` of them.

    ``renamed``: contract column -> column of the table. ``constants``: contract column -> text.
    ``derived``: contract column -> expression. ``keep``: a condition rows must meet.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    keep: str | None = None

    def over(self, base: Columns) -> Columns:
        """These columns laid over ``base``'s; what is named here replaces what was there."""
        mine = {*self.renamed, *self.constants, *self.derived}
        return Columns(
            {**{k: v for k, v in base.renamed.items() if k not in mine}, **self.renamed},
            {**{k: v for k, v in base.constants.items() if k not in mine}, **self.constants},
            {**{k: v for k, v in base.derived.items() if k not in mine}, **self.derived},
            self.keep or base.keep,
        )

    def under(self, top: Columns) -> Columns:
        """``top`` with what these columns give beside it."""
        more = {k: v for k, v in self.constants.items() if k not in top.names}
        return Columns(top.renamed, top.constants | more, top.derived, top.keep)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.renamed, *self.constants, *self.derived)


@dataclass(frozen=True, slots=True)
class TableMap:
    """A mapping file, checked."""

    name: str
    feed: Feed
    read: Reading
    tables: tuple[Columns, ...]  # one, or one an [[expand]]
    values: dict[str, dict[str, str]]  # contract column -> delivered -> meant; "default" for others
    aggregate: bool
    notes: tuple[str, ...]
    stated: dict[str, str] = field(default_factory=dict)  # contract column -> text, by options

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
    foreign = next((name for name in stated if feed.kind(name) is None), None)
    if foreign:
        raise wrong(f"{feed.name} has no column {foreign}.", f"leave out --{foreign}.")
    beside = {name: text for name, text in defaults.items() if feed.kind(name)} | stated
    tables = tuple(Columns(constants=beside).under(table) for table in tables)
    for table in tables:
        strange = [name for name in table.names if feed.kind(name) is None]
        if strange:
            columns = ", ".join((*feed.required, *feed.optional, *feed.prefixes))
            raise wrong(f"{feed.name} has no column {strange[0]!r}.", f"use one of {columns}.")
        missing = feed.missing(table.names)
        if missing:
            options = [f"--{name}" for name in missing if name in OPTIONS]
            raise wrong(
                f"it gives no {', '.join(missing)}, which {feed.name} needs.",
                "add them to [rename], [constants] or [derived]"
                + (f", or say {' and '.join(options)}." if options else "."),
            )
    return TableMap(
        str(said.get("name") or path.stem), feed, _reading(path, said), tables, values,
        aggregate, tuple(notes), stated,
    )  # fmt: skip


def _columns(path: Path, said: dict[str, Any], where: str) -> Columns:
    # [rename] reads as people say it: the table's name first, the contract's behind it.
    renamed: dict[str, str] = {}
    for source, target in _texts(path, f"{where}rename", said.get("rename", {})).items():
        if target in renamed:
            raise ConfigurationError(
                f"{path.name}: [rename] gives {target!r} twice.", fix="keep one of the two."
            )
        renamed[target] = source
    constants = _texts(path, f"{where}constants", said.get("constants", {}))
    derived = _texts(path, f"{where}derived", said.get("derived", {}))
    keep = said.get("keep")
    if keep is not None and not isinstance(keep, str):
        raise ConfigurationError(f"{path.name}: keep is no text.", fix="quote the condition.")
    names = [*renamed, *constants, *derived]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigurationError(
            f"{path.name}: {twice!r} is in two of [rename], [constants] and [derived].",
            fix="keep one.",
        )
    return Columns(renamed, constants, derived, keep)


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
