"""Drivers that explain sales in one window and no other: named, so that nobody builds on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from monitoring.causes.demand import deviations

WINDOW_DAYS = 56
FEWEST_DAYS = 21


@dataclass(frozen=True, slots=True)
class Driver:
    """A covariate's slope on the logarithm of sales, inside the current window and outside it, with
    corrected p-values. ``spurious``: it explains sales inside, and outside it does not, or with the
    other sign; ``unchecked``: outside it never varied."""

    name: str
    inside: float
    outside: float
    p_inside: float
    p_outside: float
    spurious: bool
    unchecked: bool = False

    @property
    def sentence(self) -> str:
        if self.unchecked:
            return (
                f"{self.name} goes with sales in the last weeks and never varied before: unproven."
            )
        return (
            f"{self.name} explains sales in the last weeks ({self.inside:+z.2f} a unit) and not "
            f"before ({self.outside:+z.2f}): likely a coincidence."
        )


def drivers(
    sales: pd.DataFrame | None, *, as_of: date, level: float = 0.01, window: int = WINDOW_DAYS
) -> list[Driver]:
    """Each covariate that seems to drive sales in the last ``window`` days, checked on the days
    before.

    Days are the unit (segments share them), so that many segments make no false certainty; p-values
    are corrected for the number of covariates and windows (Holm 1979).
    """
    names = [] if sales is None else [c for c in sales.columns if str(c).startswith("x_")]
    if sales is None or not names or sales.empty:
        return []
    left = deviations(sales, names)
    days = left.groupby("date")[["y", *names]].mean()
    current = days.index >= pd.Timestamp(as_of) - timedelta(days=window)
    pairs = [(_slope(days[current], n), _slope(days[~current], n)) for n in names]
    inside = _holm([one[1] for one, _ in pairs])
    outside = _holm([other[1] for _, other in pairs])
    made = []
    for name, (one, other), p_in, p_out in zip(names, pairs, inside, outside, strict=True):
        if not p_in < level:
            continue
        never = not np.isfinite(other[0])
        # unlike outside: not there, or the other way, and the two slopes differ by themselves
        gap = abs(one[0] - other[0]) / np.hypot(one[2], other[2]) if not never else 0.0
        wrong = not never and gap > 3 and (p_out >= 0.05 or one[0] * other[0] < 0)
        made.append(Driver(name, one[0], other[0], p_in, p_out, wrong, never))
    return made


def _slope(days: pd.DataFrame, name: str) -> tuple[float, float, float]:
    """Slope, p-value and standard error of sales on a covariate; nan and 1 where it is constant."""
    from scipy import stats

    x, y = days[name].to_numpy(dtype=float), days["y"].to_numpy(dtype=float)
    if len(days) < FEWEST_DAYS or x.std() < 1e-9:
        return float("nan"), 1.0, float("nan")
    found = stats.linregress(x, y)
    left = y - found.slope * x
    kept = float(np.clip(np.corrcoef(left[1:], left[:-1])[0, 1], 0, 0.8))
    error = float(found.stderr) * float(np.sqrt((1 + kept) / (1 - kept)))
    p = 2 * stats.t.sf(abs(found.slope) / max(error, 1e-12), len(days) - 2)
    return float(found.slope), float(p), error


def _holm(values: list[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    order = np.argsort(values)
    made, top = [1.0] * len(values), 0.0
    for place, index in enumerate(order):
        top = max(top, min(1.0, values[index] * (len(values) - place)))
        made[index] = top
    return made
