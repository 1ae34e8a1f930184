"""How good a ranking by predicted uplift is, on users it has not seen, and how sure we are.

``qini`` and ``auuc`` are causalml's definitions (0.18, ``qini_score`` and ``auuc_score`` with
``normalize=True``; Radcliffe 2007, Gutierrez & Gérardy 2016) for predictions without ties. Where
predictions tie, causalml's value depends on the order of the rows; here a group of ties is entered
whole and the curve is straight across it, which is the mean over all orders, to first order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.gbm.encoding import Vector

BOOTSTRAPS = 200
_DECILES = 10
_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Ranking:
    """Users from the greatest predicted uplift to the least. ``ends`` closes each group of ties."""

    order: NDArray[np.intp]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, predicted: Vector) -> Ranking:
        order = np.argsort(-predicted, kind="stable")
        ordered = predicted[order]
        ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) + 1
        return cls(order, ends)

    def groups(self, most: int) -> NDArray[np.intp]:
        """A number of each user, in the users' own order, by at most ``most`` groups of ranks."""
        ends = self.ends
        if len(ends) > most:
            ends = ends[np.unique(np.linspace(0, len(ends) - 1, most + 1).astype(int)[1:])]
        number = np.empty(len(self.order), dtype=np.intp)
        number[self.order] = np.searchsorted(ends, np.arange(len(self.order)), side="right")
        return number


def _cumulated(
    ranking: Ranking, outcome: Vector, treated: NDArray[np.bool_]
) -> tuple[Vector, Vector, Vector, Vector]:
    """(treated, control, outcome of treated, outcome of control) of the first k users, k = 0..n."""
    y, t = outcome[ranking.order], treated[ranking.order].astype(np.float64)
    one, zero, y1, y0 = (np.r_[0.0, np.cumsum(part)] for part in (t, 1 - t, t * y, (1 - t) * y))
    return one, zero, y1, y0


def _straight(curve: Vector, known: NDArray[np.bool_], at: Vector) -> Vector:
    return np.interp(at, at[known], curve[known])


def _qini_heights(n1: Vector, n0: Vector, y1: Vector, y0: Vector) -> Vector:
    raw = y1 - y0 * n1 / np.maximum(n0, 1)
    known = n0 > 0
    known[0] = True
    return _straight(raw, known, n1 + n0)


def _gain_heights(n1: Vector, n0: Vector, y1: Vector, y0: Vector) -> Vector:
    lift = y1 / np.maximum(n1, 1) - y0 / np.maximum(n0, 1)
    known = (n0 > 0) & (n1 > 0)
    known[0], lift[0] = True, 0.0
    # causalml draws the lift straight where an arm is still empty, before it is multiplied
    return _straight(lift, known, n1 + n0) * (n1 + n0)


def _between_ties(
    heights: Callable[..., Vector], sums: tuple[Vector, ...], ranking: Ranking
) -> Vector:
    """A curve that is straight between the ends of ties: users inside one have no order."""
    ends = np.r_[0, ranking.ends]
    curve = heights(*(part[ends] for part in sums))
    return np.interp(np.arange(len(sums[0])), ends, curve)


def qini_curve(*, predicted: Vector, outcome: Vector, treated: NDArray[np.bool_]) -> Vector:
    """Q(k) = Y1(k) - Y0(k) N1(k) / N0(k) of the first k users, k = 0..n, shape (n + 1,)."""
    ranking = Ranking.of(predicted)
    return _between_ties(_qini_heights, _cumulated(ranking, outcome, treated), ranking)


def gain_curve(*, predicted: Vector, outcome: Vector, treated: NDArray[np.bool_]) -> Vector:
    """G(k) = (Y1(k) / N1(k) - Y0(k) / N0(k)) k, k = 0..n, shape (n + 1,)."""
    ranking = Ranking.of(predicted)
    return _between_ties(_gain_heights, _cumulated(ranking, outcome, treated), ranking)


def qini(*, predicted: Vector, outcome: Vector, treated: NDArray[np.bool_]) -> float:
    """Area between the Qini curve and the straight line of a random order, in units of the total.

    Zero: no better than random. NaN when the total effect is exactly zero.
    """
    curve = qini_curve(predicted=predicted, outcome=outcome, treated=treated)
    total = curve[-1]
    return float(curve.mean() / abs(total) - np.sign(total) / 2) if total else np.nan


