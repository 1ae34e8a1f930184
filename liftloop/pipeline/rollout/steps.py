"""The steps of a stream of plans: how far a plan goes, what is proven, what is taken back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from liftloop.core.currencies import budget_unit
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.policy import Policy
from liftloop.core.rollout.allowance import (
    PLAN_SHARE,
    RETREATS,
    Kept,
    Promise,
    at_risk,
    exhausted,
    expects_loss,
)
from liftloop.core.rollout.assignment import CanaryChoice
from liftloop.core.rollout.effective_policy import Running, Settlement, follow
from liftloop.core.rollout.staged_budgets import land, towards
from liftloop.core.rollout.state import RolloutState, Transition
from liftloop.core.rollout.transitions import SHARES, Exposure, exposures, hold, move, prove
from liftloop.core.rollout.transitions import roll_back as take_back
from liftloop.core.whole_units import in_whole_units
from liftloop.pipeline.rollout.evidence import (
    Observed,
    RolloutInputs,
    baseline_of,
    cooldown_days,
    horizon_days,
    promise_of,
    promised_ahead,
    risk_of,
    room,
)
from liftloop.pipeline.rollout.reasons import held_words, in_words, moved_words
from liftloop.pipeline.stage_budgets import Level, StageInputs, stage_budgets

SWITCHES = 8  # cycles in which plan and reference take turns at most


@dataclass(frozen=True, slots=True)
class Proposed:
    """A plan: its budgets for all segments, and the sentence of the whole."""

    policy: Policy
    reason: str


@dataclass(frozen=True, slots=True)
class Started:
    """The design of a stream that begins: who is in which wave, drawn by ``seed``."""

    waves: tuple[tuple[str, ...], ...]
    choice: CanaryChoice
    seed: int
    reference: Policy


@dataclass(frozen=True, slots=True)
class RolloutDecision:
    """What a day comes to.

    Attributes
    ----------
    steps
        Of the stream, in order; empty where there is none.
    running
        The stream afterwards; None where none is under way any more.
    started
        With the first step of a new stream.
    plan
        The budgets, for all segments, of a plan that entered.
    verdicts
        The guardrails' on the plan.
    retreats
        Whether the plan that entered is part of the way back, which waits for nobody.
    """

    settlement: Settlement
    steps: tuple[Transition, ...] = ()
    running: Running | None = None
    started: Started | None = None
    plan: Policy | None = None
    verdicts: tuple[GuardrailVerdict, ...] = ()
    retreats: bool = False

    @property
    def step(self) -> Transition | None:
        """The last step."""
        return self.steps[-1] if self.steps else None

    @property
    def begins(self) -> bool:
        """Whether a new plan takes effect with it, in some segments or in all: what a person may
        have to approve."""
        if self.plan is not None:
            return not self.retreats
        at_once = self.step is None or self.step.act == "close"
        return at_once and self.settlement.kind == "move"


def unchanged(
    running: Running, step: Transition, verdicts: tuple[GuardrailVerdict, ...]
) -> RolloutDecision:
    after = running.after(step, running.current)
    return RolloutDecision(follow(step, after), (step,), after, verdicts=verdicts)


def taken_back(
    inputs: RolloutInputs, running: Running, observed: Observed
) -> RolloutDecision | None:
    """The end of a stream whose guardrail fails or whose allowance is exhausted; else None."""
    failed = [v for v in observed.verdicts if v.verdict == "fail"]
    spent = _exhausted(inputs, running, observed)
    if spent is not None:
        failed.append(spent)
    if not failed:
        return None
    why = " ".join(f"{v.name.capitalize()}: {v.sentence}" for v in failed)
    verdicts = (*observed.verdicts, *([spent] if spent else []))
    measured, error = observed.effect.gained()
    pair = Kept(observed.promised, measured, error) if math.isfinite(error) else None
    step = take_back(
        running.state,
        now=inputs.as_of,
        cooldown_days=cooldown_days(inputs.settings, inputs.ended, inputs.as_of),
        reason=f"Taken back to the last budgets whose gain was measured. {why}",
        verdicts=verdicts,
        kept=pair,
        risk=risk_of(inputs, running, observed),
    )
    after = running.after(step, _back(inputs, running))
    return RolloutDecision(follow(step, after), (step,), None)


def _back(inputs: RolloutInputs, running: Running) -> Policy:
    """The reference, but for cells that may not move today: they stay, and the others take back
    what is left of the total in the reference's proportions."""
    held = inputs.holds.held(running.current)
    if not held:
        return running.reference
    now = running.current.as_dict()
    try:
        back = land(
            running.reference,
            in_force=running.current,
            max_step=None,
            bounds={cell: (now[cell], now[cell]) for cell in held},
        )
        return _whole(inputs, back)
    except InfeasibleBudget:  # nothing but them has a budget
        return running.current


