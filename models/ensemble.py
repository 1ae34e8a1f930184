"""The ensemble: several estimators of the same curves, weighed by what they foretold.

Each member is fitted to what was known some weeks ago and asked for the randomized lifts measured
since. Its weight is its prior weight times the likelihood of those lifts under its prediction
(pseudo-Bayesian model averaging on held-out data; Yao, Vehtari, Simpson and Gelman 2018, section
3.4; prequential, Dawid 1984). Then all members are fitted to everything, and the ensemble's draws
come from them in proportion to the weights: a mixture of what each believes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.errors import InsufficientEvidence
from liftloop.core.saturating import SaturatingCurves
from models.evidence import Evidence, effective, gather
from models.pooled import POOLED, fit_pooled
from models.response import ResponseConfig, ResponseFit, fit_response
from models.surface import SurfaceConfig, fit_surface

Array = NDArray[np.float64]
Fit = Callable[[pd.DataFrame, pd.DataFrame | None, pd.DataFrame | None], SaturatingCurves]
Z90 = 1.6448536269514722
ABOUT = {
    "calibrated": "curves from lifts, with the platforms' claims as a proxy that lifts calibrate",
    "curves": "curves from randomized evidence alone",
    "pooled": "two numbers a cell, pooled over channels: the plain baseline",
    "surface": "one LightGBM surface over all cells",
}


@dataclass(frozen=True, slots=True)
class EnsembleConfig:
    """``prior`` weights of the members; one left out is not fitted. The last ``window`` (a share of
    the known days, between ``least_days`` and ``most_days``) are what members must foretell;
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
        The fit of the member with most to say: lifts, tests and diagnostics.
    table
        One row a member: member, about, weight, prior, log_likelihood (of the later lifts, sum),
        coverage_90 (of them), revenue (its mean at the spend of late, account currency a day).
    """

    curves: SaturatingCurves
    main: ResponseFit
    table: pd.DataFrame

    @property
    def weights(self) -> dict[str, float]:
        return dict(zip(self.table["member"], self.table["weight"].astype(float), strict=True))


def fit_ensemble(
    *,
    lifts: pd.DataFrame,
    daily_spend: pd.DataFrame,
    experiments: pd.DataFrame | None = None,
    claims: pd.DataFrame | None = None,
    response: ResponseConfig | None = None,
    config: EnsembleConfig | None = None,
) -> EnsembleFit:
    """Fit, weigh and mix. Arguments and errors as of ``models.response.fit_response``.

    Raises
    ------
    InsufficientEvidence
        When no member can be fitted.
    """
    response, config = response or ResponseConfig(), config or EnsembleConfig()
    main: dict[str, ResponseFit] = {}
    members = _members(daily_spend, response, config, main, claimed=_any(claims))
    told = _foretold(members, lifts, daily_spend, experiments, claims, config)
    curves: dict[str, SaturatingCurves] = {}
    lack: InsufficientEvidence | None = None
    for name, fit in members.items():
        try:
            curves[name] = fit(lifts, experiments, claims)
        except InsufficientEvidence as error:
            lack = lack or error
    first = next((name for name in members if name in curves and name in main), None)
    if first is None:
        raise lack or InsufficientEvidence("No member of the ensemble can be fitted.", fix="")
    weights = _weights(list(curves), told, config)
    rows = [
        {
            "member": name,
            "about": ABOUT[name],
            "weight": weights[name],
            "prior": config.prior[name],
            "log_likelihood": told.get(name, (np.nan, np.nan))[0],
            "coverage_90": told.get(name, (np.nan, np.nan))[1],
            "revenue": float(curves[name].mean_revenue(_recent(curves[name], daily_spend)).sum()),
        }
        for name in curves
    ]
    return EnsembleFit(
        curves=mix(curves, weights, draws=response.draws),
        main=main[first],
        table=pd.DataFrame(rows),
    )


def _any(claims: pd.DataFrame | None) -> bool:
    return claims is not None and not claims.empty


def _members(
    daily: pd.DataFrame,
    response: ResponseConfig,
    config: EnsembleConfig,
    main: dict[str, ResponseFit],
    *,
    claimed: bool,
) -> dict[str, Fit]:
    """What fits each member; the fits of the two curve members are left in ``main``."""

    def curves(
        lifts: pd.DataFrame,
        experiments: pd.DataFrame | None,
        claims: pd.DataFrame | None,
        *,
        name: str,
    ) -> SaturatingCurves:
        main[name] = fit_response(
            lifts=lifts,
            daily_spend=daily,
            experiments=experiments,
            claims=claims if name == "calibrated" else None,
            config=response,
        )
        return main[name].curves

    def pooled(
        lifts: pd.DataFrame, experiments: pd.DataFrame | None, _: pd.DataFrame | None
    ) -> SaturatingCurves:
        settings = replace(POOLED, draws=response.draws, seed=response.seed)
        return fit_pooled(
            lifts=lifts, daily_spend=daily, experiments=experiments, config=settings
        ).curves

    def surface(
        lifts: pd.DataFrame, _: pd.DataFrame | None, __: pd.DataFrame | None
    ) -> SaturatingCurves:
        return fit_surface(
            lifts=lifts, daily_spend=daily, config=SurfaceConfig(seed=response.seed)
        )

    every: dict[str, Fit] = {
        "calibrated": partial(curves, name="calibrated"),
        "curves": partial(curves, name="curves"),
        "pooled": pooled,
        "surface": surface,
    }
    wanted = {name: fit for name, fit in every.items() if config.prior.get(name, 0.0) > 0}
    if not claimed:
        wanted.pop("calibrated", None)
    return wanted


def _foretold(
    members: Mapping[str, Fit],
    lifts: pd.DataFrame,
    daily: pd.DataFrame,
    experiments: pd.DataFrame | None,
    claims: pd.DataFrame | None,
    config: EnsembleConfig,
) -> dict[str, tuple[float, float]]:
    """Log likelihood and coverage of the later lifts under each member's fit to the earlier ones;
    empty where there is too little to part."""
    periods = lifts["period_start"].nunique()
    if periods < config.fewest_periods or len(members) < 2:
        return {}
    span = (lifts["period_end"].max() - lifts["period_start"].min()).days + 1
    days = int(np.clip(config.window * span, config.least_days, config.most_days))
    cut = lifts["period_end"].max() - pd.Timedelta(days=days)
    earlier = (lifts["period_end"] <= cut).to_numpy()
    if not earlier.any() or earlier.all():
        return {}
    coming = gather(lifts=lifts[~earlier], daily=daily, experiments=None, fade_per_day=0.0)
    past = None if claims is None else claims[(claims["period_end"] <= cut).to_numpy()]
    tests = experiments
    if experiments is not None and not experiments.empty:
        tests = experiments[(pd.to_datetime(experiments["end"]) <= cut).to_numpy()]
    found = {}
    for name, fit in members.items():
        try:
            found[name] = _likelihood(fit(lifts[earlier], tests, past), coming)
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


def _recent(curves: SaturatingCurves, daily: pd.DataFrame) -> Array:
    """Mean spend of each cell over the last four weeks, 0 where none is known."""
    recent = daily.iloc[-28:].mean()
    known = {(str(s), str(c)): float(v) for (s, c), v in recent.items()}
    return np.array([known.get((cell.segment, cell.channel), 0.0) for cell in curves.cells])


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
