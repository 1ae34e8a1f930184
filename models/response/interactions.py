"""Which channels lift or eat each other, as far as the evidence shows it.

The response fit is additive. What it leaves unexplained of channel b is regressed on what the other
channels of the segment spent: log multiplier of b = sum_a e_ab log(spend_a / usual_a). Three things
must not be taken for an interaction:

* What b's own parameters explain as well. Every regressor is cleared of what the fit itself would
  have absorbed (Frisch, Waugh and Lovell, under the fit's prior).
* What hits all of b's segments in a week, such as drift, a season or a platform that counts
  otherwise. It is taken out; what is left is the difference between segments in the same week.
* Errors of a segment's neighbouring weeks, which are alike. The variance is the larger one of the
  model's and of the segments' (clustered; Liang and Zeger 1986), and claims are tempered.

Most pairs do not interact: each is exactly 0 with some chance, else normal around 0, and that
chance and that spread are learned from all pairs (spike and slab by empirical Bayes; Johnstone and
Silverman 2004). Only pairs that are surely of note are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.arrays import Z90, Array, Index
from liftloop.core.curves.gain import spends
from liftloop.core.curves.interacting import HIGH, LOW, InteractingCurves
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Policy, from_cents
from models.lift.evidence import effective, period_mean
from models.response.hierarchy import CLAIM_TAIL, Hierarchy, State
from models.response.prior import RETURN

REWEIGHTINGS = 3
WIDEST = 0.5  # sd of an elasticity before anything is known, where regressors are nearly the same
COLUMNS = ["from", "to", "elasticity", "low", "high", "chance", "by_lifts", "kept", "words"]


@dataclass(frozen=True, slots=True)
class InteractionConfig:
    """``sure``: the chance above which a pair is kept; ``note``: the least elasticity worth a word;
    ``claim_weight`` of a claim against a lift of the same precision. ``shares`` of pairs that
    interact and ``spreads`` (sd) of their elasticities are weighed by the evidence, shares with
    ``odds`` before. Fewer segments than ``fewest_segments`` cannot tell an interaction from
    drift."""

    sure: float = 0.95
    note: float = 0.02
    claim_weight: float = 0.8
    shares: tuple[float, ...] = (0.03, 0.1, 0.3)
    odds: tuple[float, ...] = (0.4, 0.4, 0.2)
    spreads: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    fewest_segments: int = 4
    fewest_periods: int = 6


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """What was found.

    Attributes
    ----------
    table
        One row an ordered pair: from, to, elasticity (posterior mean if there is an interaction),
        low, high (its 90 % interval), chance (that there is one of note), by_lifts (z of the
        randomized lifts alone), kept, words.
    channels
        In the order of the axes of ``elasticity`` and ``sd``, [from, to]; 0 for what is not kept.
    usual
        What each cell of the fit usually spent a day, the reference of the elasticities, account
        currency (C,).
    """

    table: pd.DataFrame
    channels: tuple[str, ...]
    elasticity: Array
    sd: Array
    usual: Array

    @property
    def kept(self) -> int:
        """How many pairs are kept."""
        return int(self.table["kept"].sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Standardized observations of one channel: residual (R,), derivatives by the cell's parameters
    (R, d), log spend of the other channels (R, A); cell, segment and week of each; which are
    lifts; and by how much each is trusted, which its stated precision holds."""

    left: Array
    slope: Array
    logs: Array
    cell: Index
    segment: Index
    week: Index
    lift: NDArray[np.bool_]
    trust: Array


