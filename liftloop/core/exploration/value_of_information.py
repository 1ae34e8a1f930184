"""What an observation is worth: how much better budgets it lets us choose later.

Near a plan the revenue of moving money by ``z`` is ``m'z - z'Hz / 2``: m the marginal returns, H
the curvature of the mean curves (diagonal). The best move that keeps the total and the sums of
groups at their bounds is ``Pm``, with P the inverse of H inside that subspace, and earns
``m'Pm / 2``. An observation changes what we believe of m; on average, before it is seen, that is
worth

    1/2 trace(P V),    V = the variance of the marginal returns that the observation takes away,

the value of sample information to second order. V comes from the joint posterior draws by linear
regression of what matters on what would be observed (Strong, Oakley, Brennan and Breeze 2015,
"Estimating the expected value of sample information using the probabilistic sensitivity analysis
sample"; linear-Gaussian, as Heath et al. 2020, "Calculating the expected value of sample
information in practice", section 2.4).

A few hundred draws of many cells show chance correlations, which would promise lessons that cells
cannot teach. So cells learn from cells of their own channel alone (as the ensemble Kalman filter is
localized; Houtekamer and Mitchell 2001), and there their correlations are shrunk by the intensity
of Schaefer and Strimmer (2005, equation 10, target "no correlation").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array, Index
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.policy import Cell

NUDGE = 0.05  # of a cell's spend: the width of its differences
LEAST_BEND = 0.01  # doubling a cell's spend changes its marginal return by at least this share
NODES = 6  # cycles at which the value is computed; between them it is interpolated


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What is believed near a plan, for the cells of the curves.

    Attributes
    ----------
    level, marginal
        Centred draws of revenue a day and of the marginal return at the plan, divided by the root
        of n_draws - 1, so that products are covariances; shape (n_draws, n_cells).
    mean_marginal, curvature
        Of the mean curves, shape (n_cells,); the curvature is H's diagonal, > 0.
    """

    level: Array
    marginal: Array
    mean_marginal: Array
    curvature: Array


def centred(draws: Array) -> Array:
    """Draws (n_draws, ...) less their mean, over the root of n_draws - 1."""
    return np.asarray((draws - draws.mean(axis=0)) / np.sqrt(max(len(draws) - 1, 1)))


def outlook(curves: ResponseCurves, spend: Array) -> Outlook:
    """What is believed near ``spend``, shape (n_cells,), account currency a day.

    The curvature is at least what keeps later moves inside what the second order can describe:
    learning a marginal return by one standard deviation moves a cell by at most its own budget, or
    by a quarter of the average one where that is more.
    """
    average = max(float(spend.mean()), 1e-300)
    width = NUDGE * np.maximum(spend, 0.05 * average)
    middle = np.maximum(spend, width)
    below, here, above = (curves.draw_revenue(middle + side * width) for side in (-1.0, 0.0, 1.0))
    slope = (above - below) / (2.0 * width)
    bend = -(above - 2.0 * here + below).mean(axis=0) / width**2
    marginal = centred(slope)
    spread = np.sqrt((marginal**2).sum(axis=0))
    mean = curves.mean_marginal(spend)
    reach = np.maximum(middle, 0.25 * average)
    least = np.maximum(spread, LEAST_BEND * np.abs(mean)) / reach
    curvature = np.maximum(np.maximum(bend, least), 1e-300)
    level = here if bool((middle == spend).all()) else curves.draw_revenue(spend)
    return Outlook(centred(level), marginal, mean, curvature)


