"""Bounds that sales set to what is not tested: together, cells never earn more than was sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array, days_of
from liftloop.core.curves.saturating import SaturatingCurves
from models.lift.evidence import Evidence

LATE_DAYS = 56


def untested(evidence: Evidence) -> NDArray[np.bool_]:
    """The cells (n_cells,) of whose channel there is neither a lift nor a randomized test."""
    tested = evidence.calibrated.copy()
    for test in evidence.tests:
        if test.randomized:
            tested[evidence.channel_of[test.where]] = True
    return np.asarray(~tested[evidence.channel_of])


def sold_of_late(sales: pd.DataFrame, *, as_of: date) -> dict[str, float]:
    """What each segment sold a day, account currency, in the last weeks before ``as_of``."""
    dates = days_of(sales["date"])
    since = np.datetime64(as_of - timedelta(days=LATE_DAYS), "D")
    recent = sales[(dates >= since) & (dates < np.datetime64(as_of, "D"))]
    mean = recent.groupby(recent["segment"].astype(str))["revenue"].mean()
    return {str(name): float(value) for name, value in mean.items()}


def within_sales(
    curves: SaturatingCurves, sold: Mapping[str, float], *, spend: Array
) -> SaturatingCurves:
    """``curves`` with each draw's returns of a segment scaled down where its cells would have
    earned more at ``spend`` (n_cells,), account currency a day, than the segment ``sold``."""
    earned = np.maximum(curves.draw_revenue(spend), 0.0)
    m = curves.marginal_at_zero.copy()
    segment = np.array([cell.segment for cell in curves.cells])
    for name, most in sold.items():
        mine = segment == name
        total = earned[:, mine].sum(axis=1)
        over = total > most
        share = np.divide(max(most, 0.0), total, out=np.ones(len(total)), where=over & (total > 0))
        m[:, mine] = np.where(m[:, mine] > 0, m[:, mine] * share[:, None], m[:, mine])
    return replace(curves, marginal_at_zero=m)
