"""Names that may be one, and lift tests of cells that have no facts: said when they come in, by
doctor, and before a decision."""

from __future__ import annotations

import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import pandas as pd

from liftloop.adapters.facts.delta import open_table, table_path
from liftloop.adapters.names.aliases import KINDS, Kind, load_aliases
from liftloop.adapters.names.in_use import counted, stored_names
from liftloop.core.look_alikes import INVISIBLE, look_alikes
from liftloop.settings.workspace import Workspace

NAMED_BY = ("performance", "holdout", "sales", "units")
CELLS_OF = ("performance", "holdout", "units")
LONGEST = 5  # pairs that are named
Rows = Mapping[str, int]


def names_as_read(workspace: Workspace) -> dict[Kind, Counter[str]]:
    """The segments and channels of the facts, as they are read, with their number of rows."""
    aliases = load_aliases(workspace)
    found: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
    for feed in NAMED_BY:
        counts = stored_names(workspace, feed)
        for kind in KINDS:
            joined = aliases.names(kind)
            for name, rows in counts.get(kind, {}).items():
                found[kind][joined.get(name, name)] += rows
    return found


def cells_in_use(workspace: Workspace) -> set[tuple[str, str]]:
    """The cells of the facts, as they are read."""
    aliases = load_aliases(workspace)
    segments, channels = aliases.names("segment"), aliases.names("channel")
    found: set[tuple[str, str]] = set()
    for feed in CELLS_OF:
        table = open_table(table_path(workspace.facts, feed, "current"))
        if table is None:
            continue
        rows = table.read(columns=["segment", "channel"]).group_by(["segment", "channel"])
        cells = rows.aggregate([]).to_pylist()
        found |= {
            (segments.get(c["segment"], c["segment"]), channels.get(c["channel"], c["channel"]))
            for c in cells
        }
    return found


def notes_on_names(workspace: Workspace, feed: str, batch: Any) -> list[str]:
    """What is said of a delivery's names (an Arrow table): each that looks like another one, and
    each lift test of a cell without facts."""
    if feed == "experiments":
        return list(_unknown_tests(batch.to_pandas(), workspace))
    names = names_as_read(workspace)
    aliases, notes = load_aliases(workspace), []
    for kind in KINDS:
        if kind not in batch.column_names or feed not in (*NAMED_BY, "events"):
            continue
        delivered = _counted(batch[kind], aliases.names(kind))
        known = names[kind]
        for group in look_alikes({*delivered, *known} - {""}):
            new = [name for name in group if name in delivered]
            if new:
                rows = Counter({name: known[name] * 1_000_000 + delivered[name] for name in group})
                notes.append(_sentence(kind, group, rows))
    return notes[:LONGEST]


def look_alike_sentences(frames: Iterable[pd.DataFrame]) -> list[str]:
    """The names in facts that look alike, a sentence a group, with the command that joins them."""
    rows: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
    for frame in frames:
        for kind in KINDS:
            if kind in frame.columns:
                counted = frame[kind].astype(str).value_counts().to_dict()
                rows[kind] += Counter(cast(dict[str, int], counted))
    return _groups(rows)[:LONGEST]


def doctor_on_names(workspace: Workspace) -> Iterator[tuple[None, str, str]]:
    """(None, what there is to say, what mends it) of each group of names and each lift test."""
    names = names_as_read(workspace)
    for kind in KINDS:
        for group in look_alikes(set(names[kind]) - {""}):
            words, fix = _words(kind, group, names[kind])
            yield None, words, fix
    table = open_table(table_path(workspace.facts, "experiments", "current"))
    if table is not None:
        for words in _unknown_tests(table.read().to_pandas(), workspace):
            yield cast(tuple[None, str, str], (None, *words.removesuffix(".").split(": ", 1)))


def _groups(rows: Mapping[Kind, Counter[str]]) -> list[str]:
    return [
        _sentence(kind, group, rows[kind])
        for kind in KINDS
        for group in look_alikes(set(rows[kind]) - {""})
    ]


def _sentence(kind: Kind, group: tuple[str, ...], rows: Rows) -> str:
    words, fix = _words(kind, group, rows)
    return f"{words}; {fix}."


def _words(kind: Kind, group: tuple[str, ...], rows: Rows) -> tuple[str, str]:
    """What is said of names that look alike, and the command; the one with most rows stays."""
    stays = max(group, key=lambda name: (rows.get(name, 0), name))
    others = [name for name in group if name != stays]
    names = ", ".join(spelled(name) for name in others)
    verb = "looks" if len(others) == 1 else "look"
    commands = " && ".join(
        f"liftloop names join {shlex.quote(name)} {shlex.quote(stays)} --as {kind}"
        for name in others
    )
    words = f"the {kind} {names} {verb} like {spelled(stays)} and counts as another one"
    if len(others) > 1:
        words = f"the {kind}s {names} {verb} like {spelled(stays)} and count as others"
    return words[:1].upper() + words[1:], f"if they are one: {commands}"


def spelled(name: str) -> str:
    """A name in quotes, with the characters named that a reader would take for others.

    >>> spelled("search"), spelled("se\u0430rch")
    ("'search'", "'se\u0430rch' (with CYRILLIC SMALL LETTER A)")
    """
    odd = [
        unicodedata.name(sign, f"U+{ord(sign):04X}")
        for sign in dict.fromkeys(name)
        if sign in INVISIBLE or (ord(sign) > 127 and not _latin(sign))
    ]
    plain = "".join(sign for sign in name if sign not in INVISIBLE)
    return f"'{plain}'" + (f" (with {', '.join(odd[:3])})" if odd else "")


def _latin(sign: str) -> bool:
    return "LATIN" in unicodedata.name(sign, "") and unicodedata.is_normalized("NFKC", sign)


def _counted(column: Any, names: Mapping[str, str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, rows in counted(column).items():
        found[names.get(name, name)] += rows
    return found


def _unknown_tests(tests: pd.DataFrame, workspace: Workspace) -> Iterator[str]:
    """The lift tests of cells without facts, where there are facts of any."""
    cells, aliases = cells_in_use(workspace), load_aliases(workspace)
    if not cells:
        return
    for row in tests.itertuples():
        channel = aliases.names("channel").get(str(row.channel), str(row.channel))
        named = [part.strip() for part in str(row.segments).split(";") if part.strip()]
        joined = [aliases.names("segment").get(part, part) for part in named]
        unknown = [name for name in joined if (name, channel) not in cells]
        if unknown:
            what = ", ".join(f"{spelled(name)} x {spelled(channel)}" for name in unknown)
            yield (
                f"The lift test {row.experiment} is of {what}, of which there are no facts, so it "
                f"teaches nothing about them: {_nearest(unknown, channel, cells)}."
            )


def _nearest(segments: list[str], channel: str, cells: set[tuple[str, str]]) -> str:
    """What a person may do: join the name to the one it looks like, or correct the file."""
    for kind, mine, known in (
        ("channel", [channel], {c for _, c in cells}),
        ("segment", segments, {s for s, _ in cells}),
    ):
        for name in mine:
            for group in look_alikes({*known, name}):
                others = [other for other in group if other != name]
                if name in group and name not in known:
                    quoted = f"{shlex.quote(name)} {shlex.quote(others[0])}"
                    return f"if they are one, liftloop names join {quoted} --as {kind}"
    there = ", ".join(sorted({c for _, c in cells})[:5])
    return f"correct segments and channel in the file (channels there are: {there})"