def _whole(inputs: RolloutInputs, policy: Policy) -> Policy:
    """A policy in whole units of the account's currency."""
    return in_whole_units(policy, budget_unit(inputs.settings.account.currency))


def _exhausted(
    inputs: RolloutInputs, running: Running, observed: Observed
) -> GuardrailVerdict | None:
    """Whether the allowance is used up (:func:`exhausted`), in words and amounts."""
    allowance, left = room(inputs, running.state.baseline)
    if running.state.newest == 0 or allowance <= 0:
        return None
    rate = promise_of(inputs, running.current, running.reference)
    ahead = promised_ahead(inputs, rate, inputs.settings.cycle_days)
    belief, past = observed.belief, observed.past
    if not exhausted(belief, past=past, ahead=ahead, allowance=allowance, left=left):
        return None
    expected, _ = belief.gain(past + ahead)
    plausible = at_risk(belief, past=past, ahead=ahead)
    currency = inputs.settings.account.currency
    return GuardrailVerdict(
        "allowance",
        "fail",
        "roll_back",
        f"By the next cycle the stream is expected to have gained {expected:+z,.0f} {currency} and "
        f"plausibly loses {plausible:,.0f}; {left:,.0f} of the allowance are left for it.",
        {"expected": expected, "plausible": plausible, "left": left},
    )


def proven_step(inputs: RolloutInputs, running: Running, observed: Observed) -> Transition | None:
    """The step that makes a measured gain the reference; None where none is measured, or no plan
    has reached every wave since."""
    base = running.state.plan(running.state.oldest)
    if observed.bounds is None or observed.bounds.low <= 0 or base is None:
        return None
    if base.version == running.state.reference:
        return None
    measured, error = observed.effect.gained()
    ahead = promise_of(inputs, running.current, running.policies[base.version])
    currency = inputs.settings.account.currency
    return prove(
        running.state,
        on=inputs.as_of,
        kept=Kept(observed.promised, measured, error),
        baseline=baseline_of(inputs, running.segments),
        promise=ahead,
        verdicts=observed.verdicts,
        reason=f"The gain is measured: {measured:+z,.0f} {currency} so far, above 0 at every "
        "check. From now on these budgets are what later plans are compared with.",
    )


def flow(
    inputs: RolloutInputs,
    running: Running,
    proposal: Proposed | None,
    observed: Observed,
    objection: str,
    plan_reason: str,
) -> RolloutDecision:
    """The largest exposure that fits what is left of the allowance."""
    state, settings = running.state, inputs.settings
    allowance, left = room(inputs, running.state.baseline)
    blocked = [v for v in observed.verdicts if v.verdict == "review" and v.name == "sample ratio"]
    options = exposures(
        state,
        new=proposal is not None and not blocked,
        on=inputs.as_of,
        shadow_days=settings.rollout.shadow_days,
        proven_only=settings.rollout.allowance == 0,
        switch_back=_switches_back(inputs, running),
    )
    problem, chosen, retreats = "", None, False
    now = promised_ahead(
        inputs, promise_of(inputs, running.current, running.reference), horizon_days(settings)
    )
    held = at_risk(observed.belief, past=observed.past, ahead=now)
    usual: tuple[Exposure, Policy | None, Policy, tuple[float, float]] | None = None
    for option in options[:-1]:
        plan = None
        if option.share > 0 and proposal is not None:
            plan = _whole(inputs, towards(running.head, proposal.policy, option.share))
        try:
            policy = stage_budgets(
                replace(_stage_inputs(inputs, running, plan), in_steps=max(option.positions) > 0),
                _levels(running, option, plan),
            )
        except InfeasibleBudget as conflict:
            problem = problem or str(conflict)
            continue
        least = option.share in (0.0, SHARES[-1]) and _one_place(option, state)
        if not least and expects_loss(
            observed.belief, Promise(*promise_of(inputs, policy, running.current))
        ):
            continue
        promise = promise_of(inputs, policy, running.reference)
        ahead = promised_ahead(inputs, promise, horizon_days(settings))
        more = at_risk(observed.belief, past=observed.past, ahead=ahead)
        if settings.rollout.allowance == 0 or more <= min(left, held + PLAN_SHARE * allowance):
            chosen = (option, plan, policy, promise)
            break
        # What is too much for one plan may still go the usual way, wave by wave, a new plan in the
        # smallest part of its step: so that a smaller allowance never lets more through.
        if more <= left and least and usual is None:
            usual = (option, plan, policy, promise)
    chosen = chosen or usual
    if chosen is None:
        chosen = _retreat(inputs, running, observed, left)
        retreats = chosen is not None
    if chosen is None:
        why = held_words(inputs, objection, problem, blocked, len(options) > 1)
        risk = risk_of(inputs, running, observed)
        step = hold(
            state,
            on=inputs.as_of,
            reason=f"{why} {in_words(risk, inputs)}",
            risk=risk,
            verdicts=observed.verdicts,
        )
        return unchanged(running, step, ())
    option, plan, policy, promise = chosen
    risk = risk_of(inputs, running, observed, promise=promise)
    words = (
        "What staying could lose does not fit the allowance: the budgets go "
        f"{1 - option.share:.0%} of the way back to those they replaced, in all segments."
        if retreats
        else moved_words(inputs, running, option, policy, plan_reason, objection)
    )
    step = move(
        state,
        option,
        on=inputs.as_of,
        version=plan.version if plan else "",
        promise=promise,
        risk=risk,
        verdicts=observed.verdicts,
        reason=f"{words} {in_words(risk, inputs)}",
    )
    after = running.after(step, policy, plan=plan)
    settled = follow(step, after)
    if option.positions == state.positions:  # a plan that is kept moves nothing yet
        settled = replace(settled, kind="hold")
    return RolloutDecision(settled, (step,), after, plan=plan, retreats=retreats)


