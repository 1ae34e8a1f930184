"""Which row wins: the one reported later; at equal instants, the one received last.

Keys of several columns are turned into one whole number a row, so that a million rows are matched
against the stored ones by a single hash look-up each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
from numpy.typing import NDArray
from pyarrow import compute

Ints = NDArray[np.int64]
_ROOM = 2**62  # codes stay below this, so that they never wrap around


@dataclass(frozen=True)
class KeyBook:
    """The keys of one batch of rows, numbered.

    Attributes
    ----------
    codes : shape (n_rows,)
        Equal for two rows exactly when their keys are equal.
    """

    key: tuple[str, ...]
    values: tuple[Any, ...]
    squeezed: tuple[Ints | None, ...]
    codes: Ints

    @classmethod
    def of(cls, table: Any, key: Sequence[str]) -> KeyBook:
        """Number the keys of ``table`` (an Arrow table)."""
        values, squeezed, codes, room = [], [], np.zeros(len(table), np.int64), 1
        for name in key:
            coded = _one(table[name]).dictionary_encode()
            distinct, places = coded.dictionary, coded.indices.to_numpy().astype(np.int64)
            squeeze = None
            if room * max(len(distinct), 1) >= _ROOM:
                squeeze, codes = np.unique(codes, return_inverse=True)
                room = len(squeeze)
            codes = codes * max(len(distinct), 1) + places
            room *= max(len(distinct), 1)
            values.append(distinct)
            squeezed.append(squeeze)
        return cls(tuple(key), tuple(values), tuple(squeezed), codes)

    def find(self, table: Any) -> Ints:
        """The codes of another table's keys; -1 where the batch cannot hold the key."""
        codes, strange = np.zeros(len(table), np.int64), np.zeros(len(table), bool)
        for name, distinct, squeeze in zip(self.key, self.values, self.squeezed, strict=True):
            places = compute.index_in(_one(table[name]), value_set=distinct)
            found = compute.fill_null(places, -1).to_numpy(zero_copy_only=False).astype(np.int64)
            if squeeze is not None and len(squeeze):
                at = np.minimum(np.searchsorted(squeeze, codes), len(squeeze) - 1)
                strange |= squeeze[at] != codes
                codes = at
            strange |= found < 0
            codes = codes * max(len(distinct), 1) + found
        codes[strange] = -1
        return codes


def _one(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column


def instants(column: Any) -> Ints:
    """An Arrow column of instants or days as whole numbers that order like them."""
    values = _one(column)
    whole = arrow.int32() if arrow.types.is_date32(values.type) else arrow.int64()
    found: Ints = values.cast(whole).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def last_of_each(codes: Ints, *order: Ints) -> NDArray[np.bool_]:
    """For each distinct code the row that is greatest by ``order`` (most significant first)."""
    if pd.Index(codes).is_unique:
        return np.ones(len(codes), bool)
    ranked = np.lexsort((*reversed(order), codes))
    sorted_codes = codes[ranked]
    last = np.ones(len(codes), bool)
    last[:-1] = sorted_codes[1:] != sorted_codes[:-1]
    wins = np.zeros(len(codes), bool)
    wins[ranked[last]] = True
    return wins


def same_values(left: Any, right: Any, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Row by row: whether two Arrow tables of one length agree in ``columns`` (missing = missing).

    A column that one of the two lacks counts as missing there.
    """
    same = np.ones(len(left), bool)
    for name in columns:
        here, there = _column(left, name), _column(right, name)
        if here is None or there is None:
            lone = here if here is not None else there
            if lone is not None:
                same &= _flags(compute.is_null(lone))
            continue
        agree = compute.equal(here, there)
        if agree.null_count:
            both = compute.and_(compute.is_null(here), compute.is_null(there))
            agree = compute.if_else(compute.is_null(agree), both, agree)
        same &= _flags(agree)
    return same


def _column(table: Any, name: str) -> Any:
    return _one(table[name]) if name in table.column_names else None


def _flags(values: Any) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = values.to_numpy(zero_copy_only=False).astype(bool)
    return flags
