"""The facts a model learns from while a feed is late: the budgets set stand in for spend that was
not reported. Used by the flows' tasks and by ``liftloop backtest``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import days_of
from liftloop.core.policy import Policy
from liftloop.settings.schema import Settings
from models.lift.imputation import StandIns, with_imputed_spend

FEEDS = ("performance", "holdout", "sales")
BudgetsOverTime = Sequence[tuple[date, Policy]]


def impute(
    settings: Settings,
    frames: Mapping[str, pd.DataFrame],
    *,
    budgets: BudgetsOverTime,
    as_of: date,
) -> StandIns:
    """``performance`` with what stands in for its holes; as it is where the settings check nothing.

    Parameters
    ----------
    budgets
        (first day, budgets in force from then on), the oldest first.
    """
    days = [day for feed in FEEDS if (day := _last_day(frames.get(feed), as_of)) is not None]
    if not (settings.data.health_checks and days):
        return StandIns(frames["performance"], {}, {})
    return with_imputed_spend(
        frames["performance"],
        budgets=budgets,
        until=max(days),
        most_days=settings.data.default_days,
    )


def _last_day(feed: pd.DataFrame | None, as_of: date) -> date | None:
    """The last day before ``as_of`` that a feed tells of."""
    if feed is None or feed.empty:
        return None
    when = days_of(feed["date"])
    known = when[when < np.datetime64(as_of, "D")]
    return known.max().astype(object) if len(known) else None
