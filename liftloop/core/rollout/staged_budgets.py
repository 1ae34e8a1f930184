"""What is in force while only some segments follow a new policy.

The challenger's budgets inside the exposed segments are rescaled to what the incumbent gives them;
all others keep the incumbent's to the byte. So money crosses into or out of the exposed segments
only as more of them join. Where the challenger spends less or more in total, the exposed segments
change by their own part of that at once: it comes from no other segment. Sums are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.constraints import Book, Cents
from liftloop.core.allocation.rounding import largest_remainder
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

Limits = Mapping[Cell, tuple[Decimal, Decimal]]


@dataclass(frozen=True, slots=True)
class Blend:
    """Budgets while only some segments follow the new policy. ``waiting`` is what the challenger
    would move into (positive) or out of (negative) the exposed set, per day, once promoted."""

    policy: Policy
    waiting: Decimal


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """How far budgets may go from those in force.

    Attributes
    ----------
    in_force
        What steps are measured from.
    max_step
        Largest change of a cell, as a share of its budget in force, or of a tenth of the average
        cell's where that is more; None for no limit.
    bounds
        Floor and cap of a cell in account currency per day, where it has any.
    groups
        Rules written for all cells; the limits on sums of cells are kept, or, where the budgets in
        force break one already, not broken further.
    """

    in_force: Policy
    max_step: float | None = None
    bounds: Limits | None = None
    groups: Book | None = None

    def range(self, cells: list[Cell], total: int) -> tuple[Cents, Cents]:
        """Least and most whole cents of each cell, shape (n_cells,), where they sum to ``total``
        cents. A floor wins over the step; a cap that a step cannot reach yet is approached by a
        full one."""
        held, bounds, low, high = self.in_force.as_dict(), self.bounds or {}, [], []
        tenth = to_cents(self.in_force.total) / max(len(held), 1) / 10
        for cell in cells:
            now = to_cents(held.get(cell, Decimal(0)))
            step = now + total if self.max_step is None else int(self.max_step * max(now, tenth))
            floor, cap = bounds.get(cell, (Decimal(0), from_cents(total)))
            low.append(max(now - step, to_cents(floor), 0))
            high.append(max(min(now + step, to_cents(cap)), low[-1]))
        return np.array(low, dtype=np.int64), np.array(high, dtype=np.int64)


def blend(
    incumbent: Policy,
    challenger: Policy,
    exposed: Collection[str],
    *,
    room: Room | None = None,
    older: Policy | None = None,
) -> Blend:
    """The challenger inside ``exposed``, rescaled to what the incumbent gives that set.

    Everything else keeps the incumbent's budgets to the byte, and the total stays exact. Rescaling
    can push a cell past its step limit, so the rescaled budgets are clipped to the limits and what
    is cut off is spread over the other cells of the set in the challenger's proportions. Where a
    group's limit is overstepped, the nearest budgets that keep it are taken.

    Parameters
    ----------
    room
        The limits, with the budgets in force: those of an earlier stage, when more segments join;
        None for no limit.
    older
        The plan, for all segments, that the challenger follows on. The exposed set changes by its
        part of what the two differ in total (:func:`change_inside`); None: by nothing.

    Raises
    ------
    InfeasibleBudget
        When the limits inside the exposed set cannot hold what the incumbent gives it.
    """
    room = room or Room(incumbent)
    old, new = incumbent.as_dict(), challenger.as_dict()
    inside = sorted({c for c in (*old, *new) if c.segment in set(exposed)})
    total = sum(to_cents(old.get(c, Decimal(0))) for c in inside)
    waiting = from_cents(sum(to_cents(new.get(c, Decimal(0))) for c in inside) - total)
    change = (
        0 if older is None else change_inside(incumbent, challenger, exposed, older, room.bounds)
    )
    if not inside or (change == 0 and (total == 0 or waiting == from_cents(-total))):
        return Blend(incumbent, waiting)
    fitted = _fit(
        {c: new.get(c, Decimal(0)) for c in inside},
        room,
        total=total + change,
        before=total,
        whose="the exposed segments keep",
    )
    return Blend(Policy.of({**old, **fitted}), waiting)


def change_inside(
    incumbent: Policy,
    challenger: Policy,
    exposed: Collection[str],
    older: Policy,
    bounds: Limits | None = None,
) -> int:
    """By how many cents the exposed segments' sum changes because the total does.

    What they give or get beyond the change of the total crosses to or from other segments, and
    waits until those have the plan. Cells that ``bounds`` fix count on neither side: their part of
    a cut is made by no other cell.

    Parameters
    ----------
    incumbent
        The budgets that the challenger's are put into; the sum ends no farther than the challenger
        has it.
    older
        The plan that the challenger follows on.
    """
    old, new, now = older.as_dict(), challenger.as_dict(), incumbent.as_dict()
    fixed = {cell for cell, (low, high) in (bounds or {}).items() if low == high}
    names, nothing = set(exposed), Decimal(0)
    whole = free = mine = wanted = 0
    for cell in old.keys() | new.keys() | now.keys():
        inside = cell.segment in names
        change = to_cents(new.get(cell, nothing)) - to_cents(old.get(cell, nothing))
        whole += change
        if cell not in fixed:
            free += change
            mine += change * inside
        if inside:
            wanted += to_cents(new.get(cell, nothing)) - to_cents(now.get(cell, nothing))
    return _between(_between(mine, _between(free, whole)), wanted)


def _between(amount: int, end: int) -> int:
    """The nearest to ``amount`` from 0 to ``end``."""
    return min(max(amount, min(end, 0)), max(end, 0))


def towards(before: Policy, after: Policy, share: float) -> Policy:
    """The budgets ``share`` of the way from one policy to another of the same total, exact to the
    cent. Shares of 0 and 1 are the policies themselves."""
    if share >= 1 or before.version == after.version:
        return after
    if share <= 0:
        return before
    old, new = before.as_dict(), after.as_dict()
    cells = sorted(old.keys() | new.keys())
    here = np.array([to_cents(old.get(c, Decimal(0))) for c in cells], dtype=np.int64)
    there = np.array([to_cents(new.get(c, Decimal(0))) for c in cells], dtype=np.int64)
    total = int(here.sum()) + round(share * int(there.sum() - here.sum()))
    cents = largest_remainder(
        here + share * (there - here), np.minimum(here, there), np.maximum(here, there), total
    )
    return Policy.of({c: from_cents(int(k)) for c, k in zip(cells, cents, strict=True)})


def land(
    challenger: Policy,
    *,
    in_force: Policy,
    max_step: float | None = None,
    bounds: Limits | None = None,
    groups: Book | None = None,
) -> Policy:
    """The challenger for all segments: itself, or, where it is more than a step away from the
    budgets in force, the budgets nearest to it within a step; so with its total, less what cells
    that may not move keep of a change of the total. The parameters are as of :class:`Room`."""
    room = Room(in_force, max_step, bounds, groups)
    wanted = challenger.as_dict()
    everywhere = {c: wanted.get(c, Decimal(0)) for c in {*wanted, *in_force.cells}}
    total = to_cents(challenger.total)
    low, high = room.range(sorted(everywhere), total)
    cents = np.array([to_cents(everywhere[c]) for c in sorted(everywhere)])
    if bool(((cents >= low) & (cents <= high)).all()):
        return challenger
    if challenger.total != in_force.total:
        names = {cell.segment for cell in everywhere}
        total = to_cents(in_force.total)
        total += change_inside(in_force, challenger, names, in_force, bounds)
    if max_step is not None and challenger.total != in_force.total:
        free = replace(room, max_step=None).range(sorted(everywhere), total)
        if free[0].sum() <= total <= free[1].sum():  # only the steps are in the way
            total = int(min(max(total, low.sum()), high.sum()))
    return Policy.of(_fit(everywhere, room, total=total, whose="the new policy spends"))


def rescaled(policy: Policy, written: Book) -> Policy:
    """The budgets with the total of ``written``, in their present proportions as far as its bounds
    of single cells allow; as they are where those leave no room."""
    held = policy.as_dict()
    wanted = [float(to_cents(held.get(cell, Decimal(0)))) for cell in written.cells]
    if not written.low.sum() <= written.total <= written.high.sum():
        return policy
    cents = _fill(wanted, written.low, written.high, written.total)
    return Policy.of(
        {cell: from_cents(int(k)) for cell, k in zip(written.cells, cents, strict=True)}
    )


def _fit(
    wanted: Mapping[Cell, Decimal],
    room: Room,
    *,
    total: int,
    whose: str,
    before: int | None = None,
) -> dict[Cell, Decimal]:
    """Budgets in the proportions of ``wanted`` that sum to ``total`` cents within all limits; on
    the way there from ``before`` cents as far as the limits allow."""
    cells = sorted(wanted)
    low, high = room.range(cells, total)
    if before is not None and before != total:
        nearest = min(max(total, int(low.sum())), int(high.sum()))
        total = nearest if min(before, total) <= nearest <= max(before, total) else total
    if not low.sum() <= total <= high.sum():
        raise InfeasibleBudget(
            [
                f"{whose} {from_cents(total)} a day",
                f"their floors, caps and steps allow {from_cents(int(low.sum()))} to "
                f"{from_cents(int(high.sum()))}",
            ]
        )
    cents = _fill([float(to_cents(wanted[c])) for c in cells], low, high, total)
    if room.groups is not None and len(room.groups.membership):
        cents = _keep_groups(cents, low, high, cells, room.in_force, room.groups)
    return {c: from_cents(int(k)) for c, k in zip(cells, cents, strict=True)}


def _fill(wanted: list[float], low: Cents, high: Cents, total: int) -> Cents:
    """Whole cents near ``scale * wanted`` inside [low, high] that sum to ``total``.

    The scale is found by bisection (the clipped sum never decreases in it), the last cents go to
    the largest remainders. When even an endless scale is not enough, because what is wanted is zero
    somewhere, the rest goes to those cells in proportion to their room.
    """
    want, floor, cap = np.asarray(wanted), low.astype(float), high.astype(float)
    top = np.where(want > 0, cap, floor)
    if top.sum() <= total:
        room = cap - top
        left = total - top.sum()
        exact = top + (room * (left / room.sum()) if room.sum() > 0 else 0.0)
    else:
        small, large = 0.0, 1.0
        while np.clip(large * want, floor, cap).sum() < total:
            large *= 2
        for _ in range(200):
            middle = (small + large) / 2
            below = np.clip(middle * want, floor, cap).sum() < total
            small, large = (middle, large) if below else (small, middle)
        exact = np.clip(large * want, floor, cap)
    return largest_remainder(np.asarray(exact, dtype=np.float64), low, high, total)


def _keep_groups(
    cents: Cents,
    low: Cents,
    high: Cents,
    cells: list[Cell],
    in_force: Policy,
    groups: Book,
) -> Cents:
    """The budgets with the least total distance from ``cents`` that keep the groups' limits."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, hstack

    held, place = in_force.as_dict(), {cell: i for i, cell in enumerate(cells)}
    now = np.array([to_cents(held.get(cell, Decimal(0))) for cell in groups.cells])
    mine = np.array([cell in place for cell in groups.cells])
    rows = np.zeros((len(groups.membership), len(cells)))
    for column, cell in enumerate(groups.cells):
        if cell in place:
            rows[:, place[cell]] = groups.membership[:, column]
    sums, outside = groups.membership @ now, groups.membership @ (now * ~mine)
    least = np.minimum(groups.group_low, sums) - outside
    most = np.maximum(groups.group_high, sums) - outside
    reached = rows @ cents
    if bool(((reached >= least) & (reached <= most)).all()):
        return cents
    n = len(cells)
    matrix = csr_array(np.vstack([rows, np.ones(n)]))
    found = milp(
        np.ones(2 * n),
        constraints=LinearConstraint(
            hstack([matrix, -matrix]),
            np.append(least - reached, 0.0),
            np.append(np.minimum(most - reached, 2.0**50), 0.0),
        ),
        bounds=Bounds(0.0, np.concatenate([high - cents, cents - low]).astype(float)),
        integrality=np.ones(2 * n, dtype=np.int64),
    )
    if found.x is None:
        names = [
            name
            for name, sum_, lo, hi in zip(groups.group_names, reached, least, most, strict=True)
            if not lo <= sum_ <= hi
        ]
        raise InfeasibleBudget(
            [f"the exposed segments keep {from_cents(int(cents.sum()))} a day", *names]
        )
    up, down = np.round(found.x).astype(np.int64).reshape(2, -1)
    return np.asarray(cents + up - down, dtype=np.int64)
