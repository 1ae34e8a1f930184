"""The facts a model learns from while a feed is late: the budgets set stand in for spend that was
not reported. Used by the flows' tasks and by ``liftloop backtest``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.policy import Policy
from models.stand_ins import StandIns, with_stand_ins

BudgetsOverTime = Sequence[tuple[date, Policy]]


def stand_in(
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
    if not settings.data.health_checks:
        return StandIns(frames["performance"], {}, {})
    return with_stand_ins(
        frames["performance"],
        budgets=budgets,
        as_of=as_of,
        most_days=settings.data.default_days,
    )
