"""Levels of detail within one table: a total beside its parts is left out, never added to them.

A row is coarser than another where it leaves details (ad, ad set, country, device...) blank, or
writes ``all`` or ``total`` for them. Where it equals what the finer rows of its day and campaign
sum to, it is their total. Where it is clearly less, it is a part without a name (an unknown
country). In between nobody can tell, and the table is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.importers.tables.repeats import Rows, codes, counted_rows
from liftloop.adapters.importers.tables.roles import words_of
from liftloop.core.arrays import Mask
from liftloop.core.errors import RefusedFile

# An ad may be called "All seasons": only words for the parts themselves may follow "all".
_ALL = re.compile(
    r"|\(?all\)?|all (ads?|ad ?sets|ad ?groups|campaigns|creatives|devices|countries|networks"
    r"|regions|platforms|placements|ages|genders|hours|accounts|segments|channels)"
    r"|total(:.*)?|totals|grand total|gesamt|alle|tous|todos|--|-|\*",
    re.IGNORECASE,
)
_NESTED = frozenset(["ad", "adset", "adgroup", "creative", "campaign", "keyword", "asset"])
_UNKNOWN_BREAKDOWN = 0.9  # of the sum of the named parts: below it a blank is a part of its own
_UNKNOWN_NESTED = 0.5  # an ad without a name is rarer than a campaign's own row


@dataclass(frozen=True)
class _Levels:
    """The details of a table and which of them each row leaves blank.

    Attributes
    ----------
    blank : shape (n_rows, n_details)
    pattern : shape (n_rows,)
        Equal for rows that leave the same details blank.
    sets
        Pattern -> the details it leaves blank.
    """

    rows: Rows
    details: Sequence[str]
    blank: Mask
    pattern: NDArray[np.int64]
    sets: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, rows: Rows, parts: Collection[str]) -> _Levels | None:
        blank = {}
        for name in rows.named("part"):
            if name in parts:
                continue
            cells = rows.cells[name]
            values = pd.Series(cells.unique())
            empty = values[values.isna() | values.fillna("").map(_is_all)]
            marks = cells.isna() | cells.isin(set(empty.dropna()))
            if marks.any() and not marks.all():
                blank[name] = marks.to_numpy()
        if not blank:
            return None
        names = list(blank)
        table = np.column_stack([blank[name] for name in names])
        kinds, pattern = np.unique(table, axis=0, return_inverse=True)
        sets = tuple(frozenset(n for n, b in zip(names, kind, strict=True) if b) for kind in kinds)
        return cls(rows, names, table, pattern.reshape(-1), sets)


def _is_all(text: str) -> bool:
    return bool(_ALL.fullmatch(text.strip()))


def leave_out_totals(rows: Rows, parts: Collection[str] = ()) -> tuple[Mask, list[str]]:
    """(rows to keep, notes) of a table whose rows may be of several levels of detail.

    Parameters
    ----------
    parts
        Columns of which it was said that a blank in them is a part like any other.

    Raises
    ------
    RefusedFile
        When a coarser row stands beside finer ones and is neither their sum nor clearly a part of
        its own.
    """
    keep = np.ones(len(rows.cells), bool)
    levels = _Levels.of(rows, parts)
    money = rows.numbers.columns[0]
    if levels is None or money not in ("spend", "revenue") or len(levels.sets) < 2:
        return keep, []
    total, unknown, doubt = keep & False, keep & False, keep & False
    for coarse, blanks in enumerate(levels.sets):
        finer = [at for at, others in enumerate(levels.sets) if others < blanks]
        for fine in finer:
            verdict = _compare(levels, coarse, fine)
            total |= verdict.total
            unknown |= verdict.unknown
            doubt |= verdict.doubt
    doubt &= ~total
    if doubt.any():
        raise _refusal(levels, doubt)
    beside = _same_money_twice(levels, keep & ~total & ~unknown)
    notes = []
    if total.any():
        details = _details(levels, total)
        notes.append(
            f"Totals rows left out: {int(total.sum())} that leave {details} blank and are the sum "
            f"of their parts ({rows.amount(total)})."
        )
    if beside.any():
        notes.append(
            f"{counted_rows(int(beside.sum()), ('breaks', 'break'))} the same {money} down by "
            "another detail "
            f"({_details(levels, ~beside & keep)} instead of theirs), and were left out "
            f"({rows.amount(beside)})."
        )
    unknown &= ~total
    if unknown.any():
        notes.append(
            f"{counted_rows(int(unknown.sum()), ('leaves', 'leave'))} "
            f"{_details(levels, unknown)} blank and {'is' if unknown.sum() == 1 else 'are'} no "
            f"total: counted as a part of its own ({rows.amount(unknown)})."
        )
    return keep & ~total & ~beside, notes


@dataclass(frozen=True, slots=True)
class _Verdict:
    total: Mask
    unknown: Mask
    doubt: Mask


def _compare(levels: _Levels, coarse: int, fine: int) -> _Verdict:
    """What the rows of one level are to the rows of a finer one."""
    rows, blanks = levels.rows, levels.sets[coarse]
    shared = [name for name in rows.named("day", "part") if name not in blanks]
    place = codes(rows.cells, shared)
    is_coarse, is_fine = levels.pattern == coarse, levels.pattern == fine
    groups = int(place.max()) + 1
    numbers = rows.numbers.to_numpy(dtype=float)
    parts = _sums(place[is_fine], numbers[is_fine], groups)[place]
    count = np.bincount(place[is_fine], minlength=groups)[place]
    level = _sums(place[is_coarse], numbers[is_coarse], groups)[place]
    several = np.bincount(place[is_coarse], minlength=groups)[place]
    beside = is_coarse & (count > 0) & rows.counted
    spend = numbers[:, 0]
    tolerance = 0.005 + 1e-9
    equal = np.abs(spend - parts[:, 0]) < tolerance
    # A named total beside an unknown part: all = DE + FR + the row without a country.
    equal |= (several > 1) & (np.abs(spend - parts[:, 0] - (level[:, 0] - spend)) < tolerance)
    whole = ("impressions", "clicks", "orders")
    counts = [i for i, name in enumerate(rows.numbers.columns) if name in whole]
    exact = (numbers[:, counts] == parts[:, counts]).all(axis=1)
    rounded = exact & (np.abs(spend - parts[:, 0]) < 0.005 * (count + 1) + 1e-9)
    total = beside & ((equal & ((count > 1) | exact)) | rounded)
    nested = any(set(words_of(name)) & _NESTED for name in blanks - levels.sets[fine])
    share = _UNKNOWN_NESTED if nested else _UNKNOWN_BREAKDOWN
    unknown = beside & ~total & (spend < share * parts[:, 0])
    if not nested:  # one sibling with the same spend, but other impressions, is a part as well
        unknown |= beside & ~total & equal & ~exact
    doubt = beside & ~total & ~unknown & (spend > 0) & (parts[:, 0] > 0)
    return _Verdict(total, unknown & (spend > 0), doubt)


def _sums(
    place: NDArray[np.int64], numbers: NDArray[np.float64], groups: int
) -> NDArray[np.float64]:
    """Each column of ``numbers`` summed by place; shape (groups, n_columns)."""
    return np.column_stack(
        [np.bincount(place, weights=column, minlength=groups) for column in numbers.T]
    )


def _same_money_twice(levels: _Levels, left: Mask) -> Mask:
    """Rows that break the same spend down by another detail than rows beside them do (a table by
    device below one by country): those of the smaller number of rows.

    Raises
    ------
    RefusedFile
        When the two do not sum to the same.
    """
    rows, beside = levels.rows, left & False
    spend = rows.numbers.iloc[:, 0].to_numpy(dtype=float)
    for one, blanks in enumerate(levels.sets):
        for other in range(one + 1, len(levels.sets)):
            others = levels.sets[other]
            if blanks <= others or others <= blanks:
                continue
            shared = [n for n in rows.named("day", "part") if n not in blanks | others]
            place = codes(rows.cells, shared)
            groups = int(place.max()) + 1
            sums = [
                np.bincount(place[mask], weights=spend[mask], minlength=groups)
                for mask in ((levels.pattern == p) & left & ~beside for p in (one, other))
            ]
            both = (sums[0] > 0) & (sums[1] > 0)
            if not both.any():
                continue
            sizes = [int((levels.pattern == p).sum()) for p in (one, other)]
            less = one if sizes[0] < sizes[1] else other
            fewer = (levels.pattern == less) & left & both[place]
            rounding = 0.005 * (1 + np.bincount(place[left], minlength=groups)) + 1e-9
            if (np.abs(sums[0] - sums[1]) > rounding)[both].any():
                raise _refusal(levels, fewer & (spend > 0))
            beside |= fewer
    return beside


def _details(levels: _Levels, mask: Mask) -> str:
    names = [name for i, name in enumerate(levels.details) if levels.blank[mask, i].any()]
    return ", ".join(repr(name) for name in names) or "nothing"


def _refusal(levels: _Levels, doubt: Mask) -> RefusedFile:
    rows = levels.rows
    at = int(np.flatnonzero(doubt)[0])
    blanks = [name for i, name in enumerate(levels.details) if levels.blank[at, i]]
    name = blanks[-1]
    written = rows.cells[name].iloc[at]
    written = "" if pd.isna(written) else str(written)
    return RefusedFile(
        rows.file,
        f"{int(doubt.sum())} rows leave {', '.join(map(repr, blanks))} blank beside rows that do "
        f"not, and are not their sum (the first has {rows.numbers.iloc[:, 0].iloc[at]:,.2f} "
        f"{rows.numbers.columns[0]}): "
        "whether they are totals or parts cannot be told.",
        fix=f'leave those rows out with --where "{name}!={written}", keep them alone with '
        f'--where "{name}={written}", or say that they are parts with --parts "{name}".',
        column=name,
    )
