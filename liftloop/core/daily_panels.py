"""Daily facts as series that can be compared: sales and holdout lifts of each segment in multiples
of their own level."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from liftloop.core.level_shift import Panel
from liftloop.core.panel_noise import Noise, memory_of, placebo_widening, shared_noise

Array = NDArray[np.float64]
WEEK = 7
LEAST_DAYS_BEFORE = 28
PLANNED_DAYS = 28  # at which length of evidence the segments' weights are best
UNLIKE = 0.3  # standard deviation of segments' own effects around the common one
RETURNS_UNLIKE = 0.25  # ... and of their incremental revenue per spend, relative
COMMON_RESPONSE = 0.1  # standard deviation of a lasting change of all lifts alike
SURE_OF_MEMORY = 2.0  # standard errors from which neighbouring days' lifts count as related


@dataclass(frozen=True, slots=True)
class Daily:
    """Facts by day and segment, oldest day first. Arrays (n_days, n_segments) in account currency
    per day; NaN where unknown.

    ``lift`` is the incremental revenue that the holdouts of all channels show together, with
    ``lift_error`` its standard error; ``sales`` first-party revenue; ``spend`` what was spent.
    """

    first: date
    segments: tuple[str, ...]
    lift: Array
    lift_error: Array
    sales: Array
    spend: Array


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of evidence: series in multiples of their level, with the noise they had before.

    ``unit`` (n_series,) is the change of each that an effect of 1 makes; ``variance`` and
    ``outcome`` have the shape (n_days, n_series).
    """

    name: str
    outcome: Array
    variance: Array
    unit: Array
    memory: float
    shock_variance: float
    step_variance: float
    widening: float

    def long_run(self) -> Array:
        """Variance of a mean over n days, times n; shape (n_series,)."""
        spread = (1 + self.memory) / (1 - self.memory)
        return np.asarray(self.variance.mean(axis=0) * spread * self.widening**2)


def segment_baselines(
    daily: Daily, before: slice, *, margin: float, total: float | None, inside: Array
) -> Array:
    """Incremental revenue per day times the margin of each segment under the incumbent.

    The spend times a return that leans on the segment's own lifts as far as they are exact
    (empirical Bayes, normal, spread ``RETURNS_UNLIKE`` around the return of all); then scaled so
    that the segments ``inside`` have ``total`` together, where that is given.
    """
    spend = np.nanmean(daily.spend[before], axis=0)
    lift, error = daily.lift[before], daily.lift_error[before]
    known = np.isfinite(lift)
    days = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, lift, 0.0).sum(axis=0) / days
    variance = np.where(known, error, 0.0) ** 2
    variance = np.where(known.any(axis=0), variance.sum(axis=0) / days**2, np.inf)
    seen = known.any(axis=0) & (spend > 0)
    if not seen.any():
        returns = np.ones(len(spend))
    else:
        overall = float(mean[seen].sum() / spend[seen].sum())
        prior = (RETURNS_UNLIKE * overall * spend) ** 2
        weight = prior / np.maximum(prior + variance, 1e-300)
        own = np.where(seen, mean / np.where(spend > 0, spend, 1.0), overall)
        returns = np.maximum(overall + weight * (own - overall), 0.1 * overall)
    baseline = margin * returns * spend
    held = float(baseline[inside > 0].sum())
    return np.asarray(baseline * (total / held) if total is not None and held > 0 else baseline)


def _starts(days: int) -> tuple[int, ...]:
    """Placebo starts: every four weeks, the first after four weeks, the last one long enough."""
    return tuple(range(LEAST_DAYS_BEFORE, days - WEEK, LEAST_DAYS_BEFORE))


def _widening(stream: Stream, days_before: int) -> float:
    starts = _starts(days_before)
    if not starts:
        return 1.0
    outcome = stream.outcome[:days_before]
    panel = Panel(
        outcome, np.zeros_like(outcome), stream.variance[:days_before], stream.memory,
        np.ones(outcome.shape[1]), stream.shock_variance, stream.step_variance,
    )  # fmt: skip
    return placebo_widening(panel, np.ones(outcome.shape[1]), starts=starts)


