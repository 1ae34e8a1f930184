"""What chance differences between arms predict of the difference in outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.boosting import BoosterParameters, fit_booster, predict

Array = NDArray[np.float64]
FEWEST = 300  # contrasts: with fewer, trees find only noise and a line has to do


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """Per contrast (n,): the part of the arms' difference in mean revenue that covariates explain,
    to be taken out, and the share of its variance that is left then (in (0, 1])."""

    taken_out: Array
    variance_kept: Array

    @classmethod
    def none(cls, rows: int) -> Adjustment:
        return cls(np.zeros(rows), np.ones(rows))


@dataclass(frozen=True, slots=True, eq=False)
class ChanceTable:
    """What LightGBM learns chance differences from: every contrast and its mirror image.

    ``features`` (2n rows), ``target`` (2n,) in units of its own root mean square, ``weights`` (2n,)
    with mean 1, ``dates`` (2n,).
    """

    features: pd.DataFrame
    target: Array
    weights: Array
    dates: NDArray[np.datetime64]


def chance_table(
    rows: pd.DataFrame, *, sales: pd.DataFrame | None, as_of: date
) -> ChanceTable | None:
    """The training table of :func:`adjust`, for tuning and for a model to keep; None where the arms
    differ in no covariate, or there are fewer than ``FEWEST`` contrasts."""
    seen = _Seen.of(rows, sales=sales, as_of=as_of)
    usable = np.flatnonzero(np.isfinite(seen.noise))
    if not seen.differs or len(usable) < FEWEST:
        return None
    features, target, weights, _ = _mirrored(seen, usable)
    dates = rows["date"].to_numpy()[usable]
    return ChanceTable(features, target, weights, np.concatenate([dates, dates]))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Contrasts as the models see them: covariate ``gaps`` (n, k) freed of the cell's mean and
    scaled, ``outcome`` and ``noise`` (n,), and what may change how much a covariate means."""

    gaps: Array
    context: pd.DataFrame
    outcome: Array
    noise: Array
    age: Array
    differs: bool

    @classmethod
    def of(cls, rows: pd.DataFrame, *, sales: pd.DataFrame | None, as_of: date) -> _Seen:
        names = [n[:-2] for n in rows.columns if n.startswith("x_") and n.endswith("_t")]
        users = 1 / rows["users_t"].to_numpy(float) + 1 / rows["users_c"].to_numpy(float)
        noise = np.sqrt(rows["var"].to_numpy(float) * users)
        gaps = np.column_stack(
            [rows[f"{n}_t"].to_numpy(float) - rows[f"{n}_c"].to_numpy(float) for n in names]
            or [np.zeros(len(rows))]
        )
        gaps = np.where(np.isfinite(gaps), gaps, 0.0)
        differs = bool(np.any(gaps))
        age = (pd.Timestamp(as_of) - rows["date"]).dt.days.to_numpy()
        outcome = (rows["mean_t"] - rows["mean_c"]).to_numpy(float)
        cell = rows.groupby(["segment", "channel"], observed=True, sort=False).ngroup().to_numpy()
        noise = np.where(noise > 0, noise, np.inf)
        # what a cell's contrasts share is its effect, not chance
        outcome = outcome - _mean_by(cell, outcome, noise**-2.0)[cell]
        gaps = gaps - _means_by(cell, gaps)[cell]
        scaled = gaps / np.maximum(gaps.std(axis=0), 1e-300)
        return cls(scaled, _context(rows, sales, age), outcome, noise, age, differs)


def adjust(
    rows: pd.DataFrame,
    *,
    sales: pd.DataFrame | None,
    as_of: date,
    blocks: int,
    booster: BoosterParameters,
    max_rows: int,
) -> Adjustment:
    """Predict each contrast's chance part from the arms' covariates, out of block.

    The prediction is made antisymmetric (fitted on every row and its mirror image, with the arms
    swapped), so it is 0 where the arms do not differ, and nothing that all contrasts share (the
    treatment effect itself, its trend, its weekdays) can be taken for chance.

    Parameters
    ----------
    rows
        As made by ``models.lift.contrasts``.
    sales
        First-party sales: their level in the week before is a feature.
    as_of, blocks, booster, max_rows
        Days before it count; blocks of days for cross-fitting; LightGBM's parameters; the most rows
        a fit sees (the newest).
    """
    seen = _Seen.of(rows, sales=sales, as_of=as_of)
    block = _blocks(seen.age, blocks)
    if not seen.differs or len(rows) < 30 or block.max() < 1:
        return Adjustment.none(len(rows))
    guesses = np.zeros((len(rows), 2))
    for number in range(int(block.max()) + 1):
        new = block == number
        old = np.flatnonzero(~new & np.isfinite(seen.noise))
        guesses[new, 0] = _line(seen.gaps, seen.outcome, seen.noise, old, new)
        if len(old) >= FEWEST:
            guesses[new, 1] = _trees(seen, _newest(old, seen.age, max_rows), new, booster)
    return _shares(guesses, seen.outcome, seen.noise, block, rows["channel"].to_numpy())