@dataclass(frozen=True, slots=True, eq=False)
class Reoptimization:
    """P, the inverse of the curvature inside the subspace in which budgets can move.

    ``inverse`` (n_cells,) is 1 / curvature, 0 for a cell that cannot move; ``lean`` (n_rules,
    n_cells) and ``joint`` (n_rules, n_rules) take out what would change a sum.
    """

    inverse: Array
    lean: Array
    joint: Array

    @classmethod
    def of(cls, *, curvature: Array, free: NDArray[np.bool_], sums: Array) -> Reoptimization:
        """``sums`` (n_rules, n_cells): the rows whose sums are kept, the total's among them."""
        inverse = np.where(free, 1.0 / curvature, 0.0)
        lean = sums * inverse
        joint = np.asarray(np.linalg.pinv(lean @ sums.T, hermitian=True), dtype=np.float64)
        return cls(inverse, lean, joint)

    def block(self, cells: Index) -> Array:
        """P among ``cells``, shape (n, n)."""
        lean = self.lean[:, cells]
        return np.asarray(np.diag(self.inverse[cells]) - lean.T @ self.joint @ lean)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The cells of one channel, which learn from each other.

    ``cells`` (n,) are their places in the curves; ``level`` and ``marginal`` (n_draws, n) as in
    :class:`Outlook`; ``noise`` (n,) is the standard error of one cycle's measured revenue a day,
    infinite where there is no holdout; ``moves`` (n, n) is P; ``taper`` (n, n) multiplies
    covariances between cells. Cells that the plan leaves at nothing have no part in P: ``gap`` (n,)
    is what their marginal return lacks to the price of money, ``alone`` (n,) 1 / curvature there,
    0 for all other cells.
    """

    cells: Index
    level: Array
    marginal: Array
    noise: Array
    moves: Array
    taper: Array
    gap: Array
    alone: Array

    def after(self, cycles: int, *, first: Array) -> RemainingUncertainty:
        """What is known after ``cycles`` >= 1 cycles of holdouts at the plan, the first of them at
        the levels ``first`` (n_draws, n)."""
        seen = np.flatnonzero(np.isfinite(self.noise))
        variance = self.noise[seen] ** 2
        if cycles == 1:
            return RemainingUncertainty.of(self, first[:, seen], seen, variance)
        return RemainingUncertainty.of(
            self,
            np.concatenate([first[:, seen], self.level[:, seen]], axis=1),
            np.concatenate([seen, seen]),
            np.concatenate([variance, variance / (cycles - 1)]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class RemainingUncertainty:
    """What is left to learn in a block after observations.

    ``seen`` (n_draws, n_seen) are the observed quantities, of the cells ``where``; ``factor`` is
    the Cholesky factor of their covariance with its noise.
    """

    block: Block
    seen: Array
    where: Index
    factor: tuple[Array, bool] | None

    @classmethod
    def of(cls, block: Block, seen: Array, where: Index, variance: Array) -> RemainingUncertainty:
        if len(where) == 0:
            return cls(block, seen, where, None)
        from scipy.linalg import cho_factor

        joint = block.taper[np.ix_(where, where)] * (seen.T @ seen) + np.diag(variance)
        lower, is_lower = cho_factor(joint, lower=True)
        return cls(block, seen, where, (np.asarray(lower), bool(is_lower)))

    def told(self, quantity: Array) -> Array:
        """Covariance (n, n_seen), before, of a quantity of every cell with what was observed."""
        return np.asarray(self.block.taper[:, self.where] * (quantity.T @ self.seen))

    def solve(self, right: Array) -> Array:
        """The inverse of the observations' covariance times ``right`` (n_seen, ...)."""
        from scipy.linalg import cho_solve

        return right if self.factor is None else np.asarray(cho_solve(self.factor, right))


@dataclass(frozen=True, slots=True, eq=False)
class Dormant:
    """Cells that the plan leaves at nothing: ``gap`` and ``alone`` (n_cells,) of all cells, as in
    :class:`Block`."""

    gap: Array
    alone: Array


def blocks(
    cells: Sequence[Cell],
    *,
    considered: Index,
    view: Outlook,
    noise: Array,
    moves: Reoptimization,
    dormant: Dormant | None = None,
) -> list[Block]:
    """The ``considered`` cells by channel, in order. ``noise`` (n_cells,) of all cells, as in
    :class:`Block`; without ``dormant`` no cell is at nothing."""
    nothing = np.zeros(len(cells))
    gap, alone = (nothing, nothing) if dormant is None else (dormant.gap, dormant.alone)
    channel = np.array([cells[int(i)].channel for i in considered])
    found = []
    for name in sorted(set(channel.tolist())):
        inside = considered[channel == name]
        level, marginal = view.level[:, inside], view.marginal[:, inside]
        kept = 1.0 - _shrinkage(level, marginal)
        taper = np.full((len(inside), len(inside)), kept)
        np.fill_diagonal(taper, 1.0)
        found.append(
            Block(
                inside,
                level,
                marginal,
                noise[inside],
                moves.block(inside),
                taper,
                gap[inside],
                alone[inside],
            )
        )
    return found


