"""Whether a creative's response falls with its own exposure, beside what its siblings share.

On a day, the creatives of a cell share season, price and the cell's saturation. Given the total of
a stratum's day (a stratum is a part of the audience), outcomes of creative i are multinomial in
``impressions * exp(level_i,stratum - b_i * exposure_i + e * log(impressions_i of the day))``: what
moves all of them cancels, a changed mix of strata moves no ``level``, and ``e`` takes what a
creative loses to its own volume of the day, not to what was shown before. Only ``b_i`` is fatigue.

Fatigue is found by forward selection: all creatives are taken for steady until the one that departs
most, up or down, is beyond what chance does to the largest of so many; then it is given its own
slope, and the rest are looked at again. Variances are widened by the outcomes' dispersion and by
the memory of what is left from day to day (see :mod:`liftloop.core.inference.panels`).

If all creatives fall alike, differences between them say nothing of it. The cell's expected
response at the same spend, where one is given, takes part as one more sibling, which is steady; a
creative without siblings can be compared with nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy.stats import norm

from liftloop.core.arrays import Array, Mask
from liftloop.core.inference.panels import memory_of
from liftloop.core.variant_tests.observations import VariantDays

_LEVEL = 3.0  # standard deviation of a creative's level in a stratum, of logs
_ELASTICITY = 0.3  # of the response per impression to the day's own volume
_SLOPE = 1.0  # of the log response over all exposure so far, while noise is sized
_BREAK_MARGIN = 6.0  # how much better (in z squared) one day must explain it than exposure does
_EDGE_DAYS = 7  # a break is looked for so many days from either end
_MATURE = 0.9  # younger days are left out: creatives may convert at different speeds


class Finding(StrEnum):
    """What the facts say of one creative."""

    FALLING = "falls with its own exposure"
    BROKE = "fell on one day"
    STEADY = "does not fall by what matters"
    TOO_EARLY = "too early to tell"
    NO_COMPARISON = "nothing to compare with"


@dataclass(frozen=True, slots=True)
class CreativeFacts:
    """Facts of a cell's creatives.

    Attributes
    ----------
    strata
        By part of the audience: creatives by days, ``units`` being impressions. All have the same
        creatives and days. One entry where the audience is not divided.
    shown_before
        Impressions of each creative before the first day, shape (v,); None is 0.
    expected
        The cell's expected response per impression at the day's spend, season and price, in any
        unit, shape (d,); None where no model says so.
    expected_error
        Standard deviation of its log error on a day.
    audience
        People the cell can reach, for frequencies; None where unknown.
    """

    strata: Mapping[str, VariantDays]
    shown_before: Array | None = None
    expected: Array | None = None
    expected_error: float = 0.15
    audience: float | None = None

    def __post_init__(self) -> None:
        first, *others = self.strata.values()
        if any(o.variants != first.variants or len(o.days) != len(first.days) for o in others):
            raise ValueError("The strata do not have the same creatives and days.")

    @property
    def creatives(self) -> tuple[str, ...]:
        """Names."""
        return next(iter(self.strata.values())).variants

    def total(self, name: str) -> Array:
        """``units``, ``spend`` or ``value`` over the strata, shape (v, d)."""
        return np.asarray(sum(getattr(days, name) for days in self.strata.values()))

    @property
    def exposure(self) -> Array:
        """Thousand impressions of each creative until the middle of each day, shape (v, d)."""
        units = self.total("units")
        before = 0.0 if self.shown_before is None else self.shown_before[:, None]
        return np.asarray((before + np.cumsum(units, axis=1) - units / 2) / 1000.0)


@dataclass(frozen=True, slots=True)
class FatigueRule:
    """How sure and how large a fall has to be.

    Attributes
    ----------
    alpha
        Probability that a cell without fatigue has a finding.
    least_fall
        Falls over the days observed that are smaller matter to no one.
    """

    alpha: float = 0.05
    least_fall: float = 0.1


@dataclass(frozen=True, slots=True)
class CreativeFatigue:
    """What is known of one creative.

    Attributes
    ----------
    fall, low, high
        Fraction of the response lost per thousand impressions; the interval holds for all of the
        cell's creatives together with probability ``1 - 2 alpha``. NaN where nothing compares.
    fall_observed
        Fraction lost over the days observed, by the estimate.
    broke_on
        Index of the day on which it fell at once, where that explains it better.
    slope, slope_error
        Fall of the log response per thousand impressions, and its standard error.
    """

    creative: str
    finding: Finding
    fall: float
    low: float
    high: float
    fall_observed: float
    slope: float
    slope_error: float
    broke_on: int | None = None


@dataclass(frozen=True, slots=True)
class _Model:
    """Rows are days of a stratum, ``v`` siblings each; ``design`` (rows, v, p)."""

    units: Array
    value: Array
    design: Array
    tight: Array  # prior precision, (p,)

    def extended(self, directions: Array, tight: float) -> _Model:
        """With further columns (rows, v, q)."""
        more = np.full(directions.shape[2], tight)
        return replace(
            self,
            design=np.concatenate([self.design, directions], axis=2),
            tight=np.concatenate([self.tight, more]),
        )

    def mean(self, at: Array) -> Array:
        """Expected outcomes given the rows' totals, (rows, v)."""
        weight = self.units * np.exp(self.design @ at)
        total = weight.sum(axis=1, keepdims=True)
        return np.asarray(
            weight * self.value.sum(axis=1, keepdims=True) / np.maximum(total, 1e-300)
        )

    def fit(self) -> tuple[Array, Array]:
        """Parameters (p,) and means (rows, v)."""
        at = np.zeros(len(self.tight))
        for _ in range(8):
            mean = self.mean(at)
            score = np.einsum("rvp,rv->p", self.design, self.value - mean) - self.tight * at
            step = np.linalg.solve(_information(self.design, mean) + np.diag(self.tight), score)
            at = at + np.clip(step, -1.0, 1.0)
            if np.abs(step).max() < 1e-4:
                break
        return at, self.mean(at)


