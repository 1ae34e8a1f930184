"""The plan: the budgets that earn most under the rules, exact to the cent, and why.

Maximize margin x expected incremental revenue - spend. The total is spent whole, so the plan does
not depend on the margin; what a unit more of the total would bring does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from liftloop.core.allocation.constraints import (
    Book,
    Cents,
    Rules,
    book,
    broken_rules,
    in_two_parts,
    raised,
)
from liftloop.core.allocation.infeasibility import conflicting, describe, possible
from liftloop.core.allocation.rounding import round_apart, round_together
from liftloop.core.allocation.solver_concave import Problem, solve
from liftloop.core.allocation.solver_lp import solve_overlapping
from liftloop.core.allocation.solver_milp import solve_s_shaped
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate, gain
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

HELD = {
    "cap": "at its cap",
    "floor": "at its floor",
    "step": "step",
    "frequency": "at its frequency cap",
    "no_raise": "no raise while it does not spend what it has",
}


@dataclass(frozen=True, slots=True)
class Allocation:
    """A plan with what holds it back.

    Attributes
    ----------
    policy
        Budgets of the rules' cells; they sum to the total to the cent.
    binding
        What keeps a cell from moving further, in plain words; cells free to move are not in it.
    shadow_price
        Profit of one more unit of the total a day (margin x marginal return - 1).
    cell_prices, group_prices
        Profit that one unit more room would bring in a cell held by a bound (> 0), and in a group
        held by its own bound. Cells and groups that are not held are not in them.
    expected_gain
        Incremental profit per day against the budgets in force, both held steady, with the 90 %
        interval over the joint draws.
    """

    policy: Policy
    binding: Mapping[Cell, str]
    shadow_price: float
    cell_prices: Mapping[Cell, float]
    group_prices: Mapping[str, float]
    expected_gain: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Spend in account currency (n_cells,), price of money per cell, of the total, of groups."""

    spend: Array
    price: Array
    total_price: float
    group_prices: Array
    moved_price: float = 0.0


class _Views(Protocol):
    """Marginal returns and revenues (n_cells,) at spends (n_cells,), account currency a day."""

    def marginal(self, spend: Array) -> Array: ...

    def revenue(self, spend: Array) -> Array: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Lens:
    """The curves, seen in the order of the rules' cells; 0 where a cell has none."""

    curves: ResponseCurves
    place: NDArray[np.intp]  # of each rules' cell in the curves, -1 without

    @classmethod
    def of(cls, curves: ResponseCurves, cells: tuple[Cell, ...]) -> _Lens:
        where = {cell: number for number, cell in enumerate(curves.cells)}
        return cls(curves, np.array([where.get(cell, -1) for cell in cells], dtype=np.intp))

    def _outward(self, spend: Array) -> Array:
        full = np.zeros(len(self.curves.cells))
        full[self.place[self.place >= 0]] = spend[self.place >= 0]
        return full

    def _inward(self, values: Array) -> Array:
        return np.where(self.place >= 0, values[self.place], 0.0)

    def marginal(self, spend: Array) -> Array:
        return self._inward(self.curves.mean_marginal(self._outward(spend)))

    def revenue(self, spend: Array) -> Array:
        return self._inward(self.curves.mean_revenue(self._outward(spend)))


@dataclass(frozen=True, slots=True, eq=False)
class _TwoParts:
    """Cells seen as two parts each (:func:`in_two_parts`): the second earns what comes on top of
    the budgets in force, ``before`` (n_cells,)."""

    whole: _Views
    before: Array

    def marginal(self, spend: Array) -> Array:
        kept, beyond = np.split(spend, 2)
        return np.concatenate(
            [self.whole.marginal(kept), self.whole.marginal(self.before + beyond)]
        )

    def revenue(self, spend: Array) -> Array:
        kept, beyond = np.split(spend, 2)
        more = self.whole.revenue(self.before + beyond) - self.whole.revenue(self.before)
        return np.concatenate([self.whole.revenue(kept), more])


