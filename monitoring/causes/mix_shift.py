"""Did the mix shift: who is reached and who buys, segment by segment, at the same total?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array
from monitoring.causes.demand import log_level
from monitoring.panel import Watched, mean_of
from monitoring.response.level_changes import LevelChange, change, change_at


@dataclass(frozen=True, slots=True)
class MixConfig:
    """A mix has shifted when ``distance`` (total variation: the share of the whole that is now
    elsewhere) is reached, ``z`` standard errors from nothing."""

    distance: float = 0.05
    z: float = 5.0


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the segments of a ``total`` (users, sales), before and since the change, (S,);
    their total variation ``distance``, and the ``change`` along its direction. ``year_before`` is
    the change along it in the same weeks of that year, None where they are not known: segments
    have seasons, and wander, each their own."""

    total: str
    before: Array
    since: Array
    distance: float
    change: LevelChange
    year_before: LevelChange | None = None

    def moved(self, config: MixConfig) -> bool:
        left, error = self.change.size, self.change.standard_error
        if self.year_before is not None:
            left -= self.year_before.size
            error = float(np.hypot(error, self.year_before.standard_error))
        part = abs(left) / max(abs(self.change.size), 1e-12)
        far = self.distance * min(part, 1.0) >= config.distance
        return far and abs(left) >= config.z * error


def mixes(seen: Watched, explained: Array | None = None) -> list[Mix]:
    """The mix of users (both arms of the holdout) and of sales over segments.

    Parameters
    ----------
    explained : (day, segment) logs of sales that known events explain, taken out; None: nothing
    """
    users = mean_of(seen.users, 2)
    sold = seen.sold if explained is None else seen.sold * np.exp(-np.nan_to_num(explained))
    found = (_mix(seen, "users", users), _mix(seen, "sales", sold, before=seen.sold_before))
    return [one for one in found if one is not None]


def _mix(seen: Watched, name: str, totals: Array, *, before: Array | None = None) -> Mix | None:
    usual = mean_of(totals[: seen.reference], 0)
    if len(seen.segments) < 2 or not np.isfinite(usual).all() or usual.sum() <= 0:
        return None
    apart = _apart(totals, seen.reference)
    recent = mean_of(apart[-14:], 0)
    direction = np.where(np.isfinite(recent), recent, 0.0)
    size = float(np.sqrt((direction**2).sum()))
    if size < 1e-6:
        return None
    series, noise = _along(apart, direction / size, seen.reference)
    moved = change(series, noise, reference=seen.reference)
    if moved is None:
        return None
    then = None
    if before is not None:
        series, noise = _along(_apart(before, seen.reference), direction / size, seen.reference)
        then = change_at(series, noise, start=moved.start, reference=seen.reference)
    shares = usual / usual.sum()
    grown = np.exp(np.nan_to_num(mean_of(apart[moved.start :], 0)))
    since = shares * grown / (shares * grown).sum()
    return Mix(name, shares, since, float(0.5 * np.abs(since - shares).sum()), moved, then)


def _apart(totals: Array, reference: int) -> Array:
    """Each segment's level against the average segment: no shift of the whole; (day, segment)."""
    apart = log_level(totals, reference)
    return np.asarray(apart - mean_of(apart, 1)[:, None])


def _along(apart: Array, direction: Array, reference: int) -> tuple[Array, Array]:
    """The days' levels along a direction of unit length, and their spread in the reference; nan on
    days that fewer than half of the segments tell of."""
    known = np.isfinite(apart).sum(axis=1) >= 0.5 * len(direction)
    series = np.where(known, np.nansum(apart * direction, axis=1), np.nan)
    calm = max(float(np.std(series[:reference][known[:reference]])), 1e-3) if known.any() else 0.0
    return series, np.where(known, calm, np.nan)
