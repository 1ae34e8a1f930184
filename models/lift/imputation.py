"""Days that a performance feed has not told yet, or told in a wrong unit, by the budgets set.

What a cell spends follows its budget within a few per cent. So where it is known which budgets were
in force, the budget times the share of it that the cell usually spends stands in for a report that
is late, lost or in a wrong unit: the lifts of those days need not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array, Index, Mask, cell_places, days_of, joined, whole_sums
from liftloop.core.policy import Cell, Policy
from models.lift.imputed_spend import MOST_DAYS, holes, nearest

STAND_IN = "stand-in"  # the campaign that such a row bears
PACE_DAYS = 28  # of a cell's usual share of its budget
FEWEST_DAYS = 7  # to know it
FURTHEST = 1.5  # from 1 that a usual share may be


@dataclass(frozen=True, slots=True, eq=False)
class StandIns:
    """Performance with what stands in for its holes. ``days``: which of which cell; ``first`` and
    ``last`` day of all; ``recent``: how many after the last day the cell told of."""

    performance: pd.DataFrame
    days: dict[Cell, tuple[date, ...]]
    recent: dict[Cell, int]
    first: date | None = None
    last: date | None = None

    @property
    def identity(self) -> list[str]:
        """Names what stands in, [] where nothing does: a training rests on it."""
        if not self.days:
            return []
        filled = self.performance[["date", "segment", "channel", "spend"]]
        return [str(pd.util.hash_pandas_object(filled, index=False).sum())]

    @property
    def sentence(self) -> str:
        """What stands in, for people; "" where nothing does."""
        if not self.recent:
            return ""
        one = next(iter(sorted(self.recent)))
        cells = f"{len(self.recent)} cells" if len(self.recent) > 1 else str(one)
        return (
            f"The budgets set stand in for spend that is not reported yet: {cells}, "
            f"{max(self.recent.values())} days up to {self.last}."
        )


def with_imputed_spend(
    performance: pd.DataFrame,
    *,
    budgets: Sequence[tuple[date, Policy]],
    until: date,
    most_days: int,
) -> StandIns:
    """Performance, with rows of the campaign ``stand-in`` for the holes of days whose budgets are
    known.

    Parameters
    ----------
    performance
        The feed. Not changed.
    budgets
        (first day, budgets in force from then on), the oldest first.
    until
        The last day that other feeds tell of: what no feed is told of yet is not late.
    most_days
        How many days after the last told one may be filled; holes that ended, up to 14.

    Returns
    -------
    Rows that stand in have spend, and neither impressions nor attributed revenue (NaN: not known).
    Rows in a wrong unit stay, with the spend that stands in for theirs.
    """
    kept = StandIns(performance, {}, {})
    dates = days_of(performance["date"])
    end = np.datetime64(until, "D") + 1
    known = dates < end
    begun = [(np.datetime64(day, "D"), policy) for day, policy in budgets if day <= until]
    if not begun or not known.any():
        return kept
    cells = tuple(sorted({cell for _, policy in begun for cell in policy.cells}))
    names = pd.MultiIndex.from_tuples(
        [(c.segment, c.channel) for c in cells], names=["segment", "channel"]
    )
    first = dates[known].min()
    day = (dates - first).astype(np.intp)
    place = cell_places(performance["segment"], performance["channel"], names)
    inside = np.flatnonzero(known & (place >= 0))
    told, spend, impressions = _laid_out(
        performance.iloc[inside],
        day[inside],
        place[inside],
        (int((end - first).astype(int)), len(cells)),
    )
    given = _given(begun, cells, first, len(told))
    _, segment_of = np.unique([c.segment for c in cells], return_inverse=True)
    hole = holes(spend=spend, told=told, impressions=impressions, segment_of=segment_of)
    filled = _may_be_filled(hole, told & ~hole, most_days) & np.isfinite(given)
    if not filled.any():
        return kept
    amount = given * _usual_share(np.where(told & ~hole, spend, np.nan), given)
    at, of = day[inside], place[inside]
    wrong = filled[at, of]  # told, in a wrong unit: each row keeps its part of the day's spend
    mended = performance["spend"].to_numpy(dtype=np.float64, copy=True)
    part = mended[inside] / np.where(spend[at, of] > 0, spend[at, of], 1.0)
    mended[inside[wrong]] = (part * amount[at, of])[wrong].round(2)
    when, where = np.nonzero(filled & ~told)
    rows = pd.DataFrame(
        {
            "date": (first + when).astype("datetime64[us]"),
            "segment": names.get_level_values(0)[where],
            "channel": names.get_level_values(1)[where],
            "campaign": STAND_IN,
            "spend": amount[when, where].round(2),
            "impressions": 0,
            "clicks": 0,
        }
    )
    columns = [c for c in performance.columns if c in rows]
    whole = [performance.assign(spend=mended), *([rows[columns]] if len(rows) else [])]
    days, _ = np.nonzero(filled)
    late = filled & (nearest(told & ~hole)[1] == len(told))
    return StandIns(
        pd.concat(whole, ignore_index=True),
        _listed(filled, cells, first),
        _counted(late, cells),
        (first + days.min()).astype(object),
        (first + days.max()).astype(object),
    )


def _laid_out(
    rows: pd.DataFrame, day: Index, place: Index, shape: tuple[int, int]
) -> tuple[Mask, Array, Array]:
    """Told, spend and impressions of every day and cell, each (T, C)."""
    at = joined((day, shape[0]), (place, shape[1]))
    told = np.zeros(shape, dtype=bool)
    told.flat[at] = True
    numbers = {n: rows[n].to_numpy(dtype=np.float64) for n in ("spend", "impressions") if n in rows}
    sums = {"impressions": np.zeros(shape), "spend": np.zeros(shape)}
    for name, values in whole_sums(at, **numbers).items():
        sums[name][told] = values
    return told, sums["spend"], sums["impressions"]


def _given(
    begun: Sequence[tuple[np.datetime64, Policy]],
    cells: Sequence[Cell],
    first: np.datetime64,
    days: int,
) -> Array:
    """The budget of every day and cell, (T, C); nan before any is known."""
    given = np.full((days, len(cells)), np.nan)
    for begin, policy in begun:
        known = policy.as_dict()
        row = max(int((begin - first).astype(int)), 0)
        given[row:] = [float(known.get(cell, 0)) for cell in cells]
    return given


def _may_be_filled(hole: Mask, sound: Mask, most_days: int) -> Mask:
    """Holes after a sound day: those that ended, if short enough; of one that lasts, its begin."""
    before, after = nearest(sound)
    since = np.arange(len(hole))[:, None] - before
    ended = after < len(hole)
    short = np.where(ended, after - before - 1 <= MOST_DAYS, since <= most_days)
    return np.asarray(hole & (before >= 0) & short)


def _usual_share(spend: Array, given: Array) -> Array:
    """What part of its budget each cell spent on the last sound days, (C,); 1 where that is not
    known or not likely."""
    both = np.isfinite(spend) & (given > 0)
    recent = both & (np.cumsum(both[::-1], axis=0)[::-1] <= PACE_DAYS)
    spent, had = (np.where(recent, x, 0.0).sum(axis=0) for x in (spend, given))
    share = np.divide(spent, had, out=np.ones_like(spent), where=had > 0)
    likely = (share <= FURTHEST) & (share * FURTHEST >= 1) & (recent.sum(axis=0) >= FEWEST_DAYS)
    return np.asarray(np.where(likely, share, 1.0))


def _listed(
    mask: Mask, cells: Sequence[Cell], first: np.datetime64
) -> dict[Cell, tuple[date, ...]]:
    when, where = np.nonzero(mask)
    found: dict[Cell, list[date]] = {}
    for row, i in zip(when.tolist(), where.tolist(), strict=True):
        found.setdefault(cells[i], []).append((first + row).astype(object))
    return {cell: tuple(days) for cell, days in found.items()}


def _counted(mask: Mask, cells: Sequence[Cell]) -> dict[Cell, int]:
    return {cells[i]: int(n) for i, n in enumerate(mask.sum(axis=0)) if n}
