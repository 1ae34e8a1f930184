"""User-level tests in the ordinary loop: what the settings say of them, and the cells they alone
tell of. Used by the flows' tasks and by ``liftloop backtest``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from liftloop.core.policy import Cell
from liftloop.settings.schema import Settings
from models.lift.user_test_lifts import UnitRules
from models.uplift.costs import cells_without_reports, latest_levels, unit_costs

RECENT_DAYS = 90  # a test that ended longer ago, beside performance of other cells, spends no more


def unit_rules(settings: Settings) -> UnitRules:
    """What the settings say of user-level tests."""
    return UnitRules(
        outcome_days=settings.data.outcome_days,
        targeted=tuple((p.segment, p.channel) for p in settings.budget.targeted),
    )


def costs_of(settings: Settings, facts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What the feed ``units`` cost: as of :func:`models.uplift.costs.unit_costs`, with the window
    that the settings say."""
    units = facts.get("units", pd.DataFrame())
    return unit_costs(units, outcome_days=settings.data.outcome_days)


def cells_of_tests(costs: pd.DataFrame, facts: Mapping[str, pd.DataFrame]) -> frozenset[Cell]:
    """The cells that user-level tests alone tell of: no platform reports them, so none is late."""
    return cells_without_reports(costs, facts["performance"])


def first_budgets(
    costs: pd.DataFrame, performance: pd.DataFrame, *, as_of: date
) -> Mapping[Cell, float]:
    """What the cells that user-level tests alone tell of spend a day, account currency."""
    return latest_levels(costs, performance, as_of=as_of, recent_days=RECENT_DAYS)
