"""The rollout's state machine: how a new policy enters, waits, goes on or goes back.

Pure: state, evidence and verdicts in, a transition out. The task that calls :func:`advance` writes
the transition to the ledger and then acts on it.

    canary --promote--> full          all guardrails pass, after min_days
    canary --roll_back--> rolled_back a guardrail fails, at any time, also while paused
    canary --pause--> paused          a guardrail asks for it, or a person; --resume--> canary
    canary --hold--> canary           anything else
    at max_days, undecided            roll_back or hold, as set; never promote
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

from liftloop.core.evidence import CanaryEvidence
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.policy import Stage

Act = Literal["start", "hold", "promote", "roll_back", "pause", "resume"]

ENDED: frozenset[Stage] = frozenset({"full", "rolled_back", "incumbent"})


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """Days are calendar days; pauses do not count towards min_days and max_days."""

    min_days: int = 14
    max_days: int = 56
    inconclusive: Literal["roll_back", "hold"] = "roll_back"
    cooldown_days: int = 28

    def __post_init__(self) -> None:
        if not 0 < self.min_days <= self.max_days:
            raise ValueError(f"min_days {self.min_days} must lie in 1..max_days {self.max_days}")


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where one rollout stands. ``paused_by`` is "guardrail" or a person's name, "" when
    running."""

    rollout_id: str
    stage: Stage
    started_on: date
    paused_since: date | None = None
    paused_days: int = 0
    paused_by: str = ""

    def days_live(self, now: date) -> int:
        """Days in force so far without the pauses; ``now`` itself has not happened yet."""
        pause = (now - self.paused_since).days if self.paused_since else 0
        return max((now - self.started_on).days - self.paused_days - pause, 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; :meth:`from_dict` reads them back."""
        since = self.paused_since.isoformat() if self.paused_since else None
        return {**asdict(self), "started_on": self.started_on.isoformat(), "paused_since": since}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RolloutState:
        since = values["paused_since"]
        return cls(
            rollout_id=values["rollout_id"],
            stage=values["stage"],
            started_on=date.fromisoformat(values["started_on"]),
            paused_since=date.fromisoformat(since) if since else None,
            paused_days=int(values["paused_days"]),
            paused_by=values["paused_by"],
        )


@dataclass(frozen=True, slots=True)
class Transition:
    """One step: what was, what is, why, and all it rests on."""

    act: Act
    before: RolloutState
    after: RolloutState
    on: date
    reason: str
    verdicts: tuple[GuardrailVerdict, ...] = ()
    barred_until: date | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for the ledger's JSON: the state after it, and each verdict whole."""
        return {
            "state": self.after.as_dict(),
            "verdicts": [{**asdict(v), "evidence": dict(v.evidence)} for v in self.verdicts],
            "barred_until": self.barred_until.isoformat() if self.barred_until else None,
        }

    @property
    def changes_budgets(self) -> bool:
        """Whether the exposed set must get other budgets because of this step."""
        return self.act in ("start", "promote", "roll_back")


def start(rollout_id: str, *, on: date, reason: str) -> Transition:
    """The first step: the canary gets the new policy from ``on``."""
    before = RolloutState(rollout_id, "incumbent", on)
    return Transition("start", before, replace(before, stage="canary"), on, reason)


def _ended(state: RolloutState, stage: Stage) -> RolloutState:
    return replace(state, stage=stage, paused_since=None, paused_by="")


def roll_back(
    state: RolloutState,
    *,
    now: date,
    config: RolloutConfig,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """Back to the incumbent, by a verdict or by hand; the policy is barred for the cool-down."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, "The rollout has ended.", tuple(verdicts))
    until = now + timedelta(days=config.cooldown_days)
    after = _ended(state, "rolled_back")
    return Transition("roll_back", state, after, now, reason, tuple(verdicts), until)


def pause(
    state: RolloutState,
    *,
    now: date,
    by: str,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """Budgets stay as they are and the clock stops. A person's pause replaces a guardrail's."""
    if state.stage in ENDED:
        return Transition("hold", state, state, now, "The rollout has ended.", tuple(verdicts))
    after = replace(state, stage="paused", paused_since=state.paused_since or now, paused_by=by)
    return Transition("pause", state, after, now, reason, tuple(verdicts))


def resume(
    state: RolloutState,
    *,
    now: date,
    reason: str,
    verdicts: Sequence[GuardrailVerdict] = (),
) -> Transition:
    """The canary goes on, and so does its clock."""
    if state.stage != "paused" or state.paused_since is None:
        return Transition("hold", state, state, now, "Nothing is paused.", tuple(verdicts))
    days = state.paused_days + (now - state.paused_since).days
    after = replace(state, stage="canary", paused_since=None, paused_by="", paused_days=days)
    return Transition("resume", state, after, now, reason, tuple(verdicts))


def _because(verdicts: Sequence[GuardrailVerdict], *kinds: str) -> str:
    return " ".join(f"{v.name.capitalize()}: {v.sentence}" for v in verdicts if v.verdict in kinds)


def advance(
    state: RolloutState,
    evidence: CanaryEvidence,
    verdicts: Sequence[GuardrailVerdict],
    now: date,
    config: RolloutConfig,
) -> Transition:
    """The next step of a rollout. Guardrails are judged in every state that is not an end.

    A failing guardrail rolls back at once. Promotion needs at least one verdict, all of them a
    pass, evidence without a problem, and ``min_days``. No verdict at all, or one that cannot
    measure, never promotes.
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
    if state.stage == "paused":
        if state.paused_by == "guardrail" and verdicts and not asks_pause:
            return resume(
                state, now=now, verdicts=verdicts, reason="What the rollout waited for has mended."
            )
        return step("hold", state, f"Paused by {state.paused_by} since {state.paused_since}.")
    if asks_pause:
        reason = " ".join(v.sentence for v in verdicts if v.recommendation == "pause")
        return pause(state, now=now, by="guardrail", reason=reason, verdicts=verdicts)
    days = state.days_live(now)
    clear = bool(verdicts) and all(v.verdict == "pass" for v in verdicts)
    sound = evidence.last is not None and not evidence.problem
    if clear and sound and days >= config.min_days:
        return step("promote", _ended(state, "full"), _because(verdicts, "pass"))
    if days >= config.max_days:
        open_points = _because(verdicts, "undecided", "review") or "No guardrail could be judged."
        reason = f"Undecided after {days} days. {open_points}"
        if config.inconclusive == "roll_back":
            return roll_back(state, now=now, config=config, reason=reason, verdicts=verdicts)
        return step("hold", state, f"{reason} It stays a canary until someone decides.")
    if clear and sound:
        return step(
            "hold", state, f"All guardrails pass; {config.min_days - days} more days to go."
        )
    open_points = _because(verdicts, "undecided", "review") or "No guardrail was judged."
    return step("hold", state, open_points)
