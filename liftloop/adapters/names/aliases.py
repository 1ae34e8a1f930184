"""Names that are one: ``aliases.toml`` in the workspace joins a segment's or channel's name to
another.

The facts keep the names they were delivered with. Whoever reads them reads the joined names, so
that old and new facts are one cell at once, and taking a block out undoes it. A replay of a
decision that was made before a join does not know of it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as arrow
from pyarrow import compute

from liftloop.adapters.files.whole_files import write_whole
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.declared import Feed
from liftloop.core.feeds.deliveries.restating import KeyBook, instants, last_of_each
from liftloop.core.feeds.identity import Identity
from liftloop.core.policy import Cell, Policy
from liftloop.settings.workspace import Workspace

Kind = Literal["segment", "channel"]

FILE = "aliases.toml"
KINDS: tuple[Kind, ...] = ("segment", "channel")


@dataclass(frozen=True, slots=True)
class Alias:
    """``name`` is another name of ``is_name``, from the instant ``since`` on (None: always)."""

    kind: Kind
    name: str
    is_name: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Aliases:
    """All joined names of a workspace."""

    entries: tuple[Alias, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries)

    def at(self, instant: datetime | None) -> Aliases:
        """Those joined before an instant; None: all."""
        if instant is None:
            return self
        return Aliases(tuple(e for e in self.entries if e.since is None or e.since < instant))

    def names(self, kind: Kind) -> dict[str, str]:
        """Each other name of this kind, with the name it is read as."""
        direct = {e.name: e.is_name for e in self.entries if e.kind == kind}
        return {name: _end(direct, name) for name in direct}

    def cell(self, cell: Cell) -> Cell:
        segments, channels = self.names("segment"), self.names("channel")
        return Cell(
            segments.get(cell.segment, cell.segment), channels.get(cell.channel, cell.channel)
        )

    def policy(self, policy: Policy) -> Policy:
        """Budgets under the joined names: a cell has the sum of what its names had."""
        if not self:
            return policy
        joined: dict[Cell, Decimal] = {}
        for cell, amount in policy.budgets:
            joined[self.cell(cell)] = joined.get(self.cell(cell), Decimal(0)) + amount
        return Policy.of(joined)

    def table(self, table: Any, feed: Feed) -> Any:
        """Stored rows (Arrow, with their bookkeeping) under the joined names.

        Rows that now say the same thing of the same day are told apart by how they came: those of
        one delivery are parts and are summed; of different deliveries the later one restates the
        earlier.
        """
        if not self or not len(table):
            return table
        named = table
        for column in ("segment", "channel", "segments"):
            if column in named.column_names:
                named = self._renamed(named, column)
        if named is table or "segments" in table.column_names:
            return named
        identity = Identity.among(feed, named.column_names)
        codes = KeyBook.of(identity.keys(named), identity.key).codes
        if len(np.unique(codes)) == len(codes):
            return named
        return _joined(named, codes, feed)

    def _renamed(self, table: Any, column: str) -> Any:
        names = self.names("channel" if column == "channel" else "segment")
        coded = table[column].combine_chunks().dictionary_encode()
        old = coded.dictionary.to_pylist()
        new = [
            _listed(name, names) if column == "segments" else names.get(name, name) for name in old
        ]
        if new == old:
            return table
        values = arrow.array(new, coded.dictionary.type).take(coded.indices)
        return table.set_column(table.column_names.index(column), column, values)


def load_aliases(workspace: Workspace) -> Aliases:
    """The joined names of a workspace; none without the file.

    Raises
    ------
    ConfigurationError
        When the file cannot be read, or joins a name to itself in a circle.
    """
    path = workspace.root / FILE
    try:
        stat = path.stat()
    except FileNotFoundError:
        return Aliases()
    return _read(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=8)
def _read(path: Path, stamp: tuple[int, int]) -> Aliases:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = tuple(_entry(row) for row in values.get("alias", []))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{FILE}: it cannot be read ({type(error).__name__}: {error}).",
            fix='write blocks [[alias]] with kind = "channel", name = "Search", is = "search".',
        ) from None
    found = Aliases(entries)
    for kind in KINDS:
        for name, end in found.names(kind).items():
            if end == name:
                raise ConfigurationError(
                    f"{FILE}: the {kind} {name!r} is joined to itself.", fix="take one block out."
                )
    return found


def _entry(row: Mapping[str, Any]) -> Alias:
    kind, since = row["kind"], row.get("since")
    if kind not in KINDS or not all(isinstance(row[key], str) for key in ("name", "is")):
        raise ValueError("kind is segment or channel; name and is are texts")
    if since is not None and (not isinstance(since, datetime) or since.tzinfo is None):
        raise ValueError("since is an instant with a zone")
    return Alias(kind, row["name"], row["is"], since)


def join_names(
    workspace: Workspace, name: str, is_name: str, *, kinds: Iterable[Kind], at: datetime
) -> Aliases:
    """Record that ``name`` is read as ``is_name`` from now on; again changes nothing.

    Raises
    ------
    ConfigurationError
        When both are the same text, or the first is joined to a third one already.
    """
    known = load_aliases(workspace)
    if name == is_name:
        raise ConfigurationError(f"{name!r} is one name.", fix="give the other name first.")
    added = []
    for kind in kinds:
        names = known.names(kind)
        if names.get(name, name) == names.get(is_name, is_name):
            continue
        if name in names:
            raise ConfigurationError(
                f"The {kind} {name!r} is joined to {names[name]!r} already.",
                fix=f"take that block out of {FILE} first.",
            )
        added.append(Alias(kind, name, is_name, at.astimezone(UTC)))
    whole = Aliases((*known.entries, *added))
    if added:
        text = "# Names that are one (liftloop names join NAME IS). Take a block out to undo it.\n"
        text += "".join(_block(entry) for entry in whole.entries)
        write_whole(workspace.root / FILE, text.encode())
    return whole


def _block(entry: Alias) -> str:
    since = f"since = {entry.since.isoformat()}\n" if entry.since else ""
    # JSON's strings are TOML's, but for the escapes of what is no character by itself
    name, is_name = (json.dumps(text, ensure_ascii=False) for text in (entry.name, entry.is_name))
    return f'\n[[alias]]\nkind = "{entry.kind}"\nname = {name}\nis = {is_name}\n{since}'


def _end(direct: Mapping[str, str], name: str) -> str:
    seen, now = {name}, direct[name]
    while now in direct and now not in seen:
        seen.add(now)
        now = direct[now]
    return now


def _listed(names: str | None, joined: Mapping[str, str]) -> str | None:
    """The segments of a lift test, `;` between."""
    if names is None:
        return None
    parts = [joined.get(part.strip(), part.strip()) for part in names.split(";")]
    return ";".join(dict.fromkeys(parts))


def _joined(table: Any, codes: Any, feed: Feed) -> Any:
    """One row a key: the newest delivery's, its own rows of that key summed."""
    order = [instants(table[name]) for name in ("reported_at", "received_at", "row_number")]
    newest = last_of_each(codes, *order)
    deliveries = table["delivery"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, dense = np.unique(codes, return_inverse=True)
    of_newest = np.zeros(int(dense.max()) + 1, dtype=np.int64)
    of_newest[dense[newest]] = deliveries[newest]
    parts = deliveries == of_newest[dense]
    kept = table.filter(arrow.array(newest))
    where = dense[newest]
    for column in feed.columns:
        name = column.name
        if name not in table.column_names or column.kind not in ("number", "count"):
            continue
        if name in feed.key:
            continue
        values = compute.fill_null(table[name].cast(arrow.float64()), 0.0).to_numpy()
        sums = np.bincount(dense[parts], weights=values[parts], minlength=len(of_newest))
        rounded = np.round(sums[where], 6)
        at = table.column_names.index(name)
        summed = arrow.array(rounded).cast(table.schema.field(name).type)
        mask = compute.is_null(kept[name])
        kept = kept.set_column(
            at, name, compute.if_else(mask, arrow.scalar(None, summed.type), summed)
        )
    return kept
