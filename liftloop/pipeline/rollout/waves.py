"""The budgets of the waves: which plan each follows, and the limits they are made under."""

from __future__ import annotations

from dataclasses import dataclass, replace

from liftloop.core.policy import Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.transitions import Exposure
from liftloop.pipeline.plan.stage_budgets import Level, StageInputs, stage_budgets
from liftloop.pipeline.rollout.evidence import RolloutInputs, promise_of


@dataclass(frozen=True, slots=True)
class StagedBudgets:
    """What a day may put in force.

    Attributes
    ----------
    plan
        The budgets, for all segments, of a plan that enters; None where none does.
    policy
        The budgets, with each wave on its plan.
    promise
        Profit a day that the curves promise for them against the reference, and its standard
        deviation.
    """

    option: Exposure
    plan: Policy | None
    policy: Policy
    promise: tuple[float, float]


def staged_budgets(
    inputs: RolloutInputs,
    running: Running,
    option: Exposure,
    plan: Policy | None = None,
    *,
    in_steps: bool = True,
) -> StagedBudgets:
    """The budgets with each wave on the plan that ``option`` gives it, within the rules.

    Parameters
    ----------
    in_steps
        Whether a cell moves by at most a step; what goes back to protect may go at once.

    Raises
    ------
    InfeasibleBudget
        When the rules leave no room for them.
    """
    stage = replace(stage_of(inputs, running, plan), in_steps=in_steps)
    policy = stage_budgets(stage, _levels(running, option, plan))
    return StagedBudgets(option, plan, policy, promise_of(inputs, policy, running.reference))


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


def stage_of(inputs: RolloutInputs, running: Running, plan: Policy | None) -> StageInputs:
    """What budgets are made under; fixed are cells that neither the plan nor the stream so far has
    moved, and those that are in no wave."""
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
