"""Did the mix shift: who is reached and who buys, segment by segment, at the same total?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.changes import Change, change
from monitoring.demand import log_level
from monitoring.watched import Watched, mean_of

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MixConfig:
    """A mix has shifted when ``distance`` (total variation: the share of the whole that is now
    elsewhere) is reached, ``z`` standard errors from nothing."""

    distance: float = 0.05
    z: float = 5.0


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the segments of a ``total`` (users, sales), before and since the change, (S,);
    their total variation ``distance``, and the ``change`` along its direction."""

    total: str
    before: Array
    since: Array
    distance: float
    change: Change

    def moved(self, config: MixConfig) -> bool:
        return self.distance >= config.distance and abs(self.change.z) >= config.z


def mixes(seen: Watched, explained: Array | None = None) -> list[Mix]:
    """The mix of users (both arms of the holdout) and of sales over segments.

    Parameters
    ----------
    explained : (day, segment) logs of sales that known events explain, taken out; None: nothing
    """
    users = mean_of(seen.users, 2)
    sold = seen.sold if explained is None else seen.sold * np.exp(-np.nan_to_num(explained))
    found = (_mix(seen, "users", users), _mix(seen, "sales", sold))
    return [one for one in found if one is not None]


def _mix(seen: Watched, name: str, totals: Array) -> Mix | None:
    usual = mean_of(totals[: seen.reference], 0)
    if len(seen.segments) < 2 or not np.isfinite(usual).all() or usual.sum() <= 0:
        return None
    apart = log_level(totals, seen.reference)
    apart = apart - mean_of(apart, 1)[:, None]  # against the average segment: no shift of the whole
    recent = mean_of(apart[-14:], 0)
    direction = np.where(np.isfinite(recent), recent, 0.0)
    size = float(np.sqrt((direction**2).sum()))
    if size < 1e-6:
        return None
    series = np.nansum(np.where(np.isfinite(apart), apart, 0.0) * direction / size, axis=1)
    known = np.isfinite(apart).sum(axis=1) >= 0.5 * len(seen.segments)
    series = np.where(known, series, np.nan)
    calm = max(float(np.nanstd(series[: seen.reference])), 1e-3)
    moved = change(series, np.where(known, calm, np.nan), reference=seen.reference)
    if moved is None:
        return None
    before = usual / usual.sum()
    grown = np.exp(np.nan_to_num(mean_of(apart[moved.start :], 0)))
    since = before * grown / (before * grown).sum()
    return Mix(name, before, since, float(0.5 * np.abs(since - before).sum()), moved)
