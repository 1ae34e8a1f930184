"""Whether rules can hold together, in whole cents, and a smallest set of them that cannot.

Cells in the same groups are alike to every rule about sums, so a question about many thousand cells
is one about a few classes of cells: a small integer program (HiGHS through ``scipy.optimize.milp``)
whose answer is checked in integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from liftloop.core.allocation.constraints import ENDLESS, Book, BoundRule, Cents, Kind, money
from liftloop.core.arrays import Mask
from liftloop.core.policy import Cell

# Rules are dropped in this order while the rest still conflicts: what is left at the end is named,
# and a person can do more about a floor than about the step limit.
DROP_ORDER: tuple[Kind, ...] = (
    "frequency",
    "step",
    "no_raise",
    "unknown",
    "moved",
    "frozen",
    "cap",
    "maximum",
    "minimum",
    "floor",
    "total",
)


def _roof(rules: Sequence[BoundRule]) -> int:
    """More than any cell could need: stands for "no cap" in finite arithmetic."""
    amounts = 1
    for rule in rules:
        amounts += int(rule.low.sum())
        high = rule.high[rule.high < ENDLESS]
        amounts += int(high.sum())
    return amounts


def _plain_bounds(rules: Sequence[BoundRule], n: int, roof: int) -> tuple[Cents, Cents]:
    low, high = np.zeros(n, dtype=np.int64), np.full(n, roof, dtype=np.int64)
    for rule in rules:
        if rule.members is None:
            low, high = np.maximum(low, rule.low), np.minimum(high, rule.high)
    return low, high


def extreme_total(
    rules: Sequence[BoundRule], n: int, *, sign: int = 0, over: Mask | None = None
) -> int | None:
    """A sum (whole cents) that cells can have under ``rules``: any (sign 0), the least (1) or the
    most (-1); of all cells, or of those ``over`` names (n_cells,). None when the rules cannot hold
    together."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    roof = _roof(rules)
    low, high = _plain_bounds(rules, n, roof)
    if (low > high).any():
        return None
    sums = [rule for rule in rules if rule.members is not None]
    counted = np.ones(n, dtype=bool) if over is None else over
    if not sums:
        return int((high if sign < 0 else low)[counted].sum())
    membership = np.array([rule.members for rule in sums] + ([] if over is None else [over]))
    classes, which = np.unique(membership, axis=1, return_inverse=True)
    count = classes.shape[1]
    weight = np.ones(count) if over is None else classes[-1].astype(float)
    classes = classes[: len(sums)]
    floor, room = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    np.add.at(floor, which.ravel(), low)
    np.add.at(room, which.ravel(), high - low)
    held = classes @ floor
    lower = np.array([rule.low[0] for rule in sums]) - held
    upper = np.array([rule.high[0] for rule in sums]) - held
    if len(sums) == 1 and count == 1 and weight.all():
        top = min(int(room[0]), int(upper[0]))
        if top < max(int(lower[0]), 0):
            return None
        return int(floor[0]) + (top if sign < 0 else max(int(lower[0]), 0))
    ceiling = float(room.sum()) + 1.0
    found = milp(
        sign * weight,
        constraints=LinearConstraint(
            classes.astype(float),
            lower.astype(float),
            np.minimum(upper.astype(float), ceiling),
        ),
        bounds=Bounds(0.0, room.astype(float)),
        integrality=np.ones(count, dtype=np.int64),
    )
    if found.x is None:
        return None
    inside = weight > 0
    return int(floor[inside].sum()) + int(np.round(found.x[inside]).sum())


def possible(rules: Sequence[BoundRule], n: int) -> bool:
    """Whether ``n`` cells can keep all ``rules`` together."""
    return extreme_total(rules, n) is not None


def conflicting(written: Book) -> tuple[BoundRule, ...]:
    """A smallest set of rules that cannot hold together (any one less and they can), or ().

    The deletion filter (Chinneck and Dravnieks 1991): drop a rule; if the rest still conflicts, it
    stays out.
    """
    n = len(written.cells)
    kept = list(written.rules)
    if possible(kept, n):
        return ()
    for rule in sorted(written.rules, key=lambda rule: DROP_ORDER.index(rule.kind)):
        rest = [other for other in kept if other is not rule]
        if not possible(rest, n):
            kept = rest
    return tuple(kept)


def describe(conflict: Sequence[BoundRule], cells: Sequence[Cell]) -> tuple[str, ...]:
    """The rules of a conflict in plain words, each with its amounts."""
    n = len(cells)
    others = [rule for rule in conflict if rule.kind != "total"]
    low, high = _plain_bounds(others, n, _roof(conflict))
    words = []
    for rule in conflict:
        text = rule.label
        if rule.kind == "step" and (low > high).any():
            cell = int(np.argmax(low > high))
            text += f", for {cells[cell]} {money(int(rule.low[cell]))} to "
            text += money(int(rule.high[cell]))
        if rule.kind == "total":
            text += _against(int(rule.low[0]), others, n)
        words.append(text)
    return tuple(words)


def _against(total: int, others: Sequence[BoundRule], n: int) -> str:
    least = extreme_total(others, n, sign=1)
    if least is not None and least > total:
        return f" (the other rules need at least {money(least)})"
    most = extreme_total(others, n, sign=-1)
    if most is not None and most < total:
        return f" (the other rules allow at most {money(most)})"
    return ""
