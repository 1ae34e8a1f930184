"""The guardrail on incremental profit: what a canary's evidence proves, and what it risks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.finite_horizon import Plan, spent
from liftloop.core.guardrails import GuardrailVerdict, review
from liftloop.core.sequential import (
    Belief,
    Bounds,
    confidence_bounds,
    gain_log_e_value,
    loss_log_e_value,
    mixture_precision,
    sceptical_prior,
    update,
)


@dataclass(frozen=True, slots=True)
class ProfitRule:
    """When incremental profit promotes and when it rolls back.

    Roll back when the confidence sequence shows a loss: its upper bound is below zero (e-value of a
    loss >= 1/alpha). A policy that changes nothing is rolled back ever with probability <= alpha,
    however often one looks.

    Promote, by ``promotion``:

    ``expected`` (the default)
        two things together. The canary's own evidence rules out a grave loss: the lower bound of
        the sequence is above ``-grave_loss``, so a policy that loses more passes ever with
        probability <= alpha_pass. And the belief that joins the model's prediction, taken as a
        sceptical prior, with that evidence leaves a loss beyond the margin a probability of at most
        alpha_pass. The prediction alone can never pass. Between the margin and the grave loss this
        is a weighing of what is likely, not an error guarantee: benchmarks/canary.py shows how
        often such policies pass.
    ``proven``
        the lower bound is above ``-margin``: a policy worse than that passes ever with probability
        <= alpha_pass. With the noise of a few canary segments this takes months.

    Attributes
    ----------
    alpha : probability to roll back, ever, a policy that changes nothing
    alpha_pass : probability to let pass, ever, one that loses too much: another error, which takes
        nothing from ``alpha``
    margin : tolerated loss, share of the canary's incremental revenue (times margin) before the
        start
    grave_loss : loss, as such a share, that only the canary's own evidence can rule out
    effect_scale : size of loss, as such a share, that the test is tuned to notice soonest
    stale_days : evidence whose last day is older than this is no evidence
    """

    alpha: float = 0.05
    margin: float = 0.1
    grave_loss: float = 0.3
    effect_scale: float = 0.4
    promotion: Literal["expected", "proven"] = "expected"
    stale_days: int = 21
    alpha_pass: float = 0.05


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says the new policy gains, as a share of the canary's baseline."""

    gain: float = 0.0
    sd: float = 0.0


