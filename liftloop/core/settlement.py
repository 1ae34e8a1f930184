"""What takes effect: a proposal all at once, a canary, or a step of a running rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from liftloop.core.canary import CanaryChoice
from liftloop.core.decide import DecisionKind
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout import RolloutState, Transition


@dataclass(frozen=True, slots=True)
class Settlement:
    """The policy that takes effect, the stage of each segment, and why."""

    kind: DecisionKind
    policy: Policy
    stages: Mapping[str, Stage]
    reason: str


@dataclass(frozen=True, slots=True)
class Running:
    """A rollout under way.

    Attributes
    ----------
    canary
        The segments of its first stage.
    control
        The segments that keep the incumbent now.
    current
        What is in force: the incumbent with the challenger blended into the exposed segments.
    exposed
        Segment -> the first day it follows the challenger; it grows by the stages of the ramp.
    waves
        The segments that join at each stage: the canary, then one entry a step of the ramp.
    """

    state: RolloutState
    canary: tuple[str, ...]
    control: tuple[str, ...]
    challenger: Policy
    incumbent: Policy
    current: Policy
    exposed: Mapping[str, date] = field(default_factory=dict)
    waves: tuple[tuple[str, ...], ...] = ()


def stay(policy: Policy, reason: str) -> Settlement:
    """Nothing moves."""
    return Settlement("hold", policy, _all(policy, "incumbent"), reason)


def at_once(proposed: Policy, incumbent: Policy, reason: str) -> Settlement:
    """The whole plan reaches all segments (rollout off)."""
    if proposed.version == incumbent.version:
        return stay(incumbent, reason)
    return Settlement("move", proposed, _all(proposed, "full"), reason)


def begin(blended: Policy, choice: CanaryChoice, reason: str) -> Settlement:
    """The canary segments get the new policy, the others keep the old."""
    stages: dict[str, Stage] = {
        cell.segment: "canary" if cell.segment in choice.canary else "incumbent"
        for cell in blended.cells
    }
    return Settlement("move", blended, stages, reason)


def follow(step: Transition, running: Running) -> Settlement:
    """What a rollout's step puts in force: the challenger everywhere, the incumbent everywhere, or
    what is in force already."""
    if step.act == "promote":
        return Settlement(
            "promote", running.challenger, _all(running.challenger, "full"), step.reason
        )
    inside: Stage = step.after.stage
    stages: dict[str, Stage] = {
        cell.segment: inside if cell.segment in running.canary else "incumbent"
        for cell in running.incumbent.cells
    }
    if step.act == "roll_back":
        return Settlement("roll_back", running.incumbent, stages, step.reason)
    kind: DecisionKind = "pause" if step.act == "pause" else "hold"
    return Settlement(kind, running.current, stages, step.reason)


def needs_approval(share_moved: float, approve_above: float | None) -> bool:
    """Whether a plan that moves this share of the total waits for a person."""
    return approve_above is not None and share_moved > approve_above


def _all(policy: Policy, stage: Stage) -> dict[str, Stage]:
    return {cell.segment: stage for cell in policy.cells}
