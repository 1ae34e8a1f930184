"""What takes effect: a proposal all at once, a rollout's first stage, or a step of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from liftloop.core.canary import CanaryChoice
from liftloop.core.decide import DecisionKind
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout import RolloutState, Transition

CENT = Decimal("0.01")


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
        Segment -> the first day it follows the challenger; it grows by the steps of the ramp.
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

    @property
    def segments(self) -> tuple[str, ...]:
        """All segments of the rollout, exposed or not."""
        return tuple(sorted({*self.canary, *self.control, *self.exposed}))

    def after(self, step: Transition, policy: Policy) -> Running:
        """The same rollout once ``step`` is done and ``policy`` is in force."""
        exposed = step.after.exposed
        control = tuple(name for name in self.segments if name not in exposed)
        return replace(self, state=step.after, exposed=exposed, control=control, current=policy)


def begun(
    step: Transition, choice: CanaryChoice, challenger: Policy, incumbent: Policy, current: Policy
) -> Running:
    """The rollout that a first step begins."""
    exposed = step.after.exposed
    everyone = {*choice.canary, *choice.control}
    return Running(
        state=step.after,
        canary=choice.canary,
        control=tuple(sorted(everyone - set(exposed))),
        challenger=challenger,
        incumbent=incumbent,
        current=current,
        exposed=exposed,
        waves=choice.waves,
    )


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
    return Settlement("move", blended, _some(blended, choice.canary, "canary"), reason)


def keep_in_shadow(incumbent: Policy, choice: CanaryChoice, reason: str) -> Settlement:
    """The new policy is kept and not applied; its canary segments are known already."""
    return Settlement("hold", incumbent, _some(incumbent, choice.canary, "shadow"), reason)


def follow(step: Transition, running: Running, promoted: Policy | None = None) -> Settlement:
    """What a rollout's step puts in force: ``promoted`` (the challenger everywhere, by default),
    the incumbent everywhere, or what is in force already."""
    stage = step.after.stage
    if step.act == "promote":
        policy = promoted or running.challenger
        stages = (
            _all(policy, "full") if stage == "full" else _some(policy, step.after.exposed, stage)
        )
        return Settlement("promote", policy, stages, step.reason)
    inside = running.exposed or running.canary
    stages = _some(running.incumbent, inside, stage)
    if step.act == "roll_back":
        return Settlement("roll_back", running.incumbent, stages, step.reason)
    kind: DecisionKind = "pause" if step.act == "pause" else "hold"
    return Settlement(kind, running.current, stages, step.reason)


def needs_approval(share_moved: float, approve_above: float | None) -> bool:
    """Whether a plan that moves this share of the total waits for a person."""
    return approve_above is not None and share_moved > approve_above


def alike(one: Policy, other: Policy) -> bool:
    """Whether two policies differ by at most a cent in every cell: the same plan, rounded anew."""
    left, right, nothing = one.as_dict(), other.as_dict(), Decimal(0)
    return all(
        abs(left.get(cell, nothing) - right.get(cell, nothing)) <= CENT
        for cell in left.keys() | right.keys()
    )


def barred_until(proposed: Policy, failed: Iterable[tuple[Policy, date]]) -> date | None:
    """Until when ``proposed`` may not come, being a policy that was rolled back or :func:`alike`.

    Parameters
    ----------
    failed
        Policies that were rolled back, each with the end of its cool-down.
    """
    return max((until for policy, until in failed if alike(policy, proposed)), default=None)


def _all(policy: Policy, stage: Stage) -> dict[str, Stage]:
    return {cell.segment: stage for cell in policy.cells}


def _some(policy: Policy, inside: Iterable[str], stage: Stage) -> dict[str, Stage]:
    """``stage`` for the segments inside; the others keep the incumbent."""
    these = set(inside)
    return {cell.segment: stage if cell.segment in these else "incumbent" for cell in policy.cells}
