"""Comparing the last weeks with those before: whether they differ, and why. Called by the monitor's
task, the backtest and the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.adapters.settings import Drift
from liftloop.core.arms.checks import sound_holdout
from liftloop.core.curves import Array, ResponseCurves
from models.lift import LiftConfig, weekly_lifts
from monitoring.causes import Finding, Triage
from monitoring.drift import DriftConfig, drift
from monitoring.feed_faults import faults
from monitoring.triage import TriageConfig, triage
from monitoring.verdicts import DriftVerdict, HealthVerdict
from monitoring.watched import WatchConfig, Watched, days_of, watch
from monitoring.windows import Windows, windows

CELL = ["segment", "channel"]
DAILY = LiftConfig(period_days=1, smoothing=14, adjust=False)
WARM_UP = 28  # days of spend before the window, for carry-over


@dataclass(frozen=True, slots=True, eq=False)
class ComparedWeeks:
    """What was compared, how far it moved, and why."""

    watched: Watched
    windows: Windows
    drift: DriftVerdict
    triage: Triage


def compare_weeks(
    frames: Mapping[str, pd.DataFrame],
    *,
    curves: ResponseCurves | None,
    as_of: date,
    config: TriageConfig,
    health: HealthVerdict | None = None,
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
    """
    begin = pd.Timestamp(as_of) - timedelta(days=config.watch.days)
    measured = measured_of(frames, curves=curves, as_of=as_of, begin=begin)
    seen = watch(frames, as_of=as_of, measured=measured, config=config.watch)
    compared = windows(frames["performance"], frames["holdout"], as_of=as_of, config=config.drift)
    moved = drift(compared.current, compared.reference, config=config.drift, report=False)
    found = triage(frames, seen=seen, drift=moved, health=health, config=config)
    return ComparedWeeks(seen, compared, moved, found)


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
    day), foretold (nan without curves of that cell)."""
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
        return lifts.assign(foretold=np.nan)
    told = foretold(frames["performance"], curves=curves, as_of=as_of, begin=begin)
    return told.merge(lifts, on=["date", *CELL], how="outer")


def foretold(
    performance: pd.DataFrame, *, curves: ResponseCurves, as_of: date, begin: pd.Timestamp
) -> pd.DataFrame:
    """Incremental revenue of each day and cell by the curves, at the effective spend of that day:
    date, segment, channel, foretold. A day not known yet is taken to be like the last one."""
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
    long = told.loc[begin:].stack(CELL, future_stack=True).rename("foretold").reset_index()
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
