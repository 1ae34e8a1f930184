"""How a stream of plans moves: which waves follow which plan, how it is paused, taken back, proven.

Pure: state in, transition out. The task that calls these writes the transition to the ledger and
then acts on it.

    start, move   a new plan enters the first wave (or more of them); the others move up one place;
                  or budgets vary on purpose around the plans that the waves have
    promote       the waves move up one place, without a new plan
    hold          nothing moves
    prove         the gain was measured: the budgets that all waves have become the reference
    roll_back     back to the reference, by a verdict or by hand; a cool-down follows
    pause, resume by a person: budgets stay, guardrails go on being judged
    close         rollouts were switched off: the stream ends where it is
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Stage
from liftloop.core.rollout.allowance import PLAN_DAYS, KeptPromise
from liftloop.core.rollout.state import ENDED, GUARDRAIL, Risk, RolloutState, StreamPlan, Transition

SHARES = (1.0, 0.75, 0.5, 0.25)  # of a plan's step, the largest first
KEPT_RECORD = 12  # so many comparisons of promised with measured gains are remembered
OVER = "The rollout has ended."


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who follows which plan from now on.

    Attributes
    ----------
    positions
        For each wave the number of its plan.
    share
        How far of its step the new plan goes; 0 where no new plan enters.
    """

    positions: tuple[int, ...]
    share: float = 0.0


def begin(
    rollout_id: str,
    *,
    on: date,
    reference: str,
    waves: int,
    baseline: float,
    record: Sequence[KeptPromise] = (),
) -> RolloutState:
    """A stream before its first plan: every wave has the reference."""
    return RolloutState(
        rollout_id,
        "incumbent",
        on,
        reference,
        on,
        baseline,
        positions=(0,) * waves,
        record=tuple(record)[-KEPT_RECORD:],
    )


def adopt(
    values: Mapping[str, Any],
    *,
    reference: str,
    plan: str,
    waves: Sequence[Sequence[str]],
) -> RolloutState:
    """The state of a rollout that began as a test of one plan, as a stream's whose first plan that
    is. What it promised and what its reference earns was not recorded: both are worked out anew.

    Parameters
    ----------
    values
        The state as the version before recorded it: its exposed segments with their first days, its
        stage and its pause.
    reference, plan
        Versions of the budgets before, and of the plan.
    """
    began = date.fromisoformat(values["started_on"])
    exposed = {name: date.fromisoformat(day) for name, day in values.get("exposed", {}).items()}
    if not exposed and values["stage"] in ("canary", "ramp", "paused"):
        exposed = dict.fromkeys(waves[0], began)
    reached = tuple(
        min((exposed[name] for name in wave if name in exposed), default=None) for wave in waves
    )
    paused = values.get("paused_since")
    return RolloutState(
        values["rollout_id"],
        values["stage"],
        began,
        reference,
        began,
        plans=(StreamPlan(1, plan, began, 1.0, reached),),
        positions=tuple(int(day is not None) for day in reached),
        paused_since=date.fromisoformat(paused) if paused else None,
        paused_by=values.get("paused_by", ""),
        held_days=int(values.get("held_days", 0)),
    )


def exposures(
    state: RolloutState,
    *,
    new: bool,
    on: date,
    shadow_days: int = 0,
    proven_only: bool = False,
    switch_back: bool = False,
) -> tuple[Exposure, ...]:
    """What may become of the waves today, the largest exposure first; the last one changes nothing.

    A new plan goes to all waves, to fewer, or to the first alone; behind it every wave moves up one
    place. To the first wave alone it also goes in part of its step.

    Parameters
    ----------
    new
        Whether a new plan is there; it gets the next number.
    shadow_days
        Days that a plan is kept before a wave may follow it.
    proven_only
        Nothing goes on unproven: a plan stays in the first wave until a gain was measured, and no
        other enters meanwhile.
    switch_back
        There is nothing to compare with but the reference itself: after each cycle on a plan every
        wave has the reference for one cycle (a switchback experiment: Bojinov, Simchi-Levi and Zhao
        2023).
    """
    now, count = state.positions, len(state.positions)
    last = max((plan.number for plan in state.plans), default=0)
    ripe = max(
        (p.number for p in state.plans if (on - p.on).days >= shadow_days), default=state.newest
    )
    unproven = state.newest > 0
    if switch_back and unproven:
        return (Exposure((0,) * count), Exposure(now))
    if new and shadow_days > 0:
        up = (max(ripe, now[0]), *now[:-1])
        return (Exposure(up, 1.0), Exposure(now, 1.0), Exposure(now))
    if proven_only:
        first = (last + 1, *now[1:])
        return (
            *((Exposure(first, s) for s in SHARES) if new and not unproven else ()),
            Exposure(now),
        )
    found: list[Exposure] = []
    if new:
        for lead in range(count, 0, -1):
            positions = (*(last + 1,) * lead, *now[lead - 1 : -1])[:count]
            found += [Exposure(positions, s) for s in (SHARES if lead == 1 else SHARES[:1])]
    up = (max(ripe, now[0]), *now[:-1])
    return (*found, *([Exposure(up)] if up != now else []), Exposure(now))


