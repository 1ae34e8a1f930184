"""What takes effect: budgets all at once, or a step of a stream of plans; and the stream itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from liftloop.core.curves.gain import DecisionKind
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout.state import RolloutState, Transition

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
    """A stream of plans under way.

    Attributes
    ----------
    waves
        The segments of each wave, the leading one first.
    policies
        Budgets by version: the reference's and every plan's that the state names.
    current
        The budgets in force.
    """

    state: RolloutState
    waves: tuple[tuple[str, ...], ...]
    policies: Mapping[str, Policy]
    current: Policy

    @property
    def reference(self) -> Policy:
        """The budgets that the stream is compared with, and goes back to."""
        return self.policies[self.state.reference]

    @property
    def head(self) -> Policy:
        """The newest plan, for all segments: what the next plan is made from."""
        last = max(self.state.plans, key=lambda plan: plan.number, default=None)
        return self.policies[last.version] if last is not None else self.reference

    @property
    def segments(self) -> tuple[str, ...]:
        """All segments of the stream."""
        return tuple(sorted(name for wave in self.waves for name in wave))

    def policy_of(self, number: int) -> Policy:
        """The budgets of a plan; of number 0 the reference."""
        plan = self.state.plan(number)
        return self.policies[plan.version] if plan is not None else self.reference

    def following(self, number: int) -> tuple[str, ...]:
        """The segments that follow this plan or a newer one, sorted."""
        return tuple(
            sorted(
                name
                for wave, position in zip(self.waves, self.state.positions, strict=True)
                if position >= number
                for name in wave
            )
        )

    def after(self, step: Transition, policy: Policy, *, plan: Policy | None = None) -> Running:
        """The same stream once ``step`` is done and ``policy`` is in force; ``plan`` is new in
        it."""
        known = dict(self.policies) if plan is None else {**self.policies, plan.version: plan}
        wanted = {step.after.reference, *(p.version for p in step.after.plans)}
        return replace(
            self,
            state=step.after,
            policies={v: p for v, p in known.items() if v in wanted},
            current=policy,
        )


def stages_of(running: Running) -> dict[str, Stage]:
    """The stage of each segment: ``canary`` has the newest plan, ``ramp`` an earlier one,
    ``incumbent`` the reference; ``full`` where all have the same plan."""
    state = running.state
    found: dict[str, Stage] = {}
    for wave, position in zip(running.waves, state.positions, strict=True):
        for name in wave:
            if state.stage in ("paused", "rolled_back", "shadow"):
                found[name] = state.stage
            elif position == 0:
                found[name] = "incumbent"
            elif state.newest == state.oldest:
                found[name] = "full"
            else:
                found[name] = "canary" if position == state.newest else "ramp"
    return {cell.segment: found.get(cell.segment, "incumbent") for cell in running.current.cells}


def stay(policy: Policy, reason: str) -> Settlement:
    """Nothing moves."""
    return Settlement("hold", policy, dict.fromkeys(_names(policy), "incumbent"), reason)


def at_once(proposed: Policy, incumbent: Policy, reason: str) -> Settlement:
    """The whole plan reaches all segments (rollout off)."""
    if proposed.version == incumbent.version:
        return stay(incumbent, reason)
    return Settlement("move", proposed, dict.fromkeys(_names(proposed), "full"), reason)


def _names(policy: Policy) -> list[str]:
    return [cell.segment for cell in policy.cells]


_KINDS: Mapping[str, DecisionKind] = {
    "start": "move",
    "move": "move",
    "promote": "promote",
    "roll_back": "roll_back",
    "pause": "pause",
}


def follow(step: Transition, after: Running) -> Settlement:
    """What a step of a stream puts in force; ``after`` is the stream once it is done."""
    kind = _KINDS.get(step.act, "hold")
    return Settlement(kind, after.current, stages_of(after), step.reason)


def alike(one: Policy, other: Policy) -> bool:
    """Whether two policies differ by at most a cent in every cell: the same plan, rounded anew."""
    left, right, nothing = one.as_dict(), other.as_dict(), Decimal(0)
    return all(
        abs(left.get(cell, nothing) - right.get(cell, nothing)) <= CENT
        for cell in left.keys() | right.keys()
    )
