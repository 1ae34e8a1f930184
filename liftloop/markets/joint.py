"""What budgets earn together: curves of cells that earn by themselves, and better plans where cells
lift or eat each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from liftloop.core.arrays import Array
from liftloop.markets.protocol import MarketWithOracle

CELL = ["segment", "channel"]


class Revenue:
    """What a market expects of daily budgets for ``cells``, asked thousands of times.

    Called with ``spend`` (n_cells,), it returns the revenue a day of each cell, in the same order.
    """

    def __init__(self, market: MarketWithOracle, cells: pd.DataFrame) -> None:
        self._market = market
        self._cells = cells[CELL].reset_index(drop=True)
        self._names = list(zip(*(cells[name].tolist() for name in CELL), strict=True))
        self._told: list[tuple[str, str]] = []
        self._order = np.zeros(0, dtype=np.intp)

    @property
    def cells(self) -> pd.DataFrame:
        """segment, channel."""
        return self._cells

    def __call__(self, spend: Array) -> Array:
        asked = self._cells.copy(deep=False)
        asked["daily_budget"] = spend
        told = self._market.expected(asked)
        names = list(zip(*(told[name].tolist() for name in CELL), strict=True))
        if names != self._told:
            place = {name: n for n, name in enumerate(names)}
            self._told = names
            self._order = np.array([place.get(name, len(names)) for name in self._names], np.intp)
        revenue = told["incremental_revenue"].to_numpy(dtype=np.float64)
        return np.append(revenue, 0.0)[self._order]  # a cell it does not name earns nothing


def separable(earns: Revenue, spend: Array, curves: Array) -> bool:
    """Whether each cell earns at its own level what it earned when all cells were at that level:
    asked where half of the cells, drawn at random, are at the highest level, others at the lowest.
    """
    half = np.random.default_rng(0).random(spend.shape[1]) < 0.5
    which = np.where(half, len(spend) - 1, 0)
    cell = np.arange(spend.shape[1])
    alone = float(curves[which, cell].sum())
    return bool(np.isclose(earns(spend[which, cell]).sum(), alone, rtol=1e-6))


def jointly_better(
    earns: Revenue, starts: Sequence[Array], *, bounds: tuple[Array, Array], total: float
) -> Array:
    """The plan that sequential quadratic programming reaches from the best of ``starts``.

    Money is in units of the average cell's, revenue in units of what the start earns. Where cells
    meddle only inside a segment (or only inside a channel), one cell of each is nudged at a time.
    """
    found = [float(earns(plan).sum()) for plan in starts]
    start, base = starts[int(np.argmax(found))], max(*found, 1.0)
    unit = total / len(start)
    nudge = 1e-4 * unit
    blocks = _blocks(earns, start, unit)
    turns = [np.flatnonzero(_turn(blocks) == turn) for turn in range(_turn(blocks).max() + 1)]

    def lost(z: Array) -> float:
        return -float(earns(np.maximum(z, 0.0) * unit).sum()) / base

    def slope(z: Array) -> Array:
        spend, gradient = np.maximum(z, 0.0) * unit, np.zeros(len(z))
        here = np.bincount(blocks, weights=earns(spend))
        for turn in turns:
            more = spend.copy()
            more[turn] += nudge
            there = np.bincount(blocks, weights=earns(more))
            gradient[turn] = (there - here)[blocks[turn]]
        return -gradient / nudge * unit / base

    whole: Any = {
        "type": "eq",
        "fun": lambda z: z.sum() - len(z),
        "jac": lambda z: np.ones(len(z)),
    }
    answer = optimize.minimize(
        lost,
        start / unit,
        jac=slope,
        method="SLSQP",
        bounds=list(zip(bounds[0] / unit, bounds[1] / unit, strict=True)),
        constraints=whole,
        options={"maxiter": 60, "ftol": 1e-7},
    )
    plan = np.clip(answer.x * unit, *bounds)
    plan = plan / plan.sum() * total
    return plan if earns(plan).sum() > max(found) else start


def _blocks(earns: Revenue, plan: Array, unit: float) -> NDArray[np.intp]:
    """Numbers of sets of cells that earn independently of each other: segments, else channels, else
    all cells together."""
    for name in CELL:
        blocks = np.asarray(pd.factorize(earns.cells[name], sort=True)[0], dtype=np.intp)
        half = np.random.default_rng(1).random(blocks.max() + 1) < 0.5
        more = plan + unit * half[blocks]
        before, after = earns(plan), earns(more)
        still = ~half[blocks]
        if np.allclose(before[still], after[still], rtol=1e-9):
            return blocks
    return np.zeros(len(plan), dtype=np.intp)


def _turn(blocks: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each cell its place inside its block, from 0."""
    turns = pd.Series(blocks).groupby(blocks).cumcount()
    return np.asarray(turns.to_numpy(dtype=np.intp), dtype=np.intp)