def _blocks(age: Array, blocks: int) -> NDArray[np.intp]:
    """Contiguous blocks of whole days, numbered from 0."""
    days, number = np.unique(age, return_inverse=True)
    return np.asarray(np.arange(len(days)) * min(blocks, len(days)) // len(days))[number]


def _newest(rows: NDArray[np.intp], age: Array, most: int) -> NDArray[np.intp]:
    return rows[np.argsort(age[rows], kind="stable")[:most]]


def _mean_by(group: NDArray[np.intp], values: Array, weights: Array) -> Array:
    total = np.bincount(group, weights=weights)
    return np.bincount(group, weights=values * weights) / np.where(total > 0, total, 1.0)


def _means_by(group: NDArray[np.intp], values: Array) -> Array:
    ones = np.ones(len(group))
    return np.column_stack([_mean_by(group, column, ones) for column in values.T])


def _context(rows: pd.DataFrame, sales: pd.DataFrame | None, age: Array) -> pd.DataFrame:
    """What may change how much a covariate means: who, where, when, how much is sold."""
    context = pd.DataFrame(
        {
            "segment": pd.Categorical(rows["segment"]),
            "channel": pd.Categorical(rows["channel"]),
            "weekday": rows["date"].dt.dayofweek.to_numpy(float),
            "trend": -age.astype(float),
        }
    )
    if sales is None or sales.empty:
        return context
    dates = pd.to_datetime(sales["date"]).dt.normalize()
    daily = sales.assign(date=dates).groupby(["date", "segment"], observed=True)["revenue"].sum()
    wide = daily.unstack("segment").sort_index()
    days = pd.date_range(wide.index[0], wide.index[-1] + pd.Timedelta(days=1))
    before = wide.reindex(days).rolling(7, min_periods=1).mean().shift(1) / wide.mean()
    known = before.stack().rename("sold").reset_index()
    known.columns = ["date", "segment", "sold"]
    sold = rows[["date", "segment"]].merge(known, on=["date", "segment"], how="left")["sold"]
    return context.assign(sold=sold.to_numpy(float))


def _line(
    gaps: Array, outcome: Array, noise: Array, old: NDArray[np.intp], new: NDArray[np.intp]
) -> Array:
    """Weighted least squares of outcomes on covariate differences, lightly ridged."""
    x, y = gaps[old] / noise[old, None], outcome[old] / noise[old]
    square = x.T @ x
    ridge = np.eye(len(square)) * max(float(np.trace(square)), 1e-300) * 1e-6
    return np.asarray(gaps[new] @ np.linalg.solve(square + ridge, x.T @ y))


def _table(seen: _Seen, pick: NDArray[np.intp], sign: float) -> pd.DataFrame:
    values = {f"gap_{i}": sign * column[pick] for i, column in enumerate(seen.gaps.T)}
    return seen.context.iloc[pick].reset_index(drop=True).assign(**values)


def _mirrored(seen: _Seen, old: NDArray[np.intp]) -> tuple[pd.DataFrame, Array, Array, float]:
    """Features, scaled target, weights of the contrasts and their mirror images; the unit."""
    both = pd.concat([_table(seen, old, 1.0), _table(seen, old, -1.0)], ignore_index=True)
    target = np.concatenate([seen.outcome[old], -seen.outcome[old]])
    unit = float(np.sqrt(np.mean(target**2))) or 1.0
    weights = np.concatenate([seen.noise[old], seen.noise[old]]) ** -2.0
    return both, target / unit, weights / weights.mean(), unit


def _trees(
    seen: _Seen, old: NDArray[np.intp], new: NDArray[np.intp], booster: BoosterParameters
) -> Array:
    """LightGBM on every contrast and its mirror image."""
    features, target, weights, unit = _mirrored(seen, old)
    fitted = fit_booster(features=features, target=target, weights=weights, parameters=booster)
    ahead = predict(fitted, _table(seen, new, 1.0))
    mirrored = predict(fitted, _table(seen, new, -1.0))
    return np.asarray(unit * (ahead - mirrored) / 2)


def _shares(
    guesses: Array,
    outcome: Array,
    noise: Array,
    block: NDArray[np.intp],
    channels: NDArray[np.object_],
) -> Adjustment:
    """The share theta of each guess to take out, from the other blocks; for each channel, whether
    that lowers the noise, and by how much."""
    standard = outcome / noise
    scaled = guesses / noise[:, None]
    taken = np.zeros(len(outcome))
    for number in range(int(block.max()) + 1):
        old, new = block != number, block == number
        square = scaled[old].T @ scaled[old]
        ridge = np.eye(2) * max(float(np.trace(square)), 1e-300) * 1e-3
        theta = np.linalg.solve(square + ridge, scaled[old].T @ standard[old])
        taken[new] = guesses[new] @ np.clip(theta, 0.0, 1.5)
    out = taken / noise
    saved = 2 * out * standard - out**2  # how much less a standardized square becomes
    kept = np.ones(len(outcome))
    for channel in pd.unique(channels):
        rows = channels == channel
        gain = float(saved[rows].mean())
        chance = float(saved[rows].std() / np.sqrt(max(rows.sum(), 1)))
        if gain <= chance:
            taken[rows] = 0.0
            continue
        # the part of the gain that chance may have given is not claimed
        kept[rows] = 1.0 - min(gain * (1.0 - (chance / gain) ** 2), 0.95)
    return Adjustment(taken, kept)
