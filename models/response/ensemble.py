"""The ensemble: several estimators of the same curves, weighed by what they predicted.

Each member is fitted to what was known some weeks ago and asked for the randomized lifts measured
since. Its weight is its prior weight times the likelihood of those lifts under its prediction
(pseudo-Bayesian model averaging on held-out data; Yao, Vehtari, Simpson and Gelman 2018, section
3.4; prequential, Dawid 1984). Then all members are fitted to everything, and the ensemble's draws
come from them in proportion to the weights: a mixture of what each believes.

The interpretable member of the ensemble: two numbers a cell, pooled over channels and segments.

Michaelis-Menten curves fitted to holdout lifts alone by penalized least squares with a Laplace
posterior; fixed carry-over, fixed spreads, evidence that fades by 0.7 % a day. It ignores sales and
claims and assumes its family: what the other members have to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Z90
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InsufficientEvidence
from models.lift.evidence import Evidence, effective
from models.response.fit import (
    RECENT_DAYS,
    FitFeeds,
    ResponseConfig,
    ResponseFit,
    fit_curves,
    fit_evidence,
    gather_all,
)
from models.response.gbm_surface import SurfaceConfig, surface_of
from models.response.prior import ParameterPrior, Prior
from models.season.in_the_fit import at_usual_demand

MICHAELIS_MENTEN = float(np.log(2.0))
FIXED = ParameterPrior(MICHAELIS_MENTEN, 1e-3, 1e-3, 1e-3, MICHAELIS_MENTEN, MICHAELIS_MENTEN)
POOLED = ResponseConfig(
    fade_per_day=0.007,
    prior=Prior(bend=FIXED, scale=replace(Prior().scale, own=0.2)),
    carryover_grid=(0.3,),
    spread_rounds=0,
    breaks=None,
)


Array = NDArray[np.float64]
Fit = Callable[[Evidence], SaturatingCurves]
LEAST_SAY = 0.005  # of the weight: less is not half a draw of a hundred
ABOUT = {
    "calibrated": "curves from lifts, with the platforms' claims as a proxy that lifts calibrate",
    "curves": "curves from randomized evidence alone",
    "pooled": "two numbers a cell, pooled over channels: the plain baseline",
    "surface": "one LightGBM surface over all cells",
}


@dataclass(frozen=True, slots=True)
class EnsembleConfig:
    """``prior`` weights of the members; one left out is not fitted. The last ``window`` (a share of
    the known days, between ``least_days`` and ``most_days``) are what members must predict;
    before ``fewest_periods`` periods of lifts nobody can be weighed. ``temper`` < 1 makes weights
    move slower: lifts of neighbouring weeks are not quite independent of each other."""

    prior: Mapping[str, float] = field(
        default_factory=lambda: {"calibrated": 0.7, "curves": 0.2, "pooled": 0.07, "surface": 0.03}
    )
    window: float = 0.3
    least_days: int = 14
    most_days: int = 84
    fewest_periods: int = 5
    temper: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleFit:
    """Attributes
    ----------
    curves
        Draws of the mixture.
    main
        The first member's fit: lifts, tests and diagnostics.
    table
        One row a member: member, about, weight, prior, log_likelihood (of the later lifts, sum),
        coverage_90 (of them), revenue (its mean at the spend of late, account currency a day; nan
        where the weight is next to nothing).
    """

    curves: SaturatingCurves
    main: ResponseFit
    table: pd.DataFrame

    @property
    def weights(self) -> dict[str, float]:
        return dict(zip(self.table["member"], self.table["weight"].astype(float), strict=True))


def fit_ensemble(
    feeds: FitFeeds,
    *,
    response: ResponseConfig | None = None,
    config: EnsembleConfig | None = None,
    main: ResponseFit | None = None,
) -> EnsembleFit:
    """Fit, weigh and mix. ``main`` is what ``models.response.fit.fit_response`` fits to the same
    feeds, where it is known already.

    Raises
    ------
    InsufficientEvidence
        When there is neither a usable lift nor a usable test, or no spend.
    """
    response, config = response or ResponseConfig(), config or EnsembleConfig()
    evidence = (
        replace(main.mode[0].evidence, breaks=None)
        if main is not None and main.mode is not None
        else gather_all(feeds, fade_per_day=response.fade_per_day)
    )
    members = _members(response, config, evidence)
    # carry-over hardly matters for what is predicted, and estimating it takes half of a fit's time
    quick = replace(response, carryover_grid=(response.carryover_mean,), spread_rounds=1)
    told = _predicted(_members(quick, config, evidence), evidence, config)
    main = main or fit_evidence(evidence, feeds.lifts, response)
    weights = _weights(list(members), told, config)
    curves: dict[str, SaturatingCurves] = {}
    for number, (name, fit) in enumerate(members.items()):
        if number > 0 and weights[name] < LEAST_SAY:
            continue
        try:
            curves[name] = main.curves if number == 0 else fit(evidence)
        except InsufficientEvidence:
            continue  # it has no say
    heard = sum(weights[name] for name in curves)
    weights = {name: weights[name] / heard if name in curves else 0.0 for name in members}
    recent = evidence.spend[-RECENT_DAYS:].mean(axis=0) * evidence.size
    rows = [
        {
            "member": name,
            "about": ABOUT[name],
            "weight": weights[name],
            "prior": config.prior[name],
            "log_likelihood": told.get(name, (np.nan, np.nan))[0],
            "coverage_90": told.get(name, (np.nan, np.nan))[1],
            "revenue": float(curves[name].mean_revenue(recent).sum()) if name in curves else np.nan,
        }
        for name in members
    ]
    return EnsembleFit(
        curves=mix(curves, weights, draws=response.draws), main=main, table=pd.DataFrame(rows)
    )


def _members(
    response: ResponseConfig, config: EnsembleConfig, evidence: Evidence
) -> dict[str, Fit]:
    """What fits each member; the first is the main one. Where a channel has no lifts, the others
    know nothing of it."""

    def curves(evidence: Evidence) -> SaturatingCurves:
        return fit_curves(replace(evidence, claims=None), response)

    def pooled(evidence: Evidence) -> SaturatingCurves:
        settings = replace(POOLED, draws=response.draws, seed=response.seed)
        lifts = replace(evidence, claims=None).randomized()
        return fit_curves(lifts.faded(settings.fade_per_day), settings)

    def surface(evidence: Evidence) -> SaturatingCurves:
        return surface_of(at_usual_demand(evidence), SurfaceConfig(seed=response.seed))

    every: dict[str, Fit] = {
        "calibrated": lambda evidence: fit_curves(evidence, response),
        "curves": curves,
        "pooled": pooled,
        "surface": surface,
    }
    if evidence.rests_on_claims:
        return {"calibrated": every["calibrated"]}
    if evidence.claims is None:
        every.pop("calibrated")
    return {name: fit for name, fit in every.items() if config.prior.get(name, 0.0) > 0}


def _predicted(
    members: Mapping[str, Fit], evidence: Evidence, config: EnsembleConfig
) -> dict[str, tuple[float, float]]:
    """Log likelihood and coverage of the later lifts under each member's fit to the earlier ones;
    empty where there is too little to part."""
    if len(members) < 2 or len(np.unique(evidence.last)) < config.fewest_periods:
        return {}
    end = int(evidence.last.max()) + 1
    span = end - int(evidence.first.min())
    cut = end - int(np.clip(config.window * span, config.least_days, config.most_days))
    earlier, coming = evidence.before(cut), evidence.since(cut)
    if len(earlier.lift) == 0 or len(coming.lift) == 0:
        return {}
    found = {}
    for name, fit in members.items():
        try:
            found[name] = _likelihood(fit(earlier), coming)
        except InsufficientEvidence:
            found[name] = (-np.inf, np.nan)
    return found


def _likelihood(curves: SaturatingCurves, coming: Evidence) -> tuple[float, float]:
    """Log likelihood of observed lifts under a member's predictive distribution, normal with its
    draws' mean and variance and the lift's own noise; the share inside its 90 % intervals."""
    place = {cell: number for number, cell in enumerate(curves.cells)}
    where = np.array([place[cell] for cell in coming.cells], dtype=np.intp)
    levels = effective(coming.spend * coming.size, curves.carryover[where])
    running = np.concatenate([np.zeros((1, levels.shape[1])), np.cumsum(levels, axis=0)])
    total, inside = 0.0, 0
    for last in np.unique(coming.last):
        rows = np.flatnonzero(coming.last == last)
        first, cell = coming.first[rows], coming.cell[rows]
        spend = np.zeros(len(curves.cells))
        spend[where[cell]] = (running[last + 1, cell] - running[first, cell]) / (last - first + 1)
        drawn = curves.draw_revenue(spend)[:, where[cell]] / coming.size[cell]
        drawn = drawn if coming.demand is None else drawn * coming.demand[rows]
        variance = drawn.var(axis=0) + coming.noise[rows] ** 2
        gap = coming.lift[rows] - drawn.mean(axis=0)
        total -= 0.5 * float((gap**2 / variance + np.log(variance)).sum())
        inside += int((np.abs(gap) <= Z90 * np.sqrt(variance)).sum())
    return total, inside / len(coming.lift)


def _weights(
    names: list[str], told: Mapping[str, tuple[float, float]], config: EnsembleConfig
) -> dict[str, float]:
    logs = np.array([config.temper * told.get(name, (0.0, 0.0))[0] for name in names])
    if not np.isfinite(logs).any():
        logs = np.zeros(len(names))
    odds = np.array([config.prior[name] for name in names]) * np.exp(logs - logs.max())
    return {name: float(odd / odds.sum()) for name, odd in zip(names, odds, strict=True)}


def mix(
    curves: Mapping[str, SaturatingCurves], weights: Mapping[str, float], *, draws: int
) -> SaturatingCurves:
    """One set of draws, from each member as many as its weight is worth (largest remainder).

    Draws come in opposite pairs, the second half mirroring the first; both of a pair are taken.
    """
    pairs = draws // 2
    names = list(curves)
    share = np.array([weights[name] for name in names]) * pairs
    count = np.floor(share).astype(int)
    order = np.argsort(-(share - count), kind="stable")
    count[order[: pairs - int(count.sum())]] += 1
    taken: list[tuple[SaturatingCurves, NDArray[np.intp]]] = []
    for name, number in zip(names, count, strict=True):
        if number == 0:
            continue
        mine = curves[name]
        half = max(len(mine.marginal_at_zero) // 2, 1)
        chosen = (np.arange(number) * max(half / number, 1)).astype(int) % half
        taken.append((mine, np.concatenate([chosen, (chosen + half) % len(mine.marginal_at_zero)])))
    first = taken[0][0]

    def column(name: str) -> Array:
        return np.concatenate([getattr(mine, name)[rows] for mine, rows in taken])

    carryover = sum(weights[name] * curves[name].carryover for name in names)
    return SaturatingCurves(
        cells=first.cells,
        marginal_at_zero=column("marginal_at_zero"),
        half_saturation=column("half_saturation"),
        carryover=np.asarray(carryover, dtype=np.float64),
        family="bent",
        bend=column("bend"),
    )