def _one_place(option: Exposure, state: RolloutState) -> bool:
    """Whether a new plan enters the first wave alone, if any does, and no wave skips a place."""
    return option.positions[1:] == state.positions[:-1] or option.positions == state.positions


def _retreat(
    inputs: RolloutInputs, running: Running, observed: Observed, left: float
) -> tuple[Exposure, Policy, Policy, tuple[float, float]] | None:
    """Part of the way back to the reference, where even staying does not fit what is left: the
    shortest that fits, or half of the way. None where staying fits."""
    state, settings = running.state, inputs.settings
    if state.newest == 0 or settings.rollout.allowance == 0:
        return None

    def fits(promise: tuple[float, float]) -> bool:
        ahead = promised_ahead(inputs, promise, horizon_days(settings))
        return at_risk(observed.belief, past=observed.past, ahead=ahead) <= left

    if fits(promise_of(inputs, running.current, running.reference)):
        return None
    number = max(plan.number for plan in state.plans) + 1
    everyone = (number,) * len(state.positions)
    found = None
    for share in RETREATS:
        back = _whole(inputs, towards(running.current, running.reference, 1 - share))
        option = Exposure(everyone, share)
        try:
            policy = stage_budgets(
                replace(_stage_inputs(inputs, running, back), in_steps=False),
                _levels(running, option, back),
            )
        except InfeasibleBudget:
            continue
        promise = promise_of(inputs, policy, running.reference)
        found = (option, back, policy, promise)
        if fits(promise):
            break
    return found


def _switches_back(inputs: RolloutInputs, running: Running) -> bool:
    """Whether plan and reference take turns: one wave, no holdout, and no gain measured yet."""
    state = running.state
    alone = len(running.waves) == 1 and not len(inputs.facts.get("holdout", ()))
    return alone and state.proven_on is None and len(state.promises) < SWITCHES


def _levels(running: Running, option: Exposure, plan: Policy | None) -> list[Level]:
    """(segments, budgets) of each plan that some wave is to follow, the oldest first."""
    newest = max(option.positions)
    known = max((p.number for p in running.state.plans), default=0)
    found: list[Level] = []
    for number in sorted(set(option.positions)):
        inside = [
            name
            for wave, position in zip(running.waves, option.positions, strict=True)
            if position >= number
            for name in wave
        ]
        is_new = plan is not None and number == newest and number > known
        found.append((inside, plan if is_new and plan else running.policy_of(number)))
    return found


def _stage_inputs(inputs: RolloutInputs, running: Running, plan: Policy | None) -> StageInputs:
    """``fixed``: cells that neither the plan nor the stream so far has moved."""
    reference, head = running.reference.as_dict(), (plan or running.head).as_dict()
    now = running.current.as_dict()
    fixed = frozenset(
        cell for cell, held in reference.items() if head.get(cell) == held and now.get(cell) == held
    )
    apart = {cell for cell in now if cell.segment not in set(running.segments)}
    return StageInputs(
        inputs.settings,
        running.current,
        inputs.holds.frozen,
        inputs.facts,
        inputs.as_of,
        inputs.holds.no_raise,
        fixed | apart,
    )