def _information(design: Array, mean: Array) -> Array:
    """Of a multinomial given the rows' totals, (p, p)."""
    flat = design.reshape(-1, design.shape[2])
    per_row = np.einsum("rvp,rv->rp", design, mean)
    total = np.maximum(mean.sum(axis=1), 1e-300)[:, None]
    weighed = (flat * mean.reshape(-1, 1)).T @ flat
    return np.asarray(weighed - (per_row / total).T @ per_row)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell's siblings, the expected response being the last where there is one."""

    model: _Model
    falls: Array  # direction of each creative's fall, (rows, v, creatives)
    ripe: Mask
    strata: int


def _cell(facts: CreativeFacts) -> _Cell:
    ripe = next(iter(facts.strata.values())).matured >= _MATURE
    units = np.stack([days.units[:, ripe].T for days in facts.strata.values()])
    value = np.stack([days.value[:, ripe].T for days in facts.strata.values()])
    daily = facts.total("units")[:, ripe].T
    usual = np.maximum(daily.mean(axis=0), 1e-9)
    volume = np.where(daily > 0, np.log(np.maximum(daily, 1e-9) / usual), 0.0)
    volume = np.broadcast_to(np.clip(volume, -3, 3), units.shape)
    exposed = facts.exposure[:, ripe].T
    if facts.expected is not None:
        weight = facts.expected_error**-2 / len(units)
        one = np.full((len(units), len(daily), 1), weight)
        units = np.concatenate([units, one / facts.expected[ripe][:, None]], axis=2)
        value = np.concatenate([value, one], axis=2)
        volume = np.concatenate([volume, np.zeros_like(one)], axis=2)
    strata, days, siblings = units.shape
    level = np.zeros((strata, days, siblings, strata, siblings))
    for k in range(strata):
        level[k, :, np.arange(siblings), k, np.arange(siblings)] = 1.0
    design = np.concatenate([level.reshape(strata * days, siblings, -1), _rows(volume)], axis=2)
    tight = np.r_[np.full(strata * siblings, _LEVEL**-2), _ELASTICITY**-2]
    falls = np.zeros((strata, days, siblings, exposed.shape[1]))
    for i in range(exposed.shape[1]):
        falls[:, :, i, i] = -exposed[:, i] / max(float(np.ptp(exposed[:, i])), 1e-9)
    rows = (strata * days, siblings)
    model = _Model(units.reshape(rows), value.reshape(rows), design, tight)
    return _Cell(model, falls.reshape(*rows, -1), ripe, strata)


def _rows(values: Array) -> Array:
    return values.reshape(-1, values.shape[2], 1)


def _widening(cell: _Cell) -> float:
    """Variance of an estimate over that of independent multinomial outcomes: dispersion and memory
    of what is left when every creative has a slope of its own."""
    model = cell.model.extended(cell.falls, _SLOPE**-2)
    _, mean = model.fit()
    share = mean / np.maximum(mean.sum(axis=1, keepdims=True), 1e-300)
    variance = mean * (1 - share)
    known = variance > 1e-9
    squares = float(((model.value - mean) ** 2 / np.where(known, variance, 1.0))[known].sum())
    siblings = model.value.shape[1]
    freedom = max(known.sum() * (1 - 1 / siblings) - len(model.tight), 1.0)
    left = (model.value - mean).reshape(cell.strata, -1, siblings).sum(axis=0)
    scale = np.sqrt(np.maximum(variance.reshape(cell.strata, -1, siblings).sum(axis=0), 1e-9))
    memory = memory_of(left / scale)
    return float(max(squares / freedom, 1e-12) * (1 + memory) / (1 - memory))


def _departures(model: _Model, directions: Array) -> Array:
    """Score statistics z (q,) of further columns (rows, v, q), at the fit without them."""
    _, mean = model.fit()
    score = np.einsum("rvq,rv->q", directions, model.value - mean)
    p = len(model.tight)
    whole = _information(np.concatenate([model.design, directions], axis=2), mean)
    inner = whole[:p, :p] + np.diag(model.tight)
    cross = whole[:p, p:]
    variance = np.diag(whole[p:, p:]) - (cross * np.linalg.solve(inner, cross)).sum(axis=0)
    known = variance > 1e-9
    return np.asarray(np.where(known, score / np.sqrt(np.where(known, variance, 1.0)), 0.0))


