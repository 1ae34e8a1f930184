"""Season of demand, from first-party sales: what a day of this date sells against a usual one.

Log revenue of a segment and day is a slow level, a weekday pattern, a yearly pattern and what known
covariates do. The yearly pattern is a Fourier series whose harmonics shrink as 1/k, the level a
line with small changes of slope (Harvey and Shephard 1993; Taylor and Letham 2018, sections 3.1 and
3.2). Segments share one season and differ from it by a shrunk part of their own. How strongly
patterns are shrunk is chosen by the error on later days that the fit has not seen.

Linear regressions of many segments at once: levels of their own, patterns partly shared.

Segment s has y_s = L_s a_s + F_s b_s + noise (variance 1), with a_s ~ N(0, level sd), the pattern
b_s ~ N(b, own sd) around a shared b ~ N(0, shared sd): a hierarchical model with known variances,
whose posterior is closed (Lindley and Smith 1972). Costs linearly in segments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import cast

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from models.season.sales import FEWEST_DAYS, SalesHistory, standard_covariates


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Per segment: ``gram`` (n_segments, k, k) sums of x x', ``right`` (n_segments, k) of x y."""

    gram: Array
    right: Array


@dataclass(frozen=True, slots=True, eq=False)
class Shrinkage:
    """Prior standard deviations: ``level`` (n_level,), ``shared`` and ``own`` (n_pattern,); the
    level's coefficients come first."""

    level: Array
    shared: Array
    own: Array


@dataclass(frozen=True, slots=True, eq=False)
class PooledFit:
    """Posterior means ``own`` (n_segments, k) with covariances: ``conditional``
    (n_segments, k, k) given the shared pattern, ``shared`` (n_pattern, n_pattern) of that, and
    ``pull`` (n_segments, k, n_pattern): how a segment follows the shared pattern."""

    own: Array
    conditional: Array
    shared: Array
    pull: Array

    def spread(self, segment: int, part: slice) -> Array:
        """Covariance of some of a segment's coefficients."""
        pull = self.pull[segment, part]
        return np.asarray(self.conditional[segment, part, part] + pull @ self.shared @ pull.T)

    def widened(self, own: float, shared: float) -> PooledFit:
        """The same with variances multiplied."""
        return replace(self, conditional=self.conditional * own, shared=self.shared * shared)


def fit_pooled(moments: Moments, shrinkage: Shrinkage) -> PooledFit:
    """The posterior of all segments, shape checked by the arithmetic alone."""
    pattern = slice(len(shrinkage.level), None)
    tight = np.concatenate([shrinkage.level**-2.0, shrinkage.own**-2.0])
    conditional = cast(Array, np.linalg.inv(moments.gram + np.diag(tight)))
    precision = np.diag(shrinkage.own**-2.0)
    # given the shared b: mean = C (r + P b), C the conditional covariance
    pull = conditional[:, :, pattern] @ precision
    alone = np.einsum("sij,sj->si", conditional, moments.right)
    # integrate the segments out: b has the precision sum(P - P C P) and the shift sum(P C r)
    seen = precision[None] - precision @ pull[:, pattern]
    shared = cast(Array, np.linalg.inv(seen.sum(axis=0) + np.diag(shrinkage.shared**-2.0)))
    mean = shared @ (alone[:, pattern] @ precision).sum(axis=0)
    return PooledFit(alone + pull @ mean, conditional, shared, pull)


YEAR = 365.25
NEAR = 0.005  # of the error: a difference that the unseen days cannot tell
NORMAL_DAYS = 364  # 52 weeks: the year whose mean index is 1


@dataclass(frozen=True, slots=True)
class SeasonConfig:
    """How a season is fitted.

    ``harmonics`` of the yearly pattern; ``year_days`` of history from which one is fitted at all;
    ``knot_days`` between changes of the level's slope. The candidates for the standard deviations
    (in log revenue) of the shared yearly pattern's first harmonic, and of what a segment adds to
    the shared patterns, are judged on ``windows`` of ``unseen_days``, each predicted from the days
    before it; ``fallback`` is used where the history is too short to judge.
    """

    harmonics: int = 8
    year_days: int = 366
    knot_days: int = 91
    yearly: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3)
    own: tuple[float, ...] = (0.003, 0.02, 0.07, 0.2)
    unseen_days: int = 91
    windows: int = 3
    fallback: tuple[float, float] = (0.1, 0.02)


