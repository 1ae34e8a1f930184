"""The rollout's state machine: how a new policy enters, waits, goes on or goes back.

Pure: state, evidence and verdicts in, a transition out. The task that calls :func:`advance` writes
the transition to the ledger and then acts on it.

    shadow --promote--> canary        its guardrails pass, after shadow_days; nothing is applied
    canary --promote--> ramp 1        all guardrails pass, after min_days: more segments join
    ramp k --promote--> ramp k + 1    the same, after ramp_min_days
    the last of them --promote--> full
    any    --roll_back--> rolled_back a guardrail fails, at any time, also while paused
    any    --pause--> paused          a guardrail asks for it, or a person; --resume--> where it was
    any    --hold--> the same         anything else
    at max_days, undecided            roll_back or hold, as set; never promote
    a newer policy                    waits, or replaces (roll_back without a bar), as set
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from liftloop.core.evidence import CanaryEvidence
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.policy import Stage
from liftloop.core.rollout_state import (
    ALL_PASS,
    ENDED,
    GUARDRAIL,
    Act,
    RolloutConfig,
    RolloutState,
    Transition,
)

__all__ = [
    "ENDED",
    "GUARDRAIL",
    "Act",
    "RolloutConfig",
    "RolloutState",
    "Transition",
    "advance",
    "meet_newer",
    "pause",
    "resume",
    "roll_back",
    "start",
    "unfit",
]

OVER = "The rollout has ended."
Waves = Sequence[Sequence[str]]


def start(
    rollout_id: str, *, on: date, reason: str, canary: Sequence[str] = (), shadow: bool = False
) -> Transition:
    """The first step: the segments of ``canary`` get the new policy from ``on``; in the shadow
    nobody does yet."""
    before = RolloutState(rollout_id, "incumbent", on)
    stage: Stage = "shadow" if shadow else "canary"
    exposed = {} if shadow else dict.fromkeys(canary, on)
    after = replace(before, stage=stage, since=on, exposed=exposed)
    return Transition("start", before, after, on, reason)


def _ended(state: RolloutState, stage: Stage) -> RolloutState:
    return replace(_running_again(state, None), stage=stage)


def _running_again(state: RolloutState, now: date | None) -> RolloutState:
    """The state without its pause; the pause's days are booked up to ``now``, if given."""
    if state.paused_since is None:
        return state
    days = max((now - state.paused_since).days, 0) if now else 0
    person = days if state.paused_by != GUARDRAIL else 0
    return replace(
        state,
        stage=state.level,
        paused_since=None,
        paused_by="",
        interrupted=None,
        paused_days=state.paused_days + days,
        held_days=state.held_days + person,
    )


def roll_back(
    state: RolloutState,
    *,
    now: date,
    config: RolloutConfig,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
    bar: bool = True,
) -> Transition:
    """Back to the incumbent, by a verdict or by hand; the policy is barred for the cool-down, but
    for one that only makes room (``bar`` false)."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, OVER, tuple(verdicts))
    until = now + timedelta(days=config.cooldown_days) if bar else None
    after = replace(_ended(state, "rolled_back"), since=now, exposed={})
    return Transition("roll_back", state, after, now, reason, tuple(verdicts), until)


def pause(
    state: RolloutState,
    *,
    now: date,
    by: str,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """Budgets stay as they are and the stage's clock stops. A person's pause replaces a
    guardrail's, never the other way round."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, OVER, tuple(verdicts))
    if state.stage == "paused" and (by == GUARDRAIL or state.paused_by != GUARDRAIL):
        words = f"Paused by {state.paused_by} since {state.paused_since} already."
        return Transition("hold", state, state, now, words, tuple(verdicts))
    going = _running_again(state, now)
    after = replace(going, stage="paused", interrupted=going.stage, paused_since=now, paused_by=by)
    return Transition("pause", state, after, now, reason, tuple(verdicts))


