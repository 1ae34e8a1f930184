"""One step of introducing budgets, decided without ledger or Delta: whether a plan may take effect,
what the stream of plans shows, how far it may go, when it is taken back. Production's tasks and
``liftloop backtest`` call :func:`decide`; nothing is decided anywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.currencies import budget_unit
from liftloop.core.curves import ResponseCurves
from liftloop.core.daily_panels import LEAST_DAYS_BEFORE, Daily
from liftloop.core.decide import Estimate, gain, share_moved, spends
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.guardrails import ALPHA_SHARES, GuardrailVerdict
from liftloop.core.policy import Policy
from liftloop.core.rollout.allowance import (
    PLAN_DAYS,
    PLAN_SHARE,
    QUARTER_DAYS,
    RETREATS,
    Belief,
    Kept,
    Promise,
    at_risk,
    believe,
    exhausted,
    expects_loss,
)
from liftloop.core.rollout.assignment import CanaryChoice, choose_canary
from liftloop.core.rollout.effective_policy import (
    Running,
    Settlement,
    at_once,
    follow,
    stay,
)
from liftloop.core.rollout.holdback import standing_of
from liftloop.core.rollout.staged_budgets import land, towards
from liftloop.core.rollout.state import Risk, RolloutState, StreamPlan, Transition
from liftloop.core.rollout.stream_effect import (
    BEFORE_DAYS,
    StreamEffect,
    plan_effect,
    stream_effect,
)
from liftloop.core.rollout.transitions import (
    SHARES,
    Exposure,
    begin,
    close,
    exposures,
    hold,
    move,
    prove,
)
from liftloop.core.rollout.transitions import roll_back as take_back
from liftloop.core.sequential import Bounds, confidence_bounds, mixture_precision
from liftloop.core.whole_units import in_whole_units
from liftloop.pipeline.guardrails import guard_plan, guard_stream
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.stage_budgets import Level, StageInputs, stage_budgets
from liftloop.pipeline.weekly_sales import weekly_sales
from models.daily_facts import daily_facts

SEEN_AFTER_DAYS = 28
HELD_DAYS = QUARTER_DAYS  # so long a move that is not proven holds its part of the allowance
NINETY = 2 * 1.645  # standard deviations between the ends of a 90 % interval
PLANS_A_HALF_YEAR = 26  # which share the error probability of that question
SWITCHES = 8  # cycles in which plan and reference take turns at most
UNKNOWN_RETURN = 0.5  # what a unit of moved money gains or loses where no response is known
EFFECT_SCALE = 0.5  # of the stream's effect, in multiples of the average return
PLAN_SCALE = 0.4  # of a plan's, as a share of what its segments earn


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream that was taken back: its last state, when, what it is expected to have lost, and
    until when no plan may enter."""

    state: RolloutState
    on: date
    lost: float
    barred_until: date | None


@dataclass(frozen=True, slots=True, eq=False)
class RolloutInputs:
    """All that a step of a rollout rests on.

    Attributes
    ----------
    facts
        ``performance``, ``holdout`` and ``sales`` as known on ``as_of``; and ``units``, where the
        plan rests on user-level tests.
    in_force
        The budgets in force before ``as_of``.
    budgets
        (first day, budgets in force from then on), oldest first.
    curves
        The champion's; None where no response is known.
    model_until
        The last day that the model behind ``curves`` has seen.
    ended
        Streams that were taken back, oldest first.
    """

    settings: Settings
    facts: Mapping[str, pd.DataFrame]
    as_of: date
    in_force: Policy
    holds: Holds
    budgets: Sequence[tuple[date, Policy]] = ()
    curves: ResponseCurves | None = None
    model_until: date | None = None
    ended: Sequence[Ended] = ()


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