def find_interactions(
    model: Hierarchy, state: State, config: InteractionConfig | None = None
) -> Interactions:
    """Elasticities of every ordered pair of channels at the mode ``state`` of an additive fit.

    Where there is too little to tell, the table has no rows and nothing is kept.
    """
    config = config or InteractionConfig()
    evidence, k = model.evidence, len(model.evidence.channels)
    usual, logs = _log_spends(model, state)
    nothing = np.zeros((k, k))
    told = len(evidence.segments) >= config.fewest_segments and k > 1
    told = told and len(np.unique(evidence.last)) >= config.fewest_periods
    if not told:
        table = pd.DataFrame(columns=COLUMNS)
        return Interactions(table, evidence.channels, nothing, nothing, usual)
    every = _standardized(model, state, logs)
    arrow = model.curvature(state, model.predict(state.cells, state.carryover))
    found, noise, by_lifts = nothing.copy(), np.full((k, k), np.inf), nothing.copy()
    for to in range(k):
        mine = evidence.channel_of[every.cell] == to
        rows = _Rows(*(getattr(every, name)[mine] for name in every.__slots__))
        others = np.array([a for a in range(k) if a != to], dtype=np.intp)
        if not mine.any():
            continue
        scaled = rows.slope[:, RETURN, None] * rows.logs[:, others]
        pushed = np.zeros((len(evidence.cells), model.d, len(others)))
        np.add.at(pushed, rows.cell, rows.slope[:, :, None] * scaled[:, None, :])
        absorbed = arrow.solve(pushed, np.zeros((len(state.shared), len(others))))[0]
        cleared = scaled - np.einsum("rd,rda->ra", rows.slope, absorbed[rows.cell])
        both = _without_weeks(np.column_stack([rows.left, cleared]), rows)
        found[others, to], noise[others, to] = _robust(both, rows, config.claim_weight)
        alone, sd = _regressed(both, rows, rows.lift.astype(float))
        by_lifts[others, to] = alone / sd
    mean, sd, chance = spike_and_slab(found, noise, config)
    # claims may follow another channel where revenue does not: lifts must not say the opposite
    against = by_lifts * np.sign(mean) < -1.0
    kept = (chance > config.sure) & ~against & ~np.eye(k, dtype=bool)
    table = _table(evidence.channels, mean, sd, chance, by_lifts, kept)
    return Interactions(
        table, evidence.channels, np.where(kept, mean, 0.0), np.where(kept, sd, 0.0), usual
    )


def _log_spends(model: Hierarchy, state: State) -> tuple[Array, Array]:
    """Usual effective spend of each cell (C,), account currency a day, and running sums over days
    (T + 1, C) of the effective spend in units of it."""
    evidence, n = model.evidence, len(model.evidence.cells)
    level = effective(evidence.spend, state.carryover[evidence.channel_of])
    running = np.concatenate([np.zeros((1, n)), np.cumsum(level, axis=0)])
    seen = period_mean(running, evidence.cell, evidence.first, evidence.last)
    least = 1e-2 * level.mean(axis=0)[evidence.cell] + 1e-12  # a week without spend is no usual one
    seen = np.maximum(seen, least)
    total = np.bincount(evidence.cell, weights=evidence.weight, minlength=n)
    logs = np.bincount(evidence.cell, weights=evidence.weight * np.log(seen), minlength=n)
    usual = np.where(total > 0, np.exp(logs / np.where(total > 0, total, 1.0)), level.mean(axis=0))
    usual = np.where(level.mean(axis=0) > 0, usual, 0.0)
    return usual * evidence.size, running / np.where(usual > 0, usual, np.inf)


def _standardized(model: Hierarchy, state: State, running: Array) -> _Rows:
    """Lifts, then claims."""
    evidence, claims = model.evidence, model.evidence.claims
    predicted = model.predict(state.cells, state.carryover)
    lifts, said, _ = model.residuals(state, predicted)
    scale = np.sqrt(evidence.weight) / evidence.noise
    slope, left = predicted.slope * scale[:, None], lifts
    cell, first, last = evidence.cell, evidence.first, evidence.last
    if claims is not None:
        by = predicted.claim_slope / model.claim_noise(state)[:, None]
        slope, left = np.concatenate([slope, by]), np.concatenate([left, said])
        cell = np.concatenate([cell, claims.cell])
        first = np.concatenate([first, claims.first])
        last = np.concatenate([last, claims.last])
    k = len(evidence.channels)
    where = np.full((len(evidence.segments), k), -1, dtype=np.intp)
    where[evidence.segment_of, evidence.channel_of] = np.arange(len(evidence.cells))
    logs = np.zeros((len(cell), k))
    for channel in range(k):
        partner = where[evidence.segment_of[cell], channel]
        level = period_mean(running, np.maximum(partner, 0), first, last)
        known = (partner >= 0) & (running[-1, np.maximum(partner, 0)] > 0)
        logs[:, channel] = np.where(known, np.log(np.clip(level, LOW, HIGH)), 0.0)
    lift = np.arange(len(cell)) < len(lifts)
    trust = np.concatenate([np.ones(len(lifts)), np.maximum(state.trust, 1e-3)])
    return _Rows(left, slope, logs, cell, evidence.segment_of[cell], last, lift, trust)


