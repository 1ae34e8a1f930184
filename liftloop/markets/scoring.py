"""How much of the possible improvement a loop captured, where the truth is known.

    captured share = (loop - never moved) / (oracle - never moved)

in incremental revenue since the loop took over. *Never moved* leaves the incumbent budgets in
force; the *oracle* knows every curve and re-plans at each cycle without limits; the oracle *held to
the step limit* shows what that limit alone costs. All are run on a market made anew from the same
seed, so they meet the same noise. The reference plan is computed here, from the market's own
``expected`` and by means of its own, so that it can disagree with the loop's allocation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from liftloop.core.arrays import Array
from liftloop.markets.hill import exact_cents
from liftloop.markets.joint import Revenue, jointly_better, separable
from liftloop.markets.protocol import Market, MarketWithOracle

CELL = ["segment", "channel"]
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class MarketScore:
    """Incremental revenue from ``start`` on, and what share of the improvement was captured.

    ``oracle``, ``limit`` and the shares are None for a market that cannot say what budgets earn.
    """

    loop: float
    never_moved: float
    oracle: float | None
    limit: float | None
    captured: float | None
    captured_by_limit: float | None


def captured_share(loop: ArrayLike, never_moved: ArrayLike, oracle: ArrayLike) -> float:
    """(loop - never moved) / (oracle - never moved), the ratio of means over runs.

    Raises
    ------
    ValueError
        If the oracle earns no more than never moving: there is nothing to capture.
    """
    gain = float(np.mean(np.asarray(loop, dtype=float) - np.asarray(never_moved, dtype=float)))
    room = float(np.mean(np.asarray(oracle, dtype=float) - np.asarray(never_moved, dtype=float)))
    if room <= 0:
        raise ValueError("the budgets in force were already the best: nothing to capture")
    return gain / room


def compare(
    market: Market,
    make: Callable[[], Market],
    *,
    cycles: int,
    cycle_days: int = 7,
    max_step: float = 0.25,
) -> MarketScore:
    """Score a finished run against its references.

    Parameters
    ----------
    market
        The market the loop was driven on, ``cycles`` cycles of ``cycle_days`` days after start.
    make
        Makes that market anew: same class, same seed.
    max_step
        The most a cell moves in a cycle, as a share of its budget or of a tenth of the average
        cell's where that is more: what the loop was held to.
    """
    loop = earned(market)
    never = earned(run_never_moved(make(), cycles=cycles, cycle_days=cycle_days))
    if not isinstance(make(), MarketWithOracle):
        return MarketScore(loop, never, None, None, None, None)
    anew = cast(Callable[[], MarketWithOracle], make)
    oracle = earned(run_oracle(anew(), cycles=cycles, cycle_days=cycle_days))
    limit = earned(run_oracle(anew(), cycles=cycles, cycle_days=cycle_days, max_step=max_step))
    shares = (
        (captured_share(loop, never, oracle), captured_share(limit, never, oracle))
        if oracle > never
        else (None, None)
    )
    return MarketScore(loop, never, oracle, limit, *shares)


def earned(market: Market) -> float:
    """True incremental revenue from the market's ``start`` on."""
    truth = market.truth()
    return float(truth.loc[truth["date"] >= market.start, "incremental_revenue"].sum())


def run_never_moved(market: Market, *, cycles: int, cycle_days: int = 7) -> Market:
    """Leave the incumbent in force."""
    for _ in range(cycles):
        market.step(market.incumbent, cycle_days)
    return market


def run_oracle(
    market: MarketWithOracle, *, cycles: int, cycle_days: int = 7, max_step: float | None = None
) -> MarketWithOracle:
    """Re-plan at the beginning of each cycle under that day's truth, within the step limit if one
    is given."""
    budgets = market.incumbent
    for _ in range(cycles):
        budgets = oracle_plan(market, budgets, max_step=max_step)
        market.step(budgets, cycle_days)
    return market


def oracle_plan(
    market: MarketWithOracle, budgets: pd.DataFrame, *, max_step: float | None = None
) -> pd.DataFrame:
    """The budgets that earn most under today's truth, in whole cents: segment, channel,
    daily_budget.

    The curves are sampled through ``expected`` on a grid, and twice more between the neighbours of
    the answer before. Where cells turn out not to earn by themselves (channels that lift or eat
    each other), the plan is improved from there on the joint revenue: a local optimum.
    """
    ordered = budgets.sort_values(CELL, ignore_index=True)
    now = cast(Array, ordered["daily_budget"].astype(float).to_numpy())
    total = sum((Decimal(str(b)) for b in ordered["daily_budget"]), Decimal(0)).quantize(CENT)
    if max_step is None:
        low, high = np.zeros_like(now), np.full_like(now, float(total))
    else:
        step = max_step * np.maximum(now, now.mean() / 10)
        low, high = np.maximum(now - step, 0.0), now + step
    bounds = low, high
    steps = np.linspace(0.0, 1.0, 48) ** (3 if max_step is None else 1)
    earns = Revenue(market, ordered)
    for _ in range(3):
        spend = low + (high - low) * steps[:, None]
        curves = np.array([earns(level) for level in spend])
        plan = _best(spend, curves, float(total))
        near = np.clip((spend <= plan).sum(axis=0) - 1, 1, len(steps) - 2)
        cells = np.arange(len(now))
        low, high = spend[near - 1, cells], spend[near + 1, cells]
        steps = np.linspace(0.0, 1.0, 17)
    if not separable(earns, spend, curves):
        plan = jointly_better(earns, [plan, now], bounds=bounds, total=float(total))
    exact = exact_cents(plan, total)
    return ordered[CELL].assign(
        daily_budget=pd.Series([Decimal(f"{amount:.2f}") for amount in exact], dtype=object)
    )


def _best(spend: Array, revenue: Array, total: float) -> Array:
    """Spend per cell that maximizes the summed revenue at ``total``: buy the pieces of the curves'
    concave hulls, steepest first. Exact for sampled concave curves; where a curve is S-shaped, at
    most one cell ends inside a piece the curve itself lies below."""
    pieces: list[tuple[float, float, int]] = []  # marginal return, width, cell
    for cell in range(spend.shape[1]):
        corners = _hull(spend[:, cell], revenue[:, cell])
        xs, ys = spend[corners, cell], revenue[corners, cell]
        widths = np.diff(xs)
        pieces += [
            (float(slope), float(width), cell)
            for slope, width in zip(np.diff(ys) / widths, widths, strict=True)
        ]
    plan: Array = spend[0].copy()
    left = total - plan.sum()
    for _, width, cell in sorted(pieces, key=lambda piece: -piece[0]):
        bought = min(width, left)
        if bought <= 0:
            break
        plan[cell] += bought
        left -= bought
    return plan


def _hull(xs: Array, ys: Array) -> Sequence[int]:
    """Indices of the corners of the upper concave hull of a curve with increasing ``xs``."""
    corners: list[int] = []
    for n in range(len(xs)):
        if corners and xs[n] <= xs[corners[-1]]:
            continue  # a cell that may not move has levels of no width
        while len(corners) > 1:
            a, b = corners[-2], corners[-1]
            if (ys[b] - ys[a]) * (xs[n] - xs[b]) > (ys[n] - ys[b]) * (xs[b] - xs[a]):
                break
            corners.pop()
        corners.append(n)
    return corners
