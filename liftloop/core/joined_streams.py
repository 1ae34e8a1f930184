"""The streams of a rollout's evidence, sales and lifts, weighed against the segments that keep the
incumbent: one shift of all of them together, and the control's own.

Covariance, weights and the plan follow from the days before the start alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from liftloop.core.daily_panels import Stream, pooled_panel, segment_weights
from liftloop.core.finite_horizon import Plan, lead_of
from liftloop.core.level_shift import Shift, level_shift

Array = NDArray[np.float64]
COMMON_SHOCK = 3.0  # standard errors from which the control's own shift counts as a common shock
LARGEST_LEAK = 0.25  # of the control's incremental revenue: a larger shift of sales is no leak


@dataclass(frozen=True, slots=True)
class DailyConfig:
    """``wait_days`` after a segment's first day do not count (carry-over), and as many before
    ``as_of`` are not yet known (late conversions). ``carry_over``: the share of an effect that is
    still to come after 1, 2, ... days; where it is known, those days count in part instead.
    ``max_days``: the longest a rollout stays a canary. ``leak_alpha``: chance to name a spillover,
    ever, where there is none (half of it on each side).
    """

    wait_days: int = 3
    revenue_margin: float = 1.0
    before_days: int = 84
    max_days: int = 56
    leak_alpha: float = 0.1
    carry_over: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Joining:
    """Who joined when, in columns and day numbers."""

    cohorts: Mapping[int, Array]
    alone: Array
    near: Array
    start: int
    days: int


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams as panels: joined with the control, and the control by itself."""

    streams: tuple[Stream, ...]
    setting: Joining
    weights: Mapping[int, tuple[Array, Array]]
    exposure: Mapping[int, Array]
    plan: Plan

    @classmethod
    def of(
        cls, streams: tuple[Stream, ...], setting: Joining, levels: Array, rules: DailyConfig
    ) -> Streams:
        weights = {
            day: (columns, segment_weights(streams, setting.start, levels, columns))
            for day, columns in setting.cohorts.items()
        }
        exposure = {day: _exposure(day, setting.days, rules) for day in setting.cohorts}
        return cls(streams, setting, weights, exposure, _plan(streams, setting, weights, rules))

    def shift(
        self, stream: Stream, looks: Collection[int], *, step_variance: float | None = None
    ) -> Shift:
        panel = pooled_panel(
            stream, joined=self.weights, alone=self.setting.alone, exposure=self.exposure,
            start=self.setting.start, step_variance=step_variance,
        )  # fmt: skip
        return level_shift(panel, list(looks))

    def of_control(
        self, stream: Stream, looks: Collection[int], *, moved: Array, others: Array, unit: Array
    ) -> Shift:
        """The shift of ``moved`` control segments against ``others``, or, without others, against
        their own past."""
        columns = np.concatenate([moved, others]).astype(int)
        days = np.arange(self.setting.days) >= self.setting.start
        exposed = np.isin(columns, moved) * unit[columns] * days[:, None]
        panel = pooled_panel(
            stream, joined={}, alone=columns, exposure={}, start=self.setting.start,
            step_variance=math.inf if len(others) else 0.0,
        )  # fmt: skip
        return level_shift(replace(panel, exposure=exposed.astype(float)), list(looks))

    def shocked(self, stream: Stream, looks: Collection[int]) -> NDArray[np.bool_]:
        """At which looks the control has moved, or had before, by more than its noise and by more
        than a leak of what its ads earn: a common shock, which the control must then take out
        whole. Of sales alone; a change of all lifts is allowed for from the start."""
        nowhere = np.zeros(len(looks), dtype=bool)
        alone = self.setting.alone
        if stream.name != "sales" or not len(alone):
            return nowhere
        own = self.of_control(
            stream, looks, moved=alone, others=alone[:0], unit=np.ones(len(stream.unit))
        )
        size = np.abs(np.nan_to_num(own.effect))
        large = size > LARGEST_LEAK * float(stream.unit[alone].mean())
        far = size * np.sqrt(own.information) >= COMMON_SHOCK
        return np.asarray(np.maximum.accumulate(large & far))


def _exposure(first: int, days: int, rules: DailyConfig) -> Array:
    """Share of the effect that each day shows: 0 before, NaN while it must not count."""
    shown = np.where(np.arange(days) < first, 0.0, 1.0)
    if rules.carry_over:
        to_come = np.asarray(rules.carry_over, float)[: max(days - first, 0)]
        shown[first : first + len(to_come)] = 1.0 - to_come
    else:
        shown[first : first + rules.wait_days] = np.nan
    return shown


def _plan(
    streams: tuple[Stream, ...],
    setting: Joining,
    weights: Mapping[int, tuple[Array, Array]],
    rules: DailyConfig,
) -> Plan:
    """The information that the first cohort alone gathers until ``max_days``, and how much of it on
    the first day that counts: they depend on no outcome, so they are known before the start."""
    day = min(weights)
    length = day + max(rules.max_days - rules.wait_days, 1)
    others = [columns for later, (columns, _) in weights.items() if later != day]
    alone = np.concatenate([setting.alone, *others]).astype(int)
    first = min(day + rules.wait_days, length - 1)
    information = np.zeros(2)
    for stream in streams:
        usual = stream.variance[: setting.start].mean(axis=0)
        ahead = replace(
            stream,
            outcome=np.zeros((length, len(usual))),
            variance=np.broadcast_to(usual, (length, len(usual))),
        )
        panel = pooled_panel(
            ahead, joined={day: weights[day]}, alone=alone,
            exposure={day: _exposure(day, length, rules)}, start=setting.start,
        )  # fmt: skip
        information += level_shift(panel, [first, length - 1]).information
    counted = max(rules.max_days - 2 * rules.wait_days, 1)
    begins, planned = (float(share) for share in information)
    lead = lead_of(begins / planned, looks=counted, before_days=setting.start) if planned else 0.0
    return Plan(planned, counted, setting.start, rules.wait_days, lead)


def joined(parts: Collection[Shift]) -> Shift:
    """Independent streams of one effect: information and score add up."""
    information = np.sum([part.information for part in parts], axis=0)
    score = np.sum([np.nan_to_num(part.effect) * part.information for part in parts], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Shift(score / information, information)
