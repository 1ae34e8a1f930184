"""What takes effect, decided without ledger or Delta: whether the facts are sound, how a plan
enters, how a running rollout is judged. Used by the flows' tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.canary import CanaryChoice, choose_canary
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import Estimate, gain, share_moved
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.policy import Policy
from liftloop.core.rollout import (
    RolloutConfig,
    Transition,
    meet_newer,
    start,
    unfit,
)
from liftloop.core.settlement import (
    Running,
    Settlement,
    alike,
    at_once,
    begin,
    follow,
    keep_in_shadow,
    stay,
)
from liftloop.core.standing import standing_of
from monitoring.data_health import HealthConfig, health
from monitoring.verdicts import HealthVerdict
from tasks.guarding import guard_plan, slow_cells
from tasks.planning import Frozen
from tasks.staging import Base, full_budgets, stage_budgets
from tasks.weekly_sales import weekly_sales


@dataclass(frozen=True, slots=True)
class Entry:
    """How a plan enters: what takes effect, and the rollout's first step if it begins one.

    ``expected`` is the whole plan's gain in profit a day, kept with the rollout; ``verdicts`` are
    the guardrails' on the plan. ``ended`` is the step that took back a rollout this one replaces.
    """

    settlement: Settlement
    step: Transition | None = None
    choice: CanaryChoice | None = None
    expected: Estimate | None = None
    verdicts: tuple[GuardrailVerdict, ...] = ()
    ended: Transition | None = None


def enter(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    proposed: Policy,
    incumbent: Policy,
    reason: str,
    as_of: date,
    rollout_id: str,
    seed: int,
    barred_until: date | None,
    facts_health: HealthVerdict,
    curves: ResponseCurves | None = None,
    frozen: Frozen = (),
    model_until: date | None = None,
) -> Entry:
    """A new plan: at once, or its shadow or canary, or a hold.

    Parameters
    ----------
    facts
        ``performance``, ``holdout`` and ``sales`` as known on ``as_of``; and ``units``, where the
        plan rests on user-level tests.
    rollout_id, seed
        Of the rollout that may begin; the seed draws its segments.
    barred_until
        Until when this plan may not come again because it was rolled back.
    curves, frozen
        As of :func:`tasks.planning.plan_budgets`.
    model_until
        The last day that the model behind ``curves`` has seen.
    """
    rules = settings.rollout
    if proposed.version == incumbent.version:
        return Entry(at_once(proposed, incumbent, reason))
    if barred_until and barred_until > as_of:
        why = f"This plan was rolled back; it is barred until {barred_until}."
        return Entry(stay(incumbent, why))
    verdicts = guard_plan(
        settings,
        facts,
        proposed=proposed,
        incumbent=incumbent,
        as_of=as_of,
        facts_health=facts_health,
        model_until=model_until,
    )
    why = objections(verdicts)
    if why:
        return Entry(stay(incumbent, f"The plan is held. {why}"), verdicts=verdicts)
    if not rules.enabled:
        return Entry(at_once(proposed, incumbent, reason), verdicts=verdicts)
    standing = standing_of(frozen)
    everyone = sizes_of(incumbent)
    sizes = {name: size for name, size in everyone.items() if name not in standing}
    choice = choose_canary(
        sizes,
        share=rules.canary_share,
        seed=seed,
        ramp=rules.ramp,
        history=weekly_sales(facts.get("sales"), segments=sizes, as_of=as_of),
    )
    if standing:  # they never join, so they are control to the end
        choice = replace(choice, control=tuple(sorted({*choice.control, *standing})))
    if choice.problem:
        return Entry(stay(incumbent, choice.problem), verdicts=verdicts)
    slow = slow_cells(settings, facts, incumbent=incumbent, as_of=as_of, facts_health=facts_health)
    base = Base(settings, incumbent, proposed, incumbent, curves, frozen, facts, as_of, slow)
    staged = stage_budgets(base, choice.canary)
    if staged.problem:
        return Entry(stay(incumbent, staged.problem), verdicts=verdicts)
    margin = settings.budget.margin
    said = gain(curves, policy=proposed, incumbent=incumbent, margin=margin) if curves else None
    shadow = rules.shadow_days > 0
    told = " ".join(
        (
            _now(settings, curves, staged.policy, incumbent, shadow=shadow),
            f"The whole plan: {reason[:1].lower()}{reason[1:]}",
            _plan_of_stages(rules.shadow_days, choice, staged.words),
        )
    )
    step = start(rollout_id, on=as_of, reason=told, canary=choice.canary, shadow=shadow)
    settlement = (
        keep_in_shadow(incumbent, choice, told) if shadow else begin(staged.policy, choice, told)
    )
    return Entry(settlement, step, choice, said, verdicts)


def _now(
    settings: Settings,
    curves: ResponseCurves | None,
    first: Policy,
    incumbent: Policy,
    *,
    shadow: bool,
) -> str:
    """What takes effect at once of a plan that begins with a few segments."""
    if shadow:
        return "Nothing moves yet."
    words = f"At first {share_moved(first, incumbent):.1%} of the money moves"
    if curves is None:
        return f"{words}."
    said = gain(curves, policy=first, incumbent=incumbent, margin=settings.budget.margin)
    currency = settings.account.currency
    return (
        f"{words}, which is expected to earn {said.mean:+z,.0f} {currency} profit a day "
        f"(9 times in 10 between {said.low:+z,.0f} and {said.high:+z,.0f})."
    )


def objections(verdicts: Sequence[GuardrailVerdict]) -> str:
    """Why guardrails hold a plan, in their words; "" where none does."""
    against = [
        v
        for v in verdicts
        if v.verdict == "fail" or (v.verdict == "review" and v.recommendation != "promote")
    ]
    return " ".join(f"{v.name.capitalize()}: {v.sentence}" for v in against)


def _plan_of_stages(shadow_days: int, choice: CanaryChoice, words: str) -> str:
    """Who follows when, in one or two sentences."""
    names = ", ".join(choice.canary)
    share = f"({choice.spend_share:.0%} of the spend)"
    first = (
        f"It is kept for {shadow_days} days and not applied; then it is tried in {names} {share}."
        if shadow_days
        else f"It is tried in {names} first {share}."
    )
    later = "".join(f" Then {', '.join(sorted(wave))} join." for wave in choice.waves[1:])
    return " ".join((first + later, *choice.notes, words))


def sizes_of(incumbent: Policy) -> dict[str, float]:
    """Daily spend of each segment."""
    sizes: dict[str, float] = {}
    for cell, amount in incumbent.budgets:
        sizes[cell.segment] = sizes.get(cell.segment, 0.0) + float(amount)
    return sizes


def feed_health(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    policy: Policy,
    as_of: date,
    in_force_since: date | None,
) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then."""
    rules = settings.data
    if not rules.health_checks:
        return HealthVerdict(as_of, (), "", "The health of the facts is not checked.")
    return health(
        facts["performance"],
        policy=policy,
        as_of=as_of,
        holdout=facts["holdout"],
        sales=facts.get("sales"),
        in_force_since=in_force_since,
        config=HealthConfig(
            max_lag_days=rules.max_lag_days,
            default_days=rules.default_days,
            stable_days=rules.stable_days,
        ),
    )