def _checked(stream: Stream, days_before: int) -> Stream:
    wide = _widening(stream, days_before)
    return Stream(
        stream.name, stream.outcome, stream.variance, stream.unit, stream.memory,
        stream.shock_variance, stream.step_variance, wide,
    )  # fmt: skip


def sales_stream(daily: Daily, *, days_before: int, margin: float, baseline: Array) -> Stream | str:
    """Revenue times the margin less the spend; the weekday's usual share of revenue is taken out
    (shares of all segments together, from the days before). Or why it cannot be used."""
    sales = margin * daily.sales
    before = sales[:days_before]
    if not np.isfinite(before).any():
        return "There are no sales by day and segment from before the start."
    known = np.isfinite(before).sum(axis=0)
    level = np.nansum(before, axis=0) / np.maximum(known, 1)
    if known.min() < LEAST_DAYS_BEFORE or not (level > 0).all():
        return (
            f"Sales count from {LEAST_DAYS_BEFORE} days before the start in every segment on, and "
            f"must be positive there; the scarcest segment has {int(known.min())} days."
        )
    weekday = np.arange(len(sales)) % WEEK
    relative = before / level
    usual = np.array([np.nanmean(relative[weekday[:days_before] == d]) for d in range(WEEK)])
    usual = np.where(usual > 0, usual / usual.mean(), 1.0)
    spend = np.where(np.isfinite(daily.spend), daily.spend, np.nanmean(daily.spend, axis=0))
    outcome = sales / usual[weekday][:, None] / level - spend / level
    residual = outcome[:days_before] - np.nanmean(outcome[:days_before], axis=0)
    noise: Noise = shared_noise(residual)
    if not (noise.variance > 0).all():
        return "The sales do not vary before the start."
    variance = np.broadcast_to(noise.variance, outcome.shape)
    stream = Stream(
        "sales", outcome, variance, baseline / level, noise.memory, noise.shock_variance, 0.0, 1.0
    )
    return _checked(stream, days_before)


def lift_stream(daily: Daily, *, days_before: int, margin: float, baseline: Array) -> Stream | str:
    """Lift times the margin less the spend; the noise of a day is that of its arms. Or why it
    cannot be used."""
    usable = np.isfinite(daily.lift) & np.isfinite(daily.lift_error) & (daily.lift_error > 0)
    known = usable[:days_before].sum(axis=0)
    if known.min() < LEAST_DAYS_BEFORE:
        return (
            f"Holdout lifts count from {LEAST_DAYS_BEFORE} days before the start in every segment "
            f"on; the scarcest has {int(known.min())}."
        )
    spend = np.where(np.isfinite(daily.spend), daily.spend, 0.0)
    outcome = np.where(usable, margin * daily.lift - spend, np.nan) / baseline
    error = np.where(usable, margin * daily.lift_error, np.nan) / baseline
    usual = np.sqrt(np.nanmean(error[:days_before] ** 2, axis=0))
    variance = np.where(usable, error, usual) ** 2
    before = outcome[:days_before]
    standard = (before - np.nanmean(before, axis=0)) / np.sqrt(variance[:days_before])
    memory = memory_of(standard, least=SURE_OF_MEMORY)
    stream = Stream(
        "lifts", outcome, variance, np.ones(len(baseline)), memory, 0.0, COMMON_RESPONSE**2, 1.0
    )
    return _checked(stream, days_before)


def segment_weights(
    streams: tuple[Stream, ...], days_before: int, shares: Array, members: Array
) -> Array:
    """Weights (summing to 1) of the effects of the ``members`` in the effect of all.

    The variance of the weighted mean after four weeks, plus what it misses of the mean by
    ``shares`` of the baseline when segments' effects differ by ``UNLIKE``, is least: noise alone
    would forget large segments, shares alone would listen to noisy ones.
    """
    length = 1 / PLANNED_DAYS + 1 / days_before
    information = sum(
        stream.unit[members] ** 2 / (stream.long_run()[members] * length) for stream in streams
    )
    variance = 1.0 / np.maximum(np.asarray(information), 1e-300)
    share = shares[members] / shares[members].sum()
    trust = 1.0 / (variance + UNLIKE**2)
    left = 1.0 - float((UNLIKE**2 * share * trust).sum())
    weights = trust * (UNLIKE**2 * share + left / trust.sum())
    return np.asarray(weights / weights.sum())
