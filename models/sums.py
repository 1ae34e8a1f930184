"""Sums and means of rows over the cells they belong to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]
ROWS_AT_ONCE = 50_000
MOST_PADDING = 1.5


class Sums:
    """Sums over cells of their rows' outer squares, for rows in any order."""

    def __init__(self, cell: Index, cells: int) -> None:
        self._order = np.argsort(cell, kind="stable")
        if (self._order == np.arange(len(cell))).all():
            self._order = np.arange(0)  # sorted already
        ordered = np.sort(cell, kind="stable")
        self._present, self._starts = np.unique(ordered, return_index=True)
        # whole cells at once, about ROWS_AT_ONCE rows
        edges = np.searchsorted(self._starts, np.arange(0, len(cell), ROWS_AT_ONCE))
        self._parts = np.unique(np.append(edges, len(self._present)))
        self._rows = len(cell)
        self._grid = self._table()

    def _table(self) -> Index | None:
        """Rows of each present cell (cells, most) in sorted order, padded with a row past the last;
        None where cells have too different numbers of rows for that to pay."""
        count = np.diff(np.append(self._starts, self._rows))
        if self._rows == 0 or int(count.max()) * len(count) > MOST_PADDING * self._rows:
            return None
        step = np.arange(int(count.max()))
        return np.where(step < count[:, None], self._starts[:, None] + step, self._rows)

    def _sorted(self, values: Array) -> Array:
        return values[self._order] if len(self._order) else values

    def add_squares(self, total: Array, slope: Array) -> None:
        """Add the sums of the outer squares of ``slope`` (R, d) to ``total`` (cells, d, d)."""
        if not self._rows:
            return
        slope = self._sorted(slope)
        if self._grid is not None:
            if self._grid.size == self._rows:
                padded = slope.reshape(*self._grid.shape, -1)
            else:
                padded = np.concatenate([slope, np.zeros((1, slope.shape[1]))])[self._grid]
            total[self._present] += padded.transpose(0, 2, 1) @ padded
            return
        ends = np.append(self._starts, self._rows)
        for first, last in zip(self._parts[:-1], self._parts[1:], strict=True):
            rows = slope[ends[first] : ends[last]]
            starts = self._starts[first:last] - ends[first]
            outer = rows[:, :, None] * rows[:, None, :]
            total[self._present[first:last]] += np.add.reduceat(outer, starts, axis=0)


def period_mean(running: Array, cell: Index, first: Index, last: Index) -> Array:
    """Means over rows ``first`` to ``last`` from running sums (T + 1, C)."""
    return np.asarray((running[last + 1, cell] - running[first, cell]) / (last - first + 1.0))
