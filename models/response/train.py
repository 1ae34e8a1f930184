"""Everything learned from the randomized holdouts, in one frozen bundle.

LightGBM predicts what part of the arms' difference is chance, which makes lifts less noisy; the
lifts, the lift tests run elsewhere and the effects of user-level tests become response curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Array
from liftloop.core.curves.gain import interval_around
from liftloop.core.curves.interacting import InteractingCurves
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InsufficientEvidence
from models.gbm.booster import BoosterParameters, fit_booster, predict
from models.gbm.importance import shap_by_cell
from models.gbm.tuning import time_ordered_folds, tune_regressor
from models.lift.attributed_revenue import weekly_claims
from models.lift.holdout_lifts import LiftConfig, contrasts, variance_reduction, weekly_lifts
from models.lift.imputed_spend import daily_spend
from models.lift.sales_experiments import CONFIG as CONTRASTS
from models.lift.sales_experiments import without_covariates
from models.lift.sales_panel import PANEL
from models.lift.variance_reduction import ChanceTable, chance_table
from models.response.ensemble import EnsembleConfig, EnsembleFit, fit_ensemble
from models.response.fit import (
    RECENT_DAYS,
    FitFeeds,
    ResponseConfig,
    ResponseFit,
    fit_response,
    gather_all,
)
from models.response.interactions import (
    InteractionConfig,
    Interactions,
    find_interactions,
    interacting,
    planned_gains,
)
from models.response.sales_bound import sold_of_late, untested, within_sales
from models.response.signed_returns import with_signed_returns
from models.season.elasticity import choose_elasticity
from models.season.in_the_fit import FitSeason, in_coming_cycle, known_season, usual_sales

if TYPE_CHECKING:
    import lightgbm as lgb
    import optuna

CURVE_POINTS = 25
MOST_WIDENINGS = 3
UNKNOWN_ELASTICITY = 0.5  # of response to demand, where no lift or test can say it


@dataclass(frozen=True, slots=True)
class HoldoutConfig:
    """How holdouts are learned from. ``tuning_trials`` 0 keeps the default parameters; without
    ``claims`` what platforms attribute to themselves is not looked at, without ``sales`` not what
    sales did as budgets moved, without ``season`` not how demand goes through the year, without
    ``interactions`` not whether channels lift or eat each other. Curves are those of the
    ``cycle_days`` to come."""

    lift: LiftConfig = field(default_factory=LiftConfig)
    response: ResponseConfig = field(default_factory=ResponseConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    claims: bool = True
    sales: bool = True
    season: bool = True
    interactions: InteractionConfig | None = field(default_factory=InteractionConfig)
    cycle_days: int = 7
    tuning_trials: int = 20
    tuning_seconds: float | None = 20.0
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class HoldoutModel:
    """What :func:`train_holdout` learned.

    Attributes
    ----------
    fit
        The main member's curves and how well they explain the evidence.
    ensemble
        All members, weighed and mixed: what allocation gets.
    lifts
        As of ``weekly_lifts``.
    booster, sample, predictions
        The outcome model that predicts chance differences, a few of its input rows and its output
        for them; None where the evidence has no covariates or is too thin for trees.
    parameters
        LightGBM's, as tuned.
    interactions
        Which channels lift or eat each other; None where nobody looked.
    shap
        What moves the outcome model's predictions in each cell, as of ``shap_by_cell``; None
        without one.
    """

    fit: ResponseFit
    ensemble: EnsembleFit
    lifts: pd.DataFrame
    booster: lgb.Booster | None
    sample: pd.DataFrame | None
    predictions: NDArray[np.float64] | None
    parameters: BoosterParameters
    interactions: Interactions | None = None
    shap: pd.DataFrame | None = None

    @property
    def curves(self) -> SaturatingCurves | InteractingCurves:
        """What planning gets: interacting only where an interaction was kept."""
        additive = self.ensemble.curves
        return additive if self.interactions is None else interacting(additive, self.interactions)

    @property
    def metrics(self) -> dict[str, float]:
        """Plain numbers for a registry."""
        said = {
            **self.fit.diagnostics,
            "lifts": float(len(self.lifts)),
            "variance_reduction": variance_reduction(self.lifts),
            **{f"weight_{name}": value for name, value in self.ensemble.weights.items()},
            **self._about_interactions(),
        }
        return {name: float(value) for name, value in said.items() if np.isfinite(value)}

    def _about_interactions(self) -> dict[str, float]:
        """How many were kept; what one step's plan gains a day with them, and without."""
        if self.interactions is None:
            return {}
        said = {"interactions": float(self.interactions.kept)}
        curves = self.curves
        if isinstance(curves, InteractingCurves):
            with_them, without = planned_gains(curves, self.fit.effective_spend)
            said |= {"gain_interacting": with_them, "gain_additive": without}
        return said

    def lift_tests(self) -> list[dict[str, Any]]:
        """What became of each lift test, as plain values: experiment, standard_error (the one it
        counts with), age_days, weight, and conflict (with the reported spend or the other evidence,
        in words; "" without any)."""
        names = ["experiment", "standard_error", "age_days", "weight", "conflict"]
        return [
            {str(name): value for name, value in row.items()}
            for row in self.fit.tests[names].to_dict("records")
        ]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Plain frames: the evidence, the curves, what drives the outcome model."""
        found = {
            "evidence": self.fit.evidence,
            "lift_tests": self.fit.tests,
            **({"sales_contrasts": self.fit.sales} if len(self.fit.sales) else {}),
            "ensemble": self.ensemble.table,
            "curves": curve_table(self.curves, self.fit.effective_spend),
        }
        if self.interactions is not None and len(self.interactions.table):
            found["interactions"] = self.interactions.table
        if self.booster is not None:
            found["importance"] = pd.DataFrame(
                {
                    "feature": self.booster.feature_name(),
                    "gain": self.booster.feature_importance("gain"),
                }
            ).sort_values("gain", ascending=False, ignore_index=True)
        if self.shap is not None:
            found["shap"] = self.shap
        return found


def curve_table(
    curves: ResponseCurves, present: Array, *, points: int = CURVE_POINTS
) -> pd.DataFrame:
    """Spend, mean revenue per day, its 90 % interval and the marginal return of every cell.

    From nothing to twice the ``present`` spend, shape (n_cells,), in ``points`` steps; the others
    at their present spend.
    """
    curves = curves.at(present) if isinstance(curves, InteractingCurves) else curves
    rows = []
    for share in np.linspace(0.0, 2.0, points):
        spend = share * present
        drawn = curves.draw_revenue(spend)
        mean, marginal = curves.mean_revenue(spend), curves.mean_marginal(spend)
        low, high = interval_around(mean, drawn)
        rows += [
            (cell.segment, cell.channel, spend[i], mean[i], low[i], high[i], marginal[i])
            for i, cell in enumerate(curves.cells)
        ]
    names = ["segment", "channel", "spend", "mean", "low", "high", "marginal"]
    return pd.DataFrame(rows, columns=names).sort_values(names[:3], ignore_index=True)


def train_holdout(
    frames: Mapping[str, pd.DataFrame],
    *,
    as_of: date,
    config: HoldoutConfig,
    study: Callable[[], optuna.Study] | None = None,
    for_registry: bool = True,
    own_from: date | None = None,
) -> HoldoutModel:
    """Learn response curves from the feeds ``holdout``, ``performance``, ``sales`` and
    ``experiments``. A channel without holdout is learned from sales, and from what its platform
    claims; its cells are marked ``untested`` where it has no lift test either.

    Parameters
    ----------
    frames
        The feeds by name; a missing one is taken to be empty. Not changed.
    as_of
        Nothing on or after this day is looked at.
    study
        Gives the Optuna study (direction "minimize") that tunes LightGBM; None: nothing is tuned.
    for_registry
        Fit the outcome model once more on everything, for a registry to keep. The curves do not
        depend on it.
    own_from
        The first day whose budgets the loop set; None: it has set none.

    Raises
    ------
    InsufficientEvidence
        When neither a lift nor a lift test can be measured, and sales say too little.
    """
    holdout, performance = frames["holdout"], frames["performance"]
    sales = frames.get("sales")
    asked = for_registry or (study is not None and config.tuning_trials > 0)
    table = _chance(holdout, sales, as_of=as_of, config=config.lift) if asked else None
    parameters = _tuned(table, config, study)
    lift = replace(config.lift, booster=parameters)
    spend = daily_spend(performance, as_of=as_of, mend=lift.mend_spend)
    lifts = weekly_lifts(
        holdout=holdout, performance=performance, sales=sales, as_of=as_of, config=lift, daily=spend
    )
    claims = (
        weekly_claims(
            performance=performance,
            sales=sales,
            holdout=holdout,
            as_of=as_of,
            period_days=lift.period_days,
        )
        if config.claims
        else None
    )
    feeds = FitFeeds(lifts, spend, frames.get("experiments"), own_from=own_from)
    season, about = _season(feeds, sales, as_of, config)
    feeds = replace(
        feeds,
        claims=claims,
        sales=_contrasted(sales, season, as_of, spend, lifts) if config.sales else None,
        season=season,
    )
    fit, widened = fit_with_discrepancy(feeds, config.response)
    fit.diagnostics.update(about)
    ensemble = fit_ensemble(widened, response=config.response, config=config.ensemble, main=fit)
    if fit.mode is not None:
        signed, likely = with_signed_returns(ensemble.curves, *fit.mode, seed=config.seed)
        fit.diagnostics.update(likely)
        ensemble = replace(ensemble, curves=signed)
    if fit.mode is not None and fit.mode[0].evidence.rests_on_claims:
        assert sales is not None
        evidence = fit.mode[0].evidence
        marked = untested(evidence)
        fit.diagnostics["untested_cells"] = float(marked.sum())
        sold = sold_of_late(sales, as_of=as_of)
        recent = evidence.spend[-RECENT_DAYS:].mean(axis=0) * evidence.size
        bounded = within_sales(ensemble.curves, sold, spend=recent)
        ensemble = replace(ensemble, curves=replace(bounded, untested=marked))
    if season is not None:
        fit = replace(fit, curves=in_coming_cycle(fit.curves, season))
        ensemble = replace(ensemble, curves=in_coming_cycle(ensemble.curves, season), main=fit)
    booster, sample, predictions = _outcome_model(table if for_registry else None, parameters)
    found = None
    if config.interactions is not None and fit.mode is not None:
        found = find_interactions(*fit.mode, config.interactions)
    shap = shap_by_cell(booster, table.features) if booster is not None and table else None
    return HoldoutModel(fit, ensemble, lifts, booster, sample, predictions, parameters, found, shap)


def fit_with_discrepancy(feeds: FitFeeds, config: ResponseConfig) -> tuple[ResponseFit, FitFeeds]:
    """Fit the curves; returns the fit and the feeds with the standard errors it used.

    Where they miss the lifts by more than noise explains, widen the noise.

    No family of curves is the truth, and response wanders from week to week. When the weighted mean
    square of the residuals (``misfit``) is above one, standard errors are multiplied by its root
    (the Birge ratio: Birge 1932, Phys. Rev. 40, 207) and the curves fitted again, so that very
    precise holdouts do not make the intervals narrower than the model deserves. The ratio, at least
    1, is in the diagnostics as ``discrepancy``.
    """
    fit, widened = fit_response(feeds, config), feeds
    lifts, ratio = feeds.lifts, 1.0
    for _ in range(MOST_WIDENINGS):
        misfit = fit.diagnostics["misfit"]
        if not misfit > 1.05:
            break
        ratio *= float(np.sqrt(misfit))
        wider = lifts.assign(standard_error=lifts["standard_error"] * ratio)
        widened = replace(feeds, lifts=wider)
        fit = fit_response(widened, config)
    fit.diagnostics["discrepancy"] = ratio
    return fit, widened


def _season(
    feeds: FitFeeds, sales: pd.DataFrame | None, as_of: date, config: HoldoutConfig
) -> tuple[FitSeason | None, dict[str, float]]:
    """The season of a fit with its elasticity, and what to say of it; None where less than a year
    is known. ``feeds`` have the randomized evidence alone. ``season_next``: what the coming cycle's
    demand multiplies revenue by, weighted by the spend of the last cycle."""
    known = (
        known_season(sales, as_of=as_of, cycle_days=config.cycle_days) if config.season else None
    )
    if known is None:
        return None, {}
    try:
        evidence = gather_all(feeds, fade_per_day=config.response.fade_per_day)
    except InsufficientEvidence:  # nothing randomized can say it: half way, wrong by half at most
        known = replace(known, elasticity=UNKNOWN_ELASTICITY)
        return known, {"season_elasticity": known.elasticity}
    days = pd.DatetimeIndex(feeds.daily_spend.index)
    season, odds = choose_elasticity(evidence, known, days=days, config=config.response)
    recent = (evidence.spend[-config.cycle_days :] * evidence.size).mean(axis=0) + 1e-12
    about = {
        "season_elasticity": season.elasticity,
        "season_next": float(np.average(season.factor(evidence.cells), weights=recent)),
    }
    return season, about | {f"season_odds_{e:g}": odd for e, odd in odds.items()}


def _contrasted(
    sales: pd.DataFrame | None,
    season: FitSeason | None,
    as_of: date,
    spend: pd.DataFrame,
    lifts: pd.DataFrame,
) -> pd.DataFrame | None:
    """Sales of usual demand, what covariates explain taken out: for contrasts, and for the panel of
    channels without a lift, which looks farther back."""
    if sales is None or sales.empty:
        return None
    usual = sales if season is None else usual_sales(sales, season)
    every = set(spend.columns.get_level_values("channel")) <= set(lifts["channel"])
    weeks = CONTRASTS.weeks if every else PANEL.weeks
    return without_covariates(usual, as_of=as_of, config=replace(CONTRASTS, weeks=weeks))


def _chance(
    holdout: pd.DataFrame, sales: pd.DataFrame | None, *, as_of: date, config: LiftConfig
) -> ChanceTable | None:
    if holdout.empty or not config.adjust:
        return None
    rows = contrasts(holdout, as_of=as_of, config=config)
    return chance_table(rows, sales=sales, as_of=as_of) if len(rows) else None


def _tuned(
    table: ChanceTable | None, config: HoldoutConfig, study: Callable[[], optuna.Study] | None
) -> BoosterParameters:
    base = replace(config.lift.booster, threads=config.threads, seed=config.seed)
    if table is None or study is None or config.tuning_trials == 0:
        return base
    if len(np.unique(table.dates)) < 28:
        return base
    return tune_regressor(
        table.rows,
        time_ordered_folds(dates=table.dates, folds=3),
        study=study(),
        base=base,
        trials=config.tuning_trials,
        seconds=config.tuning_seconds,
    )


def _outcome_model(
    table: ChanceTable | None, parameters: BoosterParameters
) -> tuple[lgb.Booster | None, pd.DataFrame | None, NDArray[np.float64] | None]:
    """The model for the registry, fitted on everything (the lifts used it out of block)."""
    if table is None:
        return None, None, None
    booster = fit_booster(table.rows, parameters)
    sample = table.features.head(5)
    return booster, sample, predict(booster, sample)


def parameters_of(model: HoldoutModel, config: HoldoutConfig) -> dict[str, Any]:
    """The parameters of a training, flat, for a registry."""
    said = {f"lightgbm.{name}": value for name, value in asdict(model.parameters).items()}
    response = asdict(config.response)
    said |= {f"response.{name}": value for name, value in response.items()}
    return said | {"tuning_trials": config.tuning_trials, "seed": config.seed}