def _shrinkage(*quantities: Array) -> float:
    """How far correlations between cells are shrunk to none, in [0, 1]: what chance explains of
    their squares."""
    chance = total = 0.0
    for draws in quantities:
        size = np.sqrt((draws**2).sum(axis=0))
        known = draws[:, size > 0] / size[size > 0]
        between = (known.T @ known)[~np.eye(known.shape[1], dtype=bool)]
        chance += float(((1.0 - between**2) ** 2).sum()) / max(len(draws) - 1, 1)
        total += float((between**2).sum())
    return float(np.clip(chance / total, 0.0, 1.0)) if total > 0 else 0.0


def largest_cells(cells: Sequence[Cell], spend: Array, *, a_channel: int) -> Index:
    """The places of the ``a_channel`` cells with the most ``spend`` (n_cells,) of each channel, of
    those that spend anything, in order."""
    kept: list[int] = []
    for name in sorted({cell.channel for cell in cells}):
        members = [n for n, cell in enumerate(cells) if cell.channel == name and spend[n] > 0]
        kept += sorted(members, key=lambda n: (-spend[n], n))[:a_channel]
    return np.array(sorted(kept), dtype=np.intp)


def cycles_of(count: int, *, first: int = 1) -> Index:
    """The cycles, ``first`` to ``count``, after which the value is computed."""
    if count < first:
        return np.zeros(0, dtype=np.intp)
    if count - first < NODES:
        return np.arange(first, count + 1, dtype=np.intp)
    spread = np.geomspace(first, count, NODES)
    return np.unique(np.round(spread).astype(np.intp))


def summed(values: Array, nodes: Index) -> Array:
    """Sum over all cycles from the first node to the last of values (n_nodes, ...) at the nodes;
    between them straight lines in 1 / cycle, because what is brought forward fades like that."""
    every = np.arange(nodes[0], nodes[-1] + 1)
    right = np.clip(np.searchsorted(nodes, every), 1, max(len(nodes) - 1, 1))
    if len(nodes) == 1:
        return np.asarray(values[0])
    left = right - 1
    share = (1 / nodes[left] - 1 / every) / (1 / nodes[left] - 1 / nodes[right])
    weight = np.zeros(len(nodes))
    np.add.at(weight, left, 1.0 - share)
    np.add.at(weight, right, share)
    return np.asarray(np.tensordot(weight, values, axes=1))


def option(variance: Array, gap: Array) -> Array:
    """Half the mean square of what a normal deviation of this ``variance`` has beyond ``gap``: the
    use of learning about a cell at nothing, which acts only on good news.

    E[max(d - gap, 0)^2] / 2 = ((v + gap^2) Phi(-gap / s) - gap s phi(gap / s)) / 2, s = sqrt(v).
    """
    from scipy import stats

    s = np.sqrt(np.maximum(variance, 1e-300))
    tail = stats.norm.sf(gap / s)
    return np.asarray(0.5 * ((s**2 + gap**2) * tail - gap * s * stats.norm.pdf(gap / s)))


