"""Response curves from holdout lifts and lift tests, pooled across segments and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Z90
from liftloop.core.curves.saturating import SaturatingCurves, effective_spend
from liftloop.core.errors import InsufficientEvidence
from models.lift.compaction import compacted
from models.lift.conflicting_tests import with_checked_tests
from models.lift.evidence import Evidence, gather
from models.lift.sales_experiments import sales_contrasts
from models.lift.sales_panel import sales_panel
from models.response.changepoints import BreakConfig, find_breaks
from models.response.hierarchy import Hierarchy, State
from models.response.posterior import draw_curves
from models.response.prior import CLAIM, CURVE, ORGANIC, RETURN, SCALE, Prior
from models.season.in_the_fit import FitSeason, with_season

Array = NDArray[np.float64]
RECENT_DAYS = 28
LEAST_HISTORY_DAYS = 28  # of claims beside sales, where nothing is randomized
PRIOR = Prior()
BREAKS = BreakConfig()


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """How curves are fitted.

    ``fade_per_day`` is the rate at which evidence loses weight. Carry-over is estimated a channel
    over ``carryover_grid`` around its prior mean and sd. ``holdout_days`` are the last days kept
    aside to see whether the intervals hold what they promise.
    """

    draws: int = 200
    seed: int = 0
    fade_per_day: float = 0.007
    prior: Prior = PRIOR
    carryover_grid: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.75)
    carryover_mean: float = 0.3
    carryover_sd: float = 0.15
    spread_rounds: int = 2
    holdout_days: int = 14
    breaks: BreakConfig | None = BREAKS
    claim_spreads: tuple[float, ...] = (0.05, 0.15, 0.4, 1.0)
    claim_tilts: tuple[float, ...] = (0.05, 0.4, 1.6)
    tilt_odds: tuple[float, ...] = (0.9, 0.07, 0.03)


@dataclass(frozen=True, slots=True, eq=False)
class ResponseFit:
    """Fitted curves and how well they explain the evidence.

    Attributes
    ----------
    curves
        Joint posterior draws, for the core.
    effective_spend
        Each cell's adstock after the last day, shape (n_cells,), account currency a day.
    evidence
        One row an observed lift: segment, channel, period_start, period_end, spend, lift,
        standard_error, fitted (posterior mode), z = (lift - fitted) / standard_error.
    tests
        The same for lift tests: experiment, incremental_revenue, standard_error (the one it counts
        with), fitted, z; ``age_days`` since its last day, ``weight`` that this leaves it, and
        ``conflict`` with the reported spend or the other evidence, in words.
    diagnostics
        Plain numbers: counts, carry-over by channel, spreads, weighted misfit, and
        ``coverage_90``, the share of the last days' lifts inside the 90 % prediction interval of a
        fit that did not see them (nan when there are too few days).
    sales
        As ``tests``: contrasts of sales (``models.lift.sales_experiments``).
    mode
        The model and its posterior mode, for what is learned from what they leave unexplained.
    """

    curves: SaturatingCurves
    effective_spend: Array
    evidence: pd.DataFrame
    tests: pd.DataFrame
    diagnostics: dict[str, float]
    sales: pd.DataFrame = field(default_factory=pd.DataFrame)
    mode: tuple[Hierarchy, State] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FitFeeds:
    """What a fit of curves looks at.

    Attributes
    ----------
    lifts
        As made by ``weekly_lifts``: segment, channel, period_start, period_end (inclusive), lift
        (incremental revenue per day), standard_error, spend (mean per day).
    daily_spend
        As made by ``models.lift.imputed_spend.daily_spend``: index days, columns (segment,
        channel).
    experiments
        The feed of lift tests run elsewhere; signed ``spend_delta``, any sign of a result.
    claims
        As made by ``weekly_claims``: what platforms claim, a proxy that the lifts calibrate.
    sales
        The feed of first-party sales: contrasts of what segments sold as budgets moved
        (``models.lift.sales_experiments``); where a channel has claims and no lift, as a panel
        (``models.lift.sales_panel``).
    season
        The demand of the evidence's days, if known: the curves are then those of demand 1.
    own_from
        The first day whose budgets the loop set; None: it has set none.
    """

    lifts: pd.DataFrame
    daily_spend: pd.DataFrame
    experiments: pd.DataFrame | None = None
    claims: pd.DataFrame | None = None
    sales: pd.DataFrame | None = None
    season: FitSeason | None = None
    own_from: date | None = None


def fit_response(feeds: FitFeeds, config: ResponseConfig | None = None) -> ResponseFit:
    """Fit saturating curves to everything that says what spend caused.

    Raises
    ------
    InsufficientEvidence
        When there is neither a usable lift nor a usable test nor sales beside claims, or no spend.
    """
    config = config or ResponseConfig()
    evidence = gather_all(feeds, fade_per_day=config.fade_per_day)
    return fit_evidence(evidence, feeds.lifts, config)


def gather_all(feeds: FitFeeds, *, fade_per_day: float) -> Evidence:
    """Everything a fit looks at; raises InsufficientEvidence as :func:`fit_response` does."""
    sales, own_from = feeds.sales, feeds.own_from
    evidence = gather(
        lifts=feeds.lifts,
        daily=feeds.daily_spend,
        experiments=feeds.experiments,
        claims=feeds.claims,
        fade_per_day=fade_per_day,
        every_claim=sales is not None,
    )
    require_some(evidence)
    evidence = with_checked_tests(evidence)
    days = pd.DatetimeIndex(feeds.daily_spend.index)
    if sales is not None and evidence.rests_on_claims:
        panel = sales_panel(
            sales,
            evidence,
            days=days,
            fade_per_day=fade_per_day,
            own_from=None if own_from is None else pd.Timestamp(own_from),
        )
        evidence = replace(evidence, panel=panel)
    elif sales is not None:
        seen = sales_contrasts(sales=sales, evidence=evidence, days=days, fade_per_day=fade_per_day)
        evidence = replace(evidence, tests=(*evidence.tests, *seen))
    if feeds.season is not None:
        evidence = with_season(evidence, feeds.season, days=days)
    return compacted(evidence)


def require_some(evidence: Evidence) -> None:
    """Raise InsufficientEvidence where neither something randomized nor some weeks of sales beside
    spend and claims are known."""
    tested = any(test.randomized for test in evidence.tests)
    claims = evidence.claims
    history = 0 if claims is None else int(claims.last.max() - claims.first.min()) + 1
    enough = len(evidence.lift) or tested or history >= LEAST_HISTORY_DAYS
    if len(evidence.spend) == 0 or not enough:
        raise InsufficientEvidence(
            "No response can be estimated yet: no cell has both spend and a holdout or lift test, "
            f"nor are there {LEAST_HISTORY_DAYS} days of spend and claimed revenue beside sales.",
            fix="Deliver holdout rows of both arms, lift tests, or sales and the revenue that "
            "platforms claim for the days of performance.",
        )


def fit_curves(evidence: Evidence, config: ResponseConfig) -> SaturatingCurves:
    """The curves alone, without tables and diagnostics."""
    require_some(evidence)
    model, state = fit_mode(evidence, config)
    return draw_curves(model, state, draws=config.draws, seed=config.seed)


def fit_evidence(evidence: Evidence, lifts: pd.DataFrame, config: ResponseConfig) -> ResponseFit:
    """The fit to gathered evidence; ``lifts`` is the frame it was gathered from."""
    require_some(evidence)
    model, state = fit_mode(evidence, config)
    predicted = model.predict(state.cells, state.carryover)
    curves = draw_curves(model, state, draws=config.draws, seed=config.seed)
    lift_residuals, _, _ = model.residuals(state, predicted)
    rows = lifts.iloc[evidence.row][
        ["segment", "channel", "period_start", "period_end", "spend", "lift", "standard_error"]
    ].reset_index(drop=True)
    size = evidence.size[evidence.cell]
    rows["fitted"] = predicted.lift * size
    rows["z"] = (evidence.lift - predicted.lift) / evidence.noise
    weight = float(evidence.weight.sum())
    last_spend = evidence.spend[-400:] * evidence.size
    diagnostics = {
        "cells": float(len(evidence.cells)),
        "cells_with_evidence": float(len(set(evidence.cell.tolist()))),
        "lifts": float(len(evidence.lift)),
        "tests": float(sum(test.randomized for test in evidence.tests)),
        "tests_ignored": float(evidence.ignored_tests),
        "tests_in_conflict": float(len(evidence.conflicts)),
        "effective_lifts": weight,
        "misfit": float((lift_residuals**2).sum() / weight) if weight > 0 else float("nan"),
        "own_return_sd": float(state.own[RETURN]),
        "own_scale_sd": float(state.own[SCALE]),
        "coverage_90": held_out_coverage(model, state, config),
    }
    for channel, share in zip(evidence.channels, state.carryover, strict=True):
        diagnostics[f"carryover_{channel}"] = float(share)
    diagnostics |= _about_claims(model, state)
    tests = _test_table(evidence, predicted.test[: len(evidence.tests)])
    randomized = np.array([test.randomized for test in evidence.tests], dtype=bool)
    if not randomized.all():
        diagnostics["sales_contrasts"] = float((~randomized).sum())
    return ResponseFit(
        curves=curves,
        effective_spend=effective_spend(last_spend, curves.carryover),
        evidence=rows,
        tests=tests[randomized].reset_index(drop=True),
        diagnostics=diagnostics,
        sales=tests[~randomized].reset_index(drop=True),
        mode=(model, state),
    )


def fit_mode(evidence: Evidence, config: ResponseConfig) -> tuple[Hierarchy, State]:
    """The model and its posterior mode; where a channel's response jumped, with the jump."""
    model = Hierarchy(evidence, config.prior)
    state = find_mode(model, config)
    if config.breaks is None:
        return model, state
    breaks = find_breaks(model, state, config.breaks)
    if not breaks.any:
        return model, state
    model = Hierarchy(replace(evidence, breaks=breaks), config.prior)
    return model, find_mode(model, config)


