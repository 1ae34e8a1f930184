"""Feeds whose outcome is conversions: what they are worth stands in the column of revenue, so that
curves, plans and rollouts are of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

CONVERSIONS_OF = {
    "performance": "conversions",
    "holdout": "conversions",
    "units": "conversions",
    "sales": "orders",
}


def in_value(frame: pd.DataFrame, feed: str, *, worth: float) -> pd.DataFrame:
    """The feed with ``revenue`` = conversions x ``worth``; other feeds as they are. Lift tests
    (``experiments``), which are delivered in conversions, become that as well.

    A holdout's ``revenue_sq``, the sum of squares over users, is that of converters who have the
    mean number of conversions each: exact for one conversion a converter, and less than the truth
    where converters differ.
    """
    if feed == "experiments" and not frame.empty:
        names = ("incremental_revenue", "standard_error")
        return frame.assign(**{name: frame[name].astype(float) * worth for name in names})
    column = CONVERSIONS_OF.get(feed)
    if column is None or column not in frame.columns or frame.empty:
        return frame
    count = pd.to_numeric(frame[column], errors="coerce").astype(float)
    changed = frame.assign(revenue=count * worth)
    if feed == "holdout" and "converters" in frame.columns:
        converters = pd.to_numeric(frame["converters"], errors="coerce").astype(float)
        each = np.where(converters > 0, count**2 / np.maximum(converters, 1.0), 0.0)
        changed = changed.assign(revenue_sq=each * worth**2)
    return changed
