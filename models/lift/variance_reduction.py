"""What chance differences between arms predict of the difference in outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array, coded, days_of, joined, present, summed
from models.gbm.booster import BoosterParameters, TrainingRows, fit_booster, predict

CATEGORIES = ("segment", "channel")
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

    @property
    def rows(self) -> TrainingRows:
        """What a booster is fitted to."""
        return TrainingRows(self.features, self.target, self.weights)


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
    return ChanceTable(_named(seen, features), target, weights, np.concatenate([dates, dates]))


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Who, where, when and how much is sold, of each contrast (n,): ``segment`` and ``channel`` as
    places in ``segments`` and ``channels``; ``sold`` None where no sales are known."""

    segments: pd.Index[Any]
    channels: pd.Index[Any]
    segment: Array
    channel: Array
    weekday: Array
    trend: Array
    sold: Array | None = None

    @property
    def columns(self) -> dict[str, Array]:
        """The features by name, categories first."""
        names = (*CATEGORIES, "weekday", "trend", *(() if self.sold is None else ("sold",)))
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Contrasts as the models see them: covariate ``gaps`` (n, k) freed of the cell's mean and
    scaled, ``outcome`` and ``noise`` (n,), and what may change how much a covariate means."""

    gaps: Array
    context: Context
    outcome: Array
    noise: Array
    age: NDArray[np.int64]
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
        age = (np.datetime64(as_of, "D") - days_of(rows["date"])).astype(np.int64)
        outcome = (rows["mean_t"] - rows["mean_c"]).to_numpy(float)
        codes = [rows[name].cat for name in ("segment", "channel")]
        cell = joined(
            *((cast(NDArray[np.intp], c.codes.to_numpy()), len(c.categories)) for c in codes)
        )
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
        As made by ``models.lift.holdout_lifts.contrasts``.
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


def _blocks(age: NDArray[np.int64], blocks: int) -> NDArray[np.intp]:
    """Contiguous blocks of whole days, numbered from 0."""
    days, number = np.unique(age, return_inverse=True)
    return np.asarray(np.arange(len(days)) * min(blocks, len(days)) // len(days))[number]


def _newest(rows: NDArray[np.intp], age: NDArray[np.int64], most: int) -> NDArray[np.intp]:
    return rows[np.argsort(age[rows], kind="stable")[:most]]


def _mean_by(group: NDArray[np.intp], values: Array, weights: Array) -> Array:
    total = np.bincount(group, weights=weights)
    return np.bincount(group, weights=values * weights) / np.where(total > 0, total, 1.0)


def _means_by(group: NDArray[np.intp], values: Array) -> Array:
    ones = np.ones(len(group))
    return np.column_stack([_mean_by(group, column, ones) for column in values.T])


def _context(rows: pd.DataFrame, sales: pd.DataFrame | None, age: NDArray[np.int64]) -> Context:
    """What may change how much a covariate means: who, where, when, how much is sold."""
    names, codes = [], []
    for name in CATEGORIES:
        category = rows[name].cat.remove_unused_categories().cat
        names.append(category.categories)
        codes.append(cast(Array, category.codes.to_numpy(float)))
    context = Context(
        names[0],
        names[1],
        codes[0],
        codes[1],
        weekday=rows["date"].dt.dayofweek.to_numpy(float),
        trend=-age.astype(float),
    )
    if sales is None or sales.empty:
        return context
    dates = days_of(sales["date"])
    segment, segments = coded(sales["segment"])
    first, span = dates.min(), int((dates.max() - dates.min()).astype(int)) + 1
    place = joined(((dates - first).astype(np.intp), 1), (segment, len(segments)))
    wide = np.full(span * len(segments), np.nan)
    revenue = sales["revenue"].to_numpy(dtype=np.float64)
    wide[present(place)] = summed(place, revenue=revenue)["revenue"]
    daily = pd.DataFrame(wide.reshape(span, len(segments)))
    before = (daily.rolling(7, min_periods=1).mean() / daily.mean()).to_numpy()
    # the mean of the seven days before; the first day after the last is known as well
    row = (days_of(rows["date"]) - first).astype(np.intp) - 1
    column = segments.get_indexer(names[0])[codes[0].astype(np.intp)]
    known = (row >= 0) & (row < span) & (column >= 0)
    sold = np.where(known, before[np.where(known, row, 0), np.where(known, column, 0)], np.nan)
    return replace(context, sold=sold)


def _line(
    gaps: Array, outcome: Array, noise: Array, old: NDArray[np.intp], new: NDArray[np.intp]
) -> Array:
    """Weighted least squares of outcomes on covariate differences, lightly ridged."""
    x, y = gaps[old] / noise[old, None], outcome[old] / noise[old]
    square = x.T @ x
    ridge = np.eye(len(square)) * max(float(np.trace(square)), 1e-300) * 1e-6
    return np.asarray(gaps[new] @ np.linalg.solve(square + ridge, x.T @ y))


def _features(seen: _Seen, pick: NDArray[np.intp]) -> Array:
    """Rows ``pick``, then their mirror images."""
    context = np.column_stack([column[pick] for column in seen.context.columns.values()])
    gaps = seen.gaps[pick]
    return np.concatenate([np.hstack([context, gaps]), np.hstack([context, -gaps])])


def _mirrored(seen: _Seen, old: NDArray[np.intp]) -> tuple[Array, Array, Array, float]:
    """Features, scaled target, weights of the contrasts and their mirror images; the unit."""
    target = np.concatenate([seen.outcome[old], -seen.outcome[old]])
    unit = float(np.sqrt(np.mean(target**2))) or 1.0
    weights = np.concatenate([seen.noise[old], seen.noise[old]]) ** -2.0
    return _features(seen, old), target / unit, weights / weights.mean(), unit


def _named(seen: _Seen, features: Array) -> pd.DataFrame:
    """The same as a frame: the form in which a registry keeps a model's input."""
    context = seen.context
    names = [*context.columns, *(f"gap_{i}" for i in range(seen.gaps.shape[1]))]
    frame = pd.DataFrame(features, columns=names)
    levels = {"segment": context.segments, "channel": context.channels}
    return frame.assign(
        **{n: pd.Categorical.from_codes(frame[n].astype(int), levels[n]) for n in CATEGORIES}
    )


def _trees(
    seen: _Seen, old: NDArray[np.intp], new: NDArray[np.intp], booster: BoosterParameters
) -> Array:
    """LightGBM on every contrast and its mirror image."""
    features, target, weights, unit = _mirrored(seen, old)
    rows = TrainingRows(features, target, weights, range(len(CATEGORIES)))
    fitted = fit_booster(rows, booster)
    ahead, mirrored = predict(fitted, _features(seen, np.flatnonzero(new))).reshape(2, -1)
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