@dataclass(frozen=True, slots=True)
class NewBudgets:
    """What a step puts in force.

    Attributes
    ----------
    version
        Of the budgets of the plan that enters; "" where none does.
    promise
        Profit a day that the curves promise for the budgets put in force against the reference, and
        its standard deviation.
    varied
        Whether budgets vary on purpose around what the waves follow.
    """

    version: str = ""
    promise: tuple[float, float] = (0.0, 0.0)
    varied: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found when a step was decided: the guardrails' verdicts, the numbers of the risk,
    and the gain promised beside the one measured; None where there is no such number."""

    verdicts: Sequence[GuardrailVerdict] = ()
    risk: Risk | None = None
    kept: KeptPromise | None = None


NOTHING_NEW, NOTHING_FOUND = NewBudgets(), Findings()


def move(
    state: RolloutState,
    to: Exposure,
    *,
    on: date,
    reason: str,
    budgets: NewBudgets = NOTHING_NEW,
    findings: Findings = NOTHING_FOUND,
) -> Transition:
    """The waves go to ``to``; with a share a new plan of ``budgets`` enters. Where they stay,
    budgets vary on purpose around what the waves follow, or no longer do."""
    plans = state.plans
    if to.share > 0:
        number = max((plan.number for plan in plans), default=0) + 1
        nobody = (None,) * len(to.positions)
        plans = (*plans, StreamPlan(number, budgets.version, on, to.share, nobody))
    plans = tuple(
        replace(
            plan,
            reached=tuple(
                day or (on if position >= plan.number else None)
                for day, position in zip(plan.reached, to.positions, strict=True)
            ),
        )
        for plan in plans
    )
    lowest = min(to.positions, default=0)
    kept = tuple(  # a young plan has a question of its own, also where newer ones took its place
        plan for plan in plans if plan.number >= lowest or (on - plan.on).days <= PLAN_DAYS
    )
    after = replace(
        state,
        plans=kept,
        positions=to.positions,
        risk=findings.risk,
        promises=(*state.promises, (on, *budgets.promise)),
        varied=budgets.varied,
    )
    after = replace(after, stage=_stage(after))
    moves = to.share > 0 or to.positions == state.positions
    act = "start" if state.stage == "incumbent" else "move" if moves else "promote"
    return Transition(act, state, after, on, reason, tuple(findings.verdicts))  # type: ignore[arg-type]


def _stage(state: RolloutState) -> Stage:
    """A stream whose plans nobody follows yet is in the shadow."""
    return "shadow" if state.newest == 0 else "canary"


def hold(
    state: RolloutState,
    *,
    on: date,
    reason: str,
    risk: Risk | None = None,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """Nothing moves."""
    after = state if risk is None else replace(state, risk=risk)
    return Transition("hold", state, after, on, reason, tuple(verdicts))


@dataclass(frozen=True, slots=True)
class Expected:
    """What the curves expect once the reference is another.

    Attributes
    ----------
    baseline
        Incremental revenue a day times the margin under the new reference.
    promise
        Profit a day promised for the budgets in force against the new reference, and its standard
        deviation.
    """

    baseline: float
    promise: tuple[float, float]


def prove(
    state: RolloutState,
    *,
    on: date,
    reason: str,
    kept: KeptPromise,
    expected: Expected,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """The stream's gain was measured: the plan that every wave has becomes the reference, what was
    promised and measured enters the record, and what was held for it is free.

    Raises
    ------
    ValueError
        If no plan has reached every wave.
    """
    base = state.plan(state.oldest)
    if base is None:
        raise ValueError("no plan has reached every wave")
    after = replace(
        state,
        reference=base.version,
        reference_on=on,
        proven_on=on,
        baseline=expected.baseline,
        promises=((on, *expected.promise),),
        record=(*state.record, kept)[-KEPT_RECORD:],
    )
    return Transition("prove", state, after, on, reason, tuple(verdicts))


def roll_back(
    state: RolloutState,
    *,
    now: date,
    cooldown_days: int,
    reason: str,
    findings: Findings = NOTHING_FOUND,
    bar: bool = True,
) -> Transition:
    """Back to the reference, by a verdict or by hand; no plan enters before the cool-down ends, but
    after one that only makes room (``bar`` false)."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, OVER, tuple(findings.verdicts))
    until = now + timedelta(days=cooldown_days) if bar else None
    kept, record = findings.kept, state.record
    record = record if kept is None else (*record, kept)[-KEPT_RECORD:]
    going = _running_again(state, now)
    after = replace(
        going,
        stage="rolled_back",
        positions=(0,) * len(state.positions),
        record=record,
        risk=findings.risk or state.risk,
    )
    return Transition("roll_back", state, after, now, reason, tuple(findings.verdicts), until)


def close(state: RolloutState, *, on: date, reason: str) -> Transition:
    """The stream ends without being taken back: somebody switched rollouts off."""
    if state.stage in ENDED:
        return Transition("hold", state, state, on, OVER)
    after = replace(_running_again(state, on), stage="full")
    return Transition("close", state, after, on, reason)


def _running_again(state: RolloutState, now: date) -> RolloutState:
    """The state without its pause, whose days are counted."""
    if state.paused_since is None:
        return state
    days = max((now - state.paused_since).days, 0)
    going = replace(state, paused_since=None, paused_by="", held_days=state.held_days + days)
    return replace(going, stage=_stage(going))


def pause(
    state: RolloutState,
    *,
    now: date,
    by: str,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """Budgets stay as they are. A person's pause replaces a guardrail's, never the other way
    round."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, OVER, tuple(verdicts))
    if state.stage == "paused" and (by == GUARDRAIL or state.paused_by != GUARDRAIL):
        words = f"Paused by {state.paused_by} since {state.paused_since} already."
        return Transition("hold", state, state, now, words, tuple(verdicts))
    going = _running_again(state, now)
    after = replace(going, stage="paused", paused_since=now, paused_by=by)
    return Transition("pause", state, after, now, reason, tuple(verdicts))


def resume(
    state: RolloutState,
    *,
    now: date,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """The stream that was paused goes on."""
    if state.stage != "paused" or state.paused_since is None:
        words = OVER if state.stage in ENDED else "Nothing is paused."
        return Transition("hold", state, state, now, words, tuple(verdicts))
    return Transition("resume", state, _running_again(state, now), now, reason, tuple(verdicts))
