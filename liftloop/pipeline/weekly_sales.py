"""Sales by week and segment, for drawing segments that are alike; and by day, for turns."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WEEKS = 12  # a season's length: long enough to see who moves together, short enough to be now


def weekly_sales(
    sales: pd.DataFrame | None, *, segments: Collection[str], as_of: date
) -> dict[str, list[float]]:
    """Revenue of each segment in the last weeks before ``as_of``, the oldest first; {} where no
    week has every day of every segment that sells."""
    if sales is None or sales.empty:
        return {}
    mine = sales[sales["segment"].isin(list(segments))]
    ago = (pd.Timestamp(as_of) - pd.to_datetime(mine["date"])).dt.days
    week = cast(pd.Series, np.floor_divide(ago - 1, 7))
    recent = ((week >= 0) & (week < WEEKS)).to_numpy()
    rows = pd.DataFrame(
        {
            "segment": mine["segment"].astype(str)[recent],
            "week": week[recent],
            "revenue": mine["revenue"].astype(float)[recent],
        }
    )
    grouped = rows.groupby(["week", "segment"])["revenue"]
    whole = (grouped.count() == 7).unstack(fill_value=False).all(axis=1)
    sums = grouped.sum().unstack()
    kept = sums[whole.reindex(sums.index)].sort_index(ascending=False)
    return {str(name): [float(x) for x in kept[name]] for name in kept} if len(kept) else {}


def daily_sales(
    sales: pd.DataFrame, *, segments: Collection[str], as_of: date
) -> NDArray[np.float64]:
    """Revenue a day of ``segments`` together, shape (n_days,): from the last day before ``as_of``
    that is known of all of them back to the first one that is not."""
    if sales.empty:
        return np.zeros(0)
    mine = sales[sales["segment"].isin(list(segments))]
    ago = (pd.Timestamp(as_of) - pd.to_datetime(mine["date"])).dt.days
    grouped = mine["revenue"].astype(float).groupby(ago)
    whole = grouped.sum()[grouped.count() >= len(segments)]
    whole = whole[whole.index >= 1].sort_index()
    if whole.empty:
        return np.zeros(0)
    unbroken = np.diff(whole.index.to_numpy(), prepend=whole.index.min() - 1) == 1
    length = len(whole) if unbroken.all() else int(np.argmin(unbroken))
    return np.asarray(whole.to_numpy(dtype=np.float64)[:length][::-1])
