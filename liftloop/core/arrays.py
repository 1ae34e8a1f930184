"""Rows by whole numbers: days, texts and pairs of texts, so that sums over rows need no text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # whoever needs the arrays' names alone starts without it
    import pandas as pd

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
Days = NDArray[np.datetime64]
Z90 = 1.6448536269514722  # of the normal distribution: a 90 % interval ends here, 5 % lie above


def days_of(dates: pd.Series[Any]) -> Days:
    """The day of each row, shape (n,), ``datetime64[D]``. Datetimes are not parsed again."""
    import pandas as pd
    from pandas.api.types import is_datetime64_dtype

    when = dates if is_datetime64_dtype(dates) else pd.to_datetime(dates)
    return np.asarray(when.to_numpy().astype("datetime64[D]"))


def coded(texts: pd.Series[Any]) -> tuple[Index, pd.Index[Any]]:
    """Each text as its place (n,) among the distinct ones, which are sorted."""
    import pandas as pd

    if isinstance(texts.dtype, pd.CategoricalDtype):
        texts = texts.astype(texts.cat.categories.dtype)
    codes, names = pd.factorize(texts, sort=True)
    return np.asarray(codes, dtype=np.intp), pd.Index(names)


def joined(*parts: tuple[Index, int]) -> Index:
    """One number for several: ``parts`` are (numbers (n,) from 0, how many there are). Its order is
    that of the first part, then that of the second."""
    found = np.zeros(len(parts[0][0]), dtype=np.intp)
    for numbers, count in parts:
        found = found * count + numbers
    return found


def present(group: Index) -> Index:
    """The numbers from 0 that are in ``group`` (n,), sorted."""
    return np.flatnonzero(np.bincount(group))


def summed(group: Index, **values: Array) -> dict[str, Array]:
    """Sums of ``values`` (n,) by ``group`` (n,), those of :func:`present` in its order; what is
    missing counts for nothing. Compensated (Kahan 1965): the order of the rows hardly matters."""
    count = np.bincount(group)
    if count.max(initial=0) <= 1:  # there is nothing to add up
        row = np.zeros(len(count), dtype=np.intp)
        row[group] = np.arange(len(group))
        row = row[count > 0]
        return {name: np.where(np.isnan(v[row]), 0.0, v[row]) for name, v in values.items()}
    import pandas as pd

    sums = pd.DataFrame(values, copy=False).groupby(group, sort=True).sum()
    return {name: sums[name].to_numpy() for name in values}


def whole_sums(group: Index, **values: Array) -> dict[str, Array]:
    """As :func:`summed`, but missing wherever a value of the group is: what one campaign does not
    say, its cell's day does not say."""
    sums = summed(group, **values)
    gaps = {name: np.isnan(value).astype(float) for name, value in values.items()}
    gaps = {name: gap for name, gap in gaps.items() if gap.any()}
    for name, missing in (summed(group, **gaps) if gaps else {}).items():
        sums[name] = np.where(missing > 0, np.nan, sums[name])
    return sums


def cell_places(segment: pd.Series[Any], channel: pd.Series[Any], cells: pd.MultiIndex) -> Index:
    """The place of each row's (segment, channel) in ``cells``, shape (n,); -1 where it is not."""
    (s, segments), (c, channels) = coded(segment), coded(channel)
    row, column = (
        texts.get_indexer(level)[codes]
        for texts, level, codes in zip((segments, channels), cells.levels, cells.codes, strict=True)
    )
    there = np.flatnonzero((row >= 0) & (column >= 0))
    table = np.full((len(segments), len(channels)), -1, dtype=np.intp)
    table[row[there], column[there]] = there
    return np.asarray(table[s, c])
