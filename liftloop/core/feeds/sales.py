"""Sales as the loop sees them: delivered rows, and sums of events where none was delivered."""

from __future__ import annotations

import pandas as pd


def sales_with_events(sales: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """``sales``, with events' sums by account day and segment where no row was delivered.

    Parameters
    ----------
    sales
        date, segment, orders, revenue and any covariates.
    events
        date (the account's day of ``occurred_at``), segment, orders, revenue.

    Returns
    -------
    DataFrame
        The columns of ``sales``, sorted by date and segment; a day that stands on events alone has
        no covariates (missing). A delivered row always wins over the events of its day.
    """
    if events.empty:
        return sales
    keys = ["date", "segment"]
    sums = events.groupby(keys, as_index=False, sort=False)[["orders", "revenue"]].sum()
    delivered = pd.MultiIndex.from_frame(sales[keys])
    alone = sums[~pd.MultiIndex.from_frame(sums[keys]).isin(delivered)]
    if alone.empty:
        return sales
    filled = alone.reindex(columns=sales.columns)
    stacked = filled if sales.empty else pd.concat([sales, filled], ignore_index=True)
    return stacked.sort_values(keys, kind="stable", ignore_index=True)