def find_mode(model: Hierarchy, config: ResponseConfig) -> State:
    """Carry-over, spreads and parameters at the posterior mode."""
    channels = len(model.evidence.channels)
    state = model.climb(model.start(np.full(channels, config.carryover_mean)), steps=12)
    state = model.estimate_scatter(state)
    if len(config.carryover_grid) > 1 and len(model.evidence.lift):
        state = replace(state, carryover=_profile(model, state, config))
    if model.evidence.claims is not None:
        state = _trust_claims(model, state, config)
    for turn in range(config.spread_rounds):
        state = model.climb(state, steps=6, tolerance=1e-5)
        found = model.estimate_own(model.estimate_scatter(state), seed=config.seed + turn)
        claims = np.arange(len(state.own)) == CLAIM  # their spread was chosen on a grid
        state = replace(found, own=np.where(claims, state.own, found.own))
    return model.climb(state, tolerance=1e-6)


def _trust_claims(model: Hierarchy, state: State, config: ResponseConfig) -> State:
    """How far to trust claims, by the evidence: first whether they grow with spend as revenue does
    (``tilt``), then how much their factor differs between the cells of a channel (the mean over a
    grid). The more it does, the less a claim says of its cell."""

    def weigh(options: list[State], odds: Sequence[float]) -> tuple[Array, list[State]]:
        found = [model.climb(option, steps=4, tolerance=1e-4) for option in options]
        logs = np.array([model.log_evidence(one) for one in found]) + np.log(odds)
        weight = np.exp(logs - logs.max())
        return weight / weight.sum(), found

    weight, found = weigh(
        [replace(state, tilt=scale) for scale in config.claim_tilts],
        config.tilt_odds,
    )
    tilt = float(np.exp(weight @ np.log(config.claim_tilts)))
    state = replace(found[int(np.argmax(weight))], tilt=tilt)

    def spread(sd: float) -> State:
        own = state.own.copy()
        own[CLAIM] = sd
        return replace(state, own=own)

    even = np.ones(len(config.claim_spreads))
    weight, found = weigh([spread(sd) for sd in config.claim_spreads], even.tolist())
    state = found[int(np.argmax(weight))]
    return spread(float(np.exp(weight @ np.log(config.claim_spreads))))


