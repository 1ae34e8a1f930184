"""The plan with the best average over the worst draws: CVaR of profit.

Rockafellar and Uryasev (2000, theorem 1): the mean of the worst share ``a`` of the draws is the
most that ``eta - mean(max(eta - profit, 0)) / a`` reaches over ``eta``. Profit is concave in spend
in every draw, so on samples of the curves the whole is one linear program (HiGHS); the samples are
then drawn closer around its plan. Each draw of a plan has the same spend, so
revenue stands for profit.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, eye_array, hstack, vstack

from liftloop.core.curves import Array, ResponseCurves
from liftloop.core.policy import Policy, from_cents, to_cents
from liftloop.core.rounding import round_together
from liftloop.core.rules import Book, Rules, book, broken_rules

PIECES, ROUNDS, SHRINK = 4, 12, 0.5


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
    low, high = written.low / 100, written.high / 100
    center, width = best / 100, (high - low) / 2
    for _ in range(ROUNDS):
        steps = np.linspace(-1.0, 1.0, PIECES + 1)[:, None]
        nodes = np.concatenate([low[None], np.clip(center + width * steps, low, high), high[None]])
        spend = _program(nodes, np.array([revenue(at) for at in nodes]), written, level)
        cents = round_together(spend * 100, written)
        worth = cvar(revenue(cents / 100).sum(axis=1), level)
        if worth > reached and not broken_rules(cents, written):
            best, reached = cents, worth
        at_edge = (np.abs(spend - center) >= width * (1 - 1e-9)) & (spend > low) & (spend < high)
        center, width = spend, np.where(at_edge, width, width * SHRINK)
    return Policy.of({cell: from_cents(int(c)) for cell, c in zip(rules.cells, best, strict=True)})


def _program(nodes: Array, revenue: Array, written: Book, level: float) -> Array:
    """Spend (n_cells,) of the linear program; ``revenue`` is (n_nodes, n_draws, n_cells)."""
    from scipy.optimize import linprog

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