@dataclass(frozen=True, slots=True)
class Observed:
    """What a stream shows.

    Attributes
    ----------
    effect, bounds
        Of the sum of all its contrasts, with one-sided bounds that hold at all looks together.
    plans
        Each young plan's own effect with its upper bound.
    belief
        About how promises are kept, with what was measured.
    past
        What was promised for the days whose moves still hold a part of the allowance.
    """

    effect: StreamEffect
    bounds: Bounds | None
    plans: tuple[tuple[StreamPlan, StreamEffect, float], ...]
    belief: Belief
    past: Promise
    promised: Promise
    verdicts: tuple[GuardrailVerdict, ...] = ()


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
    """
    verdicts: tuple[GuardrailVerdict, ...] = ()
    objection = ""
    head = running.head if running is not None else inputs.in_force
    if proposal is not None and proposal.policy.version != head.version:
        verdicts = guard_plan(
            inputs.settings,
            inputs.facts,
            proposed=proposal.policy,
            incumbent=head,
            as_of=inputs.as_of,
            holds=inputs.holds,
            model_until=inputs.model_until,
        )
        objection = objections(verdicts)
    if running is None:
        return _without_stream(inputs, proposal, objection, verdicts, rollout_id, seed)
    if not inputs.settings.rollout.enabled:
        return _closed(inputs, running, None if objection else proposal, verdicts)
    running = _with_baseline(inputs, running)
    observed = observe(inputs, running)
    ending = _taken_back(inputs, running, observed)
    if ending is not None:
        return replace(ending, verdicts=verdicts)
    state = running.state
    risk = risk_of(inputs, running, observed)
    if state.stage == "paused":
        why = f"Paused by {state.paused_by} since {state.paused_since}."
        return _stays(
            running,
            hold(state, on=inputs.as_of, reason=why, risk=risk, verdicts=observed.verdicts),
            verdicts,
        )
    steps: tuple[Transition, ...] = ()
    proven = _proven(inputs, running, observed)
    if proven is not None:
        steps = (proven,)
        running = running.after(proven, running.current)
        observed = observe(inputs, running)
    if proposal is None:
        risk = risk_of(inputs, running, observed)
        why = f"{in_words(risk, inputs)} {_measured_words(risk, inputs)}"
        step = hold(
            running.state, on=inputs.as_of, reason=why, risk=risk, verdicts=observed.verdicts
        )
        done = _stays(running, step, verdicts)
        return replace(done, steps=(*steps, step))
    wanted = None if objection or proposal.policy.version == running.head.version else proposal
    done = _flow(inputs, running, wanted, observed, objection, proposal.reason)
    return replace(done, steps=(*steps, *done.steps), verdicts=verdicts)


def _closed(
    inputs: RolloutInputs,
    running: Running,
    proposal: Proposed | None,
    verdicts: tuple[GuardrailVerdict, ...],
) -> RolloutDecision:
    """Rollouts were switched off: the stream ends, and a plan reaches all segments at once."""
    why = "Rollouts are off: from now on a plan reaches all segments at once."
    step = close(running.state, on=inputs.as_of, reason=why)
    settled = (
        stay(running.current, why)
        if proposal is None
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
    done = _flow(inputs, fresh, proposal, seen, "", proposal.reason)
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
    apart = set(standing_of(inputs.holds.frozen))
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
    against = [
        v
        for v in verdicts
        if v.verdict == "fail" or (v.verdict == "review" and v.recommendation != "promote")
    ]
    return " ".join(f"{v.name.capitalize()}: {v.sentence}" for v in against)


# -- what the stream shows ------------------------------------------------------------------------


def observe(inputs: RolloutInputs, running: Running) -> Observed:
    """What the stream shows by the facts known on the day, and what every guardrail says."""
    settings, state, as_of = inputs.settings, running.state, inputs.as_of
    margin, wait = settings.budget.margin, settings.rollout.wait_days
    baseline = state.baseline or None
    everyone = {cell.segment for cell in running.current.cells}  # the holdback never moves
    daily = _daily(inputs, everyone, state.reference_on - timedelta(days=BEFORE_DAYS))
    carried = _carry_over(inputs.curves)
    effect = stream_effect(
        daily,
        budgets=inputs.budgets,
        reference=running.reference,
        reference_on=state.reference_on,
        as_of=as_of,
        margin=margin,
        baseline=baseline,
        inside=running.segments,
        wait_days=wait,
        carry_over=carried,
    )
    bounds = None
    if math.isfinite(effect.effect):
        alpha = ALPHA_SHARES["incremental profit"] * settings.rollout.alpha
        bounds = confidence_bounds(
            effect.effect, effect.standard_error, rho=mixture_precision(EFFECT_SCALE), alpha=alpha
        )
    plans = []
    for plan in state.plans:
        reached = _reached(running, plan)
        if not reached or (as_of - min(reached.values())).days > PLAN_DAYS:
            continue
        own = plan_effect(
            daily,
            reached=reached,
            budgets=inputs.budgets,
            reference=running.reference,
            as_of=as_of,
            margin=margin,
            baseline=baseline,
            inside=running.segments,
            wait_days=wait,
            carry_over=carried,
        )
        if math.isfinite(own.effect):
            alpha = ALPHA_SHARES["newest plans"] * settings.rollout.alpha / PLANS_A_HALF_YEAR
            high = confidence_bounds(
                own.effect, own.standard_error, rho=mixture_precision(PLAN_SCALE), alpha=alpha
            ).high
            plans.append((plan, own, high))
    held = max(state.reference_on, as_of - timedelta(days=HELD_DAYS))
    known = effect.day + timedelta(days=1) if effect.day else state.reference_on
    promised = state.promised(since=state.reference_on, until=known)
    measured, error = effect.gained()
    counted = sum(x for day, x in effect.exposure if day < known)
    every = sum(x for _, x in effect.exposure)
    part = counted / every if every > 0 else 0.0
    pair = Kept(promised, measured * part, error * part) if math.isfinite(error) else None
    belief = believe(state.record, pair)
    observed = Observed(
        effect,
        bounds,
        tuple(plans),
        belief,
        state.promised(since=held, until=as_of),
        promised,
    )
    return replace(
        observed,
        verdicts=(
            *_profit_verdicts(observed),
            *guard_stream(
                settings,
                inputs.facts,
                running=running,
                as_of=as_of,
                baseline=effect.baseline,
            ),
        ),
    )


def _reached(running: Running, plan: StreamPlan) -> dict[str, date]:
    """Segment -> the first day it follows a plan."""
    return {
        name: day
        for wave, day in zip(running.waves, plan.reached, strict=True)
        if day is not None
        for name in wave
    }


def _daily(inputs: RolloutInputs, segments: Collection[str], first: date) -> Daily:
    """The facts by day of these segments, from ``first`` on or from where there are any."""
    facts = inputs.facts
    if facts["performance"].empty:  # a plan that rests on user-level tests alone
        nothing = np.zeros((0, len(segments)))
        names = tuple(sorted(segments))
        return Daily(inputs.as_of, names, nothing, nothing, nothing, nothing)
    earliest = pd.to_datetime(facts["performance"]["date"]).min()
    return daily_facts(
        holdout=facts["holdout"],
        performance=facts["performance"],
        sales=facts["sales"],
        segments=segments,
        first=max(first, earliest.date()) if pd.notna(earliest) else first,
        as_of=inputs.as_of,
    )


def baseline_of(inputs: RolloutInputs, segments: Collection[str]) -> float:
    """What the budgets in force earn a day in ``segments``: incremental revenue times the margin,
    account currency.

    By the lifts of the last weeks, for a model that promises too much would else grant itself a
    larger allowance; by the curves where no lifts are reported.
    """
    margin = inputs.settings.budget.margin
    daily = _daily(inputs, segments, inputs.as_of - timedelta(days=BEFORE_DAYS))
    lift = margin * float(np.nanmean(daily.lift, axis=0).sum()) if _lifted(daily) else 0.0
    if lift > 0:
        return lift
    if inputs.curves is None:
        return 0.0
    revenue = np.asarray(inputs.curves.mean_revenue(spends(inputs.in_force, inputs.curves)))
    mine = [cell.segment in set(segments) for cell in inputs.curves.cells]
    return margin * max(float(revenue[mine].sum()), 0.0)


def _lifted(daily: Daily) -> bool:
    return bool((np.isfinite(daily.lift).sum(axis=0) >= LEAST_DAYS_BEFORE).all())


def _carry_over(curves: ResponseCurves | None) -> float:
    """Share of an effect that a day hands on to the next, the mean over cells."""
    return 0.3 if curves is None else float(np.clip(np.mean(curves.carryover), 0.0, 0.9))


def _profit_verdicts(observed: Observed) -> tuple[GuardrailVerdict, ...]:
    """The two questions about profit: does the stream lose, does a young plan lose."""
    effect, found = observed.effect, []
    if observed.bounds is None:
        why = effect.problem or "Nothing is measured yet."
        found.append(GuardrailVerdict("incremental profit", "undecided", "hold", why))
    else:
        gained, error = effect.gained()
        low, high = observed.bounds.low, observed.bounds.high
        total = gained / effect.effect if effect.effect else 0.0
        numbers: dict[str, float | str] = {
            "gained": gained,
            "standard_error": error,
            "low": low * total,
            "high": high * total,
        }
        said = (
            f"Measured against the budgets replaced: {gained:+z,.0f} so far (bounds valid "
            f"at every check: {low * total:+z,.0f} to {high * total:+z,.0f})."
        )
        verdict = "fail" if high < 0 else "pass" if low > 0 else "undecided"
        advice = {"fail": "roll_back", "pass": "promote", "undecided": "hold"}[verdict]
        found.append(
            GuardrailVerdict("incremental profit", verdict, advice, said, numbers)  # type: ignore[arg-type]
        )
    for plan, own, high in observed.plans:
        if high < 0:
            found.append(
                GuardrailVerdict(
                    "newest plans",
                    "fail",
                    "roll_back",
                    f"The plan of {plan.on} loses {-own.effect:.0%} of what its segments earned "
                    f"before, at least {-high:.0%}.",
                    {
                        "plan": float(plan.number),
                        "effect": own.effect,
                        "high": high,
                        "standard_error": own.standard_error,
                    },
                )
            )
    return tuple(found)


# -- the allowance --------------------------------------------------------------------------------


def allowance_of(inputs: RolloutInputs, baseline: float) -> float:
    """What may be lost in a quarter, account currency: an amount, or a share of the incremental
    profit before the spend that the budgets replaced earn in a quarter."""
    asked = inputs.settings.rollout.allowance
    if asked >= 1:
        return float(asked)
    return float(asked) * QUARTER_DAYS * baseline


def lost_lately(inputs: RolloutInputs) -> tuple[float, int]:
    """What streams taken back in this quarter are expected to have lost, account currency, and how
    many were in the last half-year."""
    quarter = inputs.as_of - timedelta(days=QUARTER_DAYS)
    half = inputs.as_of - timedelta(days=2 * QUARTER_DAYS)
    lost = sum(e.lost for e in inputs.ended if e.on > quarter)
    return lost, sum(1 for e in inputs.ended if e.on > half and e.barred_until)


def cooldown_days(settings: Settings, ended: Sequence[Ended], on: date) -> int:
    """Days without a new plan after a stream is taken back on ``on``: each that was taken back in
    the half-year before doubles them."""
    half = on - timedelta(days=2 * QUARTER_DAYS)
    times = sum(1 for e in ended if e.on > half and e.barred_until)
    return int(settings.rollout.cooldown_days * 2**times)


def room(inputs: RolloutInputs, baseline: float) -> tuple[float, float]:
    """(the allowance, what of it is for the stream under way): each stream that was taken back in
    the last half-year halves it, so that the loop starts again slowly."""
    allowance = allowance_of(inputs, baseline)
    lost, times = lost_lately(inputs)
    return allowance, max(allowance * 0.5**times - lost, 0.0)


def _horizon(settings: Settings) -> int:
    """Days until a plan that harms is seen to: four weeks on the base market, and never less than
    two cycles."""
    return max(SEEN_AFTER_DAYS, 2 * settings.cycle_days)


def _ahead(inputs: RolloutInputs, promise: tuple[float, float], days: int) -> Promise:
    return Promise(promise[0] * days, promise[1] * days)


def promise_of(inputs: RolloutInputs, policy: Policy, reference: Policy) -> tuple[float, float]:
    """Profit a day that the curves promise for ``policy`` against ``reference``, and its standard
    deviation. What an objective other than profit gives up on purpose is not counted as lost. Where
    no response is known nothing is promised, and much is doubted."""
    margin = inputs.settings.budget.margin
    if inputs.curves is None:
        moved = share_moved(policy, reference) * float(reference.total)
        return 0.0, UNKNOWN_RETURN * margin * moved
    found: Estimate = gain(inputs.curves, policy=policy, incumbent=reference, margin=margin)
    mean = found.mean
    if inputs.settings.budget.objective not in ("expected_profit", "cvar"):
        mean = max(mean, 0.0)
    return mean, (found.high - found.low) / NINETY


def risk_of(
    inputs: RolloutInputs,
    running: Running,
    observed: Observed,
    *,
    promise: tuple[float, float] | None = None,
) -> Risk:
    """The allowance in numbers, with the budgets in force or with others that promise
    ``promise``."""
    allowance, left = room(inputs, running.state.baseline)
    lost, _ = lost_lately(inputs)
    rate = promise or promise_of(inputs, running.current, running.reference)
    ahead = _ahead(inputs, rate, _horizon(inputs.settings))
    in_use = at_risk(observed.belief, past=observed.past, ahead=ahead)
    measured, error = observed.effect.gained()
    kept, kept_sd = observed.belief.kept
    return Risk(
        allowance,
        in_use + lost,
        lost,
        observed.belief.gain(observed.past)[0],
        kept,
        kept_sd,
        observed.promised.gain,
        measured if math.isfinite(error) else math.nan,
        error,
        max(left - in_use, 0.0),
    )


def in_words(risk: Risk, inputs: RolloutInputs) -> str:
    """The allowance for a marketer, in one sentence."""
    currency = inputs.settings.account.currency
    return (
        f"Of {risk.allowance:,.0f} {currency} at risk this quarter {risk.in_use:,.0f} are in use."
    )


def _measured_words(risk: Risk, inputs: RolloutInputs) -> str:
    if not math.isfinite(risk.standard_error):
        return "No gain is measured yet."
    half = 1.645 * risk.standard_error
    return (
        f"Measured so far: {risk.measured:+z,.0f} (90 % interval {risk.measured - half:+z,.0f} to "
        f"{risk.measured + half:+z,.0f}); promised: {risk.promised:+z,.0f}."
    )


# -- steps ----------------------------------------------------------------------------------------


def _stays(
    running: Running, step: Transition, verdicts: tuple[GuardrailVerdict, ...]
) -> RolloutDecision:
    after = running.after(step, running.current)
    return RolloutDecision(follow(step, after), (step,), after, verdicts=verdicts)


def _taken_back(
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
    ahead = _ahead(inputs, rate, inputs.settings.cycle_days)
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


def _proven(inputs: RolloutInputs, running: Running, observed: Observed) -> Transition | None:
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


def _flow(
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
    now = _ahead(inputs, promise_of(inputs, running.current, running.reference), _horizon(settings))
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
        ahead = _ahead(inputs, promise, _horizon(settings))
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
        why = _held_words(inputs, objection, problem, blocked, len(options) > 1)
        risk = risk_of(inputs, running, observed)
        step = hold(
            state,
            on=inputs.as_of,
            reason=f"{why} {in_words(risk, inputs)}",
            risk=risk,
            verdicts=observed.verdicts,
        )
        return _stays(running, step, ())
    option, plan, policy, promise = chosen
    risk = risk_of(inputs, running, observed, promise=promise)
    words = (
        "What staying could lose does not fit the allowance: the budgets go "
        f"{1 - option.share:.0%} of the way back to those they replaced, in all segments."
        if retreats
        else _moved_words(inputs, running, option, policy, promise, plan_reason, objection)
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
        ahead = _ahead(inputs, promise, _horizon(settings))
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


def _held_words(
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


def _kept_words(inputs: RolloutInputs) -> str:
    first = inputs.as_of + timedelta(days=inputs.settings.rollout.shadow_days)
    return f"The new plan is kept: no segment follows it before {first}."


def _moved_words(
    inputs: RolloutInputs,
    running: Running,
    option: Exposure,
    policy: Policy,
    promise: tuple[float, float],
    plan_reason: str,
    objection: str,
) -> str:
    """Who gets what, and what it is expected to gain."""
    newest = max(option.positions)
    kept = option.share > 0 and newest <= max((p.number for p in running.state.plans), default=0)
    if kept and option.positions == running.state.positions:
        return f"{_kept_words(inputs)} The budgets in force stay."
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
    currency = inputs.settings.account.currency
    earlier = promise_of(inputs, running.current, running.reference)
    news = (
        f"{_kept_words(inputs)} The one before it is now in {where}."
        if kept
        else f"The new plan goes to {where}{',' if share else ''}{share}."
        if option.share > 0
        else f"The plan is held. {objection} The newest plan stays in {where}."
        if objection
        else f"The newest plan is now in {where}."
    )
    others = "" if everyone else " The other segments follow week by week."
    rate = promise[0] - earlier[0]
    said = (
        f" {share_moved(policy, running.current):.1%} of the money moves today; expected "
        f"{rate:+z,.0f} {currency} profit a day."
    )
    entered = option.share > 0 and not kept
    whole = f" The whole plan: {plan_reason[:1].lower()}{plan_reason[1:]}" if entered else ""
    return f"{news}{others}{said}{whole}"
