"""What a stream of plans gained so far: the sum of all contrasts in one regression.

Every plan moves money away from the budgets that the stream replaced, the reference, and it does
so in the leading waves first. The exposure of a segment on a day is the money that is elsewhere
than under the reference; the effect is the profit that a unit of moved money gains. Where waves
differ, leading segments are compared with following ones; holdout lifts compare every segment with
its own past as well (a stepped-wedge design: Hussey and Hughes 2007, equation 1, with the budgets
moved for treatment). What is estimated, and why it may be looked at every day, is in
:mod:`liftloop.core.inference.gls`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.inference.gls import Beside, Panel, Shift, joined, level_shift
from liftloop.core.inference.panels import (
    COMMON_RESPONSE,
    LEAST_DAYS_BEFORE,
    Daily,
    Stream,
    lift_stream,
    sales_stream,
    segment_baselines,
)
from liftloop.core.policy import Policy

BEFORE_DAYS = 84
MARGINAL, MARGINAL_UNLIKE = 0.7, 0.3  # of the average return: what money between segments earns
DRIFT_DAYS = 28  # so often the response of all segments may have changed


@dataclass(frozen=True, slots=True)
class StreamEffect:
    """What the stream's moves gained, by all days that count.

    Attributes
    ----------
    effect, standard_error
        Profit per unit of money moved, in multiples of what a unit of money earns on average under
        the reference (incremental revenue times the margin over the spend); NaN and infinity where
        nothing is measured.
    exposure
        (first day, money moved a day times that average return) of every day since the stream's
        reference began, oldest first: ``effect`` times their sum is the profit gained.
    baseline
        Incremental revenue a day times the margin under the reference, account currency.
    day
        The last day that counts; None where nothing is measured.
    problem
        Why nothing can be measured, or "".
    """

    effect: float
    standard_error: float
    exposure: tuple[tuple[date, float], ...]
    baseline: float
    day: date | None = None
    problem: str = ""

    def gained(self, *, since: date | None = None) -> tuple[float, float]:
        """Profit gained on the days from ``since`` on and its standard error, account currency."""
        total = sum(x for day, x in self.exposure if since is None or day >= since)
        if not math.isfinite(self.effect) or total <= 0:
            return 0.0, math.inf
        return self.effect * total, self.standard_error * total


def money_moved(
    budgets: Sequence[tuple[date, Policy]],
    reference: Policy,
    *,
    segments: Sequence[str],
    first: date,
    days: int,
    carry_over: float = 0.0,
) -> Array:
    """Money a day that is elsewhere than under ``reference``, shape (days, n_segments).

    Half the sum of a segment's absolute differences, account currency. A change comes into effect
    by ``carry_over``: the share of an effect that a day hands on to the next.

    Parameters
    ----------
    budgets
        (first day, budgets in force from then on), oldest first. Before the first of them the
        reference is taken to be in force.
    """
    place = {name: k for k, name in enumerate(segments)}
    held = reference.as_dict()
    moved = np.zeros((days, len(segments)))
    for day, policy in budgets:
        apart = np.zeros(len(segments))
        amounts = policy.as_dict()
        for cell in held.keys() | amounts.keys():
            if cell.segment in place:
                difference = float(amounts.get(cell, 0)) - float(held.get(cell, 0))
                apart[place[cell.segment]] += abs(difference) / 2
        moved[max((day - first).days, 0) :] = apart
    if carry_over > 0:
        for t in range(1, days):
            moved[t] = (1 - carry_over) * moved[t] + carry_over * moved[t - 1]
    return moved


def money_received(
    budgets: Sequence[tuple[date, Policy]],
    reference: Policy,
    *,
    segments: Sequence[str],
    first: date,
    days: int,
) -> Array:
    """Money a day that a segment has more than under ``reference``, shape (days, n_segments);
    negative where it has less. The parameters are as of :func:`money_moved`."""
    place = {name: k for k, name in enumerate(segments)}

    def of(policy: Policy) -> Array:
        total = np.zeros(len(segments))
        for cell, amount in policy.budgets:
            if cell.segment in place:
                total[place[cell.segment]] += float(amount)
        return total

    before, found = of(reference), np.zeros((days, len(segments)))
    for day, policy in budgets:
        found[max((day - first).days, 0) :] = of(policy) - before
    return found


def money_crossed(received: Array) -> Array:
    """What of ``received`` crossed between segments, shape (days, n_segments).

    Where the total changed, money also left the account or came to it. That is part of the moves
    that are judged: it is taken from the segments that have less (more), in proportion.
    """
    change = received.sum(axis=1, keepdims=True)
    ours = np.where(np.sign(received) == np.sign(change), np.abs(received), 0.0)
    whole = ours.sum(axis=1, keepdims=True)
    share = np.divide(ours, whole, out=np.zeros_like(ours), where=whole > 0)
    return np.asarray(received - change * share)


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredStream:
    """A stream of plans whose effect is measured.

    Attributes
    ----------
    budgets
        (first day, budgets in force), oldest first, as far back as the facts.
    reference
        The budgets that the stream is compared with.
    as_of
        The day of the look; facts are those known on it.
    margin
        Profit per unit of revenue before the spend.
    baseline
        Incremental revenue a day times the margin under the reference, by the
        curves; None: as their own lifts and spend say.
    inside
        The segments that the baseline is of; others (a holdback) never move and are compared with.
    wait_days
        So many days before ``as_of`` are not yet known (late conversions).
    carry_over
        The share of an effect that a day hands on to the next, in [0, 1).
    """

    budgets: Sequence[tuple[date, Policy]]
    reference: Policy
    as_of: date
    margin: float
    baseline: float | None
    inside: Collection[str]
    wait_days: int
    carry_over: float = 0.3


def stream_effect(daily: Daily, stream: MeasuredStream, *, reference_on: date) -> StreamEffect:
    """What the moves of a stream gained against its reference.

    Parameters
    ----------
    daily
        Facts as known on ``stream.as_of``, from at least ``LEAST_DAYS_BEFORE`` days before
        ``reference_on``. Not changed.
    reference_on
        The first day of the stream's moves. Money that was elsewhere before that day is allowed an
        effect of its own.
    """
    budgets, reference, as_of = stream.budgets, stream.reference, stream.as_of
    margin, baseline = stream.margin, stream.baseline
    days = (as_of - daily.first).days
    start = (reference_on - daily.first).days
    moved = money_moved(
        budgets,
        reference,
        segments=daily.segments,
        first=daily.first,
        days=max(days, 1),
        carry_over=stream.carry_over,
    )
    spent = float(reference.total)

    def exposed(scale: float) -> tuple[tuple[date, float], ...]:
        return tuple(
            (daily.first + timedelta(days=t), float(moved[t].sum()) * scale)
            for t in range(max(start, 0), days)
        )

    def nothing(why: str) -> StreamEffect:
        scale = (baseline or 0.0) / spent if spent > 0 else 0.0
        return StreamEffect(math.nan, math.inf, exposed(scale), baseline or math.nan, problem=why)

    if start < LEAST_DAYS_BEFORE:
        return nothing(
            f"There are facts from {max(start, 0)} days before {reference_on}; "
            f"{LEAST_DAYS_BEFORE} are needed."
        )
    counted = days - stream.wait_days
    if counted <= start:
        return nothing("No day counts yet: delayed conversions are awaited.")
    cut = Daily(
        daily.first,
        daily.segments,
        daily.lift[:counted],
        daily.lift_error[:counted],
        daily.sales[:counted],
        daily.spend[:counted],
    )
    before = slice(0, start)
    if not (np.nan_to_num(cut.spend[before]).sum(axis=0) > 0).all():
        return nothing("Some segment spent nothing before the start.")
    mine = np.isin(cut.segments, list(stream.inside)).astype(np.float64)
    levels = segment_baselines(cut, before, margin=margin, total=baseline, inside=mine)
    if not (np.isfinite(levels).all() and (levels > 0).all()):
        return nothing("The segments earned no measurable incremental revenue before the start.")
    scale = float(levels.sum()) / spent if spent > 0 else 0.0
    since = np.arange(counted)[:, None] >= start
    now, earlier = moved[:counted] * since * scale, moved[:counted] * ~since * scale
    received = money_received(
        budgets, reference, segments=daily.segments, first=daily.first, days=counted
    )
    same_total = bool(abs(received.sum(axis=1)).max() < 0.01 * spent)
    priced = _priced(cut, scale, same_total=same_total)
    crossed = received if same_total else money_crossed(received)
    found = [
        make(priced, days_before=start, margin=margin, baseline=levels)
        for make in (lift_stream, sales_stream)
    ]
    problems = [one for one in found if isinstance(one, str)]
    other = _Others(earlier / levels, crossed * scale / levels)
    parts = [_shift(one, now / levels, other, start) for one in found if not isinstance(one, str)]
    if not parts:
        return nothing(" ".join(problems))
    total = joined(parts)
    information = float(total.information[0])
    if not information > 0:
        return nothing("No segment has moved yet." if now.sum() == 0 else "Nothing is measured.")
    return StreamEffect(
        float(total.effect[0]),
        information**-0.5,
        exposed(scale),
        float(levels.sum()),
        daily.first + timedelta(days=counted - 1),
    )


def _felt(daily: Daily, reached: Mapping[str, date], carry_over: float) -> Array:
    """How far each segment feels a plan that it follows from a day on, (n_days, n_segments)."""
    on = np.zeros((len(daily.spend), len(daily.segments)))
    for name, first in reached.items():
        if name in daily.segments:
            on[max((first - daily.first).days, 0) :, daily.segments.index(name)] = 1.0
    for t in range(1, len(on)):
        on[t] = (1 - carry_over) * on[t] + carry_over * on[t - 1]
    return on


def plan_effect(
    daily: Daily, stream: MeasuredStream, *, reached: Mapping[str, date]
) -> StreamEffect:
    """What one plan gained where it is in force, against the segments that do not have it yet and
    against the days before it.

    The effect is a share of what the exposed segments earned before (incremental revenue times the
    margin). What the stream's earlier moves gained has an effect of its own beside it.

    Parameters
    ----------
    reached
        Segment -> the first day it follows the plan.
    """
    budgets, reference, carry_over = stream.budgets, stream.reference, stream.carry_over
    start = (min(reached.values()) - daily.first).days
    counted = (stream.as_of - daily.first).days - stream.wait_days

    def nothing(why: str) -> StreamEffect:
        return StreamEffect(math.nan, math.inf, (), math.nan, problem=why)

    if start < LEAST_DAYS_BEFORE or counted <= start:
        return nothing("No day counts yet.")
    cut = Daily(
        daily.first,
        daily.segments,
        daily.lift[:counted],
        daily.lift_error[:counted],
        daily.sales[:counted],
        daily.spend[:counted],
    )
    levels = segment_baselines(
        cut,
        slice(0, start),
        margin=stream.margin,
        total=stream.baseline,
        inside=np.isin(cut.segments, list(stream.inside)).astype(np.float64),
    )
    if not (np.isfinite(levels).all() and (levels > 0).all()):
        return nothing("The segments earned no measurable incremental revenue before the plan.")
    on = _felt(cut, reached, carry_over)
    moved = money_moved(
        budgets,
        reference,
        segments=daily.segments,
        first=daily.first,
        days=counted,
        carry_over=carry_over,
    )
    spent = float(reference.total)
    scale = float(levels.sum()) / spent if spent > 0 else 0.0
    since = np.repeat(moved[start - 1 : start], counted - start, axis=0)
    earlier = np.concatenate([moved[:start], since])
    received = money_received(
        budgets, reference, segments=daily.segments, first=daily.first, days=counted
    )
    same_total = bool(abs(received.sum(axis=1)).max() < 0.01 * spent)
    priced = _priced(cut, scale, same_total=same_total)
    crossed = received if same_total else money_crossed(received)
    parts = []
    for make in (lift_stream, sales_stream):
        found = make(priced, days_before=start, margin=stream.margin, baseline=levels)
        if not isinstance(found, str):
            other = _Others(earlier * scale / levels, crossed * scale / levels)
            parts.append(_shift(found, on, other, start))
    if not parts:
        return nothing("Neither holdouts nor sales reach back far enough.")
    total = joined(parts)
    information = float(total.information[0])
    if not information > 0:
        return nothing("Nothing is measured.")
    exposed = tuple(
        (daily.first + timedelta(days=t), float((on[t] * levels).sum()))
        for t in range(start, counted)
    )
    return StreamEffect(
        float(total.effect[0]),
        information**-0.5,
        exposed,
        float((on[-1] * levels).sum()),
        daily.first + timedelta(days=counted - 1),
    )


@dataclass(frozen=True, slots=True)
class _Others:
    """What else changes a segment's outcome, (n_days, n_segments) as a share of its baseline: moves
    before the ones that are judged, and money that came from or went to other segments."""

    earlier: Array
    received: Array


def _priced(daily: Daily, average: float, *, same_total: bool) -> Daily:
    """Facts whose spend counts what money earns at the margin.

    Where the total stays, money that leaves a segment is spent in another: to charge its own price
    of 1 would make segments that lose money look good, and only the sum over all of them right. At
    what money earns at the margin, each segment's gain is its own.
    """
    if not same_total:
        return daily
    return replace(daily, spend=daily.spend * MARGINAL * average)


def _shift(stream: Stream, now: Array, others: _Others, start: int) -> Shift:
    """The effect of ``now``. Other effects beside it: of earlier moves; of money between segments,
    whose return is known to a third; and of what changes for all segments alike, every four weeks
    by ``COMMON_RESPONSE`` of what the ads earn."""
    days, series = now.shape
    panel = Panel(
        stream.outcome,
        now * stream.unit,
        stream.variance * stream.widening**2,
        stream.memory,
        np.ones(series),
        stream.shock_variance * stream.widening**2,
    )
    columns = [
        np.where(np.arange(days) >= day, 1.0, 0.0)[:, None] * stream.unit
        for day in range(start, days, DRIFT_DAYS)
    ]
    variances = [COMMON_RESPONSE**2] * len(columns)
    for exposure, variance in (
        (others.earlier, math.inf),
        (others.received, MARGINAL_UNLIKE**2),
    ):
        if exposure.any():
            columns.append(exposure * stream.unit)
            variances.append(variance)
    beside = Beside(np.stack(columns, axis=2), np.array(variances))
    return level_shift(panel, [days - 1], beside=beside)