def resume(
    state: RolloutState,
    *,
    now: date,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """The stage that was interrupted goes on, and so does its clock."""
    if state.stage != "paused" or state.paused_since is None:
        words = OVER if state.stage in ENDED else "Nothing is paused."
        return Transition("hold", state, state, now, words, tuple(verdicts))
    return Transition("resume", state, _running_again(state, now), now, reason, tuple(verdicts))


def meet_newer(state: RolloutState, *, now: date, config: RolloutConfig) -> Transition:
    """What a newer policy does to a rollout under way. Replacing it takes it back first; it did not
    fail, so it is not barred. A person's pause is kept: the newer policy waits."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, OVER)
    if config.newer == "wait":
        words = "A newer policy waits until this rollout has ended."
        return Transition("hold", state, state, now, words)
    if state.stage == "paused" and state.paused_by != GUARDRAIL:
        words = f"A newer policy waits: {state.paused_by} paused this rollout."
        return Transition("hold", state, state, now, words)
    words = "A newer policy replaces it: its segments go back to the budgets before it first."
    return roll_back(state, now=now, config=config, reason=words, bar=False)


def _because(verdicts: Sequence[GuardrailVerdict], *kinds: str) -> str:
    return " ".join(f"{v.name.capitalize()}: {v.sentence}" for v in verdicts if v.verdict in kinds)


def _next(state: RolloutState, now: date, waves: Waves) -> RolloutState:
    """The state one stage further; ``waves[k]`` join at step k, the canary being step 0."""
    step = 0 if state.stage == "shadow" else state.step + 1
    if state.stage != "shadow" and step >= len(waves):
        return replace(_ended(state, "full"), since=now, step=0, paused_days=0)
    stage: Stage = "ramp" if step else "canary"
    joined = waves[step] if step < len(waves) else ()
    exposed = {**state.exposed, **{name: now for name in joined if name not in state.exposed}}
    return replace(state, stage=stage, step=step, since=now, paused_days=0, exposed=exposed)


def advance(
    state: RolloutState,
    evidence: CanaryEvidence,
    verdicts: Sequence[GuardrailVerdict],
    now: date,
    config: RolloutConfig,
    waves: Waves = (),
) -> Transition:
    """The next step of a rollout. Guardrails are judged in every state that is not an end.

    A failing guardrail rolls back at once. Promotion needs at least one verdict, all of them a
    pass, the days of the stage, and (but in the shadow, where nobody is exposed) evidence without a
    problem. No verdict at all, or one that cannot measure, never promotes. A stage whose guardrails
    pass lasts its least days also where ``max_days`` are over before.

    Parameters
    ----------
    evidence
        What the exposed segments show; in the shadow it is not looked at.
    waves
        The segments that join at each stage, the canary first; one a step of the ramp after it.
        Without a ramp a canary that passes goes to all segments.
    """

    def step(act: Act, after: RolloutState, reason: str) -> Transition:
        return Transition(act, state, after, now, reason, tuple(verdicts))

    if state.stage in ENDED:
        return step("hold", state, f"The rollout has ended: {state.stage}.")
    if any(v.verdict == "fail" for v in verdicts):
        return roll_back(
            state, now=now, config=config, verdicts=verdicts, reason=_because(verdicts, "fail")
        )
    asks_pause = any(v.recommendation == "pause" for v in verdicts)
    over = state.days_live(now) >= config.max_days
    if state.stage == "paused":
        if state.paused_by != GUARDRAIL:
            return step("hold", state, f"Paused by {state.paused_by} since {state.paused_since}.")
        if verdicts and not asks_pause:
            return resume(
                state, now=now, verdicts=verdicts, reason="What the rollout waited for has mended."
            )
        if not over:
            return step("hold", state, f"Paused by a guardrail since {state.paused_since}.")
    elif asks_pause and not over:
        reason = " ".join(v.sentence for v in verdicts if v.recommendation == "pause")
        return pause(state, now=now, by=GUARDRAIL, reason=reason, verdicts=verdicts)
    clear = bool(verdicts) and not asks_pause and all(v.verdict == "pass" for v in verdicts)
    measured = evidence.last is not None and not evidence.problem
    days, dwell = state.days_in_stage(now), config.dwell(state.stage)
    if clear and (measured or state.stage == "shadow"):
        if days >= dwell:
            why = f"{ALL_PASS} {_because(verdicts, 'pass')}"
            return step("promote", _next(state, now, waves), why)
        return step("hold", state, f"All guardrails pass; {dwell - days} more days to go.")
    open_points = _because(verdicts, "undecided", "review") or "No guardrail could be judged."
    if not over:
        return step("hold", state, open_points)
    reason = f"Undecided after {state.days_live(now)} days. {open_points}"
    if config.inconclusive == "roll_back":
        return roll_back(state, now=now, config=config, reason=reason, verdicts=verdicts)
    return step("hold", state, f"{reason} It stays where it is until someone decides.")


def unfit(step: Transition, config: RolloutConfig, why: str) -> Transition:
    """What becomes of a promotion whose budgets cannot be made: it waits, and at ``max_days`` it
    ends as set for what is inconclusive."""
    state, now = step.before, step.on
    reason = f"All guardrails pass, but the next stage cannot begin: {why}"
    over = state.days_live(now) >= config.max_days
    if over and config.inconclusive == "roll_back":
        return roll_back(state, now=now, config=config, reason=reason, verdicts=step.verdicts)
    return Transition("hold", state, state, now, reason, step.verdicts)
