"""The slope of measured on foretold incremental revenue, and the limits that judge its changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ALL = "*"  # all channels together


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """When a response counts as changed.

    Attributes
    ----------
    material : least relative change of a channel's response that is worth a training
    claims_z : standard errors by which claims have to leave their path
    least_share : where less of what a platform claims moves with spend, its claims say nothing
    prior_odds : of a change of response against a change of attribution, before lifts are seen (as
        in ``models.breaks``)
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
    """Measured on foretold incremental revenue: the weighted slope through the origin."""

    value: float
    standard_error: float


def slope(lift: Array, noise: Array, foretold: Array) -> Slope:
    """Weighted least squares of ``lift`` on ``foretold`` through the origin; all of one shape.

    Without evidence the slope is 1 with an infinite standard error."""
    known = np.isfinite(lift) & np.isfinite(foretold) & (noise > 0)
    weight = noise[known] ** -2.0
    strength = float((foretold[known] ** 2 * weight).sum())
    if strength <= 0:
        return Slope(1.0, float("inf"))
    value = float((lift[known] * foretold[known] * weight).sum()) / strength
    return Slope(value, strength**-0.5)
