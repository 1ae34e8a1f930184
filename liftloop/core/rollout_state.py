"""What a rollout is at one moment, the rules it runs by, and one step of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal

from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.policy import Stage

Act = Literal["start", "hold", "promote", "roll_back", "pause", "resume"]

ENDED: frozenset[Stage] = frozenset({"full", "rolled_back", "incumbent"})
GUARDRAIL = "guardrail"
ALL_PASS = "All guardrails pass."  # what the reason of a promotion begins with


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """Days are calendar days.

    Attributes
    ----------
    shadow_days, min_days, ramp_min_days
        Least days in the shadow, in the canary, in each step of the ramp. No pause counts.
    max_days
        Of the whole rollout. A person's pause does not count; a guardrail's does, so that a policy
        that nobody can measure does not stay in force for ever.
    inconclusive
        What happens at ``max_days`` when nothing is certain.
    cooldown_days
        How long a policy that was rolled back may not come again.
    newer
        What a newer policy does to a rollout under way: "wait", or "replace" it.
    """

    min_days: int = 14
    max_days: int = 56
    inconclusive: Literal["roll_back", "hold"] = "roll_back"
    cooldown_days: int = 28
    shadow_days: int = 0
    ramp_min_days: int = 7
    newer: Literal["wait", "replace"] = "wait"

    def __post_init__(self) -> None:
        if not 0 < self.min_days <= self.max_days:
            raise ValueError(f"min_days {self.min_days} must lie in 1..max_days {self.max_days}")
        if self.shadow_days < 0 or self.ramp_min_days < 0:
            raise ValueError("shadow_days and ramp_min_days are 0 or more")

    def dwell(self, stage: Stage) -> int:
        """Least days in a stage."""
        days: dict[Stage, int] = {
            "shadow": self.shadow_days,
            "canary": self.min_days,
            "ramp": self.ramp_min_days,
        }
        return days.get(stage, 0)


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where one rollout stands.

    Attributes
    ----------
    started_on
        Day of its first step.
    paused_since, paused_by
        First day of the pause and "guardrail" or a person's name; None and "" when running.
    paused_days
        Days paused in this stage so far, without a pause under way.
    step
        Which step of the ramp it is in, from 1; 0 outside the ramp.
    since
        First day of this stage; None for the day it started.
    interrupted
        The stage a pause interrupted, to which it goes back.
    held_days
        Days that a person's pauses took from the whole rollout so far.
    exposed
        Segment -> the first day it follows the challenger.
    """

    rollout_id: str
    stage: Stage
    started_on: date
    paused_since: date | None = None
    paused_days: int = 0
    paused_by: str = ""
    step: int = 0
    since: date | None = None
    interrupted: Stage | None = None
    held_days: int = 0
    exposed: Mapping[str, date] = field(default_factory=dict)

    @property
    def level(self) -> Stage:
        """The stage, or the one that a pause interrupted."""
        return self.stage if self.stage != "paused" else self.interrupted or "canary"

    def _pause_so_far(self, now: date) -> int:
        return max((now - self.paused_since).days, 0) if self.paused_since else 0

    def days_live(self, now: date) -> int:
        """Days of the whole rollout so far without a person's pauses; ``now`` itself has not
        happened yet."""
        pause = 0 if self.paused_by == GUARDRAIL else self._pause_so_far(now)
        return max((now - self.started_on).days - self.held_days - pause, 0)

    def days_in_stage(self, now: date) -> int:
        """Days of this stage so far without any pause."""
        began = self.since or self.started_on
        return max((now - began).days - self.paused_days - self._pause_so_far(now), 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; :meth:`from_dict` reads them back."""

        def day(value: date | None) -> str | None:
            return value.isoformat() if value else None

        return {
            **asdict(self),
            "started_on": self.started_on.isoformat(),
            "paused_since": day(self.paused_since),
            "since": day(self.since),
            "exposed": {name: first.isoformat() for name, first in sorted(self.exposed.items())},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RolloutState:
        """Of :meth:`as_dict`, also as versions before the ramp wrote it."""

        def day(name: str) -> date | None:
            text = values.get(name)
            return date.fromisoformat(text) if text else None

        return cls(
            rollout_id=values["rollout_id"],
            stage=values["stage"],
            started_on=date.fromisoformat(values["started_on"]),
            paused_since=day("paused_since"),
            paused_days=int(values["paused_days"]),
            paused_by=values["paused_by"],
            step=int(values.get("step", 0)),
            since=day("since"),
            interrupted=values.get("interrupted"),
            held_days=int(values.get("held_days", values["paused_days"])),
            exposed={
                name: date.fromisoformat(first) for name, first in values.get("exposed", {}).items()
            },
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
        """Whether segments must get other budgets because of this step."""
        if self.act == "start":
            return self.after.stage != "shadow"
        return self.act == "promote" or (self.act == "roll_back" and bool(self.before.exposed))
