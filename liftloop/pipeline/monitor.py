"""Comparing the last weeks with those before: whether they differ, and why. Called by the monitor's
task, the backtest and the benchmarks.

A part that fails is told and skipped: what only explains stops no cycle. The exception is whether
feeds are broken, which budgets rest on: where that fails nothing moves (:func:`not_compared`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import cast

import numpy as np
import pandas as pd

from liftloop.core.arms.checks import sound_holdout
from liftloop.core.arrays import Array
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.failed_reports import or_skip
from liftloop.core.policy import Cell
from liftloop.settings.schema import Drift
from models.lift.holdout_lifts import LiftConfig, weekly_lifts
from monitoring.causes.cause import Cause, Finding, Triage
from monitoring.drift.evidently_drift import DriftConfig, drift, unjudged
from monitoring.drift.windows import Windows, windows
from monitoring.feeds.feed_faults import faults
from monitoring.panel import WatchConfig, Watched, days_of, watch
from monitoring.triage import TriageConfig, broken_alone, triage
from monitoring.verdicts import DriftVerdict, HealthVerdict

CELL = ["segment", "channel"]
DAILY = LiftConfig(period_days=1, smoothing=14, adjust=False)
WARM_UP = 28  # days of spend before the window, for carry-over


@dataclass(frozen=True, slots=True, eq=False)
class ComparedWeeks:
    """What was compared, how far it moved, and why. ``watched``: None where the feeds themselves
    could not be looked at. ``skipped``: a sentence for each part that failed."""

    watched: Watched | None
    windows: Windows
    drift: DriftVerdict
    triage: Triage
    skipped: tuple[str, ...] = ()


NO_ROWS = pd.DataFrame({"channel": pd.Series(dtype=str)})
NO_WINDOWS = Windows(NO_ROWS, NO_ROWS, "The windows could not be compared.")
UNCHECKED = "unchecked"  # the finding that the feeds could not be checked


def compare_weeks(
    frames: Mapping[str, pd.DataFrame],
    *,
    curves: ResponseCurves | None,
    as_of: date,
    config: TriageConfig,
    health: HealthVerdict | None = None,
    learns: bool = True,
) -> ComparedWeeks:
    """Compare the last weeks with those before, and say why they differ.

    Parameters
    ----------
    frames
        ``performance``, ``holdout`` and ``sales`` as known on ``as_of``.
    curves
        The champion's; None where there is none: errors of the forecast cannot be judged then.
    health
        Cells that are paused by it are broken feeds to the triage, too.
    learns
        Whether there is randomized evidence that a model could be trained on.

    Raises
    ------
    Exception
        Where it cannot be told whether the feeds are broken. Any other part that fails is in
        ``skipped``, and the rest is judged without it.
    """
    skipped: list[str] = []
    begin = pd.Timestamp(as_of) - timedelta(days=config.watch.days)
    measured = or_skip(
        skipped,
        "The comparison with measured lifts",
        lambda: measured_of(frames, curves=curves, as_of=as_of, begin=begin),
    )
    seen = watch(frames, as_of=as_of, measured=measured, config=config.watch)
    compared = or_skip(
        skipped,
        "The windows of the drift analysis",
        lambda: windows(frames["performance"], frames["holdout"], as_of=as_of, config=config.drift),
    )
    compared = compared or NO_WINDOWS
    sides = (compared.current, compared.reference)
    moved = or_skip(
        skipped,
        "The drift analysis",
        lambda: drift(*sides, config=config.drift, report=False),
    )
    moved = moved or unjudged(*sides, "the analysis failed.")
    found = or_skip(
        skipped,
        "The search for causes",
        lambda: triage(frames, seen=seen, drift=moved, health=health, learns=learns, config=config),
    )
    found = found or broken_alone(frames, seen=seen, health=health, config=config)
    return ComparedWeeks(seen, compared, moved, found, tuple(skipped))


def not_compared(as_of: date, cells: Sequence[Cell], why: str) -> ComparedWeeks:
    """The look of a day on which the feeds could not be checked: no cell moves.

    Parameters
    ----------
    cells
        Those that have a budget.
    why
        What failed, in one sentence.
    """
    found = Finding(
        Cause.FEED, UNCHECKED, f"The feeds could not be checked. {why}", cells=tuple(cells)
    )
    moved = unjudged(NO_ROWS, NO_ROWS, "the analysis failed.")
    return ComparedWeeks(None, NO_WINDOWS, moved, Triage(as_of, found, (found,)))


def broken_feeds(
    frames: Mapping[str, pd.DataFrame], *, as_of: date, config: TriageConfig
) -> tuple[Finding, ...]:
    """The part of the triage that stops budgets: faults of the feeds, by the same rules and without
    what only explains the other changes. The parameters are as of :func:`compare_weeks`."""
    seen = watch(frames, as_of=as_of, config=config.watch)
    return tuple(faults(frames, seen, config.faults))


def measured_of(
    frames: Mapping[str, pd.DataFrame],
    *,
    curves: ResponseCurves | None,
    as_of: date,
    begin: pd.Timestamp,
) -> pd.DataFrame:
    """One row a day and cell since ``begin``: date, segment, channel, lift, standard_error (money a
    day), predicted (nan without curves of that cell)."""
    holdout = sound_holdout(frames["holdout"], as_of=as_of)
    recent = holdout[(days_of(holdout["date"]) >= begin).to_numpy()] if len(holdout) else holdout
    lifts = weekly_lifts(
        holdout=recent, performance=frames["performance"], as_of=as_of, config=DAILY
    )
    lifts = lifts.rename(columns={"period_start": "date"})[
        ["date", *CELL, "lift", "standard_error"]
    ]
    lifts["date"] = lifts["date"].astype("datetime64[us]")
    if curves is None:
        return lifts.assign(predicted=np.nan)
    predictions = predicted_lifts(frames["performance"], curves=curves, as_of=as_of, begin=begin)
    return predictions.merge(lifts, on=["date", *CELL], how="outer")


def predicted_lifts(
    performance: pd.DataFrame, *, curves: ResponseCurves, as_of: date, begin: pd.Timestamp
) -> pd.DataFrame:
    """Incremental revenue of each day and cell by the curves, at the effective spend of that day:
    date, segment, channel, predicted. A day not known yet is taken to be like the last one."""
    days = pd.date_range(begin - timedelta(days=WARM_UP), pd.Timestamp(as_of) - timedelta(days=1))
    names = pd.MultiIndex.from_tuples([(c.segment, c.channel) for c in curves.cells], names=CELL)
    plain = performance[["date", *CELL]].assign(
        date=days_of(performance["date"]).astype("datetime64[us]"),
        spend=pd.to_numeric(performance["spend"], errors="coerce").astype(float),
    )
    wide = plain.groupby(["date", *CELL])["spend"].sum().unstack(CELL)
    known = (
        wide.reindex(index=days).ffill().reindex(columns=names).fillna(0.0).to_numpy(dtype=float)
    )
    earned = np.stack([curves.mean_revenue(level) for level in _effective(known, curves.carryover)])
    told = pd.DataFrame(earned, index=pd.Index(days, name="date"), columns=names)
    stacked = cast(pd.Series, told.loc[begin:].stack(CELL, future_stack=True))
    long = stacked.rename("predicted").reset_index()
    return long.assign(date=long["date"].astype("datetime64[us]"))


def _effective(daily: Array, carryover: Array) -> list[Array]:
    """Effective spend of each day (geometric adstock), beginning at the first week's mean."""
    level = daily[:7].mean(axis=0)
    made = []
    for spent in daily:
        level = (1.0 - carryover) * spent + carryover * level
        made.append(level)
    return made


def triage_config(rules: Drift) -> TriageConfig:
    """The triage's limits under these settings."""
    return TriageConfig(
        drift=DriftConfig(
            threshold=rules.threshold,
            share=rules.share,
            window_days=rules.window_days,
            max_rows=rules.max_rows,
        ),
        watch=WatchConfig(current_days=rules.window_days // 7 * 7),
    )
