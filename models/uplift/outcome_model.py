"""The outcome model inside doubly robust scores: what an outcome would be without knowing the arm.

With a known assignment probability e(x), the efficient score of an effect needs one function only,

    m(x) = (1 - e) mu1(x) + e mu0(x),

because (t - e) (y - m) / (e (1 - e)) then *equals* the score with separate mu1 and mu0 (Robins,
Rotnitzky & Zhao 1994; insert y = mu_t + noise). It is the regression of y on x with weights
t (1 - e) / e + (1 - t) e / (1 - e), whose loss is, up to a constant, the variance of the score
itself (Rubin & van der Laan 2008, empirical efficiency maximization). So all rows share one fit,
and the least held-out loss is the smallest standard error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from models.gbm.booster import BoosterParameters, predict
from models.gbm.encoding import Encoding, LinearModel, Matrix, Vector, fit_linear
from models.gbm.tuning import fold_labels

if TYPE_CHECKING:
    import lightgbm as lgb

Family = Literal["constant", "linear", "boosted"]

# A booster on top of the linear part must explain this much more of the held-out variance.
_WORTH = 0.001
_CHOICE_ROWS = 60_000

NUISANCE_BOOSTER = BoosterParameters(rounds=60, leaves=7, learning_rate=0.06, min_leaf=200, l2=10.0)


@dataclass(frozen=True, slots=True)
class OutcomeModel:
    """A fitted m(x): a constant, plus a linear part, plus boosted trees on what is left."""

    intercept: float
    linear: LinearModel | None
    booster: lgb.Booster | None

    def predict(self, matrix: Matrix) -> Vector:
        """m(x), shape (n,)."""
        if self.linear is None:
            return np.full(len(matrix), self.intercept)
        out = self.linear.predict(matrix)
        return out if self.booster is None else out + predict(self.booster, matrix)


def efficiency_weights(treated: NDArray[np.bool_], propensity: Vector) -> Vector:
    """t (1 - e) / e + (1 - t) e / (1 - e), shape (n,); mean one."""
    return np.where(treated, (1 - propensity) / propensity, propensity / (1 - propensity))


def fit_outcome(
    *,
    matrix: Matrix,
    outcome: Vector,
    weights: Vector,
    encoding: Encoding,
    family: Family,
    parameters: BoosterParameters,
) -> OutcomeModel:
    """Fit m(x) of the given family on all rows of ``matrix``."""
    import lightgbm as lgb

    intercept = float(np.average(outcome, weights=weights))
    if family == "constant":
        return OutcomeModel(intercept, None, None)
    penalty = max(10.0, 0.002 * len(matrix))
    linear = fit_linear(
        matrix=matrix, target=outcome, weights=weights, encoding=encoding, penalty=penalty
    )
    if family == "linear":
        return OutcomeModel(intercept, linear, None)
    floor = max(parameters.min_leaf, len(matrix) // 500)
    settings = replace(parameters, min_leaf=floor).as_lightgbm()
    dataset = lgb.Dataset(
        matrix,
        label=outcome - linear.predict(matrix),
        weight=weights,
        feature_name=encoding.names,
        categorical_feature=encoding.categorical or "auto",
        params=settings,
    )
    booster = lgb.train(settings, dataset, num_boost_round=parameters.rounds)
    return OutcomeModel(intercept, linear, booster)


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeRows:
    """What an outcome model is fitted on.

    Attributes
    ----------
    matrix : encoded covariates, (n, n_features)
    outcome : (n,), in the outcome's unit
    weights : (n,), as of :func:`efficiency_weights`
    encoding : what the columns of ``matrix`` are
    """

    matrix: Matrix
    outcome: Vector
    weights: Vector
    encoding: Encoding

    def only(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> OutcomeRows:
        """Some of the rows."""
        return replace(
            self, matrix=self.matrix[rows], outcome=self.outcome[rows], weights=self.weights[rows]
        )


def cross_fit_outcome(
    data: OutcomeRows,
    *,
    folds: NDArray[np.int8],
    family: Family,
    parameters: BoosterParameters,
) -> Vector:
    """m(x) for each row from a fit without its fold, recalibrated so that it cannot do harm.

    The recalibration m -> a + b m, with b in [0, 1], is itself fitted without the row's fold: where
    the covariates say nothing, b goes to zero and the score becomes the difference in means.
    """
    matrix, outcome, weights = data.matrix, data.outcome, data.weights
    out = np.empty(len(outcome))
    labels = np.unique(folds)
    for k in labels:
        held = folds == k
        fit = ~held
        model = fit_outcome(
            matrix=matrix[fit],
            outcome=outcome[fit],
            weights=weights[fit],
            encoding=data.encoding,
            family=family,
            parameters=parameters,
        )
        out[held] = model.predict(matrix[held])
    if family == "constant":
        return out
    # weighted sums a fold, so that leaving one out is a subtraction
    sums = np.zeros((len(labels), 5))
    for row, k in enumerate(labels):
        held = folds == k
        w, m, y = weights[held], out[held], outcome[held]
        sums[row] = w.sum(), w @ m, w @ y, w @ (m * m), w @ (m * y)
    for row, k in enumerate(labels):
        total, m1, y1, m2, my = sums.sum(axis=0) - sums[row]
        spread = m2 / total - (m1 / total) ** 2
        together = my / total - m1 * y1 / total**2
        slope = float(np.clip(together / spread, 0.0, 1.0)) if spread > 1e-15 else 0.0
        held = folds == k
        out[held] = y1 / total + slope * (out[held] - m1 / total)
    return out


def choose_family(
    data: OutcomeRows,
    *,
    strata: NDArray[np.bool_],
    parameters: BoosterParameters,
    seed: int,
) -> Family:
    """The simplest family within ``_WORTH`` of the least held-out loss, on at most 60,000 rows."""
    outcome = data.outcome
    if not data.encoding.columns or len(outcome) < 100 or outcome.std() == 0:
        return "constant"
    rows = np.arange(len(outcome))
    if len(rows) > _CHOICE_ROWS:
        rows = np.random.default_rng(seed).choice(len(rows), _CHOICE_ROWS, replace=False)
    sample = data.only(rows)
    folds = fold_labels(strata=strata[rows], folds=2, seed=seed)
    families: tuple[Family, ...] = ("constant", "linear", "boosted")
    loss: dict[Family, float] = {}
    for family in families:
        fitted = cross_fit_outcome(sample, folds=folds, family=family, parameters=parameters)
        loss[family] = float(np.average((sample.outcome - fitted) ** 2, weights=sample.weights))
    limit = min(loss.values()) + _WORTH * loss["constant"]
    return next(family for family in families if loss[family] <= limit)
