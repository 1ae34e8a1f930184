"""What the loop itself has gained so far: moved segments against those that stand still. Pure.

By difference in differences. Each segment's daily profit is measured in multiples of its own
level before the loop began, once by its holdouts and once by its sales (see ``daily_panels``). With
c[m,s] the change of segment s from before the start to month m, the gain a day is

    g[m] = (sum of L[s] c[m,s] over moved s) - (sum of L[s] over moved s) C[m]
    C[m] = sum of w[s] c[m,s] over standing s

with L the money that stands for one multiple and w weights that sum to 1: what moved segments
earned beyond what they would have, had they changed as the standing ones did. Both kinds of
evidence are joined by generalized least squares over the months; they share the days before the
start, so months are correlated. On top comes how far segments' responses wander by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Z90, Array
from liftloop.core.inference.panels import (
    LEAST_DAYS_BEFORE,
    Daily,
    Stream,
    lift_stream,
    sales_stream,
    segment_baselines,
    segment_weights,
)

BEFORE_DAYS = 84
WANDER = 0.002  # a day, of a segment's incremental revenue around that of others, relative


@dataclass(frozen=True, slots=True)
class MonthGain:
    """Profit gained in a calendar month (or the part that counts), with its standard error."""

    first: date
    days: int
    gain: float
    error: float


@dataclass(frozen=True, slots=True)
class Worth:
    """The profit gained from ``start`` to the day before ``until``, in the account's currency, with
    the ends of its 90 % interval.

    ``basis``: "holdout" where it was measured against the ``standing`` segments, "model" where it
    rests on what the curves say of the budgets at the start. ``notes`` say what was left out.
    """

    start: date
    until: date
    gain: float
    low: float
    high: float
    basis: Literal["holdout", "model"]
    standing: tuple[str, ...] = ()
    months: tuple[MonthGain, ...] = ()
    notes: tuple[str, ...] = ()

    def sentence(self, currency: str) -> str:
        """The figure for a person."""
        span = f"from {self.start} to {self.until - timedelta(days=1)}"
        between = f"90 % interval {self.low:+z,.0f} to {self.high:+z,.0f}"
        unsure = "; it may be nothing" if self.low < 0 < self.high else ""
        if self.basis == "holdout":
            count = len(self.standing)
            them = "a segment" if count == 1 else f"{count} segments"
            words = (
                f"{self.gain:+z,.0f} {currency} profit {span} ({between}{unsure}), measured "
                f"against {them} held out ({', '.join(self.standing)})."
            )
        else:
            words = (
                f"about {self.gain:+z,.0f} {currency} profit {span} ({between}{unsure}): measured "
                "lifts minus the model's estimate for the first budgets. A model estimate, not "
                "measured: no segment is held out."
            )
        return " ".join((words, *self.notes))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        said = asdict(self)
        return {
            **said,
            "start": self.start.isoformat(),
            "until": self.until.isoformat(),
            "months": [{**asdict(m), "first": m.first.isoformat()} for m in self.months],
            "standing": list(self.standing),
            "notes": list(self.notes),
        }


def months_between(start: date, until: date) -> list[tuple[date, date]]:
    """The calendar months from ``start`` to the day before ``until``: first day, day after the
    last."""
    found, first = [], start
    while first < until:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        found.append((first, min(following, until)))
        first = following
    return found


def worth_against_holdout(
    daily: Daily, *, standing: Collection[str], start: date, until: date, margin: float
) -> Worth | str:
    """The loop's gain in all moved segments, or why it cannot be measured.

    Parameters
    ----------
    daily
        Facts of all segments, from at least 28 days before ``start`` on. Not changed.
    standing : segments that kept the budgets of ``start``
    start : first day of the loop's own budgets
    until : the day after the last one that counts
    margin : profit per unit of revenue before the spend
    """
    offset = max((start - daily.first).days - BEFORE_DAYS, 0)
    facts = _cut(daily, offset, (until - daily.first).days)
    before = (start - facts.first).days
    still = np.array([name in set(standing) for name in facts.segments])
    why = _unfit(still, before, len(facts.spend))
    if why:
        return why
    if not (np.nan_to_num(facts.spend[:before]).sum(axis=0) > 0).all():
        return "Some segment spent nothing before the loop began."
    everything = np.ones(len(facts.segments))
    levels = segment_baselines(
        facts, slice(0, before), margin=margin, total=None, inside=everything
    )
    if not (np.isfinite(levels).all() and (levels > 0).all()):
        return "The segments earned no measurable incremental revenue before the loop began."
    found = [
        make(facts, days_before=before, margin=margin, baseline=levels)
        for make in (lift_stream, sales_stream)
    ]
    streams = tuple(stream for stream in found if isinstance(stream, Stream))
    if not streams:
        return " ".join(why for why in found if isinstance(why, str))
    members = [k for k, stays in enumerate(still) if stays]
    weights = segment_weights(streams, before, levels, np.array(members, dtype=int))
    spans = months_between(start, until)
    blocks = [((a - facts.first).days, (b - facts.first).days) for a, b in spans]
    parts = [_contrasts(stream, levels, still, weights, before, blocks) for stream in streams]
    rate, covariance, seen = _joined(parts)
    if not seen.any():
        return "No month since the start can be measured."
    covariance = covariance + _wandering(levels, still, weights, before, blocks)[np.ix_(seen, seen)]
    days = np.array([b - a for a, b in blocks], dtype=float)[seen]
    gain, error = float(days @ rate), math.sqrt(float(days @ covariance @ days))
    told = [span for span, known in zip(spans, seen, strict=True) if known]
    months = tuple(
        MonthGain(first, int(n), float(n * g), float(n * math.sqrt(v)))
        for (first, _), n, g, v in zip(told, days, rate, np.diag(covariance), strict=True)
    )
    names = tuple(n for n, stays in zip(facts.segments, still, strict=True) if stays)
    return Worth(
        start,
        until,
        gain,
        gain - Z90 * error,
        gain + Z90 * error,
        "holdout",
        names,
        months,
        _left_out(spans, seen),
    )


def _cut(daily: Daily, low: int, high: int) -> Daily:
    days = slice(low, max(high, low))
    return Daily(
        daily.first + timedelta(days=low),
        daily.segments,
        daily.lift[days],
        daily.lift_error[days],
        daily.sales[days],
        daily.spend[days],
    )


def _unfit(still: NDArray[np.bool_], before: int, days: int) -> str:
    if not still.any() or still.all():
        return "It takes segments that stand still and others that move."
    if before < LEAST_DAYS_BEFORE:
        return (
            f"There are facts from {max(before, 0)} days before the loop began; "
            f"{LEAST_DAYS_BEFORE} are needed."
        )
    return "" if days > before else "No day since the start counts yet."


def _left_out(spans: Sequence[tuple[date, date]], seen: NDArray[np.bool_]) -> tuple[str, ...]:
    lost = [f"{first:%B %Y}" for (first, _), known in zip(spans, seen, strict=True) if not known]
    return (f"Not measured, and not counted: {', '.join(lost)}.",) if lost else ()


def _contrasts(
    stream: Stream,
    levels: Array,
    still: NDArray[np.bool_],
    weights: Array,
    before: int,
    blocks: Sequence[tuple[int, int]],
) -> tuple[Array, Array]:
    """Gain a day of each month by one kind of evidence, (n_months,), NaN where some segment is not
    known on any day; and its covariance."""
    money = levels / stream.unit  # that one multiple of the series stands for
    factor = np.where(still, 0.0, money)
    factor[still] = -factor.sum() * weights
    spread = (1 + stream.memory) / (1 - stream.memory) * stream.widening**2

    def mean(low: int, high: int) -> tuple[Array, Array]:
        rows, noise = stream.outcome[low:high], stream.variance[low:high]
        known = np.isfinite(rows)
        count = np.maximum(known.sum(axis=0), 1)
        value = np.where(known, rows, 0.0).sum(axis=0) / count
        error = np.where(known, noise, 0.0).sum(axis=0) / count**2 * spread
        return np.where(known.any(axis=0), value, np.nan), error

    base, base_error = mean(0, before)
    found = [mean(low, high) for low, high in blocks]
    rate = np.array([float(factor @ (value - base)) for value, _ in found])
    own = np.array([float(factor**2 @ error) for _, error in found])
    return rate, np.diag(own) + float(factor**2 @ base_error)


def _joined(parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Independent kinds of evidence of the same months, by generalized least squares: the rates and
    their covariance in the months that are ``seen`` at all."""
    months = len(parts[0][0])
    information, score = np.zeros((months, months)), np.zeros(months)
    seen = np.zeros(months, dtype=bool)
    for rate, covariance in parts:
        known = np.isfinite(rate)
        inverse = np.linalg.inv(covariance[np.ix_(known, known)])
        information[np.ix_(known, known)] += inverse
        score[known] += inverse @ rate[known]
        seen |= known
    covariance = np.linalg.inv(information[np.ix_(seen, seen)])
    return covariance @ score[seen], covariance, seen