def auuc(*, predicted: Vector, outcome: Vector, treated: NDArray[np.bool_]) -> float:
    """Area under the normalized cumulative gain; about one half for a random order."""
    curve = gain_curve(predicted=predicted, outcome=outcome, treated=treated)
    return float(curve.mean() / abs(curve[-1])) if curve[-1] else np.nan


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bootstrap standard error and 95 % percentile interval."""

    value: float
    standard_error: float
    low: float
    high: float


def bootstrap_ranking(
    *,
    predicted: Vector,
    outcome: Vector,
    treated: NDArray[np.bool_],
    resamples: int = BOOTSTRAPS,
    seed: int = 0,
) -> dict[str, Interval]:
    """``qini`` and ``auuc`` with intervals; users are drawn with replacement within each arm.

    Ranks do not change when users are drawn again, so the users are sorted once, put in at most
    1,000 groups of neighbouring ranks, and each resample only sums its users by group.
    """
    ranking = Ranking.of(predicted)
    number = ranking.groups(_GROUPS)
    groups = int(number.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = np.empty((2, resamples))
    arms = [(number[arm], outcome[arm]) for arm in (treated, ~treated)]
    for b in range(resamples):
        sums = []
        for at, y in arms:
            rows = rng.integers(0, len(y), len(y))
            sums.append(np.bincount(at[rows], minlength=groups))
            sums.append(np.bincount(at[rows], weights=y[rows], minlength=groups))
        n1, y1, n0, y0 = (np.r_[0.0, np.cumsum(part)] for part in sums)
        for row, heights in enumerate((_qini_heights, _gain_heights)):
            curve = heights(n1, n0, y1, y0)
            total = curve[-1]
            if total:
                area = np.trapezoid(curve, n1 + n0) / (n1[-1] + n0[-1]) / abs(total)
                drawn[row, b] = area - (np.sign(total) / 2 if row == 0 else 0.0)
            else:
                drawn[row, b] = np.nan
    values = (
        qini(predicted=predicted, outcome=outcome, treated=treated),
        auuc(predicted=predicted, outcome=outcome, treated=treated),
    )
    found = {}
    for name, value, sample in zip(("qini", "auuc"), values, drawn, strict=True):
        low, high = np.nanquantile(sample, [0.025, 0.975])
        found[name] = Interval(value, float(np.nanstd(sample, ddof=1)), float(low), float(high))
    return found


def rank_groups(predicted: Vector, groups: int) -> NDArray[np.intp]:
    """The group of each user, 0 for the greatest predictions; groups are equal but for ties.

    Users with one prediction are in one group, that of the middle of their ranks.
    """
    ranking = Ranking.of(predicted)
    n = len(predicted)
    middle = np.empty(n)
    starts = np.r_[0, ranking.ends[:-1]]
    middle[ranking.order] = np.repeat((starts + ranking.ends) / 2, ranking.ends - starts)
    return np.minimum((middle / n * groups).astype(np.intp), groups - 1)


def calibration(
    *, predicted: Vector, scores: Vector, order: Vector | None = None, bins: int = _DECILES
) -> pd.DataFrame:
    """Predicted against observed uplift by decile of ``order`` (default: of the prediction).

    The greatest come first.

    ``observed`` is the mean doubly robust score, ``standard_error`` its own. With fewer distinct
    predictions than bins there are fewer rows.
    """
    number = rank_groups(predicted if order is None else order, bins)
    rows = []
    for decile in np.unique(number):
        inside = number == decile
        phi = scores[inside]
        error = float(phi.std(ddof=1) / np.sqrt(len(phi))) if len(phi) > 1 else np.nan
        rows.append(
            {
                "decile": int(decile) + 1,
                "users": int(inside.sum()),
                "predicted": float(predicted[inside].mean()),
                "observed": float(phi.mean()),
                "standard_error": error,
                "low": float(phi.mean() - 1.96 * error),
                "high": float(phi.mean() + 1.96 * error),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """The verdict on whether users differ in how they respond.

    ``slope`` is 1 when predicted differences are real and to scale, 0 when they say nothing.
    """

    slope: float
    standard_error: float
    p_value: float
    detectable: bool
    reason: str


def heterogeneity(
    *, predicted: Vector, scores: Vector, folds: NDArray[np.int8], level: float = 0.05
) -> Heterogeneity:
    """The best linear predictor test of Chernozhukov et al. (2018, generic ML, section 3.1).

    The scores, less their fold's mean, are regressed on the out-of-fold predictions, less theirs;
    robust standard error (HC0), one-sided. Within folds, because a fold's own mean is low exactly
    where the mean of the others is high.
    """
    from scipy import stats

    x, y = predicted.astype(np.float64).copy(), scores.astype(np.float64).copy()
    for k in np.unique(folds):
        inside = folds == k
        x[inside] -= x[inside].mean()
        y[inside] -= y[inside].mean()
    spread = float(x @ x)
    if spread <= 1e-24 * max(1.0, float(y @ y)):
        return Heterogeneity(0.0, np.nan, 1.0, False, _verdict(False, 1.0))
    slope = float(x @ y) / spread
    error = float(np.sqrt((x**2) @ (y - slope * x) ** 2)) / spread
    p = float(stats.norm.sf(slope / error)) if error > 0 else 1.0
    return Heterogeneity(slope, error, p, p < level, _verdict(p < level, p))


def _verdict(detectable: bool, p: float) -> str:
    if detectable:
        return (
            f"Users respond differently (p = {p:.2g}): reach those with the greatest uplift first."
        )
    return f"No detectable heterogeneity (p = {p:.2g}): every user counts as responding alike."


def policy_value(
    *, predicted: Vector, scores: Vector, cost: float, margin: float
) -> dict[str, float]:
    """What it is worth to reach only users whose predicted uplift pays for the reach.

    A user is reached when ``margin`` x predicted uplift > ``cost``. Values are profit per user of
    the whole population, estimated by the doubly robust scores (Athey & Wager 2021, equation 2),
    with the standard error of the gain over reaching everyone.
    """
    if cost < 0 or margin <= 0:
        raise ValueError("A cost is not negative and a margin is above zero.")
    reach = margin * predicted > cost
    profit = margin * scores - cost
    spared = np.where(reach, 0.0, -profit)
    n = len(scores)
    return {
        "reached_share": float(reach.mean()),
        "profit_chosen": float(np.where(reach, profit, 0.0).mean()),
        "profit_everyone": float(profit.mean()),
        "gain_over_everyone": float(spared.mean()),
        "gain_standard_error": float(spared.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan,
    }
