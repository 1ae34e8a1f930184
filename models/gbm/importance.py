"""Which covariates move a prediction of LightGBM: SHAP values.

LightGBM's ``pred_contrib`` computes the TreeSHAP values of Lundberg et al. (2020), the same numbers
as ``shap.TreeExplainer`` on the booster, without a second copy of the model. A difference of two
models has the difference of their values (SHAP is additive), which gives ``t`` and ``x``. In ``s``
the arm is a covariate itself and SHAP gives it one half of each interaction with another; the other
covariates' halves are doubled, which is exact for interactions of the arm with one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.gbm.encoding import Encoding, Matrix, Vector

if TYPE_CHECKING:
    import lightgbm as lgb

    from models.uplift.learners import Cate


def uplift_shap(cate: Cate, matrix: Matrix) -> Vector:
    """SHAP values of the predicted effect, shape (n, n_columns), in the outcome's unit."""
    columns = matrix.shape[1]
    if cate.linear is not None:
        return _linear_shap(cate, matrix)
    if not cate.boosters:
        return np.zeros((len(matrix), columns))

    def part(name: str, rows: Matrix) -> Vector:
        booster: lgb.Booster = cate.boosters[name]
        values = np.asarray(
            booster.predict(
                rows,
                pred_contrib=True,
                num_iteration=cate.rounds,
                num_threads=cate.learner.booster.threads,
            )
        )
        return values[:, :columns]

    if cate.learner.kind == "s":
        one = np.concatenate([matrix, np.ones((len(matrix), 1), np.float32)], axis=1)
        with_ads = part("outcome", one)
        one[:, -1] = 0.0
        return 2.0 * (with_ads - part("outcome", one))
    if cate.learner.kind == "t":
        return part("treated", matrix) - part("control", matrix)
    if cate.learner.kind == "x":
        e = cate.propensity
        return (1 - e) * part("treated", matrix) + e * part("control", matrix)
    return part("effect", matrix)


def _linear_shap(cate: Cate, matrix: Matrix) -> Vector:
    assert cate.linear is not None
    basis = cate.linear.basis
    expanded = basis.expand(matrix).astype(np.float64)
    terms = (expanded - expanded.mean(axis=0)) * cate.linear.coefficients
    out = np.empty(matrix.shape)
    at = 1
    for j, level in enumerate(basis.levels):
        out[:, j] = terms[:, at : at + max(1, level)].sum(axis=1)
        at += max(1, level)
    return out


def uplift_importance(
    cate: Cate, matrix: Matrix, *, encoding: Encoding, rows: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Mean absolute SHAP value by covariate, on at most ``rows`` users, the greatest first.

    ``direction`` is the correlation of a number with its SHAP value: the sign of its effect.
    """
    if len(matrix) > rows:
        matrix = matrix[np.random.default_rng(seed).choice(len(matrix), rows, replace=False)]
    values = uplift_shap(cate, matrix)
    direction = [
        _correlation(matrix[:, j].astype(np.float64), values[:, j]) for j in range(values.shape[1])
    ]
    table = pd.DataFrame(
        {
            "feature": list(encoding.columns),
            "mean_abs_shap": np.abs(values).mean(axis=0),
            "direction": direction,
        }
    )
    return table.sort_values("mean_abs_shap", ascending=False, kind="stable", ignore_index=True)


def _correlation(x: Vector, y: Vector) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3 or x[known].std() == 0 or y[known].std() == 0:
        return 0.0
    return float(np.corrcoef(x[known], y[known])[0, 1])


def shap_by_cell(
    booster: lgb.Booster, features: pd.DataFrame, *, rows: int = 5_000, seed: int = 0
) -> pd.DataFrame:
    """Mean absolute SHAP value of each feature by segment and channel (both are features), on at
    most ``rows`` rows: segment, channel, feature, mean_abs_shap; the greatest of a cell first."""
    if len(features) > rows:
        features = features.sample(rows, random_state=seed)
    names = list(booster.feature_name())
    values = np.abs(np.asarray(booster.predict(features[names], pred_contrib=True))[:, :-1])
    count, wide = len(values), len(names)
    long = pd.DataFrame(
        {
            "segment": np.repeat(features["segment"].astype(str).to_numpy(), wide),
            "channel": np.repeat(features["channel"].astype(str).to_numpy(), wide),
            "feature": np.tile(names, count),
            "mean_abs_shap": values.ravel(),
        }
    )
    means = long.groupby(["segment", "channel", "feature"], as_index=False).mean()
    return means.sort_values(
        ["segment", "channel", "mean_abs_shap"],
        ascending=[True, True, False],
        kind="stable",
        ignore_index=True,
    )