def _about_claims(model: Hierarchy, state: State) -> dict[str, float]:
    """By what factor each channel's claims exceed what it earned, with the share of them that is
    organic, the scatter of the claims, and how far the factor differs from cell to cell."""
    evidence = model.evidence
    if evidence.claims is None:
        return {}
    found = {"claims": float(len(evidence.claims.cell)), "own_claim_sd": float(state.own[CLAIM])}
    for number, channel in enumerate(evidence.channels):
        mine = evidence.channel_of == number
        found[f"claim_factor_{channel}"] = float(
            np.exp(state.cells[mine, CLAIM].mean()) * evidence.claims.unit[number]
        )
        found[f"claim_organic_{channel}"] = float(state.cells[mine, ORGANIC].mean())
        found[f"claim_scatter_{channel}"] = float(state.scatter[number])
    return found


def _profile(model: Hierarchy, state: State, config: ResponseConfig) -> Array:
    """Each channel's carry-over: the mean over the grid, by profile likelihood times prior."""
    grid = np.array(config.carryover_grid)
    misfit = []
    for share in grid:
        moved = replace(state, carryover=np.full(len(state.carryover), share))
        misfit.append(model.channel_misfit(model.climb(moved, steps=3, tolerance=1e-4)))
    prior = 0.5 * ((grid - config.carryover_mean) / config.carryover_sd) ** 2
    total = np.array(misfit) + prior[:, None]
    weight = np.exp(-(total - total.min(axis=0)))
    return np.asarray(np.round((weight * grid[:, None]).sum(axis=0) / weight.sum(axis=0), 3))