def _without_weeks(values: Array, rows: _Rows) -> Array:
    """``values`` (R, ...) without what all segments' responses had in common in a week: one log
    effect a week, of lifts and of claims apart."""
    group = np.unique(2 * rows.week + rows.lift, return_inverse=True)[1]
    common = rows.slope[:, RETURN]
    size = np.maximum(np.bincount(group, weights=common**2), 1e-12)
    found = np.empty_like(values)
    for column in range(values.shape[1]):
        mean = np.bincount(group, weights=common * values[:, column]) / size
        found[:, column] = values[:, column] - common * mean[group]
    return found


def _robust(both: Array, rows: _Rows, claim_weight: float) -> tuple[Array, Array]:
    """As :func:`_regressed`, with claims trusted by how well they fit *with* the interactions: the
    additive fit distrusts just those that show one (iteratively reweighted, as in the fit)."""
    weight = np.where(rows.lift, 1.0, claim_weight / rows.trust)
    for _ in range(REWEIGHTINGS):
        found, _ = _regressed(both, rows, weight)
        squared = (both[:, 0] - both[:, 1:] @ found) ** 2 / rows.trust
        trusted = (CLAIM_TAIL + 1) / (CLAIM_TAIL + squared)
        weight = np.where(rows.lift, 1.0, claim_weight * trusted / rows.trust)
    return _regressed(both, rows, weight)


def _regressed(both: Array, rows: _Rows, weight: Array) -> tuple[Array, Array]:
    """Elasticities (A,) and their sd: the larger one of the model's and of the clustered."""
    left, by = both[:, 0], both[:, 1:]
    inverse = np.linalg.inv((by * weight[:, None]).T @ by + np.eye(by.shape[1]) / WIDEST**2)
    found = inverse @ (by.T @ (weight * left))
    pull = by * (weight * (left - by @ found))[:, None]
    segments = np.unique(rows.segment, return_inverse=True)[1]
    sums = np.stack([np.bincount(segments, weights=column) for column in pull.T], axis=1)
    moved = sums @ inverse
    spread = (moved**2).sum(axis=0) * len(sums) / max(len(sums) - 1, 1)
    return found, np.sqrt(np.maximum(spread, np.diag(inverse)))


def spike_and_slab(
    found: Array, noise: Array, config: InteractionConfig
) -> tuple[Array, Array, Array]:
    """Mean and sd of each elasticity if it is not 0, and the chance that it is of note.

    Parameters
    ----------
    found, noise
        Estimates [from, to] with standard deviations; infinite for a pair nobody looked at.

    Returns
    -------
    Three arrays of the shape of ``found``, averaged over the shares and spreads of ``config`` as
    the evidence of all pairs weighs them.
    """
    seen = np.isfinite(noise) & ~np.eye(len(noise), dtype=bool)
    safe = np.where(seen, noise, 1.0)
    logs, parts = [], []
    for share, odd in zip(config.shares, config.odds, strict=True):
        for spread in config.spreads:
            total = np.hypot(safe, spread)
            without = _log_density(found, safe) + np.log1p(-share)
            with_it = _log_density(found, total) + np.log(share)
            whole = np.logaddexp(without, with_it)
            held = spread**2 / total**2
            mean, sd = held * found, np.sqrt(held) * safe
            beyond = ndtr((mean - config.note) / sd) + ndtr((-config.note - mean) / sd)
            logs.append(float(whole[seen].sum()) + np.log(odd / len(config.spreads)))
            parts.append((mean, sd**2 + mean**2, np.exp(with_it - whole), beyond))
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    in_it = sum(w * part[2] for w, part in zip(weight, parts, strict=True))
    chance = sum(w * part[2] * part[3] for w, part in zip(weight, parts, strict=True))
    share_of = [w * part[2] / in_it for w, part in zip(weight, parts, strict=True)]
    mean = sum(w * part[0] for w, part in zip(share_of, parts, strict=True))
    square = sum(w * part[1] for w, part in zip(share_of, parts, strict=True))
    sd = np.sqrt(np.maximum(square - mean**2, 0.0))
    return (np.where(seen, mean, 0.0), np.where(seen, sd, 0.0), np.where(seen, chance, 0.0))