def allocate(
    *, curves: ResponseCurves, rules: Rules, incumbent: Policy, margin: float = 1.0
) -> Allocation:
    """The budgets that earn most under ``rules``.

    Parameters
    ----------
    curves
        What cells respond with. A cell of the rules that has no curve keeps its budget.
    rules
        Made by ``resolve_rules`` for the cells to plan.
    incumbent
        The budgets in force; a cell that is not in it has none.
    margin
        Profit per unit of revenue, before the spend.

    Raises
    ------
    InfeasibleBudget
        With a smallest set of rules that cannot hold together.
    """
    known = set(curves.cells)
    written = book(
        rules, incumbent=incumbent, unknown=[cell for cell in rules.cells if cell not in known]
    )
    if not _feasible(written):
        raise InfeasibleBudget(describe(conflicting(written), rules.cells))
    if written.most_raised is not None:
        both = in_two_parts(written)
        if not possible(both.rules, len(both.cells)):
            raise InfeasibleBudget(describe(conflicting(both), both.cells))
    lens = _Lens.of(curves, rules.cells)
    plan, cents = _best(written, lens)
    if not getattr(curves, "diminishing", True):
        plan, cents = _s_shaped(written, lens, plan, cents)
    broken = broken_rules(cents, written)
    if broken:
        raise InfeasibleBudget(broken)
    policy = Policy.of(
        {cell: from_cents(int(c)) for cell, c in zip(rules.cells, cents, strict=True)}
    )
    marginal = lens.marginal(cents / 100)
    binding, held = _bindings(written, cents, marginal, plan.price, rules)
    return Allocation(
        policy=policy,
        binding=binding,
        shadow_price=margin * plan.total_price - 1.0,
        cell_prices={cell: margin * value for cell, value in held.items()},
        group_prices={
            name: margin * abs(float(value))
            for name, value in (
                *zip(written.group_names, plan.group_prices, strict=True),
                (written.moved_label, plan.moved_price),
            )
            if abs(value) > 1e-9 * max(abs(plan.total_price), 1e-300)
        },
        expected_gain=gain(curves, policy=policy, incumbent=incumbent, margin=margin),
    )


def _feasible(written: Book) -> bool:
    """Without groups the sums of the bounds say it; else a small integer program."""
    if (written.low > written.high).any():
        return False
    if len(written.group_names) == 0:
        return int(written.low.sum()) <= written.total <= int(written.high.sum())
    return possible(written.rules, len(written.cells))


def best_spend(*, curves: ResponseCurves, written: Book) -> Array:
    """The best plan before it is rounded to cents, account currency a day, shape (n_cells,).

    Parameters
    ----------
    written
        Rules that can hold together.
    """
    return _best(written, _Lens.of(curves, written.cells))[0].spend


def _parts(written: Book) -> tuple[NDArray[np.intp], int] | None:
    """Each cell's part when no two groups overlap (a group's minimum and maximum share a part);
    None when some do."""
    if len(written.membership) == 0:
        return np.zeros(len(written.cells), dtype=np.intp), 1
    distinct = np.unique(written.membership, axis=0)
    if (distinct.sum(axis=0) > 1).any():
        return None
    part = np.zeros(len(written.cells), dtype=np.intp)  # part 0: in no group
    for number, members in enumerate(distinct, start=1):
        part[members] = number
    return part, len(distinct) + 1


def _best(written: Book, lens: _Views) -> tuple[_Plan, Cents]:
    """The best plan, and in whole cents; where it would move too much, the best that does not."""
    plan, cents = _best_of_groups(written, lens)
    if written.most_raised is None or raised(cents, written) <= written.most_raised:
        return plan, cents
    n, view = len(written.cells), _TwoParts(lens, written.before / 100)
    plan, cents = _best_of_groups(in_two_parts(written), view)
    return (
        _Plan(
            plan.spend[:n] + plan.spend[n:],
            plan.price[:n],
            plan.total_price,
            plan.group_prices[:-1],
            float(plan.group_prices[-1]),
        ),
        cents[:n] + cents[n:],
    )


def _best_of_groups(written: Book, lens: _Views) -> tuple[_Plan, Cents]:
    low, high = written.low / 100, written.high / 100
    apart = _parts(written)
    if apart is None:
        spend, group_prices, price = solve_overlapping(written, lens.revenue)
        prices = price + written.membership.T @ group_prices
        plan = _Plan(spend, prices, price, group_prices)
        return plan, round_together(spend * 100, written)
    part, n_parts = apart
    part_low = np.bincount(part, weights=low, minlength=n_parts).astype(np.float64)
    part_high = np.bincount(part, weights=high, minlength=n_parts).astype(np.float64)
    where = [int(part[int(np.argmax(row))]) if row.any() else -1 for row in written.membership]
    for number, least, most in zip(where, written.group_low, written.group_high, strict=True):
        if number >= 0:
            part_low[number] = max(part_low[number], least / 100)
            part_high[number] = min(part_high[number], most / 100)
    found = solve(Problem(low, high, written.total / 100, part, part_low, part_high), lens.marginal)
    group_prices = np.zeros(len(where))
    spent = np.bincount(part, weights=found.spend, minlength=n_parts)
    for row, number in enumerate(where):
        bound = written.group_low[row] or written.group_high[row]
        if number >= 0 and abs(spent[number] - bound / 100) <= 1e-9 * written.total:
            group_prices[row] = found.price[number] - found.total_price
    plan = _Plan(found.spend, found.price[part], found.total_price, group_prices)
    return plan, round_apart(found.spend * 100, written, part.astype(np.int64), n_parts)


