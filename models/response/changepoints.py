"""Where a channel's response jumped, or what its platform claims.

Seen from a fit without a jump, residuals before a break lean to one side and after it to the other.
For each channel and each week the odds of a jump there are weighed against none, in closed form: a
level and a jump, both normal, in a linear model of the residuals (Bayes factor; Kass and Raftery
1995, section 4; one change point, Carlin, Gelfand and Smith 1992). A break of the platform's claims
alone is weighed beside it: only randomized lifts tell the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from models.lift.evidence import Breaks
from models.response.hierarchy import Hierarchy, State
from models.response.prior import RETURN


@dataclass(frozen=True, slots=True)
class BreakConfig:
    """``hazard``: prior chance of a response jump per channel and week; ``claims``: of the claims
    against it. ``level`` and ``jump`` are prior standard deviations of logs. ``thrift``: claims of
    neighbouring weeks err alike, so they count for this share of their number. ``surety``: the
    posterior chance from which a break is taken as there."""

    hazard: float = 0.01
    claims: float = 0.5
    level: float = 0.5
    jump: float = 0.5
    thrift: float = 0.25
    surety: float = 0.5
    fewest_weeks: int = 1


def find_breaks(model: Hierarchy, state: State, config: BreakConfig | None = None) -> Breaks:
    """The likeliest break of each channel, if one is likelier than none."""
    config = config or BreakConfig()
    evidence, claims = model.evidence, model.evidence.claims
    channels = len(evidence.channels)
    response, said = np.full(channels, -1, dtype=np.intp), np.full(channels, -1, dtype=np.intp)
    predicted = model.predict(state.cells, state.carryover)
    scale = np.sqrt(evidence.weight) / evidence.noise
    lift = _Rows(
        evidence.channel_of[evidence.cell],
        evidence.last,
        predicted.lift * scale,
        (evidence.lift - predicted.lift) * scale,
    )
    claim = None
    if claims is not None:
        noise = model.claim_noise(state) / np.sqrt(config.thrift)
        earned = predicted.claim_slope[:, RETURN]
        claim = _Rows(
            evidence.channel_of[claims.cell],
            claims.last,
            earned / noise,
            (claims.claimed - predicted.claim) / noise,
        )
    weeks = np.unique(evidence.last if claims is None else claims.last)
    if len(weeks) < 4:
        return Breaks(response, said)
    candidates = weeks[: -config.fewest_weeks]  # a break is after such a row
    for channel in range(channels):
        both = lift.of(channel, candidates)
        alone = claim.of(channel, candidates) if claim is not None else None
        total = both + alone if alone is not None else both
        odds = [np.log(config.hazard) + _bayes_factor(total, config)]
        if alone is not None:
            chance_of = np.log(config.hazard * config.claims)
            odds.append(chance_of + _bayes_factor(alone, config))
        logs = np.stack(odds)
        top = max(float(logs.max()), 0.0)
        chance = np.exp(logs - top)
        if chance.sum() / (chance.sum() + np.exp(-top)) < config.surety:
            continue
        kind = int(np.argmax(chance.sum(axis=1)))
        row = int(candidates[int(np.argmax(chance[kind]))]) + 1
        (response if kind == 0 else said)[channel] = row
    return Breaks(response, said)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Standardized derivatives by the log response and residuals of observed rows."""

    channel: NDArray[np.intp]
    last: NDArray[np.intp]
    slope: Array
    left: Array

    def of(self, channel: int, candidates: NDArray[np.intp]) -> Array:
        """(4, candidates): sums of slope^2 and slope x residual, of all rows and of those that end
        at each candidate or before."""
        mine = self.channel == channel
        order = np.argsort(self.last[mine], kind="stable")
        last = self.last[mine][order]
        slope, left = self.slope[mine][order], self.left[mine][order]
        count = np.searchsorted(last, candidates, side="right")
        squares = np.concatenate([[0.0], np.cumsum(slope**2)])
        pulls = np.concatenate([[0.0], np.cumsum(slope * left)])
        ones = np.ones(len(candidates))
        return np.stack([squares[-1] * ones, pulls[-1] * ones, squares[count], pulls[count]])


def _bayes_factor(sums: Array, config: BreakConfig) -> Array:
    """Log Bayes factor of a jump after each candidate against none, shape (candidates,)."""
    whole, pull, early, early_pull = sums
    level = whole + config.level**-2.0
    none = 0.5 * pull**2 / level
    # eliminate the level from the two normal equations; what is left is the jump's
    jump = early + config.jump**-2.0 - early**2 / level
    lean = early_pull - early * pull / level
    found = none + 0.5 * lean**2 / jump - 0.5 * np.log(jump * config.jump**2)
    return np.asarray(found - none)
