"""What takes effect on a day: the one function that production and backtest call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Policy
from liftloop.core.rollout.allowance import Promise, believe
from liftloop.core.rollout.assignment import choose_canary
from liftloop.core.rollout.effective_policy import Running, at_once, stay
from liftloop.core.rollout.holdback import holdback_of
from liftloop.core.rollout.state import Transition
from liftloop.core.rollout.stream_effect import StreamEffect
from liftloop.core.rollout.transitions import begin, close, hold
from liftloop.pipeline.guardrails import PlanEvidence, guard_plan
from liftloop.pipeline.plan.total import total_first
from liftloop.pipeline.rollout.evidence import (
    Observed,
    RolloutInputs,
    baseline_of,
    observe,
    promise_of,
    risk_of,
)
from liftloop.pipeline.rollout.reasons import in_words, measured_words
from liftloop.pipeline.rollout.steps import (
    Proposed,
    RolloutDecision,
    Started,
    flow,
    proven_step,
    taken_back,
    unchanged,
)
from liftloop.pipeline.weekly_sales import weekly_sales
from liftloop.reporting import held_plans


def decide(
    inputs: RolloutInputs,
    *,
    proposal: Proposed | None,
    running: Running | None,
    rollout_id: str = "",
    seed: int = 0,
) -> RolloutDecision:
    """What takes effect on a day.

    Parameters
    ----------
    proposal
        The day's plan, made from the newest plan of the stream under way; None on a day without.
    running
        The stream under way; None where there is none.
    rollout_id, seed
        Of the stream that may begin; the seed draws its waves.

    Returns
    -------
    With a plan, its reason first says what of the total loses or is parked, and last who must do
    what where the plan is held.
    """
    found = _decide(inputs, proposal, running, rollout_id, seed)
    if proposal is None:
        return found
    to_do = _to_do(inputs, proposal, found)
    if to_do:
        said = f"{found.settlement.reason} {held_plans.TO_DO}{to_do}"
        found = replace(found, to_do=to_do, settlement=replace(found.settlement, reason=said))
    settled = found.settlement
    first = total_first(
        inputs.settings,
        inputs.curves,
        settled.policy,
        head=found.running.head if found.running is not None else None,
    )
    if not first:
        return found
    return replace(found, settlement=replace(settled, reason=f"{first} {settled.reason}"))


def _to_do(inputs: RolloutInputs, proposal: Proposed, found: RolloutDecision) -> str:
    """Who must do what where the plan, or every cell, is held; "" where nothing is."""
    if found.settlement.kind == "roll_back":
        return ""
    holding = against(found.verdicts)
    running, until = found.running, cooling_until(inputs)
    if holding:
        return held_plans.to_do_for(holding)
    if running is not None and running.state.stage == "paused":
        return held_plans.to_do_when_paused(running.state.paused_by)
    if found.settlement.kind != "hold":
        return ""
    head = running.head if running is not None else inputs.in_force
    if proposal.policy.version == head.version:
        everything = inputs.holds.held(head) == set(head.cells)
        reasons = [why for _, _, why in inputs.holds.lasting]
        passing = bool(inputs.holds.passing)
        return held_plans.to_do_for_holds(reasons, is_passing=passing) if everything else ""
    if running is None and until is not None:
        return held_plans.to_do_until(until)
    return found.to_do


def _decide(
    inputs: RolloutInputs,
    proposal: Proposed | None,
    running: Running | None,
    rollout_id: str,
    seed: int,
) -> RolloutDecision:
    verdicts: tuple[GuardrailVerdict, ...] = ()
    objection = ""
    head = running.head if running is not None else inputs.in_force
    if proposal is not None and proposal.policy.version != head.version:
        verdicts = guard_plan(
            inputs.settings,
            PlanEvidence(inputs.facts, inputs.as_of, inputs.model_until),
            proposed=proposal.policy,
            incumbent=head,
            holds=inputs.holds,
            unknown=set(head.cells) - set(inputs.curves.cells) if inputs.curves else (),
        )
        objection = objections(verdicts)
    if running is None:
        return _without_stream(inputs, proposal, objection, verdicts, rollout_id, seed)
    if not inputs.settings.rollout.enabled:
        return _closed(inputs, running, proposal, objection, verdicts)
    running = _with_baseline(inputs, running)
    observed = observe(inputs, running)
    ending = taken_back(inputs, running, observed)
    if ending is not None:
        return replace(ending, verdicts=verdicts)
    state = running.state
    risk = risk_of(inputs, running, observed)
    if state.stage == "paused":
        why = f"Paused by {state.paused_by} since {state.paused_since}."
        return unchanged(
            running,
            hold(state, on=inputs.as_of, reason=why, risk=risk, verdicts=observed.verdicts),
            verdicts,
        )
    steps: tuple[Transition, ...] = ()
    proven = proven_step(inputs, running, observed)
    if proven is not None:
        steps = (proven,)
        running = running.after(proven, running.current)
        observed = observe(inputs, running)
    if proposal is None:
        risk = risk_of(inputs, running, observed)
        why = f"{in_words(risk, inputs)} {measured_words(risk, inputs)}"
        step = hold(
            running.state, on=inputs.as_of, reason=why, risk=risk, verdicts=observed.verdicts
        )
        done = unchanged(running, step, verdicts)
        return replace(done, steps=(*steps, step))
    wanted = None if objection or proposal.policy.version == running.head.version else proposal
    done = flow(inputs, running, wanted, observed, objection, proposal.reason)
    return replace(done, steps=(*steps, *done.steps), verdicts=verdicts)


def _closed(
    inputs: RolloutInputs,
    running: Running,
    proposal: Proposed | None,
    objection: str,
    verdicts: tuple[GuardrailVerdict, ...],
) -> RolloutDecision:
    """Rollouts were switched off: the stream ends, and a plan reaches all segments at once."""
    why = "Rollouts are off: from now on a plan reaches all segments at once."
    step = close(running.state, on=inputs.as_of, reason=why)
    settled = (
        stay(running.current, f"{why} The plan is held. {objection}" if objection else why)
        if proposal is None or objection
        else at_once(proposal.policy, running.current, f"{why} {proposal.reason}")
    )
    return RolloutDecision(settled, (step,), None, verdicts=verdicts)


def _with_baseline(inputs: RolloutInputs, running: Running) -> Running:
    """A stream that was adopted from the version before did not record what its reference earns,
    nor what it promised: both by what is known today."""
    state = running.state
    if state.baseline > 0 and state.promises:
        return running
    promise = promise_of(inputs, running.current, running.reference)
    return replace(
        running,
        state=replace(
            state,
            baseline=state.baseline or baseline_of(inputs, running.segments),
            promises=state.promises or ((state.reference_on, *promise),),
        ),
    )


def _without_stream(
    inputs: RolloutInputs,
    proposal: Proposed | None,
    objection: str,
    verdicts: tuple[GuardrailVerdict, ...],
    rollout_id: str,
    seed: int,
) -> RolloutDecision:
    """A plan where no stream is under way: at once, or the first of a stream, or a hold."""
    if proposal is None or proposal.policy.version == inputs.in_force.version:
        why = proposal.reason if proposal else "There is no plan for this day."
        return RolloutDecision(stay(inputs.in_force, why), verdicts=verdicts)
    if objection:
        held = stay(inputs.in_force, f"The plan is held. {objection}")
        return RolloutDecision(held, verdicts=verdicts)
    if not inputs.settings.rollout.enabled:
        whole = at_once(proposal.policy, inputs.in_force, proposal.reason)
        return RolloutDecision(whole, verdicts=verdicts)
    until = cooling_until(inputs)
    if until is not None:
        why = f"The last budgets were taken back: no plan enters before {until}."
        return RolloutDecision(stay(inputs.in_force, why), verdicts=verdicts)
    started = _draw(inputs, seed)
    record = inputs.ended[-1].state.record if inputs.ended else ()
    segments = [name for wave in started.waves for name in wave]
    state = begin(
        rollout_id,
        on=inputs.as_of,
        reference=inputs.in_force.version,
        waves=len(started.waves),
        baseline=baseline_of(inputs, segments),
        record=record,
    )
    fresh = Running(
        state, started.waves, {inputs.in_force.version: inputs.in_force}, inputs.in_force
    )
    nothing = Promise(0.0, 0.0)
    unmeasured = StreamEffect(math.nan, math.inf, (), state.baseline)
    seen = Observed(unmeasured, None, (), believe(record), nothing, nothing)
    done = flow(inputs, fresh, proposal, seen, "", proposal.reason)
    if done.step is None or done.step.act == "hold":
        return replace(done, steps=(), running=None, verdicts=verdicts)
    return replace(done, started=started, verdicts=verdicts)


def cooling_until(inputs: RolloutInputs) -> date | None:
    """Until when no plan may enter because a stream was taken back; None where it may."""
    last = max((e.barred_until for e in inputs.ended if e.barred_until), default=None)
    return last if last is not None and last > inputs.as_of else None


def _draw(inputs: RolloutInputs, seed: int) -> Started:
    """The waves, by stratified randomization; the standing holdback is in none of them. With one
    segment there is one wave."""
    rules, policy = inputs.settings.rollout, inputs.in_force
    apart = set(holdback_of(inputs.holds.frozen))
    sizes = {name: size for name, size in sizes_of(policy).items() if name not in apart}
    choice = choose_canary(
        sizes,
        share=rules.canary_share,
        seed=seed,
        ramp=rules.ramp,
        history=weekly_sales(inputs.facts.get("sales"), segments=sizes, as_of=inputs.as_of),
    )
    if choice.problem:
        waves: tuple[tuple[str, ...], ...] = (tuple(sorted(sizes)),)
    else:
        first = choice.waves
        rest = tuple(sorted(set(sizes) - {name for wave in first for name in wave}))
        waves = (*(tuple(sorted(wave)) for wave in first), *((rest,) if rest else ()))
    return Started(waves, choice, seed, policy)


def sizes_of(policy: Policy) -> dict[str, float]:
    """Daily spend of each segment."""
    sizes: dict[str, float] = {}
    for cell, amount in policy.budgets:
        sizes[cell.segment] = sizes.get(cell.segment, 0.0) + float(amount)
    return sizes


def objections(verdicts: Sequence[GuardrailVerdict]) -> str:
    """Why guardrails hold a plan, in their words; "" where none does."""
    return " ".join(f"{v.name.capitalize()}: {v.sentence}" for v in against(verdicts))


def against(verdicts: Sequence[GuardrailVerdict]) -> list[GuardrailVerdict]:
    """The verdicts that hold a plan."""
    return [
        v
        for v in verdicts
        if v.verdict == "fail" or (v.verdict == "review" and v.recommendation != "promote")
    ]
