"""Which budgets vary on purpose in a cycle, by the settings and facts of the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.curves.gain import share_moved
from liftloop.core.curves.interacting import separable_at
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.exploration.budget_variation import (
    Limits,
    Variation,
    VariationRequest,
    vary,
    worthwhile,
)
from liftloop.core.ids import key
from liftloop.core.inference.panels import two_way_noise
from liftloop.core.money.currencies import budget_unit
from liftloop.core.policy import Cell
from liftloop.core.rollout.allowance import PLAN_SHARE
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.transitions import Exposure
from liftloop.pipeline.plan.explore import cycle_noise
from liftloop.pipeline.rollout.evidence import (
    Observed,
    RolloutInputs,
    at_risk_with,
    promise_of,
    room,
)
from liftloop.pipeline.rollout.waves import StagedBudgets, stage_of, staged_budgets
from liftloop.pipeline.weekly_sales import weekly_sales

LEAST_WEEKS, LEAST_SEGMENTS = 6, 2
POOLED_WEEKS = 12.0  # the weight of all segments in the noise of one


def with_variation(
    inputs: RolloutInputs,
    running: Running,
    observed: Observed,
    chosen: StagedBudgets | None,
    *,
    still: bool,
) -> tuple[StagedBudgets | None, Variation | None]:
    """What was chosen, with the day's variation where it leaves the room that a plan may need.

    Where nothing moves (None), budgets vary around what the waves follow now, and go back to that
    once nothing varies any more.

    Parameters
    ----------
    still
        Nothing new varies today.
    """
    state, most = running.state, inputs.settings.exploration.vary
    option = chosen.option if chosen else Exposure(state.positions)
    kept = chosen is not None and chosen.plan is not None and option.positions == state.positions
    if max(option.positions) == 0 or kept or (most <= 0 and not state.varied):
        return chosen, None  # nobody follows a plan yet, or the new one only waits
    try:
        plain = chosen or staged_budgets(inputs, running, option)
    except InfeasibleBudget:
        return None, None
    found = None if still or most <= 0 else _drawn(inputs, running, plain)
    if found is not None:
        promise = promise_of(inputs, found.policy, running.reference)
        allowance, left = room(inputs, state.baseline)
        if at_risk_with(inputs, observed, promise) <= left - PLAN_SHARE * allowance:
            return replace(plain, policy=found.policy, promise=promise), found
    back = state.varied and plain.policy.version != running.current.version
    return (plain if chosen or back else None), None


def _drawn(inputs: RolloutInputs, running: Running, plain: StagedBudgets) -> Variation | None:
    """The budgets of ``plain`` with the day's coins; None where nothing is worth varying, or so
    much money would have to be approved."""
    budget = inputs.settings.budget
    if inputs.curves is None or budget.objective != "expected_profit":
        return None
    request = variation_request(inputs, running)
    if len(request.noise) < LEAST_SEGMENTS:
        return None
    stage, now = stage_of(inputs, running, plain.plan).rules(), running.current
    answers = worthwhile(
        separable_at(inputs.curves, now), now, replace(stage, total=now.total), request
    )
    found = vary(
        separable_at(inputs.curves, plain.policy),
        plain.policy,
        Limits(now, replace(stage, total=plain.policy.total)),
        answers,
        request,
        seed=key("vary", running.state.rollout_id, inputs.as_of),
    )
    unasked = inputs.settings.moves_unasked
    if found is None or (unasked is not None and share_moved(found.policy, plain.policy) > unasked):
        return None
    return found


def variation_request(inputs: RolloutInputs, running: Running) -> VariationRequest:
    """How far and for what this account's budgets may vary on the day."""
    settings, facts = inputs.settings, inputs.facts
    cycle_days = settings.cycle_days
    tested: frozenset[Cell] = frozenset()
    if len(facts["holdout"]):
        noise = cycle_noise(
            facts["holdout"], facts["performance"], as_of=inputs.as_of, cycle_days=cycle_days
        )
        tested = frozenset(noise)
    return VariationRequest(
        most=settings.exploration.vary,
        unit=budget_unit(settings.account.currency),
        cycles=7 * settings.exploration.horizon_weeks // cycle_days - 1,
        cycle_days=cycle_days,
        margin=settings.budget.margin,
        noise=segment_noise(
            facts["sales"], segments=running.segments, as_of=inputs.as_of, cycle_days=cycle_days
        ),
        tested=tested,
    )


def segment_noise(
    sales: pd.DataFrame, *, segments: tuple[str, ...], as_of: date, cycle_days: int
) -> dict[str, float]:
    """Segment -> standard error of its revenue a day over one cycle, account currency, less its own
    level and what a week brings to all segments; {} where too little is known."""
    weeks = weekly_sales(sales, segments=segments, as_of=as_of)
    names = sorted(weeks)
    table = np.array([weeks[name] for name in names]).T / 7.0  # a day
    if len(names) < LEAST_SEGMENTS or len(table) < LEAST_WEEKS:
        return {}
    level = table.mean(axis=0)
    if not (level > 0).all():
        return {}
    _, variance = two_way_noise(table / level, pooled=POOLED_WEEKS)
    error = level * np.sqrt(variance * 7.0 / cycle_days)
    return {name: float(x) for name, x in zip(names, error, strict=True) if x > 0}
