"""Curves that may be S-shaped: pieces with integer choices, then finer pieces around the answer.

A curve whose return rises before it falls is not a sum of pieces that fill by themselves in order.
Each piece but the first gets a binary that opens it only when the piece before is full (the
incremental formulation, Markowitz and Manne 1957); HiGHS solves it to a gap of 0.01 %. The
pieces are then redrawn finer around its plan. Cells whose samples are concave need no binaries.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from liftloop.core.allocation.constraints import Book
from liftloop.core.arrays import Array

GLOBAL, LOCAL, ROUNDS, SHRINK = 24, 8, 4, 0.25
GAP, SECONDS = 1e-4, 5.0


def solve_s_shaped(*, written: Book, revenue_of: Callable[[Array], Array], start: Array) -> Array:
    """The spend (n_cells,) with the most revenue found; never one worse than ``start``.

    Parameters
    ----------
    written
        The rules; they can hold together.
    revenue_of
        Revenues (n_cells,) at spends (n_cells,), never falling in a cell's own spend.
    start
        A plan that keeps the rules.
    """
    low, high = written.low / 100, written.high / 100
    best, reached = start, float(revenue_of(start).sum())
    wide = low + (high - low) * np.linspace(0.0, 1.0, GLOBAL + 1)[:, None]
    width = (high - low) / GLOBAL
    nodes = np.sort(np.concatenate([wide, start[None]]), axis=0)
    for _ in range(ROUNDS):
        spend = _program(nodes, np.array([revenue_of(level) for level in nodes]), written)
        if spend is None:  # out of time
            break
        earned = float(revenue_of(spend).sum())
        if earned > reached:
            best, reached = spend, earned
        near = np.clip(best + width * np.linspace(-1.0, 1.0, LOCAL + 1)[:, None], low, high)
        nodes = np.sort(np.concatenate([wide[::3], near]), axis=0)
        width = width * SHRINK
    return best


def _program(nodes: Array, revenue: Array, written: Book) -> Array | None:
    """Spend (n_cells,) of the mixed-integer program over the pieces between ``nodes``."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array, csr_array, vstack

    lengths, gains = np.diff(nodes, axis=0), np.diff(revenue, axis=0)
    pieces, cells = lengths.shape
    slopes = np.where(lengths > 0, gains / np.where(lengths > 0, lengths, 1.0), 0.0)
    unit = float(np.abs(gains).max()) or 1.0
    total = written.total / 100
    scale = total / cells or 1.0
    # variables: how full each piece is (0 to 1), then an open/closed choice each
    usable = lengths > 0
    last = np.where(usable, slopes, np.inf)
    bent = (slopes > np.minimum.accumulate(last, axis=0) * (1 + 1e-9) + 1e-300) & usable
    whole = np.broadcast_to(bent.any(axis=0), lengths.shape).ravel()
    count = pieces * cells
    column = np.arange(count)
    sums = coo_array((lengths.ravel() / scale, (column % cells, column)), (cells, 2 * count))
    rows = np.vstack([written.membership, np.ones(cells, dtype=bool)])
    held = rows @ nodes[0]
    least = np.append(written.group_low / 100, total)
    most = np.append(np.minimum(written.group_high, written.total) / 100, total)
    limits = LinearConstraint(
        csr_array(rows.astype(float)) @ sums.tocsr(), (least - held) / scale, (most - held) / scale
    )
    # fill[k] <= open[k] <= fill[k - 1]
    later = column[(column >= cells) & whole]
    ones = np.ones(len(later))
    line = np.arange(len(later))
    shape = (len(later), 2 * count)
    under = coo_array(
        (np.append(ones, -ones), (np.append(line, line), np.append(later, count + later))), shape
    )
    order = coo_array(
        (np.append(ones, -ones), (np.append(line, line), np.append(count + later, later - cells))),
        shape,
    )
    chosen = np.zeros(2 * count, dtype=np.int64)
    chosen[count + later] = 1
    constraints = [limits]
    if len(later):
        constraints.append(LinearConstraint(vstack([under, order]).tocsr(), -np.inf, 0.0))
    found = milp(
        np.concatenate([-gains.ravel() / unit, np.zeros(count)]),
        constraints=constraints,
        bounds=Bounds(0.0, np.concatenate([np.ones(count), chosen[count:].astype(float)])),
        integrality=chosen,
        options={"mip_rel_gap": GAP, "time_limit": SECONDS},
    )
    if found.x is None:
        return None
    filled = found.x[:count].reshape(pieces, cells)
    return np.asarray(np.clip(nodes[0] + (lengths * filled).sum(axis=0), nodes[0], nodes[-1]))