def rollout_config(settings: Settings) -> RolloutConfig:
    """The stages' rules, as configured."""
    rules = settings.rollout
    return RolloutConfig(
        min_days=rules.min_days,
        max_days=rules.max_days,
        inconclusive=rules.inconclusive,
        cooldown_days=rules.cooldown_days,
        shadow_days=rules.shadow_days,
        ramp_min_days=rules.ramp_min_days,
        newer=rules.newer,
    )


def settle_step(base: Base, *, step: Transition, running: Running) -> tuple[Transition, Settlement]:
    """The step of a judged rollout with the budgets it puts in force. A promotion whose budgets
    cannot be made waits, or ends as set at ``max_days``."""
    if step.act != "promote":
        return step, follow(step, running)
    full = step.after.stage == "full"
    staged = full_budgets(base) if full else stage_budgets(base, step.after.exposed)
    if staged.problem:
        held = unfit(step, rollout_config(base.settings), staged.problem)
        return held, follow(held, running)
    joined = sorted(set(step.after.exposed) - set(running.exposed))
    news = "It goes to all segments." if full else f"{', '.join(joined)} join."
    told = replace(step, reason=" ".join(filter(None, (news, staged.words, step.reason))))
    return told, follow(told, running, staged.policy)


def meet(
    settings: Settings, *, step: Transition, running: Running, proposed: Policy
) -> tuple[Transition, Transition | None]:
    """What a newer plan does to a rollout that ``step`` leaves as it is.

    Returns
    -------
    The same step, saying so where the newer plan waits; and the step that takes the rollout back
    to make room, where the newer plan may replace it.
    """
    known = alike(proposed, running.challenger) or alike(proposed, running.current)
    if step.act != "hold" or known:
        return step, None
    met = meet_newer(running.state, now=step.on, config=rollout_config(settings))
    if met.act == "roll_back":
        return step, replace(met, verdicts=step.verdicts)
    return replace(step, reason=f"{step.reason} {met.reason}"), None
