"""Daily spend as reported, with the holes of a feed mended: days no report tells of, or in a wrong
unit.

A day without a row may mean that nothing was spent, or that its report is late, lost or in
quarantine. Taken for nothing spent, it makes a week's spend too low and its lift look too good. It
is a hole where the whole segment tells nothing of that day, or where the cell tells of nearly all
other days around. A day whose price of an impression is many times the usual one is told in a wrong
unit. Both are filled with what the cell spent on the days around.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array, Index, Mask, coded, days_of, joined, whole_sums

CELL = ["segment", "channel"]
MOST_DAYS = 14  # of a hole: a longer one is no accident
AROUND = 14  # days to each side that say whether a cell tells of nearly all days
NEARLY_ALL = 0.85  # a campaign that rests at weekends tells of 0.71
WRONG_UNIT = 20.0  # cents for euros are 100


def daily_spend(performance: pd.DataFrame, *, as_of: Any, mend: bool = True) -> pd.DataFrame:
    """Spend of every cell on every day before ``as_of``: index dates without a gap, columns
    (segment, channel), 0 where nothing was spent; with ``mend`` holes of the feed are mended
    (``models.lift.imputed_spend``). The last day is the last with any report."""
    dates = days_of(performance["date"])
    known = dates < np.datetime64(as_of, "D")
    rows, dates = performance[known], dates[known]
    if rows.empty:
        columns = pd.MultiIndex.from_tuples([], names=CELL)
        return pd.DataFrame(index=pd.DatetimeIndex([], name="date"), columns=columns, dtype=float)
    (segment, segments), (channel, channels) = coded(rows["segment"]), coded(rows["channel"])
    pair = joined((segment, len(segments)), (channel, len(channels)))
    pairs, column = np.unique(pair, return_inverse=True)
    first = dates.min()
    days = pd.date_range(pd.Timestamp(first).as_unit("us"), dates.max(), name="date")
    place = joined(((dates - first).astype(np.intp), 1), (column, len(pairs)))
    numbers = {n: rows[n].to_numpy(dtype=np.float64) for n in ("spend", "impressions") if n in rows}
    told = np.zeros((len(days), len(pairs)), dtype=bool)
    told.flat[place] = True
    wide = {"impressions": np.zeros(told.shape)}
    for name, values in whole_sums(place, **numbers).items():
        wide[name] = np.zeros(told.shape)
        wide[name][told] = values
    of = pairs // len(channels)
    names = [segments.take(of), channels.take(pairs % len(channels))]
    spend = mended(told=told, segment_of=of, **wide) if mend else wide["spend"]
    return pd.DataFrame(spend, days, pd.MultiIndex.from_arrays(names, names=CELL))


def mended(*, spend: Array, told: Mask, impressions: Array, segment_of: Index) -> Array:
    """``spend`` with its holes filled.

    Parameters
    ----------
    spend, impressions
        Of every day and cell (T, C), 0 where nothing is told; money and counts.
    told
        Whether there is a row (T, C).
    segment_of
        The segment of each cell (C,).

    Returns
    -------
    Shape (T, C). Before its first told day a cell spent nothing; a hole of more than 14 days stays
    as it was told.
    """
    hole = holes(spend=spend, told=told, impressions=impressions, segment_of=segment_of)
    if not hole.any():
        return spend
    before, after = nearest(told & ~hole)
    hole &= (before >= 0) & (after - before - 1 <= MOST_DAYS)
    day, cell = np.nonzero(hole)
    begin, end = before[day, cell], after[day, cell]
    end = np.where(end < len(spend), end, begin)  # the last told one, where none has come since
    part = (day - begin) / np.maximum(end - begin, 1)
    filled = spend.copy()
    filled[day, cell] = np.where(
        end > begin, (1 - part) * spend[begin, cell] + part * spend[end, cell], spend[begin, cell]
    )
    return filled


def holes(*, spend: Array, told: Mask, impressions: Array, segment_of: Index) -> Mask:
    """Which days of which cells are lost or told in a wrong unit, (T, C), however long the hole.

    Parameters as of :func:`mended`.
    """
    priced = told & (spend > 0) & (impressions > 0)
    price = np.where(priced, spend / np.where(priced, impressions, 1.0), np.nan)
    usual = pd.DataFrame(price).median().to_numpy()
    wrong = (price > WRONG_UNIT * usual) | (price * WRONG_UNIT < usual)
    sound = told & ~wrong
    if sound.all():
        return ~sound
    silent = _silent(told, segment_of)
    often = _around(sound) >= NEARLY_ALL * np.maximum(_around(~silent), 1)
    return np.asarray(~sound & (wrong | silent | often))


def nearest(sound: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The last sound day up to each day (-1: none) and the first from it on (T: none), (T, C)."""
    days = np.arange(len(sound))[:, None]
    before = np.maximum.accumulate(np.where(sound, days, -1), axis=0)
    after = np.minimum.accumulate(np.where(sound, days, len(sound))[::-1], axis=0)[::-1]
    return before, after


def _silent(told: Mask, segment_of: Index) -> Mask:
    """Whether a cell's segment tells nothing of a day, (T, C)."""
    order = np.argsort(segment_of, kind="stable")
    starts = np.flatnonzero(np.diff(segment_of[order], prepend=-1))
    any_told = np.logical_or.reduceat(told[:, order], starts, axis=1)
    return np.asarray(~any_told[:, np.unique(segment_of, return_inverse=True)[1]])


def _around(values: Mask) -> NDArray[np.int64]:
    """How many are true within ``AROUND`` days of each, (T, C)."""
    running = np.zeros((len(values) + 1, values.shape[1]), dtype=np.int64)
    np.cumsum(values, axis=0, out=running[1:])
    days = np.arange(len(values))
    last = np.minimum(days + AROUND + 1, len(values))
    return np.asarray(running[last] - running[np.maximum(days - AROUND, 0)])
