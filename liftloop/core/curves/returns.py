"""What budgets return by channel, segment or cell: on average, and for the next unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate, spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Cell, Policy

GROUPINGS: Mapping[str, Callable[[Cell], str]] = {
    "channel": lambda cell: cell.channel,
    "segment": lambda cell: cell.segment,
    "cell": lambda cell: f"{cell.segment} × {cell.channel}",
}


@dataclass(frozen=True, slots=True)
class GroupReturn:
    """What a group of cells is given and returns.

    Attributes
    ----------
    spend, previous
        Daily budgets, account currency.
    average
        Incremental revenue per unit of spend with its 90 % interval; None where nothing is spent
        or no curve is known.
    marginal
        Revenue of the next unit, spread over the group as its budget is now; None likewise.
    """

    name: str
    cells: int
    spend: Decimal
    previous: Decimal
    average: Estimate | None
    marginal: float | None


def group_returns(
    curves: ResponseCurves | None,
    *,
    policy: Policy,
    previous: Policy,
    group: Callable[[Cell], str],
) -> list[GroupReturn]:
    """Each group, the largest budget first. Intervals are of the group's sum in joint draws, so
    that what its cells share does not average out."""
    before, nothing = previous.as_dict(), Decimal(0)
    names = {cell: group(cell) for cell in policy.cells}
    spend = None if curves is None else spends(policy, curves)
    draws = None if curves is None or spend is None else curves.draw_revenue(spend)
    marginal = None if curves is None or spend is None else curves.mean_marginal(spend)
    found = []
    for name in dict.fromkeys(names.values()):
        inside = [cell for cell in policy.cells if names[cell] == name]
        now = sum((policy.as_dict()[cell] for cell in inside), nothing)
        average = slope = None
        if curves is not None and spend is not None and draws is not None and marginal is not None:
            members = set(inside)
            at = np.array([i for i, cell in enumerate(curves.cells) if cell in members], dtype=int)
            spent = float(spend[at].sum())
            if len(at) and spent > 0:
                average = Estimate.of(draws[:, at].sum(axis=1) / spent)
                slope = float(marginal[at] @ spend[at]) / spent
        was = sum((before.get(cell, nothing) for cell in inside), nothing)
        found.append(GroupReturn(name, len(inside), now, was, average, slope))
    return sorted(found, key=lambda each: (-each.spend, each.name))


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """A cell's curve over daily spend (n,): mean revenue a day with its 90 % band (n,), and the
    revenue of the next unit (n,)."""

    spend: Array
    mean: Array
    low: Array
    high: Array
    marginal: Array


def curve_points(
    curves: ResponseCurves, cell: Cell, *, most: float, points: int = 41
) -> CurvePoints | None:
    """The curve of one cell from nothing to ``most`` a day; None where it has none."""
    if cell not in curves.cells:
        return None
    place = curves.cells.index(cell)
    grid = np.linspace(0.0, most, points)
    mean, low, high, slope = (np.zeros(points) for _ in range(4))
    for i, amount in enumerate(grid):
        spend = np.zeros(len(curves.cells))
        spend[place] = amount
        drawn = Estimate.of(curves.draw_revenue(spend)[:, place])
        mean[i], low[i], high[i] = drawn.mean, drawn.low, drawn.high
        slope[i] = curves.mean_marginal(spend)[place]
    return CurvePoints(grid, mean, low, high, slope)


@dataclass(frozen=True, slots=True)
class NextUnit:
    """What one more unit of spend a day returns in a cell, and up to where more of it pays.

    Attributes
    ----------
    marginal, average
        Incremental revenue of the next unit of spend, and of a unit of all spend; the average is
        None where nothing is spent.
    pays_up_to
        The daily spend up to which the next unit returns what it costs; None where no spend does.
    pays_beyond
        Whether it does as far as the curve goes.
    """

    marginal: float
    average: float | None
    pays_up_to: float | None
    pays_beyond: bool


def next_unit(curve: CurvePoints, *, spend: float, margin: float) -> NextUnit:
    """The next unit above ``spend`` a day; it pays where it returns 1 / ``margin`` or more."""
    average = float(np.interp(spend, curve.spend, curve.mean)) / spend if spend > 0 else None
    pays = curve.spend[curve.marginal >= 1 / margin]
    last = float(pays[-1]) if len(pays) else None
    return NextUnit(
        float(np.interp(spend, curve.spend, curve.marginal)),
        average,
        last,
        last is not None and last >= float(curve.spend[-1]),
    )
