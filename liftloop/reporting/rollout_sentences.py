"""The sentences about a rollout: what is at risk, and what moves it forward, slows it or takes it
back, each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from liftloop.core.rollout.state import Risk, RolloutState

Verdicts = Sequence[Mapping[str, Any]]  # name, verdict, sentence, evidence
Numbers = Mapping[str, Any]
MOST_NAMES = 6
Z90 = 1.645
BY_HAND = "By hand: liftloop rollback."


@dataclass(frozen=True, slots=True)
class Terms:
    """The rules that the sentences speak of.

    Attributes
    ----------
    plan_days
        Days in which a plan is also judged by itself.
    plan_share
        The share of the allowance that a single plan may use.
    lost_share
        The share of the allowance whose expected loss takes the rollout back.
    shadow_days
        Days that a plan waits before a wave may follow it.
    proven_only
        Whether the allowance is 0: nothing goes on unproven.
    """

    currency: str
    plan_days: int
    plan_share: float
    lost_share: float
    shadow_days: int = 0
    proven_only: bool = False


def day_text(day: date) -> str:
    """A day for people: 2 March 2026."""
    return f"{day.day} {day:%B %Y}"


def named(names: Sequence[str]) -> str:
    """Names in a row, sorted; of many the first ones and how many more there are."""
    ordered = sorted(names)
    if len(ordered) > MOST_NAMES:
        return f"{', '.join(ordered[:MOST_NAMES])} and {len(ordered) - MOST_NAMES} more"
    if len(ordered) < 2:
        return "".join(ordered)
    return f"{', '.join(ordered[:-1])} and {ordered[-1]}"


def evidence_of(verdicts: Verdicts, name: str) -> Numbers:
    """The numbers behind a guardrail's verdict; none where it was not asked."""
    found: Numbers = next((v.get("evidence", {}) for v in verdicts if v["name"] == name), {})
    return found


# -- amounts --------------------------------------------------------------------------------------


def allowance_sentence(risk: Risk, currency: str) -> str:
    """The allowance in one sentence: "Of 12,000 EUR at risk this quarter 3,400 are in use."."""
    if risk.allowance <= 0:
        return f"Nothing may be at risk; {_money(risk.in_use)} {currency} are in use."
    words = (
        f"Of {_money(risk.allowance)} {currency} at risk this quarter {_money(risk.in_use)} are in "
        "use"
    )
    lost = f", {_money(risk.lost)} of it lost by earlier plans" if round(risk.lost) > 0 else ""
    return f"{words}{lost}."


def measured_sentence(risk: Risk) -> str:
    """What was measured with its 90 % interval, and what was promised for the same days."""
    if not math.isfinite(risk.standard_error):
        return "No gain is measured yet."
    half = Z90 * risk.standard_error
    return (
        f"Measured so far: {risk.measured:+z,.0f} (90 % interval {risk.measured - half:+z,.0f} to "
        f"{risk.measured + half:+z,.0f}); promised: {risk.promised:+z,.0f}."
    )


def kept_sentence(risk: Risk) -> str:
    """The share of promised gains that comes true, as the record says."""
    return (
        f"Plans are believed to deliver {risk.kept:.0%} of what they promise (give or take "
        f"{risk.kept_sd:.0%})."
    )


def _money(amount: float) -> str:
    return f"{amount:z,.0f}"


# -- what moves it forward ------------------------------------------------------------------------


def what_goes_on(state: RolloutState, verdicts: Verdicts, terms: Terms) -> tuple[str, ...]:
    """What would move more plans into more segments, for a rollout that is under way."""
    found = []
    if state.stage == "paused":
        found.append(
            f"It is paused by {state.paused_by or 'a guardrail'}: liftloop resume --rollout "
            "lets it go on."
        )
    found += [
        f"Sample ratio must pass before a new plan enters. {v['sentence']}"
        for v in verdicts
        if v["name"] == "sample ratio" and v["verdict"] == "review"
    ]
    found.append(_next_place(state, terms))
    proof = _proof(state, verdicts, terms)
    return (*found, proof) if proof else tuple(found)


def _next_place(state: RolloutState, terms: Terms) -> str:
    waiting = max(state.plans, key=lambda plan: plan.number, default=None)
    if waiting and waiting.number > state.newest:
        entry = waiting.on + timedelta(days=terms.shadow_days)
        return (
            f"Plan {waiting.number} may enter the first wave from {day_text(entry)} on, if what it "
            "could lose fits the allowance."
        )
    if terms.proven_only:
        return (
            "The allowance is 0: a plan stays in the first wave, and no other enters, until a gain "
            "is proven."
        )
    left = ""
    if state.risk:
        left = f" ({_money(state.risk.left)} {terms.currency} are left)"
    if state.newest == state.oldest:
        what = "The next plan enters in as many waves"
    else:
        what = "With the next plan every wave moves up one place, in as many waves"
    return f"{what} as what could be lost allows{left}."