def unmeasurable(evidence: CanaryEvidence, now: date, rule: ProfitRule) -> str:
    look = evidence.last
    if evidence.problem:
        return evidence.problem
    if look is None:
        return "No day of the canary counts yet."
    numbers = (look.effect, look.standard_error, evidence.baseline)
    if not all(math.isfinite(x) for x in numbers) or look.standard_error <= 0:
        return "The canary's effect is not a finite number with a standard error."
    if evidence.baseline <= 0:
        return "The canary's incremental revenue before the start is not positive."
    if (now - look.day).days > rule.stale_days:
        return f"The last day with evidence is {look.day}, more than {rule.stale_days} days ago."
    return ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a measurable canary stands at one look; effects are shares of the baseline.
    ``floor`` is the lower bound that passing asks for; ``threshold`` is what an e-value must
    pass."""

    effect: float
    standard_error: float
    bounds: Bounds
    floor: float
    threshold: float
    loss_e_value: float
    gain_e_value: float
    belief: Belief


def standing(
    look: Look,
    baseline: float,
    rule: ProfitRule,
    prediction: Prediction | None = None,
    plan: Plan | None = None,
) -> Standing:
    """The confidence bounds, e-values and belief at ``look``, relative to ``baseline``.

    With a ``plan`` the boundary is the tightest that keeps the rule's alpha over the rollout's
    planned looks; without one it holds for all time and is tuned to ``effect_scale``.
    """
    effect, error = look.effect / baseline, look.standard_error / baseline
    rho = mixture_precision(rule.effect_scale) if plan is None else plan.precision
    alpha, alpha_pass = (
        a if plan is None else spent(plan, error**-2, a) for a in (rule.alpha, rule.alpha_pass)
    )
    said = prediction or Prediction()
    prior = sceptical_prior(said.gain, said.sd, margin=rule.margin, confidence=1 - rule.alpha_pass)
    return Standing(
        effect,
        error,
        confidence_bounds(effect, error, rho=rho, alpha=alpha),
        confidence_bounds(effect, error, rho=rho, alpha=alpha_pass).low,
        1 / alpha,
        math.exp(min(loss_log_e_value(effect, error, rho=rho), 700.0)),
        math.exp(min(gain_log_e_value(effect, error, rho=rho, tolerated=rule.margin), 700.0)),
        update(prior, effect, error),
    )


def _passes(at: Standing, rule: ProfitRule) -> bool:
    if rule.promotion == "proven":
        return at.floor > -rule.margin
    return (
        at.floor > -max(rule.grave_loss, rule.margin)
        and at.belief.quantile(rule.alpha_pass) > -rule.margin
    )


def judge_profit(
    evidence: CanaryEvidence,
    *,
    now: date,
    rule: ProfitRule,
    prediction: Prediction | None = None,
) -> GuardrailVerdict:
    """The guardrail on incremental profit per day, canary against control.

    Raises nothing: what cannot be measured (missing, immature, not finite, stale) is REVIEW.
    """
    name = "incremental profit"
    why = unmeasurable(evidence, now, rule)
    if why:
        return review(name, why)
    look = evidence.last
    assert look is not None
    at = standing(look, evidence.baseline, rule, prediction, evidence.plan)
    numbers: dict[str, float | str] = {
        "day": look.day.isoformat(),
        "days": float(look.days),
        "effect": look.effect,
        "standard_error": look.standard_error,
        "baseline": evidence.baseline,
        "relative_effect": at.effect,
        "low": at.bounds.low,
        "high": at.bounds.high,
        "loss_e_value": at.loss_e_value,
        "gain_e_value": at.gain_e_value,
        "belief_mean": at.belief.mean,
        "belief_low": at.belief.quantile(rule.alpha_pass),
        "threshold": at.threshold,
        "margin": rule.margin,
    }
    days = "1 day that counts" if look.days == 1 else f"{look.days} days that count"
    seen = (
        f"After {days} the canary's incremental profit stands at {at.effect:+z.0%} of its "
        f"revenue before, between {at.bounds.low:+z.0%} and {at.bounds.high:+z.0%}."
    )
    if at.bounds.high < 0:
        return GuardrailVerdict(
            name,
            "fail",
            "roll_back",
            f"{seen} It loses money: the whole range is below zero.",
            numbers,
        )
    if _passes(at, rule):
        how = (
            f"the whole range is above the tolerated loss of {rule.margin:.0%}"
            if rule.promotion == "proven"
            else f"it shows no loss of {rule.grave_loss:.0%}, and with the model's prediction one "
            f"of more than {rule.margin:.0%} has a "
            f"probability of {1 - at.belief.above(-rule.margin):.1%}, at most {rule.alpha_pass:.1%}"
        )
        return GuardrailVerdict(name, "pass", "promote", f"{seen} It may go on: {how}.", numbers)
    return GuardrailVerdict(
        name, "undecided", "hold", f"{seen} {what_would_decide(at, rule)}", numbers
    )


def what_would_decide(at: Standing, rule: ProfitRule) -> str:
    """Plain words for what the next looks would have to show, at the precision of now."""
    half, below = at.bounds.high - at.effect, at.effect - at.floor
    if rule.promotion == "proven":
        needed = below - rule.margin
    else:
        # Solve belief.quantile(alpha) = -margin for the effect, at this standard error.
        evidence_weight = at.standard_error**-2
        total = at.belief.sd**-2
        prior_pull = at.belief.mean * total - at.effect * evidence_weight
        reach = at.belief.quantile(rule.alpha_pass) - at.belief.mean
        believed = ((-rule.margin - reach) * total - prior_pull) / evidence_weight
        needed = max(believed, below - max(rule.grave_loss, rule.margin))
    return (
        f"An effect above {needed:+z.0%} would promote it, one below {-half:+z.0%} would roll it "
        "back; both limits draw nearer with each day."
    )


@dataclass(frozen=True, slots=True)
class MoneyAtRisk:
    """What the canary may have cost so far, in account currency; 0 where it gained."""

    expected: float
    upper: float
    sentence: str


def money_at_risk(
    evidence: CanaryEvidence, *, days_live: int, rule: ProfitRule
) -> MoneyAtRisk | None:
    """Loss so far, as expected and at most (at all looks together, probability 1 - alpha).

    None while nothing can be measured.
    """
    look = evidence.last
    if look is None or unmeasurable(evidence, look.day, rule):
        return None
    bounds = standing(look, evidence.baseline, rule, plan=evidence.plan).bounds
    stake = evidence.at_stake or evidence.baseline * days_live
    expected = max(-look.effect / evidence.baseline, 0.0) * stake
    upper = max(-bounds.low, 0.0) * stake
    return MoneyAtRisk(
        expected,
        upper,
        f"So far the canary has cost about {expected:,.0f}, and at most {upper:,.0f} "
        f"({1 - rule.alpha:.0%} bound), over {days_live} days.",
    )
