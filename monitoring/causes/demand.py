"""Did demand move, and is it a season, a known event, or neither? Sales against the weeks before.

A season did the same a year before, on the same weekdays. A known event has its name in the
``x_`` columns of sales (a promotion, a holiday), whose usual effect is learned from all days that
are known. What neither explains is a real shift of demand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from monitoring.panel import Watched, days_of, mean_of
from monitoring.response.level_changes import LevelChange, change, change_at

WEEK = 7


@dataclass(frozen=True, slots=True)
class DemandConfig:
    """When demand counts as moved: by ``material`` (relative) and ``z`` standard errors. It is a
    season or an event if that explains at least ``explained`` of the move. A move that nothing
    explains counts from ``unexplained`` on, and from a week on: sales wander by themselves."""

    material: float = 0.05
    unexplained: float = 0.1
    z: float = 4.0
    explained: float = 0.5


@dataclass(frozen=True, slots=True)
class DemandShift:
    """How sales moved, in logs of the level before.

    Attributes
    ----------
    change : of all segments together; None where sales are not known
    before : the same weeks a year before; nan where they are not known; ``before_error`` is its
        standard error
    events : covariate -> the part of the move that its days explain
    left : the change when events are taken out
    by_segment : (S,) moves of each segment, events taken out, and ``before_by_segment`` a year ago
    """

    change: LevelChange | None
    before: float = float("nan")
    before_error: float = float("nan")
    events: dict[str, float] = field(default_factory=dict)
    left: LevelChange | None = None

    def moved(self, config: DemandConfig) -> bool:
        return self.change is not None and _is_move(self.change, config)

    def season(self, config: DemandConfig) -> bool:
        """Whether the year before did the same: same sign, and alike within half of the move."""
        if self.change is None or not np.isfinite(self.before):
            return False
        gap = abs(self.change.size - self.before)
        room = max((1 - config.explained) * abs(self.change.size), 3 * self.change.standard_error)
        enough = abs(self.before) >= config.explained * abs(self.change.size)
        return enough and self.before * self.change.size > 0 and gap <= room

    def unlike_the_year_before(self, config: DemandConfig) -> bool:
        """Whether what the year before did not do, too, is a move by itself; each year has its own
        chance. True where the year before is not known."""
        if self.change is None or not np.isfinite(self.before_error):
            return True
        error = float(np.hypot(self.change.standard_error, self.before_error))
        left = abs(self.change.size - self.before)
        return left >= config.unexplained and left >= config.z * error

    def event(self, config: DemandConfig) -> str:
        """The covariate that explains the move best, or ""."""
        if self.change is None or not self.events:
            return ""
        name = max(self.events, key=lambda n: self.events[n] * np.sign(self.change.size))  # type: ignore[union-attr]
        part = self.events[name] / self.change.size if self.change.size else 0.0
        return name if part >= config.explained else ""


def _is_move(found: LevelChange, config: DemandConfig) -> bool:
    return abs(found.z) >= config.z and abs(found.size) >= config.material


def _noise(series: Array, reference: int) -> Array:
    """The spread of the first ``reference`` entries, at every entry that has a value; NaN
    throughout where none of the first ones has."""
    before = series[:reference]
    before = before[np.isfinite(before)]
    spread = max(float(np.std(before)), 1e-4) if len(before) else np.nan
    return np.where(np.isfinite(series), spread, np.nan)


def demand(seen: Watched, sales: pd.DataFrame | None) -> DemandShift:
    """How sales moved in the current weeks.

    Parameters
    ----------
    seen : the window
    sales : the whole feed as known, for the usual effect of its covariates
    """
    if sales is None or sales.empty or not np.isfinite(seen.sold).any():
        return DemandShift(None)
    level = log_level(seen.sold, seen.reference)
    series = mean_of(level, 1)
    noise = _noise(series, seen.reference)
    found = change(series, noise, reference=seen.reference)
    if found is None:
        return DemandShift(None)
    effects = covariate_effects(sales)
    explained = {
        name: mean_of(_centred(values, seen.reference), 1) * effects[name]
        for name, values in seen.covariates.items()
        if name in effects
    }
    left = series - sum(explained.values(), np.zeros(len(series)))
    calm = _noise(left, seen.reference)
    parts = {
        name: float(np.nanmean(moved[found.start :]) - np.nanmean(moved[: found.start]))
        for name, moved in explained.items()
    }
    before = _year_before(seen, found.start)
    return DemandShift(
        found,
        before.size if before else float("nan"),
        before.standard_error if before else float("nan"),
        parts,
        change(left, calm, reference=seen.reference),
    )


def log_level(values: Array, reference: int) -> Array:
    """Logs over each segment's own mean in the reference, the weekdays' usual pattern taken out;
    (day, segment). What is not positive is nan."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(values > 0, np.log(values), np.nan)
    logs = logs - mean_of(logs[:reference], 0)
    common = mean_of(logs, 1)
    weekday = np.arange(len(values)) % WEEK
    usual = np.array(
        [
            np.nanmean(common[:reference][weekday[:reference] == d])
            if np.isfinite(common[:reference][weekday[:reference] == d]).any()
            else 0.0
            for d in range(WEEK)
        ]
    )
    return np.asarray(logs - usual[weekday][:, None])


