"""Curves that may be null or harmful: whether a channel, or a cell, earns anything at all.

The pooled model (:mod:`models.response.hierarchy`) has log-normal returns: whatever the evidence,
every draw earns something, and an interval above 0 would be the prior's shape and no evidence. Here
each channel has a second account of its randomized evidence: its average return is next to 0, or
below. How likely that account is follows from the evidence (the odds of two marginal likelihoods;
Kass and Raftery 1995; the prior is a spike and slab, Mitchell and Beauchamp 1988), and as large a
share of the joint draws is drawn from it. A cell whose own evidence contradicts a channel that
works is treated likewise.

Where response is real the second account has next to no weight, and no draw changes. In a draw
where a cell's return is below 0 its loss grows with its spend, so that the mean of all draws still
has diminishing returns.

The prior share is what published tests show: of large-scale advertising experiments a sizeable part
cannot be told from nothing (Lewis and Rao 2015; Blake, Nosko and Tadelis 2015 for search).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from models.response.hierarchy import Hierarchy, State
from models.response.linear_returns import LinearReturns, linear_returns, usual_spend

CLEAR = 3.0  # standard errors above 0
WIDE = np.linspace(-4.0, 4.0, 65)
NEAR = np.linspace(-6.0, 6.0, 49)
LEAST_LIKELY = 1e-6  # a mean that is less likely has no say
STRAIGHT = 1e6  # times the usual spend: a curve that saturates so late is a straight line


@dataclass(frozen=True, slots=True)
class SignedConfig:
    """Returns are revenue per unit of spend.

    Attributes
    ----------
    null_share, harm_share
        Prior probabilities that a channel earns next to nothing, and that it does harm.
    cell_share
        Prior probability that a cell of a channel that works has a return around 0.
    null_scale, scale
        Standard deviations of a channel's mean return around 0, of the two (of harm: below it).
    cell_scale
        Standard deviation of cells around their channel's mean where that is 0.
    own
        The same as a share of the channel's mean.
    center, center_sd, channel_sd
        A channel that works: the log of its mean return is normal around a centre, with sd
        ``channel_sd``; the centre is normal itself, and learned from the other channels.
    least
        A probability below this changes no draw of a single cell.
    """

    null_share: float = 0.2
    harm_share: float = 0.1
    cell_share: float = 0.02
    null_scale: float = 0.02
    scale: float = 1.0
    cell_scale: float = 0.08
    own: float = 0.45
    center: float = -0.35
    center_sd: float = 2.0
    channel_sd: float = 0.9
    least: float = 0.1


# A channel that rests on claims alone is as likely to do nothing; harm is believed of a test only.
UNTESTED = SignedConfig(harm_share=0.02, scale=0.3)


@dataclass(frozen=True, slots=True, eq=False)
class _Account:
    """One account of a channel: its mean return on a grid, with log prior and log likelihood."""

    mean: Array
    log_prior: Array
    log_likelihood: Array

    @property
    def log_evidence(self) -> float:
        return float(np.logaddexp.reduce(self.log_prior + self.log_likelihood))

    @property
    def posterior(self) -> Array:
        """Probabilities on the grid."""
        logs = self.log_prior + self.log_likelihood
        odds = np.exp(logs - logs.max())
        return np.asarray(odds / odds.sum())


def with_signed_returns(
    curves: SaturatingCurves,
    model: Hierarchy,
    state: State,
    *,
    seed: int = 0,
    config: SignedConfig | None = None,
) -> tuple[SaturatingCurves, dict[str, float]]:
    """``curves`` with as many draws of null or harmful returns as the evidence deserves.

    Parameters
    ----------
    curves
        Joint draws for the cells of ``model``'s evidence; not changed.
    model, state
        The evidence, and the mode whose curves' shapes it is read with.

    Returns
    -------
    The curves, and by channel (``null_CHANNEL``) the probability that it earns nothing or harms.
    """
    config = config or SignedConfig()
    rng = np.random.default_rng(seed)
    spend = usual_spend(model) * model.evidence.size
    earned = curves.draw_revenue(spend) / spend
    channels = linear_returns(model, state)
    straight = linear_returns(model, state, straight=True)
    clear = _Clear.of(channels)
    m, k = curves.marginal_at_zero.copy(), curves.half_saturation.copy()
    bend = None if curves.bend is None else curves.bend.copy()
    draws = len(m)
    about = {}
    changed = np.zeros(m.shape, dtype=bool)
    returns = np.zeros(m.shape)
    for number, channel in enumerate(channels):
        known = bool(channel.precision.any()) or len(channel.tests) > 0
        rules = config if known or not model.evidence.rests_on_claims else UNTESTED
        null = _null(straight[number], rules)
        slab = _works(channel, *clear.besides(number, rules), rules)
        prior = rules.null_share + rules.harm_share
        odds = np.log(prior / (1.0 - prior)) + null.log_evidence - slab.log_evidence
        probability = float(1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50))))
        about[f"null_{model.evidence.channels[number]}"] = probability
        chosen = rng.permutation(draws)[: round(probability * draws)]
        means = rng.choice(null.mean, size=len(chosen), p=null.posterior)
        for draw, mean in zip(chosen, means, strict=True):
            spread = _null_spread(mean, rules)
            returns[draw, channel.cells] = straight[number].draw(float(mean), spread, rng)
            changed[draw, channel.cells] = True
        if len(chosen) < draws:
            rest = np.setdiff1d(np.arange(draws), chosen)
            for column, some, drawn in _single_cells(channel, slab, rest, rng, rules):
                returns[some, column] = drawn
                changed[some, column] = True
        if channel.by_tests:
            _as_tested(channel, slab, m, spend, earned, rules)
    if not changed.any() and (m == curves.marginal_at_zero).all():
        return curves, about
    below = changed & (returns < 0)
    above = changed & ~below & (earned > 0)
    scaled = curves.marginal_at_zero * returns / np.where(earned > 0, earned, 1.0)
    m[above] = scaled[above]
    m[below] = returns[below]
    k[below] = np.broadcast_to(STRAIGHT * spend, m.shape)[below]
    if bend is not None:
        bend[below] = 1.0
    return replace(curves, marginal_at_zero=m, half_saturation=k, bend=bend), about


def _as_tested(
    channel: LinearReturns,
    works: _Account,
    m: Array,
    spend: Array,
    earned: Array,
    config: SignedConfig,
) -> None:
    """Put the return of a channel's money in the draws where the tests say it is; changes ``m`` in
    place.

    Curves are drawn from a normal posterior of logarithms. Lifts are many and hold it; of a few
    tests with wide errors the true posterior is far from normal there, and is exact on a grid here.
    Every draw keeps its rank, its shapes and how its cells differ.
    """
    cells = channel.cells
    weights = spend[cells] / spend[cells].sum()
    level = earned[:, cells] @ weights
    rank = np.argsort(np.argsort(level, kind="stable"), kind="stable")
    wanted = _returned(channel, works, weights, (rank + 0.5) / len(rank), config)
    m[:, cells] *= (wanted / np.maximum(level, 1e-300))[:, None]


def _returned(
    channel: LinearReturns, works: _Account, weights: Array, shares: Array, config: SignedConfig
) -> Array:
    """Quantiles at ``shares`` of what the cells that there are return together, above 0: their
    own tests say more of it than of the mean of all cells that there might be."""
    likely = works.posterior > LEAST_LIKELY
    odds = works.posterior[likely] / works.posterior[likely].sum()
    found = [channel.spread_of(weights, mean, config.own * mean) for mean in works.mean[likely]]
    middle, sd = np.array([one[0] for one in found]), np.sqrt([one[1] for one in found])
    low, high = float((middle - 5 * sd).min()), float((middle + 5 * sd).max())
    grid = np.geomspace(max(low, 1e-3 * high), high, 400)
    below, above = ndtr(-middle / sd), ndtr((grid[:, None] - middle) / sd)
    reached = ((above - below) / np.maximum(1.0 - below, 1e-12)) @ odds
    reached, places = np.unique(reached, return_index=True)
    return np.asarray(np.exp(np.interp(shares, reached, np.log(grid[places]))))


@dataclass(frozen=True, slots=True, eq=False)
class _Clear:
    """Log mean returns of the channels whose evidence is clearly above 0; nan for the others."""

    logs: Array

    @classmethod
    def of(cls, channels: tuple[LinearReturns, ...]) -> _Clear:
        logs = np.full(len(channels), np.nan)
        for number, channel in enumerate(channels):
            mean, error = channel.common()
            if mean > CLEAR * error:
                logs[number] = np.log(mean)
        return cls(logs)

    def besides(self, number: int, config: SignedConfig) -> tuple[float, float]:
        """Mean and sd of the log return of a channel that works, given the others (normal-normal
        with known variances)."""
        logs = np.delete(self.logs, number)
        logs = logs[np.isfinite(logs)]
        precision = config.center_sd**-2 + len(logs) / config.channel_sd**2
        mean = (config.center / config.center_sd**2 + logs.sum() / config.channel_sd**2) / precision
        return float(mean), float(np.sqrt(config.channel_sd**2 + 1.0 / precision))


def _null_spread(mean: float, config: SignedConfig) -> float:
    return float(np.hypot(config.cell_scale, config.own * mean))


def _null(channel: LinearReturns, config: SignedConfig) -> _Account:
    """A mean return next to 0, or below."""
    middle, error = channel.common()
    pulled = 1.0 / (1.0 + (error / config.scale) ** 2) if np.isfinite(error) else 0.0
    near = pulled * middle if pulled else 0.0
    fine = near + np.hypot(error if pulled else config.scale, config.cell_scale) * NEAR
    grid = np.unique(np.concatenate([config.scale * WIDE, config.null_scale * WIDE, fine]))
    likelihood = [channel.solve(mean, _null_spread(mean, config))[1] for mean in grid]
    shares = np.array([config.null_share, config.harm_share])
    nothing, harm = np.log(shares / shares.sum())
    nothing = nothing + _spaced(-0.5 * (grid / config.null_scale) ** 2, grid, config.null_scale)
    harm = harm + np.log(2.0) + _spaced(-0.5 * (grid / config.scale) ** 2, grid, config.scale)
    harm = np.where(grid < 0, harm, -np.inf)
    return _Account(grid, np.logaddexp(nothing, harm), np.array(likelihood))


def _works(channel: LinearReturns, center: float, sd: float, config: SignedConfig) -> _Account:
    """A mean return above 0, log-normal."""
    middle, error = channel.common()
    logs = center + sd * WIDE
    if middle > 0 and error < middle:
        logs = np.concatenate([logs, np.log(middle) + np.hypot(error / middle, 0.05) * NEAR])
    logs = np.unique(logs)
    mean = np.exp(logs)
    log_prior = -0.5 * ((logs - center) / sd) ** 2
    likelihood = [channel.log_likelihood_above(value, config.own * value) for value in mean]
    return _Account(mean, _spaced(log_prior, logs, sd), np.array(likelihood))


def _spaced(log_density: Array, nodes: Array, scale: float) -> Array:
    """Log prior probabilities of uneven nodes (trapezoid rule) of a normal with sd ``scale``."""
    return np.asarray(log_density + np.log(np.gradient(nodes) / scale) - 0.5 * np.log(2 * np.pi))


def _single_cells(
    channel: LinearReturns,
    works: _Account,
    draws: NDArray[np.intp],
    rng: np.random.Generator,
    config: SignedConfig,
) -> Iterator[tuple[int, NDArray[np.intp], Array]]:
    """Cells whose own evidence lies far below their channel, which works: in some of ``draws``
    their return is around 0. Each as its column, these draws, and its return in them."""
    level = float(works.posterior @ works.mean)
    own = (channel.loads != 0).sum(axis=1) == 1  # tests of one cell alone
    precision = channel.precision + (channel.loads[own] ** 2).sum(axis=0)
    moment = channel.moment + channel.gains[own] @ channel.loads[own]
    with np.errstate(divide="ignore", invalid="ignore"):
        seen, variance = moment / precision, 1.0 / precision
    below = (precision > 0) & (seen < level)
    for place in np.flatnonzero(below):
        narrow = variance[place] + (config.own * level) ** 2
        wide = variance[place] + config.scale**2
        odds = np.log(config.cell_share / (1 - config.cell_share))
        odds += 0.5 * (np.log(narrow / wide) + (seen[place] - level) ** 2 / narrow)
        odds -= 0.5 * seen[place] ** 2 / wide
        # a cell that works earns something: what of the normal lies above 0, with and without its
        # own evidence
        sd = config.own * level
        held = precision[place] + sd**-2
        kept = log_ndtr((moment[place] + level / sd**2) / np.sqrt(held))
        odds -= float(kept - log_ndtr(level / sd))
        probability = 1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50)))
        if probability < config.least:
            continue
        chosen = rng.permutation(draws)[: round(float(probability) * len(draws))]
        held = precision[place] + config.scale**-2
        drawn = moment[place] / held + rng.standard_normal(len(chosen)) / np.sqrt(held)
        yield int(channel.cells[place]), chosen, drawn
