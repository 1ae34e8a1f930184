"""What the ads caused, from users assigned at random: doubly robust scores and effects.

A score phi_i has the effect as its mean whatever the outcome model, and the smallest variance when
the model is right (augmented inverse propensity weighting; Robins, Rotnitzky & Zhao 1994, with the
cross-fitting of Chernozhukov et al. 2018, "Double/debiased machine learning", section 5.1):

    phi = mu1 - mu0 + t (y - mu1) / e - (1 - t) (y - mu0) / (1 - e)

computed in the equal form of :mod:`models.uplift.outcome_model`. Positive: the ads add to the
outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.gbm.booster import BoosterParameters
from models.gbm.encoding import Encoding, Matrix, Vector
from models.gbm.tuning import fold_labels
from models.uplift.contrasts import UserContrast
from models.uplift.outcome_model import (
    NUISANCE_BOOSTER,
    Family,
    OutcomeRows,
    choose_family,
    cross_fit_outcome,
    efficiency_weights,
)

_Z95 = 1.959963984540054  # of a normal's 97.5 %


@dataclass(frozen=True, slots=True)
class AipwConfig:
    """How scores are cross-fitted. ``family`` None: chosen by held-out loss."""

    folds: int = 5
    seed: int = 0
    threads: int = 1
    family: Family | None = None
    booster: BoosterParameters = field(default=NUISANCE_BOOSTER)


def doubly_robust(
    *, outcome: Vector, fitted: Vector, treated: NDArray[np.bool_], propensity: Vector
) -> Vector:
    """The scores phi, shape (n,), from the cross-fitted m(x) in ``fitted``."""
    lean = np.where(treated, 1 / propensity, -1 / (1 - propensity))
    return (outcome - fitted) * lean


def aipw(contrast: UserContrast, outcome: str, *, config: AipwConfig | None = None) -> Vector:
    """Cross-fitted doubly robust scores of one outcome, shape (n,), in the outcome's unit.

    Folds are stratified by arm. The mean of the scores is the average effect per user; the mean
    over any group fixed before the assignment is that group's.
    """
    config = config or AipwConfig()
    encoding = Encoding.of(contrast.features)
    scores, _ = aipw_arrays(
        matrix=encoding.matrix(contrast.features),
        outcome=contrast.outcome(outcome),
        treated=contrast.treated,
        propensity=contrast.propensity,
        encoding=encoding,
        config=config,
    )
    return scores


def aipw_arrays(
    *,
    matrix: Matrix,
    outcome: Vector,
    treated: NDArray[np.bool_],
    propensity: Vector,
    encoding: Encoding,
    config: AipwConfig,
) -> tuple[Vector, Family]:
    """:func:`aipw` on arrays; also the outcome model's family."""
    data = OutcomeRows(matrix, outcome, efficiency_weights(treated, propensity), encoding)
    family = config.family or choose_family(
        data, strata=treated, parameters=config.booster, seed=config.seed
    )
    folds = fold_labels(strata=treated, folds=config.folds, seed=config.seed)
    fitted = cross_fit_outcome(data, folds=folds, family=family, parameters=config.booster)
    scores = doubly_robust(outcome=outcome, fitted=fitted, treated=treated, propensity=propensity)
    return scores, family


def difference_in_means(outcome: Vector, treated: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean treated minus mean control, and its standard error (Neyman 1923)."""
    one, zero = outcome[treated], outcome[~treated]
    error = np.sqrt(one.var(ddof=1) / len(one) + zero.var(ddof=1) / len(zero))
    return float(one.mean() - zero.mean()), float(error)


def effect_rows(
    contrast: UserContrast, outcome: str, scores: Vector, *, segments: bool = True
) -> Iterable[dict[str, object]]:
    """The effect overall (segment ``all``) and by segment, one row each."""
    values = contrast.outcome(outcome)
    groups: list[tuple[str, NDArray[np.bool_]]] = [("all", np.ones(len(values), dtype=bool))]
    names = contrast.segments
    if segments and len(names) > 1:
        groups += [(name, contrast.segment == name) for name in names]
    for name, inside in groups:
        arm = contrast.treated[inside]
        if min(arm.sum(), (~arm).sum()) < 2:
            continue
        phi = scores[inside]
        ate, error = float(phi.mean()), float(phi.std(ddof=1) / np.sqrt(len(phi)))
        means, means_error = difference_in_means(values[inside], arm)
        yield {
            "experiment": contrast.experiment,
            "channel": contrast.channel,
            "segment": name,
            "outcome": outcome,
            "ate": ate,
            "standard_error": error,
            "low": ate - _Z95 * error,
            "high": ate + _Z95 * error,
            "difference_in_means": means,
            "difference_in_means_error": means_error,
            "difference_in_means_low": means - _Z95 * means_error,
            "difference_in_means_high": means + _Z95 * means_error,
            "variance_ratio": error / means_error if means_error > 0 else np.nan,
            "n_treated": int(arm.sum()),
            "n_control": int((~arm).sum()),
        }


def effect_table(
    compared: Sequence[UserContrast],
    *,
    outcomes: Sequence[str] | None = None,
    config: AipwConfig | None = None,
) -> pd.DataFrame:
    """Average effects per user with 95 % intervals, one row a contrast, outcome and segment.

    ``variance_ratio`` is the standard error over that of the difference in means: below one, the
    covariates have removed noise. ``outcomes`` None: all that a contrast has.
    """
    rows: list[dict[str, object]] = []
    for contrast in compared:
        for outcome in outcomes or list(contrast.outcomes.columns):
            if outcome in contrast.outcomes.columns:
                rows += effect_rows(contrast, outcome, aipw(contrast, outcome, config=config))
    return pd.DataFrame(rows)
