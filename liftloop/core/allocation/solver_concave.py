"""The concave fast path: bisection on the marginal return.

At the best plan every cell that is free to move earns the same from its next unit of spend, the
*price* of money; a cell at a bound earns more (upper) or less (lower). Spend at a price falls with
the price, so the price that spends the total is found by bisection (the water-filling solution;
Boyd and Vandenberghe 2004, example 5.2). A group that would break its bounds gets a price of its
own, found by the same bisection inside it.

Curves with posterior draws are costly to evaluate, so each cell's marginal return is sampled at a
few spends and interpolated in between, then sampled anew around the answer until the answer obeys
the sampled curve itself. Nothing here depends on the unit of money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array, Index

Marginal = Callable[[Array], Array]

NODES = (4, 12)  # fewest and most of the first samples a cell
ROUNDS = 24
HALVINGS = 200
TOLERANCE = 1e-9  # of a free cell's marginal return from its price


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Cells with bounds, each in one part, and the parts' bounds. Account currency a day.

    ``low``, ``high``, ``part`` (n_cells,); ``part_low``, ``part_high`` (n_parts,).
    """

    low: Array
    high: Array
    total: float
    part: Index
    part_low: Array
    part_high: Array


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """``spend`` and ``marginal`` (n_cells,); ``price`` of money in each part (n_parts,), and of the
    total: revenue of one more unit."""

    spend: Array
    marginal: Array
    price: Array
    total_price: float


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
    """Sampled marginal returns, shape (n_nodes, n_cells), spend rising along the first axis.

    ``bend`` is marginal ** -1/2, in which a Michaelis-Menten curve is a straight line.
    """

    spend: Array
    marginal: Array
    bend: Array

    @classmethod
    def of(cls, spend: Array, marginal: Array) -> _Nodes:
        # rounding must not make a marginal return rise
        falling = np.maximum(np.minimum.accumulate(marginal, axis=0), 0.0)
        return cls(spend, falling, _bend(falling))

    def spend_at(self, price: Array) -> Array:
        """The most spend whose marginal return is still above ``price`` (n_cells,)."""
        above = (self.marginal > price).sum(axis=0)
        last = len(self.spend) - 1
        cell, right = np.arange(len(above)), np.clip(above, 1, last)
        left = right - 1
        b0, b1 = self.bend[left, cell], self.bend[right, cell]
        x0, x1 = self.spend[left, cell], self.spend[right, cell]
        gap = b1 - b0
        share = np.where(gap > 0, (_bend(price) - b0) / np.where(gap > 0, gap, 1.0), 0.0)
        inside = x0 + np.clip(share, 0.0, 1.0) * (x1 - x0)
        found = np.where(above == 0, self.spend[0], np.where(above > last, self.spend[-1], inside))
        return np.asarray(found, dtype=np.float64)

    def middle(self, spend: Array) -> Array:
        """The middle of the longer of the two pieces beside each cell's ``spend`` (n_cells,)."""
        last = len(self.spend) - 1
        here = np.clip((self.spend < spend).sum(axis=0), 0, last)[None]
        at = [
            np.take_along_axis(self.spend, np.clip(here + step, 0, last), axis=0)[0]
            for step in (-1, 0, 1)
        ]
        left, right = at[1] - at[0], at[2] - at[1]
        return np.asarray(np.where(left > right, (at[0] + at[1]) / 2, (at[1] + at[2]) / 2))


def _bend(marginal: Array) -> Array:
    return np.asarray(np.maximum(marginal, 1e-280) ** -0.5)


def _halve(low: Array, high: Array) -> Array:
    """Between two prices: the geometric mean once both are positive, else the middle."""
    positive = low > 0
    return np.where(positive, np.sqrt(np.maximum(low, 1e-300) * high), (low + high) / 2)


def _part_prices(nodes: _Nodes, problem: Problem, targets: Array) -> tuple[Array, Array]:
    """Prices (n_parts,) at which every part spends its target, and the spend (n_cells,)."""
    parts = len(targets)
    top = np.zeros(parts)
    np.maximum.at(top, problem.part, nodes.marginal[0])
    dear, cheap = top * 1.0 + 1e-300, np.zeros(parts)
    for _ in range(HALVINGS):
        middle = _halve(cheap, dear)
        spent = np.bincount(
            problem.part, weights=nodes.spend_at(middle[problem.part]), minlength=parts
        )
        over = spent > targets
        cheap, dear = np.where(over, middle, cheap), np.where(over, dear, middle)
        if (dear - cheap <= 4e-16 * dear).all():
            break
    least, most = nodes.spend_at(dear[problem.part]), nodes.spend_at(cheap[problem.part])
    # where curves are flat a price does not settle the spend: meet the target between the two ends
    lo = np.bincount(problem.part, weights=least, minlength=parts)
    hi = np.bincount(problem.part, weights=most, minlength=parts)
    share = np.where(hi > lo, (targets - lo) / np.where(hi > lo, hi - lo, 1.0), 0.0)
    spend = least + np.clip(share, 0.0, 1.0)[problem.part] * (most - least)
    return np.asarray((dear + cheap) / 2), spend


