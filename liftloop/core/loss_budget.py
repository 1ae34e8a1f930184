"""The loss budget: how much money a rollout may be expected to have lost before it goes back."""

from __future__ import annotations

import math
from datetime import date

from liftloop.core.evidence import CanaryEvidence
from liftloop.core.finite_horizon import calibrate
from liftloop.core.guardrails import ALPHA_SHARES, GuardrailVerdict, review
from liftloop.core.profit import ProfitRule, money_at_risk, unmeasurable

NAME = "loss budget"


def default_budget(evidence: CanaryEvidence, *, alpha: float) -> float | None:
    """What a policy that changes nothing seems to lose in at most 1 % of the rollouts, by chance
    (a fifth of ``alpha`` where that is less), and more rarely before the profit guardrail fails:
    the budget's part of ``alpha``, the error probability of the whole rollout.

    The expected loss of such a policy is a Brownian motion over its information, times what is at
    stake: its highest value over all planned looks is simulated (seeded) at the noise that was
    known before the start. Account currency; None without a plan.
    """
    plan = evidence.plan
    if plan is None or not (plan.information > 0 and evidence.baseline > 0):
        return None
    found = calibrate(
        plan.looks,
        plan.before_days,
        plan.wait_days,
        ALPHA_SHARES["incremental profit"] * alpha,
        money_chance=min(0.01, 0.2 * alpha),
        money_adds=ALPHA_SHARES[NAME] * alpha,
        lead=plan.lead,
    )
    return found.money * evidence.baseline / math.sqrt(plan.information)


def judge_loss(
    evidence: CanaryEvidence,
    *,
    now: date,
    days_live: int,
    rule: ProfitRule,
    budget: float | None = None,
) -> GuardrailVerdict:
    """The guardrail on money lost so far: past the budget the rollout goes back at once.

    Parameters
    ----------
    days_live : days in force so far, for evidence that does not know what was at stake
    budget : account currency, > 0; default :func:`default_budget`
    """
    why = unmeasurable(evidence, now, rule)
    if why:
        return review(NAME, why)
    allowed = default_budget(evidence, alpha=rule.alpha) if budget is None else budget
    risk = money_at_risk(evidence, days_live=days_live, rule=rule)
    if risk is None or allowed is None or not (math.isfinite(allowed) and allowed > 0):
        return review(NAME, "No loss budget is set, and none can be computed without a plan.")
    numbers: dict[str, float | str] = {
        "expected_loss": risk.expected,
        "upper_bound": risk.upper,
        "budget": allowed,
    }
    seen = (
        f"Expected loss so far {risk.expected:,.0f}, at most {risk.upper:,.0f} "
        f"({1 - rule.alpha:.0%} bound), of a budget of {allowed:,.0f}."
    )
    if risk.expected > allowed:
        return GuardrailVerdict(NAME, "fail", "roll_back", f"{seen} It is used up.", numbers)
    return GuardrailVerdict(NAME, "pass", "promote", seen, numbers)