def _centred(values: Array, reference: int) -> Array:
    return np.asarray(values - mean_of(values[:reference], 0))


def _year_before(seen: Watched, start: int) -> LevelChange | None:
    """The same move a year before; None where a side of it is not known."""
    series = mean_of(log_level(seen.sold_before, seen.reference), 1)
    before, after = np.isfinite(series[:start]), np.isfinite(series[start:])
    if before.mean() < 0.5 or after.mean() < 0.5:
        return None
    noise = _noise(series, seen.reference)
    return change_at(series, noise, start=start, reference=seen.reference)


def covariate_effects(sales: pd.DataFrame) -> dict[str, float]:
    """What one unit of each ``x_`` column adds to the logarithm of a segment-day's revenue.

    Least squares of day-to-day deviations: each segment's weekdays, and its slow course (four weeks
    around), are taken out of both sides first, so that a trend or a season is no driver.
    """
    names = [c for c in sales.columns if str(c).startswith("x_")]
    if not names:
        return {}
    left = deviations(sales, names)
    if left.empty:
        return {}
    x = left[names].to_numpy(dtype=float)
    varies = x.std(axis=0) > 1e-9
    if not varies.any():
        return {}
    scaled = x[:, varies] / x[:, varies].std(axis=0)
    ridge = np.eye(int(varies.sum())) * 1e-3 * len(left)
    solved = np.linalg.solve(scaled.T @ scaled + ridge, scaled.T @ left["y"].to_numpy(dtype=float))
    kept = [n for n, v in zip(names, varies, strict=True) if v]
    return dict(zip(kept, (solved / x[:, varies].std(axis=0)).tolist(), strict=True))


def deviations(sales: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Segment-days of sales: date, y (log revenue) and the covariates, each without its segment's
    weekday means and its rolling mean of eight weeks around."""
    plain = sales[["segment", *names]].assign(
        date=days_of(sales["date"]), y=pd.to_numeric(sales["revenue"], errors="coerce")
    )
    plain = plain[(plain["y"] > 0).to_numpy() & plain["date"].notna().to_numpy()]
    if plain.empty:  # nothing was ever sold
        return plain[["date", "segment", "y", *names]]
    plain = plain.assign(y=np.log(plain["y"].astype(float)))
    for name in names:
        plain[name] = pd.to_numeric(plain[name], errors="coerce").fillna(0.0)
    plain = plain.sort_values(["segment", "date"], ignore_index=True)
    columns = ["y", *names]
    weekday = plain["date"].dt.dayofweek
    plain[columns] = plain[columns] - plain.groupby(["segment", weekday])[columns].transform("mean")
    slow = plain.groupby("segment")[columns].transform(
        lambda values: values.rolling(8 * WEEK + 1, center=True, min_periods=WEEK).mean()
    )
    plain[columns] = plain[columns] - slow.fillna(0.0)
    return plain[["date", "segment", *columns]]
