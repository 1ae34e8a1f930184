"""Facts as series that can be compared: sales and holdout lifts of each segment in multiples of
their own level; and how much such series vary, learned before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.inference.gls import Panel, each_alone

WEEK = 7
POOLED_DAYS = 28  # the weight of the other series in the variance of one
LONGEST_MEMORY = 0.95


@dataclass(frozen=True, slots=True)
class Noise:
    """Of series measured in multiples of their own usual level. ``variance`` has the shape
    (n_series,); both variances are stationary, of a day."""

    memory: float
    variance: Array
    shock_variance: float


def _neighbours(residual: Array) -> tuple[Array, Array]:
    """Values of the days that have a known day before, and of that day."""
    now, before = residual[1:], residual[:-1]
    both = np.isfinite(now) & np.isfinite(before)
    return now[both], before[both]


def memory_of(residual: Array, *, least: float = 0.0) -> float:
    """Correlation of neighbouring days, pooled over series, with its small-sample bias put back
    (Kendall 1954: the estimate is too low by (1 + 3 memory) / n_days); 0 where it is below
    ``least`` standard errors."""
    now, before = _neighbours(residual)
    total = float((before**2).sum())
    if len(now) < 2 or total <= 0:
        return 0.0
    raw = float((now * before).sum()) / total
    if raw < least / np.sqrt(len(now)):
        return 0.0
    days = max(np.isfinite(residual).sum(axis=0).max(), 2)
    return float(np.clip((raw * days + 1) / (days - 3), 0.0, LONGEST_MEMORY))


def shared_noise(residual: Array) -> Noise:
    """Memory, variances and common shock of ``residual`` (n_days, n_series), each series around
    zero and in multiples of its own level; NaN where unknown. Of a single series all noise is its
    own: nothing tells a shock that others share.

    The common shock is what the mean over series varies beyond what the series' own noise makes it
    vary. A lasting change is judged against slow swings, so the shock is sized by how whole weeks
    vary, and at least as days would have it were every day's shock forgotten the next day. A
    series' variance leans on that of the others.
    """
    series = residual.shape[1]
    if series == 1:
        memory = memory_of(residual)
        fresh = residual[1:] - memory * residual[:-1]
        return Noise(memory, np.nanvar(fresh, axis=0, ddof=1) / (1.0 - memory**2), 0.0)
    told = np.isfinite(residual).sum(axis=1, keepdims=True)
    mean = np.where(
        told > 0, np.nansum(residual, axis=1, keepdims=True) / np.maximum(told, 1), np.nan
    )
    own = residual - mean
    memory = memory_of(own)
    fresh = own[1:] - memory * own[:-1]
    known = np.isfinite(fresh).sum(axis=0)
    squares = np.nansum(fresh**2, axis=0) * series / (series - 1)
    freedom = np.maximum(known - 1, 1)
    pooled = float(squares.sum() / freedom.sum())
    innovation = (squares + POOLED_DAYS * pooled) / (freedom + POOLED_DAYS)
    average = float(innovation.mean()) / series
    common = mean[:, 0]
    moves = common[1:] - memory * common[:-1]
    by_day = float(np.nanvar(moves, ddof=1)) - average
    by_day *= (1 - memory) ** 2 / (1 + memory**2)
    weeks = common[: len(common) // WEEK * WEEK].reshape(-1, WEEK).mean(axis=1)
    weeks = weeks[np.isfinite(weeks)]
    by_week = 0.0
    if len(weeks) >= 3:
        by_week = (float(weeks.var(ddof=1)) * WEEK * (1 - memory) ** 2) - average
    stationary = 1.0 / (1.0 - memory**2)
    return Noise(memory, innovation * stationary, max(by_day, by_week, 0.0) * stationary)


def two_way_noise(relative: Array, *, pooled: float) -> tuple[Array, Array]:
    """What is left of series once each has its own mean and each row what it brings to all.

    Parameters
    ----------
    relative
        In multiples of each series' own level, shape (n_rows, n_series), both at least 2.
    pooled
        For how many rows of a series' own the variance of all of them counts.

    Returns
    -------
    The residual, and the variance of each series (n_series,), leaning on that of all.
    """
    rows, series = relative.shape
    residual = relative - relative.mean(axis=1)[:, None] - relative.mean(axis=0) + relative.mean()
    squares = (residual**2).sum(axis=0)
    own = squares / ((rows - 1) * (1 - 1 / series))
    common = float(squares.sum()) / ((rows - 1) * (series - 1))
    return residual, (rows * own + pooled * common) / (rows + pooled)


def placebo_widening(panel: Panel, unit: Array, *, starts: tuple[int, ...]) -> float:
    """By how much the claimed standard errors are too small, at least 1: a randomization check on
    days and segments where nothing happened.

    Each series in turn is taken for exposed from each of ``starts`` on, until the next of them (or
    the end), and judged with the days before. Were the claim right, the squares of effect over
    standard error would add up to about their number. Errors are widened as far as that sum lies
    beyond what chance makes of it in 19 of 20 cases, so that a claim that is right is left
    alone. (Placebo tests in space and time: Abadie, Diamond and Hainmueller 2010, section 3.4.)

    Parameters
    ----------
    panel : of days before the rollout only, without exposure
    unit : shape (n_series,): the exposure a placebo makes
    """
    from scipy.stats import chi2

    ends = (*starts[1:], len(panel.outcome))
    total, freedom = 0.0, 0
    for start, end in zip(starts, ends, strict=True):
        past = replace(
            panel,
            outcome=panel.outcome[:end],
            exposure=np.zeros_like(panel.outcome[:end]),
            variance=panel.variance[:end],
            start=start,
        )
        found = each_alone(past, unit)
        seen = found.information > 0
        total += float((found.effect[seen] ** 2 * found.information[seen]).sum())
        freedom += int(seen.sum()) - 1
    if freedom < 3:
        return 1.0
    return float(np.sqrt(max(1.0, total / chi2.ppf(0.95, freedom))))


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
        outcome,
        np.zeros_like(outcome),
        stream.variance[:days_before],
        stream.memory,
        np.ones(outcome.shape[1]),
        stream.shock_variance,
        stream.step_variance,
    )
    return placebo_widening(panel, np.ones(outcome.shape[1]), starts=starts)


def _checked(stream: Stream, days_before: int) -> Stream:
    wide = _widening(stream, days_before)
    return Stream(
        stream.name,
        stream.outcome,
        stream.variance,
        stream.unit,
        stream.memory,
        stream.shock_variance,
        stream.step_variance,
        wide,
    )


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