def _select(cell: _Cell, widening: float, limit: float) -> list[int]:
    """Creatives that are given a slope, the clearest first; one sibling stays without."""
    chosen: list[int] = []
    model = cell.model
    creatives = cell.falls.shape[2]
    while len(chosen) < min(creatives, cell.model.value.shape[1] - 1):
        rest = [i for i in range(creatives) if i not in chosen]
        z = _departures(model, cell.falls[:, :, rest]) / np.sqrt(widening)
        if creatives == cell.model.value.shape[1] == 2:
            z = np.maximum(z, 0.0)  # of two, the one that does worse is taken to fall
        clearest = int(np.argmax(np.abs(z)))
        if abs(z[clearest]) < limit:
            break
        chosen.append(rest[clearest])
        model = model.extended(cell.falls[:, :, [rest[clearest]]], 0.0)
    return chosen


def _break_day(cell: _Cell, others: list[int], creative: int, widening: float) -> int | None:
    """Index among the ripe days of a fall at once that explains more than exposure does."""
    model = cell.model
    if others:
        model = model.extended(cell.falls[:, :, others], 0.0)
    days = int(cell.ripe.sum())
    starts = np.arange(_EDGE_DAYS, days - _EDGE_DAYS)
    if len(starts) == 0:
        return None
    steps = np.zeros((cell.strata, days, model.value.shape[1], len(starts)))
    steps[:, :, creative] = -1.0 * (np.arange(days)[:, None] >= starts)
    slope = cell.falls[:, :, [creative]]
    both = [slope, steps.reshape(-1, model.value.shape[1], len(starts))]
    z = _departures(model, np.concatenate(both, axis=2)) / np.sqrt(widening)
    best = int(np.argmax(z[1:]))
    better = z[1 + best] > 0 and z[1 + best] ** 2 > z[0] ** 2 + _BREAK_MARGIN
    return int(starts[best]) if better else None


def find_fatigue(facts: CreativeFacts, rule: FatigueRule) -> tuple[CreativeFatigue, ...]:
    """What is known of each creative of a cell, in their order.

    Levels are learned from the same days, so a fall before the first day is seen only as far as it
    goes on. A creative whose response rises with exposure is reported as steady.
    """
    creatives = facts.creatives
    cell = _cell(facts)
    if cell.model.value.shape[1] < 2 or cell.ripe.sum() < 3:
        lacking = Finding.NO_COMPARISON if len(cell.falls[0]) < 2 else Finding.TOO_EARLY
        nan = float("nan")
        return tuple(
            CreativeFatigue(c, lacking, nan, nan, nan, nan, slope=nan, slope_error=nan)
            for c in creatives
        )
    widening = _widening(cell)
    limit = float(norm.isf(rule.alpha / len(creatives)))
    chosen = _select(cell, widening, limit)
    exposed = facts.exposure[:, cell.ripe]
    reach = np.maximum(np.ptp(exposed, axis=1), 1e-9)
    found = []
    for i, name in enumerate(creatives):
        slope, error = _slope(cell, chosen, i, widening)
        finding, broke = _finding(slope, error, limit=limit, chosen=i in chosen, rule=rule), None
        if finding is Finding.FALLING:
            broke = _break_day(cell, [j for j in chosen if j != i], i, widening)
            finding = Finding.FALLING if broke is None else Finding.BROKE
            broke = None if broke is None else int(np.flatnonzero(cell.ripe)[broke])
        falls = -np.expm1(-(slope + limit * error * np.array([0.0, -1.0, 1.0])) / reach[i])
        fall, low, high = falls.tolist()
        observed = float(-np.expm1(-slope))
        per_thousand = (float(slope / reach[i]), float(error / reach[i]))
        found.append(
            CreativeFatigue(name, finding, fall, low, high, observed, *per_thousand, broke_on=broke)
        )
    return tuple(found)


def _slope(cell: _Cell, chosen: list[int], creative: int, widening: float) -> tuple[float, float]:
    """Fall of the log response over all exposure of the days, and its standard error, beside the
    slopes of the chosen ones; the others are taken for steady."""
    columns = [creative, *(j for j in chosen if j != creative)]
    columns = columns[: cell.model.value.shape[1] - 1]
    model = cell.model.extended(cell.falls[:, :, columns], 1e-6)
    at, mean = model.fit()
    inverse = np.linalg.inv(_information(model.design, mean) + np.diag(model.tight))
    p = len(cell.model.tight)
    return float(at[p]), float(np.sqrt(inverse[p, p] * widening))


def _finding(
    slope: float, error: float, *, limit: float, chosen: bool, rule: FatigueRule
) -> Finding:
    least = -np.log1p(-rule.least_fall)
    if chosen and slope > least and slope - limit * error > 0:
        return Finding.FALLING
    if slope + limit * error < least or (chosen and slope < 0):
        return Finding.STEADY
    return Finding.TOO_EARLY