def _targets(nodes: _Nodes, problem: Problem) -> tuple[Array, float]:
    """What each part gets (n_parts,), and the price of the total."""
    parts = len(problem.part_low)

    def spent(price: float) -> Array:
        level = nodes.spend_at(np.full(len(problem.low), price))
        sums = np.bincount(problem.part, weights=level, minlength=parts)
        return np.clip(sums, problem.part_low, problem.part_high)

    dear, cheap = float(nodes.marginal[0].max()) + 1e-300, 0.0
    for _ in range(HALVINGS):
        middle = float(np.sqrt(cheap * dear)) if cheap > 0 else (cheap + dear) / 2
        if spent(middle).sum() > problem.total:
            cheap = middle
        else:
            dear = middle
        if dear - cheap <= 4e-16 * dear:
            break
    lo, hi = spent(dear), spent(cheap)
    gap = hi.sum() - lo.sum()
    share = np.clip((problem.total - lo.sum()) / gap, 0.0, 1.0) if gap > 0 else 0.0
    return lo + share * (hi - lo), (dear + cheap) / 2


def _first_nodes(problem: Problem) -> Array:
    """Spends that are spread evenly on a scale that is logarithmic far above the average cell."""
    scale = max(problem.total / max(len(problem.low), 1), float(problem.high.max()) * 1e-9, 1e-300)
    offset = scale / 4
    spread = np.log((problem.high + offset) / (problem.low + offset))
    count = int(np.clip(3 + np.ceil(2 * spread.max(initial=0.0)), *NODES))
    steps = np.linspace(0.0, 1.0, count)[:, None]
    nodes = (problem.low + offset) * np.exp(steps * spread) - offset
    nodes[0], nodes[-1] = problem.low, problem.high
    return np.clip(nodes, problem.low, problem.high)


def solve(problem: Problem, marginal_of: Marginal) -> Solution:
    """The plan with the most revenue.

    Parameters
    ----------
    problem
        Feasible: part bounds hold the cells', and the total lies within.
    marginal_of
        Marginal returns (n_cells,) at spends (n_cells,): never rising in a cell's own spend, of any
        sign (a cell that does harm).
    """
    first = _first_nodes(problem)
    sampled = np.array([marginal_of(level) for level in first])
    raised = max(-float(sampled.min(initial=0.0)), 0.0)
    if raised:  # the total is fixed: what every unit earns more in every cell changes no plan
        found = _solve(problem, lambda spend: marginal_of(spend) + raised, first, sampled + raised)
        return Solution(
            found.spend, found.marginal - raised, found.price - raised, found.total_price - raised
        )
    return _solve(problem, marginal_of, first, sampled)


def _solve(problem: Problem, marginal_of: Marginal, first: Array, sampled: Array) -> Solution:
    """The plan, for marginal returns of at least 0; ``sampled`` are those at ``first``."""
    nodes = _Nodes.of(first, sampled)
    many = len(problem.part_low) > 1
    spend, price, total_price = problem.low, np.zeros(len(problem.part_low)), 0.0
    for turn in range(ROUNDS):
        if many:
            targets, total_price = _targets(nodes, problem)
        else:
            targets = np.array([problem.total])
        price, spend = _part_prices(nodes, problem, targets)
        marginal = marginal_of(spend)
        wrong = np.abs(marginal - price[problem.part])
        wrong[(spend <= problem.low) | (spend >= problem.high)] = 0.0
        if not (wrong > TOLERANCE * price[problem.part]).any() or turn == ROUNDS - 1:
            break
        nodes = _narrowed(nodes, spend, marginal)
        if turn % 3 == 2:  # the same end kept for long: halve its bracket, as bisection would
            middle = nodes.middle(spend)
            nodes = _narrowed(nodes, middle, marginal_of(middle))
    return Solution(spend, marginal, price, total_price if many else float(price[0]))


def _narrowed(nodes: _Nodes, spend: Array, marginal: Array) -> _Nodes:
    """The samples with one more a cell; one evaluation a round is what makes a round cheap."""
    every = np.concatenate([nodes.spend, spend[None]])
    order = np.argsort(every, axis=0, kind="stable")
    return _Nodes.of(
        np.take_along_axis(every, order, axis=0),
        np.take_along_axis(np.concatenate([nodes.marginal, marginal[None]]), order, axis=0),
    )