def _wandering(
    levels: Array,
    still: NDArray[np.bool_],
    weights: Array,
    before: int,
    blocks: Sequence[tuple[int, int]],
) -> Array:
    """Covariance of the months' rates from responses that wander by themselves.

    A random walk of ``WANDER`` a day in each segment, as a share of its incremental revenue; what
    counts is how far a month's mean is from the mean before: Cov = E[(W_m - W_0)(W_n - W_0)].
    """
    days = blocks[-1][1]
    walk = np.minimum.outer(np.arange(1.0, days + 1), np.arange(1.0, days + 1))
    pick = np.zeros((len(blocks), days))
    for row, (low, high) in enumerate(blocks):
        pick[row, low:high] = 1.0 / (high - low)
    pick[:, :before] -= 1.0 / before
    moved = levels[~still]
    size = float((moved**2).sum() + (moved.sum() * weights) @ (moved.sum() * weights))
    return np.asarray(WANDER**2 * size * (pick @ walk @ pick.T))


def worth_by_model(
    daily: Daily, *, foretold: Array, budget: float, start: date, until: date, margin: float
) -> Worth | str:
    """Measured lifts since the start less what curves say of the budgets at the start: weaker, for
    both rest on the same evidence, and a wrong curve is never found out.

    Parameters
    ----------
    daily : facts of all segments since ``start`` or earlier
    foretold : draws of incremental revenue a day at the budgets of the start, shape (n_draws,), all
        segments together
    budget : the total a day at the start
    """
    facts = _cut(daily, max((start - daily.first).days, 0), (until - daily.first).days)
    known = np.isfinite(facts.lift) & np.isfinite(facts.lift_error)
    if not len(facts.lift) or not known.any(axis=0).all():
        return "Some segment has had no measured lift since the loop began."
    count = known.sum(axis=0)
    lift = np.where(known, facts.lift, 0.0).sum(axis=0) / count
    variance = np.where(known, facts.lift_error, 0.0) ** 2
    variance = variance.sum(axis=0) / count**2
    spent = float(np.nanmean(facts.spend, axis=0).sum())
    days = len(facts.lift)
    usual = margin * float(foretold.mean()) - budget
    gain = days * (margin * float(lift.sum()) - spent - usual)
    error = days * margin * math.sqrt(float(variance.sum()) + float(foretold.var()))
    return Worth(start, until, gain, gain - Z90 * error, gain + Z90 * error, "model")