@dataclass(frozen=True, slots=True, eq=False)
class Season:
    """The index of demand.

    Attributes
    ----------
    index
        date, segment, index (the mean over 52 weeks is 1), standard_error: each day of history and
        each day ahead. The level and its growth are not in it.
    yearly
        Whether a yearly pattern is in it; without one only weekdays (and covariates) are.
    note
        What it rests on, in one sentence.
    figures
        Plain numbers: days, segments, yearly_sd, own_sd, unseen_error (root mean squared error of
        log revenue on days the fit had not seen, the segment's level apart), noise.
    """

    index: pd.DataFrame
    yearly: bool
    note: str
    figures: dict[str, float]


def season_index(
    *,
    sales: pd.DataFrame,
    as_of: date,
    days_ahead: int,
    ahead: pd.DataFrame | None = None,
    config: SeasonConfig | None = None,
) -> Season:
    """The season of each segment, past and to come.

    Parameters
    ----------
    sales
        date, segment, revenue and any covariates ``x_...``: one row a day and segment.
    as_of
        Only days before it count; the days ahead begin with it.
    days_ahead
        How many days ahead, at least 1.
    ahead
        Covariates known in advance: date, segment, ``x_...``. Only columns that are here and in
        ``sales`` enter the season; a day without a value is taken for an average one.
    config
        Default: :class:`SeasonConfig`.

    Raises
    ------
    InsufficientEvidence
        With less than three weeks of sales.
    """
    config = config or SeasonConfig()
    known = SalesHistory.of(sales, as_of)
    names = [n for n in (ahead.columns if ahead is not None else ()) if n.startswith("x_")]
    names = [n for n in names if n in sales.columns]
    covariates = standard_covariates(sales, ahead, names, known, as_of, days_ahead)
    yearly = known.days > config.year_days
    design = _Design.of(config, known.days, days_ahead, known.first, yearly, covariates)
    chosen, error = _chosen(design, known, config)
    fit = design.fit(known, chosen)
    frame = _index(design, fit, known, as_of, days_ahead)
    weak = int((~known.usable).sum())
    told = int(np.isfinite(known.log).any(axis=1).sum())  # the last days may not be delivered yet
    note = f"Season from {told} days of sales in {int(known.usable.sum())} segments: weekdays"
    note += (
        " and a yearly pattern"
        if yearly
        else (" only, as a yearly pattern needs more than a year of sales")
    )
    note += f"; {', '.join(names)} as known ahead" if names else ""
    note += f"; {weak} segments with too few sales take the shared season" if weak else ""
    figures = {
        "days": float(known.days),
        "segments": float(len(known.segments)),
        "yearly_sd": chosen[0] if yearly else 0.0,
        "own_sd": chosen[1],
        "unseen_error": error,
        "noise": float(np.median(known.noise)),
    }
    return Season(frame, yearly, note + ".", figures)


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """Features of every day, past and ahead: ``level`` (n_days, n_level) a segment's own,
    ``pattern`` (n_days, n_pattern) shared ones, ``covariates`` (n_days, n_segments, n_names).

    ``rate`` (n_pattern + n_names,) is 1/k for the k-th harmonic, 0 for what is no yearly pattern.
    """

    level: Array
    pattern: Array
    covariates: Array
    rate: Array
    knots: int

    @classmethod
    def of(
        cls,
        config: SeasonConfig,
        days: int,
        ahead: int,
        first: date,
        yearly: bool,
        covariates: Array,
    ) -> _Design:
        day = np.arange(days + ahead, dtype=float)
        knots = np.arange(config.knot_days, days - config.knot_days / 2, config.knot_days)
        level = np.column_stack(
            [np.ones(len(day)), day / YEAR, *(np.maximum(day - k, 0.0) / YEAR for k in knots)]
        )
        weekday = (np.arange(len(day)) + first.weekday()) % 7
        columns = [(weekday == k).astype(float) - 1 / 7 for k in range(7)]
        rate = [0.0] * 7
        if yearly:
            angle = 2 * np.pi * (first.timetuple().tm_yday + day) / YEAR
            for k in range(1, config.harmonics + 1):
                columns += [np.sin(k * angle), np.cos(k * angle)]
                rate += [1 / k] * 2
        rate += [0.0] * covariates.shape[2]
        return cls(level, np.column_stack(columns), covariates, np.array(rate), len(knots))

    def rows(self, segment: int, days: slice) -> Array:
        """All features of some days of a segment."""
        return np.concatenate(
            [self.level[days], self.pattern[days], self.covariates[days, segment]], axis=1
        )

    @property
    def season(self) -> slice:
        """Which coefficients are the season's."""
        return slice(self.level.shape[1], None)

    def shrinkage(self, sds: tuple[float, float]) -> Shrinkage:
        """Prior standard deviations of the coefficients: free levels, small changes of slope, wide
        weekdays and covariates, yearly harmonics and own parts as given."""
        yearly, own = sds
        level = np.array([1e3, 1.0, *([0.05] * self.knots)])
        wave = self.rate > 0
        shared = np.where(wave, np.maximum(yearly * self.rate, 1e-6), 0.5)
        apart = np.where(wave, np.maximum(min(own, yearly) * self.rate, 1e-6), own)
        return Shrinkage(level, shared, apart)

    def moments(self, known: SalesHistory) -> Moments:
        """Sums over the past days of ``known``, each segment in units of its own noise."""
        grams, rights = [], []
        for segment in range(len(known.segments)):
            log = known.log[:, segment]
            seen = np.isfinite(log) & known.usable[segment]
            features = self.rows(segment, slice(0, known.days))[seen] / known.noise[segment]
            grams.append(features.T @ features)
            rights.append(features.T @ (log[seen] / known.noise[segment]))
        return Moments(np.array(grams), np.array(rights))

    def fit(self, known: SalesHistory, sds: tuple[float, float]) -> PooledFit:
        """The posterior, its spread widened by how residuals go together in time and across."""
        found = fit_pooled(self.moments(known), self.shrinkage(sds))
        return found.widened(*_togetherness(self.residuals(known, found)))

    def residuals(self, known: SalesHistory, fit: PooledFit) -> Array:
        """In units of each segment's noise (n_days, n_usable)."""
        out = []
        for segment in np.flatnonzero(known.usable):
            features = self.rows(int(segment), slice(0, known.days))
            miss = known.log[:, segment] - features @ fit.own[segment]
            out.append(miss / known.noise[segment])
        return np.array(out).T


