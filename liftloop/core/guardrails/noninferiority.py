"""Statistical guardrails beside profit: a metric of the exposed segments must not fall by more than
its margin, against what the control segments did.

The verdict has its roll-back line at the margin:

fail     the whole confidence sequence lies below ``-margin`` (valid at all looks together), so a
         policy that is within its margin is rolled back ever with probability <= alpha
pass     ``proven``: the whole sequence lies above ``-margin``; ``expected``: the prediction, taken
         as a sceptical prior that can never pass alone, and the evidence leave a fall beyond the
         margin a probability of at most ``alpha_pass``
else     undecided; and what cannot be measured is REVIEW
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

from liftloop.core.guardrails.verdict import GuardrailVerdict, review
from liftloop.core.inference.sequential import (
    EffectBelief,
    confidence_bounds,
    mixture_precision,
    sceptical_prior,
    update,
)


@dataclass(frozen=True, slots=True)
class MetricChange:
    """What a metric of the exposed set did against the control set, at the last look.

    ``effect`` and ``standard_error`` are shares of ``level``, the set's own level before the start
    (``unit`` a day); a positive effect is better. ``problem`` says why nothing can be judged, or is
    "". ``covered`` names the exposed segments that have evidence.
    """

    effect: float = math.nan
    standard_error: float = math.nan
    level: float = math.nan
    day: date | None = None
    days: int = 0
    covered: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRule:
    """When a change rolls back and when it lets pass.

    Attributes
    ----------
    alpha : probability to roll back, ever, a policy whose fall is within the margin
    margin : tolerated fall, share of the level before, > 0
    alpha_pass : probability of a fall beyond the margin that may be left when it passes
    promotion : "expected" joins a sceptical prior with the evidence; "proven" asks the lower bound
        alone
    stale_days : evidence whose last day is older is no evidence
    """

    alpha: float
    margin: float
    alpha_pass: float = 0.05
    promotion: Literal["expected", "proven"] = "expected"
    stale_days: int = 21


def _unmeasurable(change: MetricChange, now: date, rule: ChangeRule) -> str:
    if change.problem:
        return change.problem
    if change.day is None:
        return "No day counts yet."
    numbers = (change.effect, change.standard_error, change.level)
    if not all(math.isfinite(x) for x in numbers) or change.standard_error <= 0:
        return "The change is not a finite number with a standard error."
    if change.level <= 0:
        return "The level before the start is not positive."
    if (now - change.day).days > rule.stale_days:
        return f"The last day with evidence is {change.day}, more than {rule.stale_days} days ago."
    return ""


def judge_change(
    change: MetricChange,
    *,
    name: str,
    what: str,
    now: date,
    rule: ChangeRule,
    prior: tuple[float, float] | None = None,
) -> GuardrailVerdict:
    """The guardrail ``name`` on one metric.

    Parameters
    ----------
    what : the metric in words that begin a sentence, such as "Sales of the exposed segments"
    prior : predicted change and its standard deviation, shares of the level; None: no prediction

    Raises nothing: what cannot be measured (missing, immature, not finite, stale) is REVIEW.
    """
    why = _unmeasurable(change, now, rule)
    if why:
        return review(name, why)
    assert change.day is not None
    rho = mixture_precision(2 * rule.margin)
    bounds = confidence_bounds(change.effect, change.standard_error, rho=rho, alpha=rule.alpha)
    proven = confidence_bounds(
        change.effect, change.standard_error, rho=rho, alpha=rule.alpha_pass
    ).low
    said, sd = prior or (0.0, 0.0)
    belief = update(
        sceptical_prior(said, sd, margin=rule.margin, confidence=1 - rule.alpha_pass),
        change.effect,
        change.standard_error,
    )
    numbers: dict[str, float | str] = {
        "day": change.day.isoformat(),
        "days": float(change.days),
        "level": change.level,
        "relative_change": change.effect,
        "relative_error": change.standard_error,
        "change_low": bounds.low,
        "change_high": bounds.high,
        "belief_low": belief.quantile(rule.alpha_pass),
        "margin": rule.margin,
        "alpha": rule.alpha,
        "segments": ", ".join(change.covered),
    }
    seen = (
        f"{what} changed by {change.effect:+z.1%} against the control after {change.days} days, "
        f"between {bounds.low:+z.1%} and {bounds.high:+z.1%}."
    )
    if bounds.high < -rule.margin:
        words = f"{seen} The whole range is below the tolerated {-rule.margin:.0%}."
        return GuardrailVerdict(name, "fail", "roll_back", words, numbers)
    if _passes(belief, proven, rule):
        worse = 1 - belief.above(-rule.margin)
        words = f"{seen} A fall beyond {rule.margin:.0%} has a probability of {worse:.1%}."
        return GuardrailVerdict(name, "pass", "promote", words, numbers)
    words = f"{seen} A fall beyond the tolerated {rule.margin:.0%} is not ruled out yet."
    return GuardrailVerdict(name, "undecided", "hold", words, numbers)


def _passes(belief: EffectBelief, proven: float, rule: ChangeRule) -> bool:
    if rule.promotion == "proven":
        return proven > -rule.margin
    return belief.quantile(rule.alpha_pass) > -rule.margin
