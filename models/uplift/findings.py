"""One contrast and outcome: who responds, how well that is known, and whom to reach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from models.gbm.booster import BoosterParameters
from models.gbm.encoding import Encoding, Vector
from models.gbm.importance import uplift_importance
from models.uplift.contrasts import UserContrast
from models.uplift.curves import CurveConfig
from models.uplift.evaluation import (
    Heterogeneity,
    Interval,
    bootstrap_ranking,
    calibration,
    gain_curve,
    heterogeneity,
    policy_value,
    qini_curve,
)
from models.uplift.learners import Cate, Learner
from models.uplift.selection import OutOfFold, Randomized, UpliftConfig, learn, out_of_fold


@dataclass(frozen=True, slots=True)
class UnitsConfig:
    """``uplift_outcomes`` None: revenue and every y_ outcome. ``margin``: profit per unit of
    revenue. ``tuning_trials`` and ``tuning_seconds`` are for each channel."""

    uplift_outcomes: tuple[str, ...] | None = None
    margin: float = 1.0
    bootstraps: int = 200
    shap_rows: int = 2000
    level: float = 0.05
    tuning_trials: int = 0
    tuning_seconds: float | None = None
    threads: int = 1
    seed: int = 0
    uplift: UpliftConfig = field(default_factory=UpliftConfig)
    curves: CurveConfig = field(default_factory=CurveConfig)


@dataclass(frozen=True, slots=True)
class UpliftFinding:
    """One contrast and outcome: who responds, and how well that is known."""

    experiment: str
    channel: str
    outcome: str
    verdict: Heterogeneity
    chosen: dict[str, int]
    cate: Cate
    encoding: Encoding
    qini: Interval
    auuc: Interval
    out_of_fold: OutOfFold
    calibration: pd.DataFrame
    importance: pd.DataFrame
    ranking: pd.DataFrame
    policy: dict[str, float]

    @property
    def name(self) -> str:
        return f"{self.experiment}/{self.channel}/{self.outcome}"

    @property
    def learner(self) -> str:
        """The learner in force: ``constant`` where no heterogeneity is detectable."""
        return self.cate.learner.name

    def predict(self, covariates: pd.DataFrame) -> Vector:
        """The predicted uplift of new users, shape (n,), in the outcome's unit."""
        return self.cate.predict(self.encoding.matrix(covariates))


def find_uplift(
    contrast: UserContrast,
    outcome: str,
    *,
    config: UnitsConfig,
    booster: BoosterParameters | None = None,
) -> UpliftFinding:
    """Out-of-fold validation, verdict and final learner of one contrast and outcome."""
    encoding = Encoding.of(contrast.features)
    trial = Randomized(
        encoding.matrix(contrast.features),
        contrast.treated,
        contrast.propensity,
        contrast.outcome(outcome),
        encoding,
    )
    settings = replace(
        config.uplift,
        threads=config.threads,
        seed=config.seed,
        nuisance=booster or config.uplift.nuisance,
    )
    held = out_of_fold(trial, config=settings)
    measured = bootstrap_ranking(
        predicted=held.predicted,
        outcome=trial.outcome,
        treated=trial.treated,
        resamples=config.bootstraps,
        seed=config.seed,
    )
    verdict = _verdict(held, measured["qini"], level=config.level)
    # without a detectable difference everyone counts as responding alike
    cate = learn(trial, config=settings)[0] if verdict.detectable else _alike(held)
    # what a user is worth comes from fits that never saw the user
    predicted = held.raw if verdict.detectable else np.full(len(trial), held.scores.mean())
    paid = contrast.cost[contrast.treated]
    cost = float(np.nanmean(paid)) if np.isfinite(paid).any() else 0.0
    worth = (
        policy_value(predicted=predicted, scores=held.scores, cost=cost, margin=config.margin)
        if outcome == "revenue"
        else {}
    )
    return UpliftFinding(
        experiment=contrast.experiment,
        channel=contrast.channel,
        outcome=outcome,
        verdict=verdict,
        chosen=held.chosen,
        cate=cate,
        encoding=encoding,
        qini=measured["qini"],
        auuc=measured["auuc"],
        out_of_fold=held,
        calibration=calibration(predicted=held.raw, scores=held.scores, order=held.predicted),
        importance=uplift_importance(
            cate, trial.matrix, encoding=encoding, rows=config.shap_rows, seed=config.seed
        ),
        ranking=_ranking(held.predicted, trial),
        policy=worth,
    )


def _verdict(held: OutOfFold, order: Interval, *, level: float) -> Heterogeneity:
    """Detectable only if the differences are real (their slope) *and* the order is (its Qini)."""
    found = heterogeneity(predicted=held.raw, scores=held.scores, folds=held.folds, level=level)
    if found.detectable and not order.low > 0:
        reason = (
            f"No detectable heterogeneity: the predicted order earns no more than a random one "
            f"(Qini {order.value:.3f}, 95 % interval {order.low:.3f} to {order.high:.3f}); every "
            "user counts as responding alike."
        )
        return replace(found, detectable=False, reason=reason)
    return found


def _alike(held: OutOfFold) -> Cate:
    return Cate(Learner("constant", "constant"), 0, float(held.scores.mean()), {})


def _ranking(predicted: Vector, trial: Randomized, points: int = 101) -> pd.DataFrame:
    """The Qini and the cumulative gain curve at ``points`` shares of the users, unnormalized."""
    arrays: dict[str, Any] = {
        "predicted": predicted,
        "outcome": trial.outcome,
        "treated": trial.treated,
    }
    at = np.linspace(0, len(predicted), points).astype(int)
    return pd.DataFrame(
        {
            "share": at / len(predicted),
            "qini": qini_curve(**arrays)[at],
            "gain": gain_curve(**arrays)[at],
        }
    )
