"""What a plan is to do best: swappable objectives.

Every objective but one is a sum over cells, so it is a way to see the curves: the allocation then
runs on what it sees. CVaR looks at all cells of a draw together and has a solver of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from liftloop.core.allocation import Allocation, allocate, holders
from liftloop.core.curves import ResponseCurves, WeightedCurves
from liftloop.core.cvar import cvar_plan
from liftloop.core.decide import gain, spends
from liftloop.core.errors import ConfigurationError, InfeasibleBudget
from liftloop.core.policy import Policy, from_cents, to_cents
from liftloop.core.rules import Group, Rules, covered, money

TargetOf = Literal["plan", "last_unit"]
HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Planned:
    """An allocation, the rules it obeys (with the total that is really spent and the shares its
    objective asks for) and sentences about them."""

    allocation: Allocation
    rules: Rules
    notes: tuple[str, ...] = ()


class Objective(Protocol):
    """From curves and rules to the plan that is best in the objective's own sense."""

    def plan(
        self, *, curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float
    ) -> Planned:
        """Raises ``InfeasibleBudget`` as :func:`liftloop.core.allocation.allocate` does."""
        ...


@dataclass(frozen=True, slots=True)
class ExpectedProfit:
    """The most expected profit: margin x incremental revenue - spend."""

    def plan(
        self, *, curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float
    ) -> Planned:
        found = allocate(curves=curves, rules=rules, incumbent=incumbent, margin=margin)
        return Planned(found, rules)


@dataclass(frozen=True, slots=True)
class TargetIroas:
    """Spend no more of the total than keeps the expected iROAS at ``target`` (> 0).

    ``of`` "plan": expected incremental revenue over spend of the whole plan. "last_unit": the
    expected revenue of one more unit of the total (mROAS), which never wastes the last unit. Both
    fall as the total grows where returns diminish, so the largest total that keeps the target is
    found by bisection over whole cents. Where even the least total the rules allow misses the
    target, that least is spent.
    """

    target: float
    of: TargetOf = "plan"

    def __post_init__(self) -> None:
        if not self.target > 0:
            raise ConfigurationError(
                f"target_iroas is {self.target}.", fix="give what a unit of spend has to bring."
            )

    def plan(
        self, *, curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float
    ) -> Planned:
        def at(cents: int) -> Allocation:
            smaller = replace(rules, total=from_cents(cents))
            return allocate(curves=curves, rules=smaller, incumbent=incumbent, margin=margin)

        def keeps(found: Allocation) -> bool:
            return self._iroas(found, curves, margin) >= self.target

        top = to_cents(rules.total)
        best, most, least = at(top), top, 0
        if keeps(best):
            words = f"The whole total of {money(top)} keeps the target iROAS of {self.target:g}."
            return Planned(best, rules, (words,))
        reached: Allocation | None = None
        for _ in range(HALVINGS):
            if most - least <= 1:
                break
            middle = (least + most) // 2
            try:
                found = at(middle)
            except InfeasibleBudget:  # below what the other rules need
                least = middle
                continue
            if keeps(found):
                least, reached = middle, found
            else:
                most, best = middle, found
        found = reached or best
        spent = to_cents(found.policy.total)
        what = "expected iROAS" if self.of == "plan" else "expected return of the last unit"
        words = f"{money(spent)} of the total of {money(top)} is spent: "
        words += f"more would bring the {what} below the target of {self.target:g}."
        if reached is None:
            words = f"{money(spent)} is the least the other rules allow; its {what} of "
            words += (
                f"{self._iroas(found, curves, margin):.2f} misses the target of {self.target:g}."
            )
        return Planned(found, replace(rules, total=found.policy.total), (words,))

    def _iroas(self, found: Allocation, curves: ResponseCurves, margin: float) -> float:
        spend = spends(found.policy, curves)
        if self.of == "last_unit":
            price = (found.shadow_price + 1.0) / margin
            if price > 0:
                return price
            # one cell takes the whole total: no price is told apart from the cell's own bound
            free = np.array([cell not in found.binding for cell in curves.cells]) & (spend > 0)
            return float(curves.mean_marginal(spend)[free].min()) if free.any() else 0.0
        total = float(spend.sum())
        return float(curves.mean_revenue(spend).sum()) / total if total > 0 else np.inf


@dataclass(frozen=True, slots=True)
class Aim:
    """A strategic aim: what it covers, how much a unit of revenue there counts (1 is as elsewhere),
    and the least share of the total it gets."""

    name: str
    segments: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    weight: float = 1.0
    minimum_share: float = 0.0


@dataclass(frozen=True, slots=True)
class StrategicAims:
    """Weighted expected revenue; where several aims cover a cell, their weights multiply."""

    aims: tuple[Aim, ...]

    def __post_init__(self) -> None:
        for aim in self.aims:
            if not aim.weight >= 0 or not 0 <= aim.minimum_share <= 1:
                raise ConfigurationError(
                    f"The aim {aim.name} has weight {aim.weight} and share {aim.minimum_share}.",
                    fix="give a weight of at least 0 and a share from 0 to 1.",
                )

    def plan(
        self, *, curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float
    ) -> Planned:
        weight = np.ones(len(curves.cells))
        for aim in self.aims:
            inside = covered(curves.cells, aim.segments, aim.channels)
            weight[inside] *= aim.weight
        least = [
            Group(f"aim {aim.name}", aim.segments, aim.channels, minimum_share=aim.minimum_share)
            for aim in self.aims
            if aim.minimum_share > 0
        ]
        bound = replace(rules, groups=(*rules.groups, *least))
        found = allocate(
            curves=WeightedCurves(curves, weight), rules=bound, incumbent=incumbent, margin=margin
        )
        # what was weighed is the choice; what is expected to be earned is money
        earned = gain(curves, policy=found.policy, incumbent=incumbent, margin=margin)
        return Planned(replace(found, expected_gain=earned), bound, tuple(self._words(found)))

    def _words(self, found: Allocation) -> Iterable[str]:
        total = float(found.policy.total) or 1.0
        for aim in self.aims:
            inside = covered(found.policy.cells, aim.segments, aim.channels)
            got = sum(
                float(amount)
                for (_, amount), here in zip(found.policy.budgets, inside, strict=True)
                if here
            )
            yield f"Aim {aim.name} (weight {aim.weight:g}) gets {got / total:.1%} of the total."


@dataclass(frozen=True, slots=True)
class CvarProfit:
    """The most profit on average over the worst ``level`` (0 to 1) of the joint draws."""

    level: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.level <= 1:
            raise ConfigurationError(
                f"risk_level is {self.level}.", fix="give a share of the draws above 0, up to 1."
            )

    def plan(
        self, *, curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float
    ) -> Planned:
        found = allocate(curves=curves, rules=rules, incumbent=incumbent, margin=margin)
        policy = cvar_plan(
            curves=curves, rules=rules, incumbent=incumbent, start=found.policy, level=self.level
        )
        earned = gain(curves, policy=policy, incumbent=incumbent, margin=margin)
        words = (
            f"The plan earns most on average over the worst {self.level:.0%} of what may be true."
        )
        held = holders(curves=curves, rules=rules, incumbent=incumbent, policy=policy)
        careful = replace(found, policy=policy, expected_gain=earned, binding=held, cell_prices={})
        return Planned(replace(careful, group_prices={}), rules, (words,))
