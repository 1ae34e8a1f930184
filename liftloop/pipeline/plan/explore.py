"""What exploration rests on: how well holdouts hear a cell, and the settings' share and horizon.
Used by the plan of a cycle, by ``liftloop experiments suggest`` and by ``liftloop backtest``.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.allocation.constraints import Rules
from liftloop.core.arrays import days_of
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.exploration.explore import Exploration, ExplorationTerms, explore
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.settings.schema import Settings
from models.lift.holdout_lifts import LiftConfig, weekly_lifts

RECENT_CYCLES = 4


def cycle_noise(
    holdout: pd.DataFrame, performance: pd.DataFrame, *, as_of: date, cycle_days: int
) -> dict[Cell, float]:
    """Standard error of one cycle's measured incremental revenue a day of each cell.

    The median of the last four cycles with an answer; a cell without both arms has no entry.
    """
    start = np.datetime64(as_of - timedelta(days=RECENT_CYCLES * cycle_days), "D")
    recent = [feed[days_of(feed["date"]) >= start] for feed in (holdout, performance)]
    lifts = weekly_lifts(
        holdout=recent[0],
        performance=recent[1],
        as_of=as_of,
        config=LiftConfig(period_days=cycle_days, adjust=False),
    )
    # a cycle with fewer days would have had a smaller error with all of them
    whole = lifts["standard_error"] * np.sqrt(lifts["days"] / cycle_days)
    found = whole.groupby([lifts["segment"], lifts["channel"]], observed=True).median()
    names = found.index.to_frame()
    return {
        Cell(str(segment), str(channel)): float(error)
        for segment, channel, error in zip(names["segment"], names["channel"], found, strict=True)
        if np.isfinite(error) and error > 0
    }


def explore_plan(
    settings: Settings,
    *,
    curves: ResponseCurves,
    plan: Policy,
    incumbent: Policy,
    rules: Rules,
    evidence: PlanEvidence,
) -> Exploration:
    """The plan with the excursions that pay for themselves under these settings.

    Parameters
    ----------
    plan
        The best budgets under ``rules``.
    evidence
        ``holdout`` and ``performance`` as known on its day; without a holdout nothing is learned.
    """
    asked, facts = settings.exploration, evidence.facts
    holdout, performance = facts.get("holdout"), facts.get("performance")
    noise: dict[Cell, float] = {}
    if asked.share > 0 and holdout is not None and performance is not None and len(holdout):
        noise = cycle_noise(
            holdout, performance, as_of=evidence.as_of, cycle_days=settings.cycle_days
        )
    return explore(
        curves=curves,
        plan=plan,
        incumbent=incumbent,
        rules=rules,
        noise=noise,
        terms=ExplorationTerms(
            share=asked.share,
            horizon_days=7 * asked.horizon_weeks,
            cycle_days=settings.cycle_days,
            margin=settings.budget.margin,
        ),
    )