def _togetherness(residuals: Array) -> tuple[float, float]:
    """By how much the spread of a segment's own part, and of the shared part, is wider than
    independent noise would leave it, in variance.

    Residuals that follow each other say less than their number: (1 + r) / (1 - r) for a lag-one
    correlation r (Bayley and Hammersley 1946); residuals that all segments share are not averaged
    away: 1 + (n - 1) rho.
    """
    filled = np.where(np.isfinite(residuals), residuals, 0.0)
    variance = max(float((filled**2).mean()), 1e-12)
    lag = float((filled[1:] * filled[:-1]).mean()) / variance
    lag = float(np.clip(lag, 0.0, 0.9))
    n = filled.shape[1]
    joint = float((filled.mean(axis=1) ** 2).mean()) / variance * n
    in_time = max(variance, 1.0) * (1 + lag) / (1 - lag)
    return in_time, in_time * max(joint, 1.0)


def _chosen(
    design: _Design, known: SalesHistory, config: SeasonConfig
) -> tuple[tuple[float, float], float]:
    """The shrinkage with the least error on the last days, fitted to those before; and that error
    (nan where nothing could be judged)."""
    wavy = bool((design.rate > 0).any())
    least_days = config.year_days if wavy else FEWEST_DAYS
    window = config.unseen_days if wavy else max(min(config.unseen_days, known.days // 4), 7)
    cuts = [known.days - window * turn for turn in range(1, config.windows + 1)]
    early = [known.until(cut) for cut in cuts if cut >= least_days]
    if not early:
        return config.fallback, float("nan")
    moments = [design.moments(past) for past in early]
    errors = {}
    for yearly in config.yearly if wavy else (0.0,):
        for own in config.own:
            fits = [fit_pooled(sums, design.shrinkage((yearly, own))) for sums in moments]
            squares = [
                _unseen_error(design, known, fit, slice(past.days, past.days + window))
                for past, fit in zip(early, fits, strict=True)
            ]
            errors[yearly, own] = float(np.sqrt(np.mean(squares)))
    # of what does about as well the freest: it is the one that admits how little is known
    least = min(errors.values())
    best = max(sds for sds, error in errors.items() if error <= least * (1 + NEAR))
    return best, errors[best]


def _unseen_error(design: _Design, known: SalesHistory, fit: PooledFit, days: slice) -> float:
    """Mean squared error on unseen days, each segment's mean error apart: where the level has gone
    since is not what an index says."""
    squares, count = 0.0, 0
    for segment in np.flatnonzero(known.usable):
        miss = known.log[days, segment] - design.rows(int(segment), days) @ fit.own[segment]
        miss = miss[np.isfinite(miss)]
        squares += float(((miss - miss.mean()) ** 2).sum()) if len(miss) else 0.0
        count += len(miss)
    return squares / count if count else float("inf")


def _index(
    design: _Design, fit: PooledFit, known: SalesHistory, as_of: date, days_ahead: int
) -> pd.DataFrame:
    """exp(season), divided by its mean over the 52 weeks before ``as_of``."""
    dates = pd.date_range(known.first, periods=known.days + days_ahead)
    pieces = []
    for segment, name in enumerate(known.segments):
        season = design.rows(segment, slice(0, len(dates)))[:, design.season]
        value = np.exp(season @ fit.own[segment, design.season])
        year = _year(design, segment, known)
        usual = np.exp(year @ fit.own[segment, design.season])
        # log index = season - log mean(exp season): its gradient is the season less a weighted mean
        centred = season - (usual @ year) / usual.sum()
        variance = np.einsum("ti,ij,tj->t", centred, fit.spread(segment, design.season), centred)
        index = value / usual.mean()
        pieces.append(
            pd.DataFrame(
                {
                    "date": dates,
                    "segment": name,
                    "index": index,
                    "standard_error": index * np.sqrt(np.maximum(variance, 0.0)),
                }
            )
        )
    frame = pd.concat(pieces, ignore_index=True)
    return frame.sort_values(["date", "segment"], kind="stable", ignore_index=True)


def _year(design: _Design, segment: int, known: SalesHistory) -> Array:
    """The season's features on the last 52 weeks of history; on what there is, in whole weeks,
    where that is less."""
    days = min(NORMAL_DAYS, known.days // 7 * 7)
    return design.rows(segment, slice(known.days - days, known.days))[:, design.season]


def against_evidence(
    season: pd.DataFrame, *, as_of: date, fade_per_day: float, since: date | None = None
) -> pd.DataFrame:
    """The season with a column ``reference``: the demand of the days response curves were learned
    from.

    Curves fitted without a season say what spend earned under the demand of their evidence, newer
    days counting more; they are to be multiplied by index / reference. Curves fitted with the index
    as a covariate are those of demand 1 and need no reference.

    Parameters
    ----------
    season
        date, segment, index, standard_error. Not changed.
    as_of, fade_per_day
        Days before ``as_of`` count with the weight exp(-fade_per_day x age in days).
    since
        The first day of evidence; default: the first day of ``season``.
    """
    when = pd.to_datetime(season["date"])
    past = season[(when < pd.Timestamp(as_of)) & (when >= pd.Timestamp(since or date.min))]
    if past.empty:
        return season.assign(reference=1.0)
    age = (pd.Timestamp(as_of - timedelta(days=1)) - pd.to_datetime(past["date"])).dt.days
    weight = np.exp(-fade_per_day * age)
    sums = pd.DataFrame({"segment": past["segment"], "w": weight, "wi": weight * past["index"]})
    sums = sums.groupby("segment")[["w", "wi"]].sum()
    return season.assign(
        reference=season["segment"].map(sums["wi"] / sums["w"]).fillna(1.0).astype(float)
    )
