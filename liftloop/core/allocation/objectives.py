"""What a plan is to do best: swappable objectives.

Every objective but one is a sum over cells, so it is a way to see the curves: the allocation then
runs on what it sees. CVaR looks at all cells of a draw together and has a solver of its own,
:func:`cvar_plan`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from liftloop.core.allocation.allocate import Allocation, allocate, holders
from liftloop.core.allocation.constraints import (
    Book,
    Group,
    Rules,
    book,
    broken_rules,
    covered,
    in_two_parts,
    money,
)
from liftloop.core.allocation.rounding import round_together
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import gain, spends
from liftloop.core.curves.protocol import ResponseCurves, WeightedCurves
from liftloop.core.errors import ConfigurationError, InfeasibleBudget
from liftloop.core.policy import Policy, from_cents, to_cents

TargetOf = Literal["plan", "last_unit"]
HALVINGS = 40
PIECES, ROUNDS, SHRINK = 4, 12, 0.5


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
        """Raises ``InfeasibleBudget`` as :func:`liftloop.core.allocation.allocate.allocate`
        does."""
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
        best, most, least = at(top), top, to_cents(rules.least_total)
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


def cvar(draws: Array, level: float) -> float:
    """Mean of the worst ``level`` of the draws (n_draws,), the last one counted in part."""
    count = level * len(draws)
    worst = np.sort(draws)
    share = np.clip(count - np.arange(len(draws)), 0.0, 1.0)
    return float(worst @ share / count)


def cvar_plan(
    *, curves: ResponseCurves, rules: Rules, incumbent: Policy, start: Policy, level: float
) -> Policy:
    """The budgets, exact to the cent, with the most CVaR of revenue under ``rules``.

    Rockafellar and Uryasev (2000, theorem 1): the mean of the worst share ``a`` of the draws is the
    most that ``eta - mean(max(eta - profit, 0)) / a`` reaches over ``eta``. Profit is concave in
    spend in every draw, so on samples of the curves the whole is one linear program (HiGHS); the
    samples are then drawn closer around its plan. Each draw of a plan has the same spend, so
    revenue stands for profit. Where only so much may move, each cell is seen as two
    (:func:`in_two_parts`), so that this limit is one on a sum as well.

    Parameters
    ----------
    start
        A plan that keeps the rules; the answer is never worse than it.
    level
        Share of the draws, above 0 and up to 1.
    """
    known = {cell: number for number, cell in enumerate(curves.cells)}
    written = book(
        rules, incumbent=incumbent, unknown=[cell for cell in rules.cells if cell not in known]
    )
    seen = np.array([known.get(cell, -1) for cell in rules.cells], dtype=np.intp)

    def revenue(spend: Array) -> Array:
        outward = np.zeros(len(curves.cells))
        outward[seen[seen >= 0]] = spend[seen >= 0]
        drawn = curves.draw_revenue(outward)
        return np.where(seen >= 0, drawn[:, seen], 0.0)

    held = start.as_dict()
    best = np.array([to_cents(held[cell]) for cell in rules.cells], dtype=np.int64)
    reached = cvar(revenue(best / 100).sum(axis=1), level)
    n, before = len(rules.cells), written.before
    halves = written.most_raised is not None
    searched = in_two_parts(written) if halves else written

    def earned(spend: Array) -> Array:
        if not halves:
            return revenue(spend)
        more = revenue(before / 100 + spend[n:]) - revenue(before / 100)
        return np.concatenate([revenue(spend[:n]), more], axis=1)

    begun = np.concatenate([np.minimum(best, before), np.maximum(best - before, 0)])
    low, high = searched.low / 100, np.minimum(searched.high, searched.total) / 100
    center, width = (begun if halves else best) / 100, (high - low) / 2
    for _ in range(ROUNDS):
        steps = np.linspace(-1.0, 1.0, PIECES + 1)[:, None]
        nodes = np.concatenate([low[None], np.clip(center + width * steps, low, high), high[None]])
        spend = _program(nodes, np.array([earned(at) for at in nodes]), searched, level)
        cents = round_together(spend * 100, searched)
        cents = cents[:n] + cents[n:] if halves else cents
        worth = cvar(revenue(cents / 100).sum(axis=1), level)
        if worth > reached and not broken_rules(cents, written):
            best, reached = cents, worth
        at_edge = (np.abs(spend - center) >= width * (1 - 1e-9)) & (spend > low) & (spend < high)
        center, width = spend, np.where(at_edge, width, width * SHRINK)
    return Policy.of({cell: from_cents(int(c)) for cell, c in zip(rules.cells, best, strict=True)})


def _program(nodes: Array, revenue: Array, written: Book, level: float) -> Array:
    """Spend (n_cells,) of the linear program; ``revenue`` is (n_nodes, n_draws, n_cells)."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    pieces, cells, draws = len(nodes) - 1, nodes.shape[1], revenue.shape[1]
    total = written.total / 100
    scale = total / cells or 1.0
    lengths = np.diff(nodes, axis=0)
    earned = np.diff(revenue, axis=0) / np.where(lengths > 0, lengths, 1.0)[:, None, :]
    earned = np.where(lengths[:, None, :] > 0, earned, 0.0)
    base = revenue[0].sum(axis=1)
    unit = float(np.abs(earned).max()) or 1.0
    slopes = earned.transpose(1, 0, 2).reshape(draws, pieces * cells) / unit
    base = (base - base.mean()) / (unit * scale)
    sums = csr_array(np.tile(np.eye(cells), (1, pieces)))
    rows = csr_array(written.membership.astype(float)) @ sums
    held = written.membership @ nodes[0]
    nothing = csr_array((2 * rows.shape[0], 1 + draws))
    # eta - short_d <= revenue_d
    tail = hstack([csr_array(-slopes), csr_array(np.ones((draws, 1))), -eye_array(draws)])
    least, most = written.group_low / 100, np.minimum(written.group_high, written.total) / 100
    limits = hstack([vstack([rows, -rows]), nothing])
    cost = np.concatenate([np.zeros(pieces * cells), [-1.0], np.full(draws, 1 / (draws * level))])
    found = linprog(  # type: ignore[call-overload]
        cost,
        A_ub=vstack([tail, limits]) if rows.shape[0] else tail,
        b_ub=np.concatenate([base, (most - held) / scale, (held - least) / scale]),
        A_eq=csr_array(np.concatenate([np.ones(pieces * cells), np.zeros(1 + draws)])[None]),
        b_eq=[(total - nodes[0].sum()) / scale],
        bounds=[
            *((0.0, length) for length in lengths.ravel() / scale),
            (None, None),
            *([(0.0, None)] * draws),
        ],
        method="highs",
    )
    if found.x is None:
        raise ValueError(f"The plan's linear program has no answer: {found.message}")
    return np.asarray(
        nodes[0] + scale * found.x[: pieces * cells].reshape(pieces, cells).sum(axis=0)
    )
