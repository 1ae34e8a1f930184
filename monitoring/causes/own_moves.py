"""What the loop's own budgets explain of a cell's metrics: claims, clicks and prices follow spend.

A metric's elasticity to spend is learned from the reference weeks, cell by cell, and is known well
only near the spend those weeks saw. Further out the expected value is an interval, not a number; it
widens with the square of the move, since an elasticity changes along the way. What lies inside the
interval may be the budget's doing, and is no drift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array

FEWEST = 7  # days
STEEPEST = 1.0  # a metric follows spend in proportion at most, up or down
PRIOR = 0.5  # of the elasticity: standard deviation around 0, so that 2 of them reach STEEPEST
SURE = 2.0  # standard errors
# How much an elasticity may change per e-fold of spend. Where attributed revenue saturates as
# u = x^h / (K^h + x^h), its elasticity h (1 - u) changes by h^2 u (1 - u), at most h^2 / 4. Where a
# share of organic sales is claimed besides, that share changes by no more, and the other way.
# S-shaped curves go up to h = 2.
BEND = 1.0


def explained(
    metric: Array, spend: Array, cell: NDArray[np.intp], is_reference: NDArray[np.bool_]
) -> Array:
    """The part of the logarithm of a metric, against the cell's usual level, that spend explains.

    Parameters
    ----------
    metric, spend : (n,) a cell and day each; what is not positive is not learned from
    cell : (n,) whole numbers from 0
    is_reference : (n,) days of the reference; what moved between it and the others teaches no
        elasticity

    Returns
    -------
    Array
        (n,) nan where the cell has no usual spend. On days of the reference, elasticity times the
        move of log spend. On the others the same plus the bend, within what cannot be excluded,
        that fits the cell's days best: one number a cell, so that its days still differ by chance.
    """
    fine = np.isfinite(metric) & (metric > 0) & (spend > 0)
    y, x = (np.log(np.where(fine, v, 1.0)) for v in (metric, spend))
    early, count = fine & is_reference, int(cell.max(initial=-1)) + 1
    y, x = y - _mean(y, early, cell, count)[cell], _log(spend) - _mean(x, early, cell, count)[cell]
    slope, doubt = _elasticities(y[early], x[early], cell[early], count)
    usual = slope[cell] * x
    room = SURE * doubt[cell] * np.abs(x) + BEND * x**2 / 2
    most = STEEPEST * np.abs(x)
    up, down = (np.nan_to_num(np.minimum(room, most - sign * usual)) for sign in (1.0, -1.0))
    left = np.where(fine & ~is_reference, y - usual, np.nan)
    return np.asarray(usual + np.where(is_reference, 0.0, inside(left, up, down, cell)))


def inside(left: Array, up: Array, down: Array, cell: NDArray[np.intp]) -> Array:
    """What of ``left`` a cell's own moves may have done.

    Parameters
    ----------
    left : (n,) logarithms that a path does not explain, a cell and day each; nan where unknown
    up, down : (n,) how far the path itself may be off, each 0 or more
    cell : (n,) whole numbers from 0

    Returns
    -------
    Array
        (n,) a share of ``up`` or of minus ``down`` from 0 to 1, one number a cell, that fits the
        cell's days best, so that they still differ by chance.
    """
    count = int(cell.max(initial=-1)) + 1
    known, bent = np.isfinite(left), np.zeros(len(left))
    for sign, side in ((1.0, up), (-1.0, down)):
        pull = np.bincount(cell, np.where(known, side * sign * np.nan_to_num(left), 0.0), count)
        whole = np.bincount(cell, np.where(known, side**2, 0.0), count)
        part = np.clip(pull / np.where(whole > 0, whole, 1.0), 0.0, 1.0)
        bent = bent + sign * part[cell] * side
    return bent


def _log(values: Array) -> Array:
    return np.log(np.where(values > 0, values, np.nan))


def _mean(values: Array, chosen: NDArray[np.bool_], cell: NDArray[np.intp], count: int) -> Array:
    """Each cell's mean over the chosen rows, (count,); nan without any."""
    total = np.bincount(cell, np.where(chosen, values, 0.0), count)
    number = np.bincount(cell, chosen, count)
    return np.asarray(np.where(number > 0, total / np.maximum(number, 1), np.nan))


def _elasticities(y: Array, x: Array, cell: NDArray[np.intp], count: int) -> tuple[Array, Array]:
    """Each cell's slope of y on x, both without the cell's mean, and its standard error, (count,).

    The slopes are drawn to a common one as far as they do not differ beyond chance (DerSimonian and
    Laird 1986), and that one to 0 where spend hardly varied.
    """
    if len(y) < FEWEST:
        return np.zeros(count), np.full(count, PRIOR)
    sxx, sxy = np.bincount(cell, x * x, count), np.bincount(cell, x * y, count)
    own = sxy / np.where(sxx > 0, sxx, 1.0)
    freedom = max(len(y) - 2 * int((sxx > 0).sum()), 1)
    noise = max(float(((y - own[cell] * x) ** 2).sum()) / freedom, 1e-12)
    common = float(sxy.sum() / (sxx.sum() + noise / PRIOR**2))
    spread = float((sxx * (own - common) ** 2).sum()) / noise - ((sxx > 0).sum() - 1)
    scale = (sxx.sum() - (sxx**2).sum() / max(sxx.sum(), 1e-12)) / noise
    between = max(spread / scale, 0.0) if scale > 0 else 0.0
    weight = between / (between + noise / np.maximum(sxx, 1e-12)) if between > 0 else sxx * 0.0
    of_common = noise / (sxx.sum() + noise / PRIOR**2)
    slope = np.clip(common + weight * (own - common), -STEEPEST, STEEPEST)
    return slope, np.sqrt(between * (1 - weight) + of_common * (1 - weight) ** 2)
