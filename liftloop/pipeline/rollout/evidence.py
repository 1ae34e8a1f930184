"""What a stream of plans shows by the facts of a day, and what is at risk with it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.curves.gain import Estimate, gain, share_moved, spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.guardrails.verdict import ALPHA_SHARES, GuardrailVerdict
from liftloop.core.inference.panels import LEAST_DAYS_BEFORE, Daily
from liftloop.core.inference.sequential import Bounds, confidence_bounds, mixture_precision
from liftloop.core.policy import Policy
from liftloop.core.rollout.allowance import (
    PLAN_DAYS,
    QUARTER_DAYS,
    Belief,
    KeptPromise,
    Promise,
    at_risk,
    believe,
)
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import Risk, RolloutState, StreamPlan
from liftloop.core.rollout.stream_effect import (
    BEFORE_DAYS,
    MeasuredStream,
    StreamEffect,
    plan_effect,
    stream_effect,
)
from liftloop.pipeline.guardrails import guard_stream
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.total import judges_profit
from liftloop.settings.schema import Settings
from models.lift.daily_panel import daily_facts

SEEN_AFTER_DAYS = 28
HELD_DAYS = QUARTER_DAYS  # so long a move that is not proven holds its part of the allowance
NINETY = 2 * 1.645  # standard deviations between the ends of a 90 % interval
PLANS_A_HALF_YEAR = 26  # which share the error probability of that question
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


def observe(inputs: RolloutInputs, running: Running) -> Observed:
    """What the stream shows by the facts known on the day, and what every guardrail says."""
    settings, state, as_of = inputs.settings, running.state, inputs.as_of
    everyone = {cell.segment for cell in running.current.cells}  # the holdback never moves
    daily = _daily(inputs, everyone, state.reference_on - timedelta(days=BEFORE_DAYS))
    stream = MeasuredStream(
        budgets=inputs.budgets,
        reference=running.reference,
        as_of=as_of,
        margin=settings.budget.margin,
        baseline=state.baseline or None,
        inside=running.segments,
        wait_days=settings.rollout.wait_days,
        carry_over=_carry_over(inputs.curves),
    )
    effect = stream_effect(daily, stream, reference_on=state.reference_on)
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
        own = plan_effect(daily, stream, reached=reached)
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
    pair = KeptPromise(promised, measured * part, error * part) if math.isfinite(error) else None
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


def horizon_days(settings: Settings) -> int:
    """Days until a plan that harms is seen to: four weeks on the base market, and never less than
    two cycles."""
    return max(SEEN_AFTER_DAYS, 2 * settings.cycle_days)


def promised_ahead(inputs: RolloutInputs, promise: tuple[float, float], days: int) -> Promise:
    return Promise(promise[0] * days, promise[1] * days)


def promise_of(inputs: RolloutInputs, policy: Policy, reference: Policy) -> tuple[float, float]:
    """Profit a day that the curves promise for ``policy`` against ``reference``, and its standard
    deviation. What an objective other than profit gives up on purpose is not counted as lost. Where
    no response is known nothing is promised, and much is doubted."""
    mean, spread = expected_of(inputs, policy, reference)
    return mean if judges_profit(inputs.settings) else max(mean, 0.0), spread


def expected_of(inputs: RolloutInputs, policy: Policy, reference: Policy) -> tuple[float, float]:
    """Profit a day of ``policy`` against ``reference``, and its standard deviation, whatever the
    objective gives up on purpose; what money that leaves the budgets saves is part of it."""
    margin = inputs.settings.budget.margin
    if inputs.curves is None:
        moved = share_moved(policy, reference) * float(reference.total)
        return 0.0, UNKNOWN_RETURN * margin * moved
    found: Estimate = gain(inputs.curves, policy=policy, incumbent=reference, margin=margin)
    return found.mean, (found.high - found.low) / NINETY


def at_risk_with(inputs: RolloutInputs, observed: Observed, promise: tuple[float, float]) -> float:
    """What is plausibly lost so far and until a plan that harms is seen, account currency, with
    budgets that promise ``promise`` (mean and standard deviation of profit a day)."""
    ahead = promised_ahead(inputs, promise, horizon_days(inputs.settings))
    return at_risk(observed.belief, past=observed.past, ahead=ahead)


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
    in_use = at_risk_with(inputs, observed, rate)
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
