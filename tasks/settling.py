"""What takes effect, decided without ledger or Delta: whether the facts are sound, how a plan
enters, how a running rollout is judged. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from liftloop.adapters.settings import Rollout, Settings
from liftloop.core.blending import blend
from liftloop.core.canary import CanaryChoice, choose_canary
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import gain, spends
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.evidence import CanaryEvidence, canary_evidence, combine
from liftloop.core.guardrails import judge_health
from liftloop.core.policy import Policy
from liftloop.core.profit import Prediction, ProfitRule, judge_profit
from liftloop.core.rollout import RolloutConfig, Transition, advance, start
from liftloop.core.rules import limits_inside
from liftloop.core.sales_contrast import sales_evidence
from liftloop.core.settlement import Running, Settlement, at_once, begin, stay
from models.lift import LiftConfig, weekly_lifts
from monitoring.data_health import HealthConfig, health
from monitoring.verdicts import HealthVerdict
from tasks.planning import rules_of


@dataclass(frozen=True, slots=True)
class Entry:
    """How a plan enters: what takes effect, and the rollout's first step if it begins one."""

    settlement: Settlement
    step: Transition | None = None
    choice: CanaryChoice | None = None


def enter(
    settings: Settings,
    *,
    proposed: Policy,
    incumbent: Policy,
    reason: str,
    as_of: date,
    rollout_id: str,
    seed: int,
    barred_until: date | None,
) -> Entry:
    """A new plan: at once, or its canary, or a hold.

    Parameters
    ----------
    rollout_id, seed
        Of the rollout that may begin; the seed draws its canary segments.
    barred_until
        Until when this plan may not come again because it was rolled back.
    """
    rules = settings.rollout
    if proposed.version == incumbent.version or not rules.enabled:
        return Entry(at_once(proposed, incumbent, reason))
    if barred_until and barred_until > as_of:
        why = f"This plan was rolled back; it is barred until {barred_until}."
        return Entry(stay(incumbent, why))
    choice = choose_canary(sizes_of(incumbent), share=rules.canary_share, seed=seed)
    if choice.problem:
        return Entry(stay(incumbent, choice.problem))
    try:
        mixed = blend(
            incumbent,
            proposed,
            set(choice.canary),
            max_step=settings.budget.max_step,
            bounds=limits_inside(
                rules_of(settings, incumbent, ()), proposed=proposed, incumbent=incumbent
            ),
        )
    except InfeasibleBudget as conflict:
        return Entry(stay(incumbent, str(conflict)))
    if mixed.policy.version == incumbent.version:
        why = "Inside the canary segments the plan moves nothing: the budgets stay."
        return Entry(stay(incumbent, why))
    told = (
        f"{reason} It is tried in {', '.join(choice.canary)} first "
        f"({choice.spend_share:.0%} of the spend); {mixed.waiting:+,.2f} a day waits to cross into "
        f"these segments until it has proved itself."
    )
    step = start(rollout_id, on=as_of, reason=told, canary=choice.canary)
    return Entry(begin(mixed.policy, choice, told), step, choice)


def sizes_of(incumbent: Policy) -> dict[str, float]:
    """Daily spend of each segment."""
    sizes: dict[str, float] = {}
    for cell, amount in incumbent.budgets:
        sizes[cell.segment] = sizes.get(cell.segment, 0.0) + float(amount)
    return sizes


def feed_health(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    policy: Policy,
    as_of: date,
    in_force_since: date | None,
) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then."""
    return health(
        facts["performance"],
        policy=policy,
        as_of=as_of,
        holdout=facts["holdout"],
        in_force_since=in_force_since,
        config=HealthConfig(max_lag_days=settings.data.max_lag_days),
    )


def seen_in_canary(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    running: Running,
    as_of: date,
    baseline: float | None,
) -> CanaryEvidence:
    """What the canary shows so far: holdout lifts, joined by sales where they are reported.

    Parameters
    ----------
    facts
        ``holdout``, ``performance`` and ``sales`` as known on ``as_of``.
    baseline
        As of :func:`baseline_of`.
    """
    window: dict[str, Any] = {
        "canary": running.canary,
        "control": running.control,
        "started_on": running.state.started_on,
        "as_of": as_of,
        "wait_days": settings.rollout.wait_days,
        "revenue_margin": settings.budget.margin,
    }
    lifts = weekly_lifts(
        holdout=facts["holdout"],
        performance=facts["performance"],
        sales=facts["sales"],
        as_of=as_of,
        config=LiftConfig(adjust=False),
    )
    found = canary_evidence(lifts, **window, baseline=baseline)
    if facts["sales"].empty:
        return found
    sold = sales_evidence(
        facts["sales"], **window, baseline=found.baseline, canary_spend=found.canary_spend
    )
    return combine(found, sold)


def baseline_of(curves: ResponseCurves | None, *, running: Running, margin: float) -> float | None:
    """The canary's incremental revenue per day under the incumbent, times the margin, as the curves
    said when the rollout began: what losses are measured against. None without a model."""
    if curves is None:
        return None
    revenue = curves.mean_revenue(spends(running.incumbent, curves))
    inside = [cell.segment in running.canary for cell in curves.cells]
    return margin * float(revenue[inside].sum())


def predicted(
    curves: ResponseCurves | None, *, running: Running, evidence: CanaryEvidence, margin: float
) -> Prediction | None:
    """The gain that the curves predicted when the rollout began, as a share of the baseline."""
    if curves is None or not evidence.baseline > 0:
        return None
    said = gain(curves, policy=running.current, incumbent=running.incumbent, margin=margin)
    spread = (said.high - said.low) / (2 * 1.645)
    return Prediction(said.mean / evidence.baseline, spread / evidence.baseline)


def profit_rule(settings: Rollout) -> ProfitRule:
    """The guardrail on incremental profit, as configured."""
    return ProfitRule(alpha=settings.alpha, margin=settings.margin)


def judge(
    settings: Settings,
    *,
    running: Running,
    as_of: date,
    evidence: CanaryEvidence,
    prediction: Prediction | None,
    facts_health: HealthVerdict,
) -> Transition:
    """The next step of a running rollout, by its evidence and by the health of its data."""
    rules = settings.rollout
    verdicts = [
        judge_profit(evidence, now=as_of, rule=profit_rule(rules), prediction=prediction),
        judge_health(facts_health.paused_segments, canary=running.canary, control=running.control),
    ]
    config = RolloutConfig(
        min_days=rules.min_days,
        max_days=rules.max_days,
        inconclusive=rules.inconclusive,
        cooldown_days=rules.cooldown_days,
    )
    return advance(running.state, evidence, verdicts, as_of, config, running.waves)
