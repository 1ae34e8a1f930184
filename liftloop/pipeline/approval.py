"""Which rules a plan meets that make it wait for a person: the one answer of production, of budgets
set by hand and of backtests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from liftloop.core.access.escalation import Escalation, PlanTraits, Trigger, rules_met
from liftloop.core.curves.gain import share_moved
from liftloop.core.policy import Policy
from liftloop.core.rollout.allowance import Promise, at_risk, believe
from liftloop.core.rollout.state import Transition
from liftloop.pipeline.rollout import RolloutDecision, RolloutInputs
from liftloop.pipeline.rollout.evidence import (
    baseline_of,
    expected_of,
    horizon_days,
    lost_lately,
    promise_of,
    promised_ahead,
    room,
)

NOTHING = Promise(0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanToApprove:
    """A plan that a person may have to be asked for.

    Attributes
    ----------
    policy, instead_of
        The whole plan for all segments, and the budgets it was made from.
    share
        Of the money that it moves.
    is_approved
        Whether a person approved the plan that more segments get.
    rolled_back_days
        Days since a model was last taken back; None: none was.
    """

    policy: Policy
    instead_of: Policy
    share: float
    is_approved: bool = False
    rolled_back_days: int | None = None


def escalation_of(inputs: RolloutInputs, found: RolloutDecision, plan: PlanToApprove) -> Escalation:
    """What the rules ask before a decision takes effect: nothing of one that brings no plan to any
    segment."""
    if not inputs.settings.escalation_rules or not (found.begins or found.widens):
        return Escalation()
    after, before = plan.policy, plan.instead_of
    moved = 0.0
    if found.widens:
        moved = share_moved(found.settlement.policy, inputs.in_force)
        if not found.begins:
            after, before = found.settlement.policy, inputs.in_force
    traits = _traits(inputs, after, before, step=found.step)
    return rules_met(
        replace(
            traits,
            share=found.share_to_approve(plan.share, inputs.in_force, approved=plan.is_approved),
            widened=moved,
            rolled_back_days=plan.rolled_back_days,
        ),
        inputs.settings.escalation_rules,
    )


def escalation_at_once(
    inputs: RolloutInputs, plan: PlanToApprove, *, rolled_back_days: int | None = None
) -> Escalation:
    """What the rules ask of budgets that a person puts in force in all segments."""
    if not inputs.settings.escalation_rules:
        return Escalation()
    traits = _traits(inputs, plan.policy, plan.instead_of, step=None)
    return rules_met(
        replace(traits, share=plan.share, rolled_back_days=rolled_back_days),
        inputs.settings.escalation_rules,
    )


def _traits(
    inputs: RolloutInputs, after: Policy, before: Policy, *, step: Transition | None
) -> PlanTraits:
    """What of a plan the figures of the day tell, as far as rules look at it."""
    looks_at = {rule.trigger for rule in inputs.settings.escalation_rules}
    return PlanTraits(
        risk=_risk(inputs, after, before, step) if Trigger.RISK in looks_at else None,
        new_channels=_new_channels(after, before),
        confidence=(
            _confidence(inputs, after, before) if Trigger.LOW_CONFIDENCE in looks_at else None
        ),
        fall=_fall(step),
    )


def _new_channels(after: Policy, before: Policy) -> tuple[str, ...]:
    funded = {cell.channel for cell, amount in before.budgets if amount > 0}
    return tuple(sorted({cell.channel for cell, amount in after.budgets if amount > 0} - funded))


def _confidence(inputs: RolloutInputs, after: Policy, before: Policy) -> float | None:
    """Probability that a plan loses nothing; None where no response is known."""
    if after.version == before.version:
        return 1.0
    if inputs.curves is None:
        return None
    mean, spread = expected_of(inputs, after, before)
    if spread <= 0:
        return float(mean >= 0)
    return NormalDist().cdf(mean / spread)


def _risk(
    inputs: RolloutInputs, after: Policy, before: Policy, step: Transition | None
) -> float | None:
    """Share of the allowance in use with a plan; None where nothing may be lost."""
    risk = step.after.risk if step is not None else None
    if risk is not None:
        return risk.in_use / risk.allowance if risk.allowance > 0 else None
    allowance, _ = room(inputs, baseline_of(inputs, {cell.segment for cell in after.cells}))
    if allowance <= 0:
        return None
    ahead = promised_ahead(inputs, promise_of(inputs, after, before), horizon_days(inputs.settings))
    record = inputs.ended[-1].state.record if inputs.ended else ()
    plausible = at_risk(believe(record), past=NOTHING, ahead=ahead)
    return (plausible + lost_lately(inputs)[0]) / allowance


def _fall(step: Transition | None) -> float | None:
    """By which share the measured profit of the rollout under way lies below what the budgets
    that it replaced earn in its days; None where nothing is measured."""
    if step is None or step.after.risk is None:
        return None
    state, risk = step.after, step.after.risk
    earned = state.baseline * (step.on - state.reference_on).days
    if earned <= 0 or not math.isfinite(risk.standard_error):
        return None
    return -risk.measured / earned
