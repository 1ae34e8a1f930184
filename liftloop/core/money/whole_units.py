"""Budgets in whole units of a currency that has no cents."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.constraints import Book, Cents
from liftloop.core.allocation.rounding import largest_remainder, round_together
from liftloop.core.arrays import Array
from liftloop.core.policy import CENT, Cell, Policy, from_cents, to_cents


def in_whole_units(
    policy: Policy, unit: Decimal, *, written: Book | None = None, exact_total: bool = True
) -> Policy:
    """The budgets nearest to ``policy`` that are whole in ``unit``.

    Parameters
    ----------
    unit
        The smallest amount a budget may have, account currency: 0.01 changes nothing.
    written
        The rules in cents whose bounds and groups are kept, rounded inwards. A cell whose bounds
        hold no whole unit (its budget in force is none) is rounded down.
    exact_total
        Whether the sum stays, rounded to a whole unit, even where a cell's bounds do not hold it;
        False for a total that is only what a cycle reaches of the set one.

    Returns
    -------
    Whole budgets, by the largest remainder.
    """
    if unit <= CENT:
        return policy
    each = to_cents(unit)
    cells = policy.cells
    cents = np.array([to_cents(amount) for _, amount in policy.budgets], dtype=np.int64)
    whole = round(int(cents.sum()) / each)
    low, high = _bounds(cells, cents, each, whole, written)
    if not low.sum() <= whole <= high.sum():
        if exact_total:
            low, high = np.minimum(low, cents // each), np.maximum(high, -(-cents // each))
        else:
            whole = int(min(max(whole, low.sum()), high.sum()))
    exact = cents / each
    units = None
    if written is not None and len(written.membership) and written.cells == cells:
        bounds = replace(written, low=low, high=high, total=whole)
        near = 0 if exact_total else len(cells)  # so far a group's whole bounds may be from it
        totals = sorted(range(whole - near, whole + near + 1), key=lambda sum_: abs(sum_ - whole))
        tried = (_with_groups(exact, replace(bounds, total=sum_), each) for sum_ in totals)
        units = next((found for found in tried if found is not None), None)
    if units is None:
        units = largest_remainder(exact, low, high, whole)
    return Policy.of(
        {cell: from_cents(int(k) * each) for cell, k in zip(cells, units, strict=True)}
    )


def _bounds(
    cells: tuple[Cell, ...], cents: Cents, each: int, total: int, written: Book | None
) -> tuple[Cents, Cents]:
    """Least and most whole units of each cell, shape (n_cells,)."""
    low, high = np.zeros(len(cells), dtype=np.int64), np.full(len(cells), total, dtype=np.int64)
    if written is not None and written.cells == cells:
        low, high = -(-written.low // each), written.high // each
        empty = low > high
        low = np.where(empty, cents // each, low)
        high = np.where(empty, cents // each, high)
    return low, high


def _with_groups(exact: Array, written: Book, each: int) -> Cents | None:
    """The rounding that keeps groups, too; None where whole units cannot."""
    try:
        return round_together(
            exact,
            replace(
                written,
                group_low=-(-written.group_low // each),
                group_high=written.group_high // each,
            ),
        )
    except ValueError:
        return None
