"""Why a step of a rollout goes as far as it does, in sentences with amounts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from liftloop.core.curves.gain import share_moved
from liftloop.core.experiments.lift_tests import listed
from liftloop.core.exploration.budget_variation import Variation
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import Risk
from liftloop.core.rollout.transitions import Exposure
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.pipeline.rollout.evidence import RolloutInputs, expected_of
from liftloop.reporting import held_plans


def in_words(risk: Risk, inputs: RolloutInputs) -> str:
    """The allowance for a marketer, in one sentence."""
    currency = inputs.settings.account.currency
    return (
        f"Of {risk.allowance:,.0f} {currency} at risk this quarter {risk.in_use:,.0f} are in use."
    )


def measured_words(risk: Risk, inputs: RolloutInputs) -> str:
    if not math.isfinite(risk.standard_error):
        return "No gain is measured yet."
    half = 1.645 * risk.standard_error
    return (
        f"Measured so far: {risk.measured:+z,.0f} (90 % interval {risk.measured - half:+z,.0f} to "
        f"{risk.measured + half:+z,.0f}); promised: {risk.promised:+z,.0f}."
    )


def held_words(
    inputs: RolloutInputs,
    objection: str,
    problem: str,
    blocked: Sequence[GuardrailVerdict],
    could: bool,
) -> str:
    """Why nothing moves today."""
    if objection:
        return f"The plan is held. {objection}"
    if blocked:
        return f"No new plan enters. {blocked[0].sentence}"
    if problem:
        return f"The budgets of the waves cannot be made: {problem}"
    if could:
        return "Nothing moves: what the next step could lose does not fit the allowance."
    return "Every wave has the newest plan."


def held_to_do(problem: str, blocked: Sequence[GuardrailVerdict], could: bool) -> str:
    """Who must do what before a plan that no guardrail on plans holds may enter."""
    if blocked:
        return held_plans.ARMS
    if problem:
        return held_plans.RULES
    return held_plans.ALLOWANCE if could else ""


def kept_words(inputs: RolloutInputs) -> str:
    first = inputs.as_of + timedelta(days=inputs.settings.rollout.shadow_days)
    return f"The new plan is kept: no segment follows it before {first}."


def variation_words(variation: Variation | None, inputs: RolloutInputs) -> str:
    """What varies on purpose, in a sentence; "" where nothing does."""
    if variation is None:
        return ""
    channels, most = variation.channels, max(pair.amount for pair in variation.pairs)
    currency, count = inputs.settings.account.currency, 2 * len(variation.pairs)
    return (
        f"To learn what {listed(channels)} earn{'s' * (len(channels) == 1)}, {count} cells differ "
        f"from their plan on purpose, by up to {most:,.0f} {currency} a day: a coin says which of "
        "two gets more, and no total changes. That costs about "
        f"{variation.cost / inputs.settings.cycle_days:,.1f} {currency} a day."
    )


def varied_cells(variation: Variation | None) -> dict[Cell, str]:
    """One sentence for each cell that varies."""
    if variation is None:
        return {}
    said = {}
    for pair in variation.pairs:
        amount, name = f"{pair.amount:,.2f} a day", pair.raised.channel
        why = f"to learn what {name} earns: a coin decided"
        said[pair.raised] = f"{amount} above its plan {why}, and {pair.lowered.segment} gets less."
        said[pair.lowered] = f"{amount} below its plan {why}, and {pair.raised.segment} gets more."
    return said


def moved_words(
    inputs: RolloutInputs,
    running: Running,
    option: Exposure,
    policy: Policy,
    plan_reason: str,
    objection: str,
) -> str:
    """Who gets what, and what it is expected to gain."""
    newest = max(option.positions)
    kept = option.share > 0 and newest <= max((p.number for p in running.state.plans), default=0)
    if kept and option.positions == running.state.positions:
        return f"{kept_words(inputs)} The budgets in force stay."
    if newest == 0:
        return (
            "A week on the budgets that the plan replaced, to measure what it gains: there is no "
            "holdout and no second segment to compare with."
        )
    first = [
        n for w, p in zip(running.waves, option.positions, strict=True) if p == newest for n in w
    ]
    everyone = len(set(option.positions)) == 1
    where = "all segments" if everyone else ", ".join(sorted(first))
    share = f" {option.share:.0%} of its step" if 0 < option.share < 1 else ""
    words = outcome_words(inputs.settings)
    before, after = (expected_of(inputs, p, running.reference) for p in (running.current, policy))
    news = (
        f"{kept_words(inputs)} The one before it is now in {where}."
        if kept
        else f"The new plan goes to {where}{',' if share else ''}{share}."
        if option.share > 0
        else f"The plan is held. {objection} The newest plan stays in {where}."
        if objection
        else f"The newest plan is now in {where}."
    )
    others = "" if everyone else " The other segments follow week by week."
    rate = after[0] - before[0]
    said = (
        f" {share_moved(policy, running.current):.1%} of the money moves today; expected "
        f"{words.gain(rate)} {words.gain_label} a day."
    )
    entered = option.share > 0 and not kept
    whole = f" The whole plan: {plan_reason[:1].lower()}{plan_reason[1:]}" if entered else ""
    return f"{news}{others}{said}{whole}"
