"""The steps of a stream of plans: how far a plan goes, what is proven, what is taken back."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace

from liftloop.core.curves.gain import share_moved
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.experiments.power import power
from liftloop.core.experiments.switch_back import Turns, past_pairs
from liftloop.core.exploration.budget_variation import Variation
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.money.currencies import budget_unit
from liftloop.core.money.whole_units import in_whole_units
from liftloop.core.policy import Policy
from liftloop.core.rollout.allowance import (
    PLAN_SHARE,
    RETREATS,
    KeptPromise,
    Promise,
    at_risk,
    exhausted,
    expects_loss,
)
from liftloop.core.rollout.assignment import CanaryChoice
from liftloop.core.rollout.effective_policy import Running, Settlement, follow
from liftloop.core.rollout.staged_budgets import land, towards
from liftloop.core.rollout.state import RolloutState, Transition
from liftloop.core.rollout.transitions import (
    SHARES,
    Expected,
    Exposure,
    Findings,
    NewBudgets,
    exposures,
    hold,
    move,
    prove,
    roll_back,
)
from liftloop.pipeline.rollout.evidence import (
    Observed,
    RolloutInputs,
    at_risk_with,
    baseline_of,
    cooldown_days,
    promise_of,
    promised_ahead,
    risk_of,
    room,
)
from liftloop.pipeline.rollout.reasons import (
    held_to_do,
    held_words,
    in_words,
    moved_words,
    variation_words,
)
from liftloop.pipeline.rollout.variation import with_variation
from liftloop.pipeline.rollout.waves import StagedBudgets, staged_budgets
from liftloop.pipeline.weekly_sales import daily_sales

SWITCHES = 8  # cycles in which plan and reference take turns at most
LEAST_POWER = 0.2  # of those turns to see the gain a plan promises


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
    variation
        What of the budgets differs on purpose from what the waves follow.
    to_do
        Who must do what before the plan that is held may go; "" where none is held.
    """

    settlement: Settlement
    steps: tuple[Transition, ...] = ()
    running: Running | None = None
    started: Started | None = None
    plan: Policy | None = None
    verdicts: tuple[GuardrailVerdict, ...] = ()
    retreats: bool = False
    variation: Variation | None = None
    to_do: str = ""

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

    @property
    def widens(self) -> bool:
        """Whether more segments get a plan that some have."""
        return not self.retreats and any(step.act == "promote" for step in self.steps)

    def share_to_approve(self, plan_share: float, in_force: Policy, *, approved: bool) -> float:
        """The share of the money for which a person may have to be asked; 0 where nothing is new.

        Parameters
        ----------
        plan_share
            What the whole plan moves, which counts where it begins.
        in_force
            The budgets before the decision: what it moves today counts where a plan reaches more
            segments.
        approved
            Whether a person approved the plan that reaches more segments, all of it.
        """
        share = plan_share if self.begins else 0.0
        if self.widens and not approved:
            share = max(share, share_moved(self.settlement.policy, in_force))
        return share


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
    pair = KeptPromise(observed.promised, measured, error) if math.isfinite(error) else None
    step = roll_back(
        running.state,
        now=inputs.as_of,
        cooldown_days=cooldown_days(inputs.settings, inputs.ended, inputs.as_of),
        reason=f"Taken back to the last budgets whose gain was measured. {why}",
        findings=Findings(verdicts=verdicts, kept=pair, risk=risk_of(inputs, running, observed)),
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
        kept=KeptPromise(observed.promised, measured, error),
        expected=Expected(baseline=baseline_of(inputs, running.segments), promise=ahead),
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
    problem = ""
    chosen: StagedBudgets | None = None
    usual: StagedBudgets | None = None
    now = promise_of(inputs, running.current, running.reference)
    held = at_risk_with(inputs, observed, now)
    for option in options[:-1]:
        plan = None
        if option.share > 0 and proposal is not None:
            plan = _whole(inputs, towards(running.head, proposal.policy, option.share))
        try:
            choice = staged_budgets(
                inputs, running, option, plan, in_steps=max(option.positions) > 0
            )
        except InfeasibleBudget as conflict:
            problem = problem or str(conflict)
            continue
        least = option.share in (0.0, SHARES[-1]) and _one_place(option, state)
        if not least and expects_loss(
            observed.belief, Promise(*promise_of(inputs, choice.policy, running.current))
        ):
            continue
        more = at_risk_with(inputs, observed, choice.promise)
        if settings.rollout.allowance == 0 or more <= min(left, held + PLAN_SHARE * allowance):
            chosen = choice
            break
        # What is too much for one plan may still go the usual way, wave by wave, a new plan in the
        # smallest part of its step: so that a smaller allowance never lets more through.
        if more <= left and least and usual is None:
            usual = choice
    chosen = chosen or usual
    variation = None
    lessened = _lessened(inputs, running, observed, left) if chosen is None else None
    if lessened is not None:
        chosen = lessened
    else:
        still = bool(objection or blocked)
        chosen, variation = with_variation(inputs, running, observed, chosen, still=still)
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
        return replace(
            unchanged(running, step, ()),
            to_do=held_to_do(problem, blocked, proposal is not None and len(options) > 1),
        )
    option, plan, policy = chosen.option, chosen.plan, chosen.policy
    retreats = lessened is not None and plan is not None
    risk = risk_of(inputs, running, observed, promise=chosen.promise)
    stays = option.positions == state.positions and plan is None
    words = (
        "What staying could lose does not fit the allowance: the budgets go "
        f"{1 - option.share:.0%} of the way back to those they replaced, in all segments."
        if retreats
        else held_words(inputs, objection, problem, blocked, len(options) > 1)
        if stays and variation is not None
        else "The budgets go back to their plan and vary no more."
        if stays
        else moved_words(inputs, running, option, policy, plan_reason, objection)
    )
    words = " ".join(filter(None, (words, variation_words(variation, inputs))))
    step = move(
        state,
        option,
        on=inputs.as_of,
        budgets=NewBudgets(
            version=plan.version if plan else "",
            promise=chosen.promise,
            varied=variation is not None,
        ),
        findings=Findings(risk=risk, verdicts=observed.verdicts),
        reason=f"{words} {in_words(risk, inputs)}",
    )
    after = running.after(step, policy, plan=plan)
    settled = follow(step, after)
    if option.positions == state.positions and plan is not None and not state.varied:
        settled = replace(settled, kind="hold")  # a plan that is kept moves nothing yet
    return RolloutDecision(
        settled, (step,), after, plan=plan, retreats=retreats, variation=variation
    )


def _one_place(option: Exposure, state: RolloutState) -> bool:
    """Whether a new plan enters the first wave alone, if any does, and no wave skips a place."""
    return option.positions[1:] == state.positions[:-1] or option.positions == state.positions


def _lessened(
    inputs: RolloutInputs, running: Running, observed: Observed, left: float
) -> StagedBudgets | None:
    """Less at risk, where even staying does not fit what is left: budgets that vary on purpose go
    back to their plan; where that is not enough, part of the way back to the reference, the
    shortest that fits, or half of the way. None where staying fits."""
    state = running.state
    if state.newest == 0 or inputs.settings.rollout.allowance == 0:
        return None

    def fits(promise: tuple[float, float]) -> bool:
        return at_risk_with(inputs, observed, promise) <= left

    if fits(promise_of(inputs, running.current, running.reference)):
        return None
    now = running.current
    if state.varied:
        with suppress(InfeasibleBudget):
            plain = staged_budgets(inputs, running, Exposure(state.positions), in_steps=False)
            if fits(plain.promise):
                return plain
            now = plain.policy
    number = max(plan.number for plan in state.plans) + 1
    everyone = (number,) * len(state.positions)
    found = None
    for share in RETREATS:
        back = _whole(inputs, towards(now, running.reference, 1 - share))
        try:
            found = staged_budgets(inputs, running, Exposure(everyone, share), back, in_steps=False)
        except InfeasibleBudget:
            continue
        if fits(found.promise):
            break
    return found


def _switches_back(inputs: RolloutInputs, running: Running) -> bool:
    """Whether plan and reference take turns: one wave, no holdout, no gain measured yet, and turns
    could tell."""
    state = running.state
    alone = len(running.waves) == 1 and not len(inputs.facts.get("holdout", ()))
    if not alone or state.proven_on is not None or len(state.promises) >= SWITCHES:
        return False
    return _turns_could_tell(inputs, running)


def _turns_could_tell(inputs: RolloutInputs, running: Running) -> bool:
    """Whether sales would see what the newest plan promises in as many turns as there may be; True
    where too little is known of sales. Turns that see nothing cost half of the gain for nothing."""
    settings = inputs.settings
    days = daily_sales(inputs.facts["sales"], segments=running.segments, as_of=inputs.as_of)
    turns = Turns(max(settings.cycle_days // 7, 1), settings.rollout.wait_days)
    past = past_pairs(days, turns)
    promised, _ = promise_of(inputs, running.head, running.reference)
    if past is None or settings.budget.margin <= 0:
        return True
    pairs = SWITCHES // 2
    effect = promised / settings.budget.margin * pairs * turns.days
    error = past.standard_error(turns, pairs=pairs)
    return power(effect, error, freedom=past.freedom) >= LEAST_POWER
