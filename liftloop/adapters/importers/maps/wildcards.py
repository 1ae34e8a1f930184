"""Wildcards in mapping files: one ``*`` in a column's name stands for many columns of a wide table.

``"*_spend" = "spend"`` gives a row for each column that fits (``tv_spend``, ``search_spend``), and
what the ``*`` stands for (``tv``, ``search``) is the channel, or the segment. ``"*" = "x_*"`` gives
a column for each column that fits (``price`` becomes ``x_price``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from liftloop.adapters.files.reading import shown
from liftloop.adapters.importers.feeds import FeedColumns
from liftloop.adapters.importers.maps.expressions import names_in
from liftloop.adapters.importers.maps.mapping import Columns, TableMap, Wildcard
from liftloop.adapters.importers.tables.roles import is_numeric
from liftloop.adapters.importers.tables.sums import SUMMED
from liftloop.core.errors import RefusedFile

_SAMPLE = 500
_IN_COL = re.compile(r"""(\bcol\(\s*)(["'])([^"']*\*[^"']*)\2(\s*\))""")
Cells = Mapping[str, Any]


def stands_for(pattern: str, column: str) -> str | None:
    """What the ``*`` of ``pattern`` stands for in ``column``; None where it does not fit.

    Examples
    --------
    >>> stands_for("*_spend", "tv_spend"), stands_for("*_spend", "_spend"), stands_for("x*", "y1")
    ('tv', None, None)
    """
    before, _, behind = pattern.partition("*")
    if len(column) <= len(before) + len(behind):
        return None
    if not column.startswith(before) or not column.endswith(behind):
        return None
    return column[len(before) : len(column) - len(behind)]


def written_out(
    table_map: TableMap, file: str, cells: Cells
) -> tuple[TableMap, frozenset[int], list[str]]:
    """(the mapping with every wildcard replaced by the columns of a table, the places of the sets
    of columns that one wildcard gave several of, notes).

    Parameters
    ----------
    cells
        Column of the table -> its cells as text, None where empty; in the table's order.

    Raises
    ------
    RefusedFile
        When a wildcard fits no column, two fit the same one, or a ``*`` lacks a column that the
        feed needs.
    """
    if not any(table.wildcards for table in table_map.tables):
        return table_map, frozenset(), []
    tables: list[Columns] = []
    melted: set[int] = set()
    notes: dict[str, None] = {}
    for table in table_map.tables:
        out = _Expansion(table_map, table, file, cells)
        made = out.tables()
        if len(made) > 1:
            melted |= set(range(len(tables), len(tables) + len(made)))
        tables += made
        notes |= dict.fromkeys(out.notes)
    return replace(table_map, tables=tuple(tables)), frozenset(melted), list(notes)


@dataclass
class _Expansion:
    """One set of columns against one table."""

    table_map: TableMap
    table: Columns
    file: str
    cells: Cells

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        # A column of exactly that name is that column, whatever it is called.
        self.literal = [w for w in self.table.wildcards if w.source in self.cells]
        wild = [w for w in self.table.wildcards if w not in self.literal]
        self.rows = [w for w in wild if not w.gives_columns]
        self.columns = [w for w in wild if w.gives_columns]
        self.barred = {*self.table.renamed.values(), *(w.source for w in self.literal)}
        for pattern in self.table_map.ignore:
            hits = [c for c in self.cells if c == pattern or stands_for(pattern, c) is not None]
            if not hits:
                raise self._refuse(
                    f"no column fits {pattern!r} under ignore; there are {shown(list(self.cells))}",
                    "mend the pattern, or leave it out.",
                )
            self.barred |= set(hits)

    def tables(self) -> list[Columns]:
        plain = Columns(
            self.table.renamed | {w.target: w.source for w in self.literal},
            self.table.constants,
            self.table.derived,
            self.table.keep,
        )
        fits = {w: self._fits(w) for w in self.rows}
        self._refuse_shared(fits)
        plain = self._with_families(plain, fits)
        if not self.rows:
            return [plain]
        money = SUMMED.get(self.table_map.feed.name, ())
        anchor = min(self.rows, key=lambda w: money.index(w.target) if w.target in money else 99)
        if len(fits[anchor]) > 1 and not any("*" in text for text in plain.constants.values()):
            raise self._refuse(
                f"{anchor.source!r} gives a row for each of {len(fits[anchor])} columns, and "
                "nothing says what the * of a row is",
                'write channel = "*" (or segment = "*") under [constants].',
            )
        made = [self._one(plain, star, fits, anchor) for star in fits[anchor]]
        for wildcard, found in fits.items():
            aside = [
                column
                for star, columns in found.items()
                if star not in fits[anchor]
                for column in columns
            ]
            if aside:
                self.notes.append(
                    f"Columns that fit {wildcard.source!r} and have no {anchor.target} beside them "
                    f"({anchor.source!r}) were left aside: {shown(aside)}."
                )
        return made

    def _one(
        self,
        plain: Columns,
        star: str,
        fits: Mapping[Wildcard, Mapping[str, Sequence[str]]],
        anchor: Wildcard,
    ) -> Columns:
        """The columns of one ``*``."""
        renamed, derived, given = dict(plain.renamed), dict(plain.derived), set()
        for wildcard, found in fits.items():
            if star in found:
                given.add(wildcard.target)
                if wildcard.expression:
                    derived[wildcard.target] = _filled(wildcard.source, star)
                else:
                    renamed[wildcard.target] = found[star][0]
            elif wildcard.target not in plain.constants:
                raise self._refuse(
                    f"column {fits[anchor][star][0]!r} has no {wildcard.target} beside it: no "
                    f"column is called {wildcard.source.replace('*', star)!r}",
                    f"give {wildcard.target} for such columns under [constants], such as "
                    f"{wildcard.target} = 0, or name the column under ignore.",
                )
        constants = {
            name: text.replace("*", star)
            for name, text in plain.constants.items()
            if name not in given
        }
        return Columns(renamed, constants, derived, plain.keep)

    def _fits(self, wildcard: Wildcard) -> dict[str, list[str]]:
        """What the ``*`` may stand for -> the columns it names then.

        Raises
        ------
        RefusedFile
            When no column fits.
        """
        patterns = _patterns(wildcard)
        found: dict[str, list[str]] = {}
        for column in self.cells:
            star = None if column in self.barred else stands_for(patterns[0], column)
            if star is not None:
                columns = [pattern.replace("*", star) for pattern in patterns]
                if all(name in self.cells for name in columns):
                    found[star] = columns
        if not found:
            raise self._refuse(
                f"no column fits {' and '.join(map(repr, patterns))} ({wildcard.target}); there "
                f"are {shown(list(self.cells))}",
                "mend the pattern; one * stands for the part of the name that differs.",
            )
        return found

    def _refuse_shared(self, fits: Mapping[Wildcard, Mapping[str, Sequence[str]]]) -> None:
        owner: dict[str, Wildcard] = {}
        for wildcard, found in fits.items():
            if wildcard.expression:
                continue  # an expression says itself what it makes of a column
            for columns in found.values():
                other = owner.setdefault(columns[0], wildcard)
                if other is not wildcard:
                    raise self._both(columns[0], other, wildcard)

    def _both(self, column: str, one: Wildcard, other: Wildcard) -> RefusedFile:
        return self._refuse(
            f"column {column!r} fits {one.source!r} ({one.target}) and {other.source!r} "
            f"({other.target})",
            "narrow one of the patterns, or name the column under ignore.",
            column=column,
        )

    def _with_families(
        self, plain: Columns, fits: Mapping[Wildcard, Mapping[str, Sequence[str]]]
    ) -> Columns:
        """``plain`` with a column for each column that a wildcard such as ``x_*`` takes."""
        if not self.columns:
            return plain
        used = self.barred | {c for found in fits.values() for cs in found.values() for c in cs}
        for expression in (*plain.derived.values(), plain.keep or "", *self.table_map.period_texts):
            used |= {expression, *names_in(expression)}
        renamed, derived = dict(plain.renamed), dict(plain.derived)
        owner: dict[str, tuple[Wildcard, str]] = {}  # the feed's column -> the table's
        aside = []
        for wildcard in self.columns:
            free = {
                star: columns
                for star, columns in self._fits(wildcard).items()
                if used.isdisjoint(columns)
            }
            if not free:
                raise self._refuse(
                    f"no column is left for {wildcard.source!r} ({wildcard.target}): all that fit "
                    "are used elsewhere in the mapping",
                    "leave the wildcard out, or mend its pattern.",
                )
            for star, columns in free.items():
                name = _family_name(wildcard.target, star)
                self._refuse_twice(wildcard, name, columns[0], owner, plain)
                if self._is_text(self.table_map.feed, name, columns):
                    aside.append(columns[0])
                    continue
                owner[name] = (wildcard, columns[0])
                if wildcard.expression:
                    derived[name] = _filled(wildcard.source, star)
                else:
                    renamed[name] = columns[0]
        if aside:
            self.notes.append(f"Columns without numbers were left aside: {shown(aside)}.")
        if owner:
            self.notes.append(f"Taken by a wildcard: {shown(list(owner))}.")
        return Columns(renamed, plain.constants, derived, plain.keep)

    def _refuse_twice(
        self,
        wildcard: Wildcard,
        name: str,
        column: str,
        owner: Mapping[str, tuple[Wildcard, str]],
        plain: Columns,
    ) -> None:
        """Refuse a column that another wildcard takes too, and two that would have one name."""
        for other, taken in owner.values():
            if taken == column and other is not wildcard:
                raise self._both(column, other, wildcard)
        if name in owner or name in plain.names:
            first = f"column {owner[name][1]!r}" if name in owner else "another line"
            raise self._refuse(
                f"column {column!r} and {first} would both be {name}",
                "rename one of them by its own name under [rename], or ignore it.",
                column=column,
            )

    def _is_text(self, feed: FeedColumns, name: str, columns: Sequence[str]) -> bool:
        if feed.kind(name) != "number":
            return False
        return not all(is_numeric(_sample(self.cells[column])) for column in columns)

    def _refuse(self, problem: str, fix: str, column: str | None = None) -> RefusedFile:
        return RefusedFile(
            self.file, f"mapping {self.table_map.name}: {problem}.", fix=fix, column=column
        )


def _sample(cells: Collection[str | None]) -> list[str | None]:
    return list(dict.fromkeys(cells))[:_SAMPLE]


def _patterns(wildcard: Wildcard) -> list[str]:
    """The patterns of column names a wildcard is made of: one, or those in ``col("...")``."""
    if not wildcard.expression:
        return [wildcard.source]
    return [match[3] for match in _IN_COL.finditer(wildcard.source)]


def _filled(expression: str, star: str) -> str:
    def named(match: re.Match[str]) -> str:
        text = match[3].replace("*", star)
        quote = match[2] if match[2] not in text else ("'" if match[2] == '"' else '"')
        return f"{match[1]}{quote}{text}{quote}{match[4]}"

    return _IN_COL.sub(named, expression)


def _family_name(target: str, star: str) -> str:
    """``x_*`` and ``Competitor sales`` -> ``x_competitor_sales``; ``x_price`` stays ``x_price``."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", star).strip("_").lower()
    prefix = target.partition("*")[0]
    return target.replace("*", name.removeprefix(prefix) or name or "column")
