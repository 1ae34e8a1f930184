"""From exact amounts to whole cents that keep every bound, every group and the total."""

from __future__ import annotations

import numpy as np

from liftloop.core.allocation.constraints import Book, Cents
from liftloop.core.arrays import Array


def largest_remainder(exact: Array, low: Cents, high: Cents, total: int) -> Cents:
    """Whole cents near ``exact`` within [low, high] that sum to ``total``, by largest remainder.

    Parameters
    ----------
    exact
        Cents, fractions allowed, shape (n,); near the bounds and the total, not always within.
    low, high
        Whole cents, shape (n,), with sum(low) <= total <= sum(high).

    Returns
    -------
    Whole cents, shape (n,). Ties go to the earlier one.
    """
    cents = np.clip(np.floor(exact + 1e-7).astype(np.int64), low, high)
    gap = total - int(cents.sum())
    while gap != 0:
        step = 1 if gap > 0 else -1
        movable = np.flatnonzero(cents < high if gap > 0 else cents > low)
        if len(movable) == 0:
            raise ValueError(f"Bounds that sum to no less than {total + gap} cannot hold {total}.")
        wish = (exact - cents)[movable] * step
        chosen = movable[np.argsort(-wish, kind="stable")[: abs(gap)]]
        cents[chosen] += step
        gap = total - int(cents.sum())
    return cents


def round_apart(exact: Array, written: Book, part: Cents, n_parts: int) -> Cents:
    """Round where every cell is in exactly one of ``n_parts`` (groups that do not overlap, and what
    is in none): first the parts' totals, then each part's cells.

    ``part`` (n_cells,) numbers them; each part's bounds are its cells' and its groups' together.
    """
    low = np.zeros(n_parts, dtype=np.int64)
    high = np.zeros(n_parts, dtype=np.int64)
    np.add.at(low, part, written.low)
    np.add.at(high, part, written.high)
    for members, least, most in zip(
        written.membership, written.group_low, written.group_high, strict=True
    ):
        if members.any():
            where = int(part[int(np.argmax(members))])
            low[where], high[where] = max(low[where], int(least)), min(high[where], int(most))
    totals = largest_remainder(
        np.bincount(part, weights=exact, minlength=n_parts).astype(np.float64),
        low,
        high,
        written.total,
    )
    cents = np.empty(len(exact), dtype=np.int64)
    order = np.argsort(part, kind="stable")
    edges = np.searchsorted(part[order], np.arange(n_parts + 1))
    for number in range(n_parts):
        cells = order[edges[number] : edges[number + 1]]
        cents[cells] = largest_remainder(
            exact[cells], written.low[cells], written.high[cells], int(totals[number])
        )
    return cents


def round_together(exact: Array, written: Book) -> Cents:
    """Round where groups overlap: the whole cents that keep all sums with the least total distance
    from ``exact``, by a mixed-integer program that nearly always solves as its relaxation.

    Raises
    ------
    ValueError
        When no whole cents keep the rules.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, hstack

    base = np.clip(np.floor(exact + 1e-7).astype(np.int64), written.low, written.high)
    part = np.clip(exact - base, 0.0, 1.0)
    rows = np.vstack([written.membership, np.ones(len(exact), dtype=bool)])
    held = [int(base[row].sum()) for row in rows]
    least = [*(int(v) for v in written.group_low), written.total]
    most = [*(int(v) for v in written.group_high), written.total]
    matrix = csr_array(rows.astype(float))
    room_up = (written.high - base).astype(float)
    room_down = (base - written.low).astype(float)
    first = np.minimum(room_up, 1.0)
    # the first cent up brings a cell nearer or farther; each cent more, and each down, farther
    cost = np.concatenate([1.0 - 2.0 * part, np.ones(len(exact)), np.ones(len(exact))])
    upper = np.concatenate([first, room_up - first, room_down])
    # what rounding leaves open is small: the rest of the room would only slow the search
    upper = np.minimum(upper, abs(written.total - held[-1]) + len(exact) + 1.0)
    found = milp(
        cost,
        constraints=LinearConstraint(
            hstack([matrix, matrix, -matrix]),
            np.array([lo - h for lo, h in zip(least, held, strict=True)], dtype=float),
            np.array([min(up - h, 2**50) for up, h in zip(most, held, strict=True)], dtype=float),
        ),
        bounds=Bounds(0.0, upper),
        integrality=np.ones(len(cost), dtype=np.int64),
    )
    if found.x is None:
        raise ValueError("No whole cents keep these rules.")
    up, more, down = np.round(found.x).astype(np.int64).reshape(3, -1)
    return np.asarray(base + up + more - down, dtype=np.int64)