def worth_of_moving(block: Block, *, first: Array, tried: Array, cycles: int) -> Array:
    """What observing a cell at another spend in the next cycle adds to what is learned anyway.

    Each cell is tried alone: its first observation at ``first`` makes room for one at ``tried``, a
    change of rank two of what is known after every later cycle. Holdouts go on at the plan, so what
    an excursion brings forward fades by itself.

    Parameters
    ----------
    first
        Centred draws of what the next cycle's holdouts measure, shape (n_draws, n).
    tried
        The same, if a cell moved; shape (n_tries, n_draws, n).
    cycles
        How many later cycles can use the answer; 0 makes it worthless.

    Returns
    -------
    Shape (n_tries, n): revenue a day, summed over the later cycles; 0 for a cell without holdout.
    """
    n, tries = len(block.cells), len(tried)
    dormant = block.alone > 0
    seen = np.isfinite(block.noise)
    nodes = cycles_of(cycles)
    if len(nodes) == 0 or not seen.any():
        return np.zeros((tries, n))
    noise = np.where(seen, block.noise, 1.0) ** 2
    # the observations that stay, and after them all that may be observed instead
    every = np.concatenate([first, *tried], axis=1)
    ours = np.tile(np.arange(n), tries + 1)
    taught = block.taper[:, ours] * (block.marginal.T @ every)
    spread = (every**2).sum(axis=0)
    together = (every * np.tile(first, (1, tries + 1))).sum(axis=0)
    values = np.empty((len(nodes), tries, n))
    for place, cycle in enumerate(nodes):
        known = block.after(int(cycle), first=first)
        heard = block.taper[known.where][:, ours] * (known.seen.T @ every)
        explained = known.solve(heard)
        left = taught - known.told(block.marginal) @ explained
        pull = block.moves @ left
        variance = (spread - (heard * explained).sum(axis=0)).reshape(tries + 1, n)
        stays = np.tile(explained[:, :n], (1, tries + 1))
        shared = (together - (heard * stays).sum(axis=0)).reshape(tries + 1, n)[1:]
        earned = (left * pull).sum(axis=0).reshape(tries + 1, n)
        both = (left * np.tile(pull[:, :n], (1, tries + 1))).sum(axis=0).reshape(tries + 1, n)[1:]
        # 1/2 trace of [[new, shared], [shared, old]]^-1 times the same of what is earned
        new, old = variance[1:] + noise, variance[0] - noise
        determinant = new * old - shared**2
        top = old * earned[1:] - 2.0 * shared * both + new * earned[0]
        determinant = np.where(determinant < 0, determinant, -1e-300)
        values[place] = 0.5 * top / determinant
        if dormant.any():
            own = np.einsum("iki->ki", left.reshape(n, tries + 1, n))
            more = old * own[1:] ** 2 - 2.0 * shared * own[1:] * own[0] + new * own[0] ** 2
            told = known.told(block.marginal)
            anyway = (told * known.solve(told.T).T).sum(axis=1)
            with_it = option(anyway + more / determinant, block.gap)
            gained = block.alone * (with_it - option(anyway, block.gap))
            values[place][:, dormant] = gained[:, dormant]
    return np.where(seen, summed(values, nodes), 0.0)


def worth_of_tests(
    block: Block, *, effects: Array, standard_errors: Array, first: int, cycles: int
) -> Array:
    """What each of several lift tests adds to what holdouts teach anyway.

    Parameters
    ----------
    effects
        Centred draws of each test's effect in each cell, in any unit, shape (n_tests, n_draws, n);
        0 for a cell that is not in the test.
    standard_errors
        Of the measured sum of the effects, in the same unit, > 0, shape (n_tests,).
    first, cycles
        The answers are there after cycle ``first`` and are used until cycle ``cycles``.

    Returns
    -------
    Revenue a day, summed over the cycles that use the answer, shape (n_tests,).
    """
    nodes = cycles_of(cycles, first=first)
    if len(nodes) == 0:
        return np.zeros(len(effects))

    def heard_by(quantity: Array, taper: Array) -> Array:
        return np.array([(taper * (quantity.T @ e)).sum(axis=1) for e in effects]).T

    before = heard_by(block.marginal, block.taper)
    spread = np.array([(block.taper * (e.T @ e)).sum() for e in effects])
    gains = []
    for cycle in nodes:
        known = block.after(int(cycle), first=block.level)
        heard = heard_by(known.seen, block.taper[known.where])
        explained = known.solve(heard)
        taught = before - known.told(block.marginal) @ explained
        left = np.maximum(spread - (heard * explained).sum(axis=0), 0.0)
        earned = (taught * (block.moves @ taught)).sum(axis=0)
        gains.append(0.5 * earned / (left + standard_errors**2))
    return summed(np.array(gains), nodes)
