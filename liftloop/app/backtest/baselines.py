"""What the loop is compared with, on markets made anew from the same seed: nobody moves anything;
someone follows what the platforms claim; a planner who knows every curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.app.backtest.market import CheckedMarket, CheckedOracleMarket, as_policy
from liftloop.core.allocation.allocate import allocate
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Policy
from liftloop.markets.hill import exact_cents
from liftloop.markets.scoring import oracle_plan
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan
from liftloop.pipeline.plan.rules import Frozen, Slow, rules_of
from liftloop.settings.schema import Settings
from models.lift.holdout_lifts import LiftConfig, weekly_lifts
from models.lift.imputed_spend import daily_spend
from models.response.ensemble import POOLED
from models.response.fit import FitFeeds, fit_response

Array = NDArray[np.float64]
ROAS_DAYS = 28  # what a platform's report shows by default

Plans = Callable[[date, Policy, Mapping[str, pd.DataFrame]], Policy]


def stand_still(as_of: date, now: Policy, facts: Mapping[str, pd.DataFrame]) -> Policy:
    """The status quo."""
    return now


def oracle(market: CheckedOracleMarket, max_step: float | None) -> Plans:
    """The best budgets under today's truth; with ``max_step``, held to the loop's steps."""

    def plan(as_of: date, now: Policy, facts: Mapping[str, pd.DataFrame]) -> Policy:
        from liftloop.app.backtest.market import budgets_frame

        return as_policy(oracle_plan(market, budgets_frame(now), max_step=max_step))

    return plan


def follow_roas(max_step: float) -> Plans:
    """Budgets in proportion to attributed ROAS x budget, within the loop's steps: what a person who
    trusts the platforms' reports does. ROAS is that of the last 28 known days."""

    def plan(as_of: date, now: Policy, facts: Mapping[str, pd.DataFrame]) -> Policy:
        seen = facts["performance"]
        recent = seen[(seen["date"] >= pd.Timestamp(as_of - timedelta(days=ROAS_DAYS))).to_numpy()]
        recent = recent[recent["revenue"].notna()]
        sums = recent.groupby(["segment", "channel"], observed=True)[["spend", "revenue"]].sum()
        roas = (sums["revenue"] / sums["spend"].where(sums["spend"] > 0)).dropna()
        known = {pair: float(value) for pair, value in roas.items()}
        budgets = np.array([float(amount) for _, amount in now.budgets])
        told = np.array([known.get((c.segment, c.channel), np.nan) for c in now.cells])
        if not np.isfinite(told).any():
            return now
        told = np.where(np.isfinite(told), told, np.nanmean(told))
        moved = within_steps(budgets * told, budgets, max_step=max_step)
        exact = exact_cents(moved, now.total)
        return Policy.of(zip(now.cells, (Decimal(f"{x:.2f}") for x in exact), strict=True))

    return plan


def within_steps(wanted: Array, now: Array, *, max_step: float) -> Array:
    """``wanted`` scaled so that, clipped to the step limits around ``now``, it keeps the total."""
    step = max_step * np.maximum(now, now.mean() / 10)
    low, high = np.maximum(now - step, 0.0), now + step
    if not wanted.sum() > 0:
        return now
    small, large = 0.0, 1.0
    while np.clip(large * wanted, low, high).sum() < now.sum() and large < 1e12:
        large *= 2
    for _ in range(100):
        middle = (small + large) / 2
        below = np.clip(middle * wanted, low, high).sum() < now.sum()
        small, large = (middle, large) if below else (small, middle)
    return np.clip(large * wanted, low, high)


class PooledLearner:
    """The pooled curves of the project's evidence: raw weekly lifts, one family, plain priors."""

    def __call__(
        self,
        settings: Settings,
        facts: Mapping[str, pd.DataFrame],
        as_of: date,
        own_from: date | None = None,
    ) -> ResponseCurves | None:
        lifts = weekly_lifts(
            holdout=facts["holdout"],
            performance=facts["performance"],
            as_of=as_of,
            config=LiftConfig(adjust=False),
        )
        if lifts.empty:
            return None
        spend = daily_spend(facts["performance"], as_of=as_of)
        try:
            fitted = fit_response(FitFeeds(lifts, spend), POOLED)
        except InsufficientEvidence:
            return None
        curves: ResponseCurves = fitted.curves
        return curves


def plan_plainly(
    settings: Settings,
    *,
    curves: ResponseCurves | None,
    incumbent: Policy,
    frozen: Frozen,
    evidence: PlanEvidence,
    slow: Slow,
) -> Plan:
    """The plain optimum of expected profit under the rules, whatever else the loop weighs."""
    from liftloop.core.curves.gain import Estimate

    if curves is None:
        return Plan(incumbent, Estimate(0.0, 0.0, 0.0), {}, "No response is known yet.")
    found = allocate(
        curves=curves,
        rules=rules_of(settings, incumbent, frozen, slow, as_of=evidence.as_of),
        incumbent=incumbent,
        margin=settings.budget.margin,
    )
    return Plan(found.policy, found.expected_gain, {}, "The plain optimum.")


def steps_of(weeks: int, cycle_days: int) -> Sequence[int]:
    """How many days each cycle's budgets stand, ``weeks`` weeks in all."""
    days = 7 * weeks
    whole, rest = divmod(days, cycle_days)
    return [cycle_days] * whole + ([rest] if rest else [])


def drive(market: CheckedMarket, plans: Plans, steps: Sequence[int]) -> None:
    """Let a plan that needs no facts run on ``market``."""
    from liftloop.app.backtest.market import budgets_frame

    now, day = market.policy, market.start
    for days in steps:
        now = plans(day, now, {})
        market.step(budgets_frame(now), days)
        day += timedelta(days=days)