def _log_density(value: Array, sd: Array) -> Array:
    """Of a normal distribution around 0, up to a constant."""
    return np.asarray(-0.5 * (value / sd) ** 2 - np.log(sd))


def _table(
    channels: tuple[str, ...],
    mean: Array,
    sd: Array,
    chance: Array,
    by_lifts: Array,
    kept: NDArray[np.bool_],
) -> pd.DataFrame:
    rows = [
        (
            one,
            other,
            float(mean[a, b]),
            float(mean[a, b] - Z90 * sd[a, b]),
            float(mean[a, b] + Z90 * sd[a, b]),
            float(chance[a, b]),
            float(by_lifts[a, b]),
            bool(kept[a, b]),
            in_words(one, other, float(mean[a, b])) if kept[a, b] else "Not shown by the evidence.",
        )
        for a, one in enumerate(channels)
        for b, other in enumerate(channels)
        if a != b
    ]
    rows.sort(key=lambda row: (-float(row[COLUMNS.index("chance")]), row[:2]))
    return pd.DataFrame(rows, columns=COLUMNS)


def in_words(one: str, other: str, elasticity: float) -> str:
    """What an elasticity means, to somebody who sets budgets."""
    share = 1.1**elasticity - 1.0
    more = "more" if share > 0 else "less"
    return f"{other} earns about {abs(share):.1%} {more} where {one} spends a tenth more."


def interacting(
    curves: SaturatingCurves, found: Interactions, *, seed: int = 0
) -> SaturatingCurves | InteractingCurves:
    """``curves`` with the kept interactions; the very same ones where none is kept.

    The curves are those of holdouts, which show what is lost without a channel: they hold what it
    earns through others. Where both directions of a pair are kept they tell of one and the same
    joint part, and each counts half. Draws come in opposite pairs, as the curves' own.
    """
    if found.kept == 0:
        return curves
    draws, k = len(curves.marginal_at_zero), len(found.channels)
    both = (found.elasticity != 0) & (found.elasticity.T != 0)
    half = np.random.default_rng(seed).standard_normal(((draws + 1) // 2, k, k))
    drawn = found.elasticity + found.sd * np.concatenate([half, -half])[:draws]
    return InteractingCurves(
        base=curves,
        reference=found.usual,
        channels=found.channels,
        elasticity=np.where(both, 0.5, 1.0) * drawn,
        inclusive=True,
    )


def planned_gains(
    curves: InteractingCurves, spend: Array, *, max_step: float = 0.25
) -> tuple[float, float]:
    """What one step from ``spend`` (n_cells,) gains in revenue a day when it is planned with the
    interactions, and when with the additive curves; both told by the interacting ones."""
    cents = np.round(100 * spend).astype(int)
    if cents.sum() == 0:
        return 0.0, 0.0
    before = Policy.of({c: from_cents(int(x)) for c, x in zip(curves.cells, cents, strict=True)})
    rules = resolve_rules(cells=before.cells, total=before.total, max_step=max_step)
    start = float(curves.mean_revenue(spends(before, curves)).sum())

    def gained(lens: ResponseCurves) -> float:
        plan = allocate(curves=lens, rules=rules, incumbent=before).policy
        return float(curves.mean_revenue(spends(plan, curves)).sum()) - start

    return gained(curves.at(spends(before, curves))), gained(curves.base)