def _s_shaped(written: Book, lens: _Lens, plan: _Plan, cents: Cents) -> tuple[_Plan, Cents]:
    """The better of the concave path's plan and the integer program's. The price is then what a
    cell that no bound holds earns next; groups get none, for no price tells an S curve's jumps."""
    spend = solve_s_shaped(written=written, revenue_of=lens.revenue, start=cents / 100)
    other = round_together(spend * 100, written)
    if written.most_raised is not None and raised(other, written) > written.most_raised:
        return plan, cents
    if lens.revenue(other / 100).sum() <= lens.revenue(cents / 100).sum():
        return plan, cents
    inside = (other > written.low) & (other < written.high)
    marginal = lens.marginal(other / 100)
    price = float(np.median(marginal[inside])) if inside.any() else plan.total_price
    nothing = np.zeros(len(written.group_names))
    return _Plan(spend, np.full(len(other), price), price, nothing), other


def holders(
    *, curves: ResponseCurves, rules: Rules, incumbent: Policy, policy: Policy
) -> dict[Cell, str]:
    """What each cell of ``policy`` that lies at one of its bounds is held by, in words; for a plan
    made for another objective, whose prices nobody knows."""
    known = set(curves.cells)
    written = book(rules, incumbent=incumbent, unknown=[c for c in rules.cells if c not in known])
    cents = np.array([to_cents(policy.as_dict()[cell]) for cell in written.cells], dtype=np.int64)
    found = {}
    for number, cell in enumerate(written.cells):
        at_high = bool(cents[number] == written.high[number])
        if not at_high and cents[number] != written.low[number]:
            continue
        text = _holder(written, number, upward=at_high)
        if text:
            found[cell] = text if text != "step" else _step_words(written, number, cents, rules)
    return found


def _bindings(
    written: Book, cents: Cents, marginal: Array, price: Array, rules: Rules
) -> tuple[dict[Cell, str], dict[Cell, float]]:
    """What holds each cell, in words, and what a unit of room there would earn (revenue)."""
    words: dict[Cell, str] = {}
    prices: dict[Cell, float] = {}
    slack = 1e-6 * np.maximum(np.abs(price), 1e-300)
    for number, cell in enumerate(written.cells):
        fixed = written.low[number] == written.high[number]
        wants_more = marginal[number] > price[number] + slack[number]
        wants_less = marginal[number] < price[number] - slack[number]
        at_high = cents[number] == written.high[number] and (wants_more or fixed)
        at_low = cents[number] == written.low[number] and (wants_less or fixed)
        if not (at_high or at_low):
            continue
        text = _holder(written, number, upward=bool(at_high and not (fixed and wants_less)))
        if not text:
            continue
        words[cell] = text if text != "step" else _step_words(written, number, cents, rules)
        if not fixed:
            prices[cell] = abs(float(marginal[number] - price[number]))
    return words, prices


def _holder(written: Book, number: int, *, upward: bool) -> str:
    """The rule whose bound is the tightest at a cell, in the words of its kind."""
    tight = written.high[number] if upward else written.low[number]
    found = ""
    for rule in written.rules:
        if rule.members is not None:
            continue
        if rule.kind in ("unknown", "frozen"):
            if rule.low[number] == rule.high[number]:
                return rule.reason
        elif tight == (rule.high[number] if upward else rule.low[number]) and not found:
            found = rule.reason or HELD[rule.kind]
    return "at nothing" if not upward and tight == 0 else found


def _step_words(written: Book, number: int, cents: Cents, rules: Rules) -> str:
    step = rules.max_step or 0.0
    if step == 0:
        return "held: no step is allowed"
    sign = "+" if cents[number] >= written.before[number] else "-"
    usual = written.before[number] * 10 >= written.before.sum() / len(written.before)
    if usual:
        return f"held to {sign}{step:.0%} a cycle"
    return f"held to {sign}{step:.0%} of a tenth of the average budget a cycle"
