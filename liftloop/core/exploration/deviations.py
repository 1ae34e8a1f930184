"""What a plan leaves room for: small moves of single cells, borne by others, inside all rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from liftloop.core.allocation.constraints import Book, Cents, Rules, book, broken_rules
from liftloop.core.arrays import Array, Index
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Policy, to_cents

GIVERS = 8  # at least so many cells bear a move: together they bend less than one of them alone
GIVER_SHARE = 20  # one cell in so many


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The plan and its rules in the order of the curves' cells, whole cents, shape (n_cells,).

    ``low`` and ``high`` hold for the next cycle; ``free`` says which cells later plans can move,
    ``dormant`` which are at the least they may have and could be raised;
    ``pattern`` numbers the combinations of groups a cell is in; ``sums`` (n_rules, n_cells) are the
    sums that later plans keep. A cell that the rules do not know cannot move.
    """

    written: Book
    place: Index  # of each rules' cell in the curves, -1 without
    plan: Cents
    before: Cents
    low: Cents
    high: Cents
    free: NDArray[np.bool_]
    dormant: NDArray[np.bool_]
    pattern: Index
    sums: Array

    @classmethod
    def of(
        cls, curves: ResponseCurves, *, plan: Policy, incumbent: Policy, rules: Rules
    ) -> Ground | None:
        where = {cell: number for number, cell in enumerate(curves.cells)}
        place = np.array([where.get(cell, -1) for cell in rules.cells], dtype=np.intp)
        blind = [cell for cell in rules.cells if cell not in where]
        written = book(rules, incumbent=incumbent, unknown=blind)
        lasting = book(replace(rules, max_step=None), incumbent=incumbent, unknown=blind)
        planned = plan.as_dict()
        cents = np.array([to_cents(planned.get(c, Decimal(0))) for c in rules.cells], np.int64)
        if broken_rules(cents, written):
            return None
        free = (cents > lasting.low) & (cents < lasting.high)
        dormant = (cents == lasting.low) & (cents < written.high)
        held = written.membership @ cents
        tight = (held == written.group_low) | (held == written.group_high)
        pattern = np.zeros(len(cents), dtype=np.int64)
        if len(written.membership):
            pattern = np.unique(written.membership, axis=1, return_inverse=True)[1]
        known = place >= 0
        n = len(curves.cells)

        def outward(values: Cents) -> Cents:
            full = np.zeros(n, dtype=np.int64)
            full[place[known]] = values[known]
            return full

        rows = [np.ones(len(cents)), *written.membership[tight].astype(np.float64)]
        sums = np.zeros((len(rows), n))
        sums[:, place[known]] = np.array(rows)[:, known]
        return cls(
            written,
            place,
            outward(cents),
            outward(written.before),
            outward(written.low),
            outward(written.high),
            outward(free.astype(np.int64)).astype(bool),
            outward(dormant.astype(np.int64)).astype(bool),
            outward(pattern.reshape(-1) + 1).astype(np.intp),
            sums,
        )


def flattest(flatness: Array) -> Index:
    """The cells that bear a move, of those whose ``flatness`` (1 / curvature) is not 0."""
    count = max(GIVERS, len(flatness) // GIVER_SHARE)
    order = np.argsort(-flatness, kind="stable")[:count]
    return np.asarray(order[flatness[order] > 0])


def whole(ground: Ground, plan: Policy, cents: Cents) -> Cents:
    """All the rules' cells; those without a curve as planned."""
    planned = plan.as_dict()
    kept = np.array([to_cents(planned.get(c, Decimal(0))) for c in ground.written.cells], np.int64)
    return np.where(ground.place >= 0, cents[ground.place], kept)


def shifted(
    now: Cents, cell: int, level: int, ground: Ground, flatness: Array, fixed: Collection[int]
) -> Cents | None:
    """Budgets with ``cell`` at ``level`` cents.

    The change is borne by the flattest cells of the very same groups, so that no sum changes;
    ``fixed`` cells bear nothing. None where the others have no room for it.
    """
    change = level - int(now[cell])
    if change == 0 or not ground.low[cell] <= level <= ground.high[cell]:
        return None
    room = now - ground.low if change > 0 else ground.high - now
    able = ground.free & (ground.pattern == ground.pattern[cell]) & (room > 0)
    able[[cell, *fixed]] = False
    flat = np.where(able, flatness, 0.0)
    givers = flattest(flat)
    open_, share = abs(change), np.zeros(len(givers), dtype=np.int64)
    while open_ > 0:
        free = share < room[givers]
        if not free.any():
            return None
        weight = np.where(free, flat[givers], 0.0)
        more = np.minimum(
            np.ceil(open_ * weight / weight.sum()).astype(np.int64), room[givers] - share
        )
        over = np.minimum(np.cumsum(more), open_)
        more = np.diff(over, prepend=0)
        share += more
        open_ -= int(more.sum())
    after = now.copy()
    after[cell] = level
    after[givers] -= share if change > 0 else -share
    return after
