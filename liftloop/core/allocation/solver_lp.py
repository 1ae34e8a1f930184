"""The exact convex path for groups that overlap: linear programs on finer and finer pieces.

A concave curve sampled at a few spends is a sum of pieces of falling slope, so the best plan on the
samples is a linear program (HiGHS), whose optimum is global. The samples are then drawn closer
around that plan, with the far ends kept, until the plan earns no more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from liftloop.core.allocation.constraints import Book
from liftloop.core.arrays import Array, Mask

PIECES = 8
ROUNDS = 60
GAIN = 1e-12  # of the revenue: less than this a round is not worth another
QUIET = 4  # so many rounds in vain end it, though a cell still runs to and fro without effect
SHRINK, WIDEN = 0.4, 3.0


def solve_overlapping(
    written: Book, revenue_of: Callable[[Array], Array]
) -> tuple[Array, Array, float]:
    """The plan with the most revenue under bounds, a total and group bounds of any overlap.

    Parameters
    ----------
    written
        The rules in whole cents a day.
    revenue_of
        Revenues (n_cells,) at spends (n_cells,), both account currency a day: concave in a cell's
        own spend.

    Returns
    -------
    Spend (n_cells,); revenue per unit that each group's bound costs (n_groups,): positive at a
    maximum, negative at a minimum, 0 where it does not bind; revenue of one more unit of the total.
    """
    low, high = written.low / 100, written.high / 100
    widest = (high - low) / 2
    center, width = (low + high) / 2, widest
    most, quiet = -np.inf, 0
    steps = np.linspace(-1.0, 1.0, PIECES + 1)[:, None]
    for turn in range(ROUNDS):
        inner = np.clip(center + width * steps, low, high)
        nodes = np.concatenate([low[None], inner, high[None]])
        revenue = np.array([revenue_of(level) for level in nodes])
        plan = piecewise_plan(
            nodes=nodes,
            revenue=revenue,
            total=written.total / 100,
            membership=written.membership,
            group_low=written.group_low / 100,
            group_high=np.minimum(written.group_high, written.total) / 100,
        )
        spend = plan[0]
        earned = float(revenue_of(spend).sum())
        if turn == 0 or earned > most:
            best = plan
        gained, most = earned - most, max(most, earned)
        # A cell that ran into the end of its fine pieces wants to go further: wider ones again.
        at_edge = (np.abs(spend - center) >= width * (1 - 1e-9)) & (spend > low) & (spend < high)
        center = spend
        width = np.where(at_edge, np.minimum(width * WIDEN, widest), width * SHRINK)
        quiet = quiet + 1 if gained <= GAIN * abs(earned) and turn > 6 else 0
        if quiet >= (QUIET if at_edge.any() else 1):
            break
    return best


def piecewise_plan(
    *,
    nodes: Array,
    revenue: Array,
    total: float,
    membership: Mask,
    group_low: Array,
    group_high: Array,
) -> tuple[Array, Array, float]:
    """One linear program over the pieces between ``nodes`` (n_nodes, n_cells)."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array, csr_array, vstack

    scale = total / nodes.shape[1] or 1.0
    lengths = np.diff(nodes, axis=0)
    slopes = np.diff(revenue, axis=0) / np.where(lengths > 0, lengths, 1.0)
    slopes = np.minimum.accumulate(np.where(lengths > 0, slopes, np.inf), axis=0)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    unit = float(np.abs(slopes).max()) or 1.0
    pieces, cells = lengths.shape
    column = np.arange(pieces * cells)
    sums = coo_array((np.ones(pieces * cells), (column % cells, column))).tocsr()
    rows = csr_array(membership.astype(float))
    held = membership @ nodes[0]
    found = linprog(  # type: ignore[call-overload]
        -(slopes / unit).ravel(),
        A_ub=vstack([rows @ sums, -(rows @ sums)]) if len(membership) else None,
        b_ub=np.concatenate([group_high - held, held - group_low]) / scale
        if len(membership)
        else None,
        A_eq=csr_array(np.ones((1, pieces * cells))),
        b_eq=[(total - nodes[0].sum()) / scale],
        bounds=np.column_stack([np.zeros(pieces * cells), lengths.ravel() / scale]),
        method="highs",
    )
    if found.x is None:
        raise ValueError(f"The plan's linear program has no answer: {found.message}")
    spend = nodes[0] + scale * found.x.reshape(pieces, cells).sum(axis=0)
    if not len(membership):
        return spend, np.zeros(0), -float(found.eqlin.marginals[0]) * unit
    upper, lower = np.split(-np.asarray(found.ineqlin.marginals) * unit, 2)
    return spend, upper - lower, -float(found.eqlin.marginals[0]) * unit
