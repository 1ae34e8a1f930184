"""How much of a total pays: money whose next unit is expected to earn less than it costs is parked.

Parking is one more place for money to go, where a unit earns exactly what it costs: 1 / margin of
revenue. The plan with the most revenue over the cells and that place spends on the cells what earns
more than it costs, under all the rules, and parks the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.allocate import best_spend
from liftloop.core.allocation.constraints import ENDLESS, Book, BoundRule, Rules, book
from liftloop.core.allocation.infeasibility import possible
from liftloop.core.allocation.solver_milp import solve_s_shaped
from liftloop.core.arrays import Array
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Cell, Policy, from_cents

PARKED = Cell("", "parked")
ROUNDS = 8  # groups' shares are of what is spent, which is only known afterwards


def paying_total(
    *,
    curves: ResponseCurves,
    rules: Rules,
    incumbent: Policy,
    margin: float,
    unknown: Iterable[Cell] = (),
) -> Decimal:
    """The total, at most that of ``rules``, that earns the most expected profit under them.

    Parameters
    ----------
    curves
        What cells respond with.
    rules
        Their total is the most that may be spent, account currency a day.
    incumbent
        The budgets in force, from which steps are measured.
    margin
        Profit per unit of revenue, before the spend.
    unknown
        Cells without a curve: they keep their budgets.

    Returns
    -------
    The total of ``rules`` where all of it pays, and where they cannot hold together.
    """
    total, lost = rules.total, tuple(unknown)
    for _ in range(ROUNDS):
        written = _with_parking(
            book(replace(rules, total=total), incumbent=incumbent, unknown=lost)
        )
        if (written.low > written.high).any() or not possible(written.rules, len(written.cells)):
            return total
        spend = _best(_WithParking(curves, 1.0 / margin), written)
        spent = from_cents(round(float(spend[:-1].sum()) * 100))
        if spent >= total or not _has_shares(rules):
            return min(spent, total)
        total = spent
    return total


def _best(curves: _WithParking, written: Book) -> Array:
    """The best spend, account currency a day, in the order of ``written``'s cells."""
    spend = best_spend(curves=curves, written=written)
    if curves.diminishing:
        return spend
    place = [curves.cells.index(cell) if cell in curves.cells else -1 for cell in written.cells]
    where = np.array(place, dtype=np.intp)

    def revenue(level: Array) -> Array:
        full = np.zeros(len(curves.cells))
        full[where[where >= 0]] = level[where >= 0]
        return np.where(where >= 0, curves.mean_revenue(full)[where], 0.0)

    return solve_s_shaped(written=written, revenue_of=revenue, start=spend)


def _has_shares(rules: Rules) -> bool:
    return any(g.minimum_share > 0 or g.maximum_share is not None for g in rules.groups)


@dataclass(frozen=True, slots=True, eq=False)
class _WithParking:
    """Curves with the parking beside them, where a unit earns ``worth`` of revenue."""

    base: ResponseCurves
    worth: float

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (*self.base.cells, PARKED)

    @property
    def carryover(self) -> Array:
        return np.append(self.base.carryover, 0.0)

    @property
    def diminishing(self) -> bool:
        return bool(getattr(self.base, "diminishing", True))

    def mean_revenue(self, spend: Array) -> Array:
        return np.append(self.base.mean_revenue(spend[:-1]), self.worth * spend[-1])

    def mean_marginal(self, spend: Array) -> Array:
        return np.append(self.base.mean_marginal(spend[:-1]), self.worth)

    def draw_revenue(self, spend: Array) -> Array:
        draws = self.base.draw_revenue(spend[:-1])
        return np.column_stack([draws, np.full(len(draws), self.worth * spend[-1])])


def _with_parking(written: Book) -> Book:
    """The rules with the parking as a further cell, which counts for the total and for no other
    rule."""

    def longer(rule: BoundRule) -> BoundRule:
        if rule.members is None:
            return replace(rule, low=np.append(rule.low, 0), high=np.append(rule.high, ENDLESS))
        return replace(rule, members=np.append(rule.members, rule.kind == "total"))

    beside = np.zeros((len(written.membership), 1), dtype=bool)
    return replace(
        written,
        cells=(*written.cells, PARKED),
        before=np.append(written.before, 0),
        low=np.append(written.low, 0),
        high=np.append(written.high, written.total),
        membership=np.hstack([written.membership, beside]),
        rules=tuple(longer(rule) for rule in written.rules),
        most_raised=None,  # what is parked is not known yet, nor how much may move with it
    )