def _proof(state: RolloutState, verdicts: Verdicts, terms: Terms) -> str:
    """What a proof needs; "" where no plan is in force."""
    if state.newest == 0:
        return ""
    effect = (
        "then the gain is proven: it frees what is in use for it, and later plans are compared "
        "with the proven budgets"
    )
    numbers = evidence_of(verdicts, "incremental profit")
    now = f"{numbers['low']:+z,.0f} {terms.currency} now" if "low" in numbers else "none yet"
    base = state.plan(state.oldest)
    everywhere = "" if base else ", and a plan that has reached every wave"
    if base and base.version == state.reference:
        everywhere = ", and a newer plan that has reached every wave"
    return f"A measured gain with a lower bound above 0 ({now}){everywhere}: {effect}."


# -- what slows it --------------------------------------------------------------------------------


def what_slows(state: RolloutState, terms: Terms) -> tuple[str, ...]:
    """What would let fewer waves follow, for a rollout that is under way."""
    objection = (
        "A guardrail that objects to a plan, or a sample ratio that does not pass: no new plan "
        "enters."
    )
    risk = state.risk
    if terms.proven_only or risk is None:
        return (objection,)
    most = terms.plan_share * risk.allowance
    return (
        f"A plan that needs more than {_money(most)} {terms.currency} of the allowance "
        f"({terms.plan_share:.0%} of it), or more than is left: fewer waves follow it, or the "
        "first wave goes only part of its step.",
        f"Plans that deliver less than they promise ({risk.kept:.0%} so far): the next ones then "
        "need more of the allowance.",
        "More at risk than is allowed although nothing new enters: budgets go part of the way "
        "back.",
        objection,
    )


# -- what takes it back ---------------------------------------------------------------------------


def what_takes_back(state: RolloutState, verdicts: Verdicts, terms: Terms) -> tuple[str, ...]:
    """What would take it back, for a rollout that is under way; the last entry is by hand."""
    if state.newest == 0:
        return ("No segment has new budgets yet; liftloop rollback drops the plan.",)
    limits = [
        words(known)
        for name, needed, words in _LIMITS
        if needed in (known := evidence_of(verdicts, name))
    ]
    return (*_losses(state, verdicts, terms), *limits, BY_HAND)


def take_back_in_brief(state: RolloutState, verdicts: Verdicts, terms: Terms) -> str:
    """The same for a message: the limits of the other guardrails are named only."""
    if state.newest == 0:
        return " ".join(what_takes_back(state, verdicts, terms))
    names = [name for name, needed, _ in _LIMITS if needed in evidence_of(verdicts, name)]
    limits = [f"A guardrail that fails: {', '.join(names)}."] if names else []
    return " ".join((*_losses(state, verdicts, terms), *limits, BY_HAND))


def _losses(state: RolloutState, verdicts: Verdicts, terms: Terms) -> tuple[str, ...]:
    """Losses of profit that take it back."""
    numbers = evidence_of(verdicts, "incremental profit")
    now = f"{numbers['high']:+z,.0f} {terms.currency} now" if "high" in numbers else "none yet"
    found = (
        f"A measured loss: an upper bound of the gain below 0 ({now}).",
        f"One plan that measurably loses within its first {terms.plan_days} days.",
    )
    risk = state.risk
    if risk is None or risk.allowance <= 0:
        return found
    return (
        *found,
        f"An expected loss above {_money(terms.lost_share * risk.allowance)} {terms.currency} "
        f"({terms.lost_share:.0%} of the allowance), or any expected loss while more than the "
        f"allowance is at risk (expected so far: {risk.expected:+z,.0f}; at risk: "
        f"{_money(risk.in_use)}).",
    )


_LIMITS: tuple[tuple[str, str, Callable[[Numbers], str]], ...] = (
    (
        "revenue",
        "change_high",
        lambda n: (
            f"Sales that fell by more than {n['margin']:.0%} against the other segments (the upper "
            f"bound of the change is {n['change_high']:+z.1%})."
        ),
    ),
    (
        "cost per incremental conversion",
        "change_high",
        lambda n: (
            f"Incremental conversions per spend that fell by more than {n['margin']:.0%} (the "
            f"upper bound of the change is {n['change_high']:+z.0%})."
        ),
    ),
    (
        "spend pacing",
        "pacing_highest",
        lambda n: (
            f"A segment with new budgets that spends more than {n['over']:.0%} of them for a week "
            f"(the highest spends {n['pacing_highest']:.0%})."
        ),
    ),
    (
        "channel share",
        "share",
        lambda n: (
            f"A channel that grows past {n['limit']:.0%} of the spend of these segments (the "
            f"largest is {n['channel']} with {n['share']:.0%})."
        ),
    ),
)
