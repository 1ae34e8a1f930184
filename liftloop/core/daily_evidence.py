"""What a rollout shows, day by day: holdout lifts and sales of the exposed segments against their
own past and against the segments that keep the incumbent.

Both streams are judged by :func:`liftloop.core.level_shift.level_shift` and joined by information:
what they measure is one effect, the change of incremental profit as a share of the exposed
segments' incremental profit before, and their noise has different sources (who is withheld; what
people buy anyway). Segments that join later (a ramp) count from their own first day and are control
until then. All that weighs is fixed before the start from the days before; only then is the sum of
``information * effect`` a martingale (less its drift) however often it is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from liftloop.core.daily_panels import (
    LEAST_DAYS_BEFORE,
    Daily,
    Stream,
    lift_stream,
    sales_stream,
    segment_baselines,
)
from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.joined_streams import DailyConfig, Joining, Streams, joined
from liftloop.core.level_shift import Shift
from liftloop.core.spillover import flagged, leaning, spillover_of

Array = NDArray[np.float64]
__all__ = ["DailyConfig", "daily_evidence"]


def daily_evidence(
    daily: Daily,
    *,
    exposed: Mapping[str, date],
    control: Collection[str],
    started_on: date,
    as_of: date,
    config: DailyConfig | None = None,
    baseline: float | None = None,
    connected: Collection[str] = (),
) -> CanaryEvidence:
    """All looks so far, one a day.

    Parameters
    ----------
    daily
        Facts as known on ``as_of``, of any segments and days. Not changed.
    exposed : a segment that follows the new policy: its first day under it
    control : segments that kept the incumbent all the time
    started_on : the first day of the first of them
    baseline : incremental revenue per day of all ``exposed`` under the incumbent, times the margin;
        by default that of their own lifts and spend before the start
    connected : control segments known to share customers with exposed ones: not used as control

    Returns
    -------
    CanaryEvidence
        Money per day of the set exposed now. With ``problem`` set, and no looks, when nothing can
        be judged. Never raises for bad values.
    """
    rules = config or DailyConfig()
    facts = _window(daily, [*exposed, *control], started_on=started_on, as_of=as_of, rules=rules)
    if isinstance(facts, str):
        return CanaryEvidence((), math.nan, 0.0, facts)
    setting = _setting(facts, exposed, connected, started_on)
    inside = np.isin(facts.segments, list(exposed)).astype(float)
    before = slice(0, setting.start)
    spend = np.nanmean(facts.spend[before], axis=0)
    canary_spend = float((spend * inside).sum())
    levels = segment_baselines(
        facts, before, margin=rules.revenue_margin, total=baseline, inside=inside
    )
    against = float((levels * inside).sum())

    def nothing(why: str) -> CanaryEvidence:
        return CanaryEvidence((), against, canary_spend, why)

    if not (np.isfinite(levels).all() and (levels > 0).all()):
        return nothing(
            "The segments earned no measurable incremental revenue before the start, so a loss has "
            "nothing to be measured against."
        )
    found = [
        make(facts, days_before=setting.start, margin=rules.revenue_margin, baseline=levels)
        for make in (lift_stream, sales_stream)
    ]
    streams = tuple(stream for stream in found if isinstance(stream, Stream))
    notes = tuple(why for why in found if isinstance(why, str))
    if not streams:
        return nothing(" ".join(notes))
    first = setting.start + rules.wait_days
    looks = range(first, len(facts.spend))
    judged = Streams.of(streams, setting, levels, rules)
    if not looks:
        return nothing(
            f"No day counts yet: carry-over and late conversions need {rules.wait_days} days."
        )
    return _read(
        judged, looks, facts.first, against, canary_spend, notes,
        at_stake=_at_stake(facts.segments, levels, exposed, as_of), rules=rules,
    )  # fmt: skip


def _window(
    daily: Daily, wanted: Collection[str], *, started_on: date, as_of: date, rules: DailyConfig
) -> Daily | str:
    """The days and segments that matter, or why they do not do."""
    missing = sorted(set(wanted) - set(daily.segments))
    if missing:
        return f"There are no facts by day of {', '.join(missing)}."
    if len(set(wanted)) < 2:
        return "One segment alone has nothing to be compared with."
    low = max((started_on - daily.first).days - rules.before_days, 0)
    high = (as_of - daily.first).days - rules.wait_days
    columns = [daily.segments.index(name) for name in sorted(set(wanted))]
    first = daily.first + timedelta(days=low)
    before = (started_on - first).days
    if before < LEAST_DAYS_BEFORE:
        return (
            f"There are facts from {max(before, 0)} days before {started_on}; "
            f"{LEAST_DAYS_BEFORE} are needed."
        )

    def cut(values: Array) -> Array:
        return values[low : max(high, low + before)][:, columns]

    spend = cut(daily.spend)
    if not (np.nan_to_num(spend[:before]).sum(axis=0) > 0).all():
        return "Some segment of the rollout spent nothing before the start."
    return Daily(
        first, tuple(daily.segments[k] for k in columns),
        cut(daily.lift), cut(daily.lift_error), cut(daily.sales), spend,
    )  # fmt: skip


def _setting(
    facts: Daily, exposed: Mapping[str, date], connected: Collection[str], started_on: date
) -> Joining:
    start = (started_on - facts.first).days
    cohorts: dict[int, list[int]] = {}
    for name, day in sorted(exposed.items()):
        cohorts.setdefault((day - facts.first).days, []).append(facts.segments.index(name))
    others = [k for k, name in enumerate(facts.segments) if name not in exposed]
    near = [k for k in others if facts.segments[k] in set(connected)]
    alone = [k for k in others if k not in near]
    return Joining(
        {day: np.array(columns) for day, columns in sorted(cohorts.items())},
        np.array(alone, dtype=int), np.array(near, dtype=int), start, len(facts.spend),
    )  # fmt: skip


def _at_stake(
    segments: tuple[str, ...], levels: Array, exposed: Mapping[str, date], as_of: date
) -> float:
    """What the exposed segments would have earned so far under the incumbent."""
    return float(
        sum(levels[segments.index(s)] * max((as_of - day).days, 0) for s, day in exposed.items())
    )


def _leak(judged: Streams, looks: range, shocks: Sequence[NDArray[np.bool_]]) -> Shift:
    """The control's own shift. A common shock says nothing about spillover, so sales are not asked
    then, unless they can be compared with segments that are not connected."""
    near, alone = judged.setting.near, judged.setting.alone
    moved, others = (near, alone) if len(near) else (alone, alone[:0])
    parts = []
    for stream, shock in zip(judged.streams, shocks, strict=True):
        part = judged.of_control(stream, looks, moved=moved, others=others, unit=stream.unit)
        deaf = shock & (len(near) == 0)
        parts.append(Shift(part.effect, np.where(deaf, 0.0, part.information)))
    return joined(parts)


def _read(
    judged: Streams,
    looks: range,
    first_day: date,
    against: float,
    canary_spend: float,
    notes: tuple[str, ...],
    *,
    at_stake: float,
    rules: DailyConfig,
) -> CanaryEvidence:
    setting = judged.setting
    shocks = [judged.shocked(stream, looks) for stream in judged.streams]
    if any(shock.any() for shock in shocks):
        notes = (*notes, "Sales of all segments moved more than before: a common shock.")

    def stepping(variance: float | None) -> Shift:
        """All streams, with a common step of this variance; a free one where there is a shock."""
        parts = []
        for stream, shock in zip(judged.streams, shocks, strict=True):
            usual = judged.shift(stream, looks, step_variance=variance)
            if shock.any():
                free = judged.shift(stream, looks, step_variance=math.inf)
                usual = Shift(
                    np.where(shock, free.effect, usual.effect),
                    np.where(shock, free.information, usual.information),
                )
            parts.append(usual)
        return joined(parts)

    effect = stepping(None)
    value = effect.effect
    with np.errstate(divide="ignore", invalid="ignore"):
        error = effect.information**-0.5
    leak = _leak(judged, looks, shocks)
    # what the control knows of itself, beside what is known of the effect, was known before, too
    known = float(leak.information[-1] / max(effect.information[-1], 1e-300))
    if not (0 < known < math.inf) or effect.information[-1] <= 0:
        known = 1.0
    plan = replace(judged.plan, information=judged.plan.information * known)
    connected, chance = len(setting.near) > 0, rules.leak_alpha / 2
    spill = spillover_of(
        float(leak.effect[-1]), float(leak.information[-1]),
        plan=plan, alpha=chance, connected=connected,
    )  # fmt: skip
    if spill is not None and spill.flagged:
        notes = (*notes, spill.sentence)
    named = [
        k
        for k in range(len(looks))
        if not connected
        and flagged(float(leak.effect[k]), float(leak.information[k]), plan=plan, alpha=chance)
    ]
    if named:
        own_past, against_control = stepping(0.0), stepping(math.inf)
        for k in named:
            value[k], error[k] = leaning(
                float(own_past.effect[k]),
                float(against_control.effect[k]),
                float(own_past.information[k]) ** -0.5,
            )
    found = tuple(
        Look(
            first_day + timedelta(days=day), float(value[k]) * against, float(error[k]) * against,
            k + 1,
        )
        for k, day in enumerate(looks)
        if np.isfinite(value[k]) and np.isfinite(error[k]) and error[k] > 0
    )  # fmt: skip
    problem = "" if found else "No day of an exposed segment counts yet."
    return CanaryEvidence(
        found, against, canary_spend, problem, notes,
        plan=judged.plan, at_stake=at_stake, spillover=spill,
    )  # fmt: skip
