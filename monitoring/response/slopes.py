"""The slope of measured on predicted incremental revenue: before and now, for each channel and each
segment, and the limits that judge its changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from monitoring.panel import Watched

ALL = "*"  # all channels together
Some = slice | list[int]  # all of an axis, or one place of it

MOST_SEGMENTS = 30


@dataclass(frozen=True, slots=True)
class SlopeLimits:
    """When a response counts as changed.

    Attributes
    ----------
    material : least relative change of a channel's response that is worth a training
    claims_z : standard errors by which claims have to leave their path
    least_share : where less of what a platform claims moves with spend, its claims say nothing
    prior_odds : of a change of response against a change of attribution, before lifts are seen (as
        in ``models.response.changepoints``)
    prior_odds_all : the same where all channels changed alike: no two platforms change their way of
        counting on one day
    least_chance : of a change of response, from which it counts as one. Below one half, because a
        training for nothing costs little, and a change that is missed costs money every day
    level : how far a champion's level may be off, as a standard deviation of its ratio to the truth
    jump : standard deviation of relative changes of a response: what the e-detector looks for, and
        what doubtful claims are drawn towards
    run_length : mean number of days between two false alarms of the e-detector
    """

    material: float = 0.2
    claims_z: float = 4.0
    least_share: float = 0.05
    prior_odds: float = 2.0
    prior_odds_all: float = 20.0
    least_chance: float = 0.2
    level: float = 0.3
    jump: float = 0.4
    run_length: float = 2800.0


@dataclass(frozen=True, slots=True)
class Slope:
    """Measured on predicted incremental revenue: the weighted slope through the origin."""

    value: float
    standard_error: float


def slope(lift: Array, noise: Array, predicted: Array) -> Slope:
    """Weighted least squares of ``lift`` on ``predicted`` through the origin; all of one shape.

    Without evidence the slope is 1 with an infinite standard error."""
    known = np.isfinite(lift) & np.isfinite(predicted) & (noise > 0)
    weight = noise[known] ** -2.0
    strength = float((predicted[known] ** 2 * weight).sum())
    if strength <= 0:
        return Slope(1.0, float("inf"))
    value = float((lift[known] * predicted[known] * weight).sum()) / strength
    return Slope(value, strength**-0.5)


def calibration(seen: Watched) -> pd.DataFrame:
    """One row for all, for each channel and each segment (at most 30, those with most evidence).

    Returns
    -------
    DataFrame
        of ("all", "channel", "segment"), name, before and now (slopes; 1 is right, below 1 the
        champion promises too much) with their standard errors (inf without evidence), and z: the
        change in standard errors of the difference.
    """
    parts: list[tuple[str, str, Some, Some]] = [("all", "all", slice(None), slice(None))]
    parts += [("channel", name, slice(None), [c]) for c, name in enumerate(seen.channels)]
    parts += [("segment", name, [s], slice(None)) for s, name in enumerate(seen.segments)]
    rows = []
    for of, name, which, channel in parts:
        lift, noise, said = (
            a[:, which][:, :, channel] for a in (seen.lift, seen.noise, seen.predicted)
        )
        cut = seen.reference
        before = slope(lift[:cut], noise[:cut], said[:cut])
        now = slope(lift[cut:], noise[cut:], said[cut:])
        spread = float(np.hypot(before.standard_error, now.standard_error))
        z = (now.value - before.value) / spread if np.isfinite(spread) else 0.0
        rows.append(
            (of, name, before.value, before.standard_error, now.value, now.standard_error, z)
        )
    columns = ["of", "name", "before", "before_error", "now", "now_error", "z"]
    table = pd.DataFrame(rows, columns=columns)
    segments = table[table["of"] == "segment"].nsmallest(MOST_SEGMENTS, "now_error").index
    return table[(table["of"] != "segment") | table.index.isin(segments)].reset_index(drop=True)