def _test_table(evidence: Evidence, fitted: Array) -> pd.DataFrame:
    conflicts = {one.experiment: one.words for one in evidence.conflicts}
    return pd.DataFrame(
        {
            "experiment": [test.name for test in evidence.tests],
            "incremental_revenue": [test.gain for test in evidence.tests],
            "standard_error": [test.standard_error for test in evidence.tests],
            "fitted": fitted,
            "z": [
                (test.gain - value) / test.standard_error
                for test, value in zip(evidence.tests, fitted, strict=True)
            ],
            "age_days": [len(evidence.spend) - 1 - test.last for test in evidence.tests],
            "weight": [test.weight for test in evidence.tests],
            "conflict": [conflicts.get(test.name, "") for test in evidence.tests],
        }
    )


def held_out_coverage(model: Hierarchy, state: State, config: ResponseConfig) -> float:
    """Share of the last ``holdout_days``' lifts inside the 90 % prediction interval of a fit to
    what came before (carry-over and spreads as in ``state``); nan without either part.

    The interval holds the lift's own noise and the curve's uncertainty (by the delta method).
    """
    cut = len(model.evidence.spend) - config.holdout_days
    past, coming = model.evidence.before(cut), model.evidence.since(cut)
    if len(past.lift) < 2 * len(past.cells) or len(coming.lift) == 0:
        return float("nan")
    earlier = Hierarchy(past, model.prior)
    trust = state.trust
    if model.evidence.claims is not None:
        trust = trust[model.evidence.claims.last < cut]
    found = earlier.climb(replace(state, trust=trust), steps=12, tolerance=1e-6)
    arrow = earlier.curvature(found, earlier.predict(found.cells, found.carryover))
    wander, _ = arrow.draws(np.random.default_rng(config.seed), config.draws)
    later = Hierarchy(replace(coming, claims=None), model.prior)
    there = later.predict(found.cells[:, :CURVE], found.carryover)
    moved = np.einsum("ni,nid->nd", there.slope, wander[coming.cell, :CURVE])
    sd = np.sqrt(coming.noise**2 + (moved**2).mean(axis=1))
    return float((np.abs(coming.lift - there.lift) <= Z90 * sd).mean())
