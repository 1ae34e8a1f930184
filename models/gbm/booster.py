"""A thin layer over LightGBM's native interface that knows its traps.

LightGBM *aborts the process* on a constraint list of the wrong length or a constraint on a
categorical column, and predicts silently wrong on reordered columns. Here each of these is an
ordinary error, raised before LightGBM sees the input. Boosters are deterministic: equal inputs and
seed give equal trees for any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import lightgbm as lgb

Features = pd.DataFrame | NDArray[Any]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]

# LightGBM refuses these in a feature's name (they would break its JSON) or rewrites them.
_UNSAFE = frozenset('%"[]{}:,') | frozenset(" \t\n\r")
# Objectives for which LightGBM 4.7 raises on monotone constraints.
_NOT_MONOTONE = frozenset({"quantile", "l1", "regression_l1", "mae"})


# With fewer rows threads wait for each other more than they work: on 27,000 rows a second thread
# made a fit on a busy machine take four times the time. The trees are the same.
ROWS_A_THREAD = 100_000


@dataclass(frozen=True, slots=True)
class BoosterParameters:
    """What a booster is fitted with. ``min_leaf`` is in rows, ``l2`` in LightGBM's lambda_l2."""

    rounds: int = 200
    learning_rate: float = 0.05
    leaves: int = 15
    min_leaf: int = 200
    feature_fraction: float = 1.0
    l2: float = 1.0
    bagging_fraction: float = 1.0
    objective: str = "regression"
    threads: int = 1
    seed: int = 0
    max_bin: int = 255
    linear_tree: bool = False
    path_smooth: float = 0.0

    def as_lightgbm(self) -> dict[str, Any]:
        """LightGBM's own names."""
        return {
            "objective": self.objective,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_leaf,
            "feature_fraction": self.feature_fraction,
            "lambda_l2": self.l2,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": int(self.bagging_fraction < 1.0),
            "max_bin": self.max_bin,
            "linear_tree": self.linear_tree,
            "path_smooth": self.path_smooth,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


def safe_name(name: object) -> str:
    """``name`` with the characters LightGBM refuses written as %xx, so that names stay distinct."""
    return "".join(f"%{ord(c):02x}" if c in _UNSAFE else c for c in str(name))


def prepare(features: Features) -> Features:
    """Features as LightGBM takes them: texts as categories, numbers as floats, safe names.

    An array passes unchanged. A frame is copied where a column changes, never mutated.
    """
    if not isinstance(features, pd.DataFrame):
        return features
    columns: dict[str, Any] = {}
    for name, column in features.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[safe_name(name)] = column
        elif pd.api.types.is_numeric_dtype(column.dtype):
            native = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
            columns[safe_name(name)] = column if native else column.astype("float64")
        else:
            columns[safe_name(name)] = column.astype("category")
    if len(columns) != features.shape[1]:
        raise ValueError(f"Feature names repeat: {list(features.columns)}.")
    return pd.DataFrame(columns, index=features.index)


def _names(features: Features) -> list[Any]:
    if isinstance(features, pd.DataFrame):
        return list(features.columns)
    return list(range(features.shape[1]))


def _categorical(features: Features, categorical: Sequence[Any]) -> list[Any]:
    names = _names(features)
    given = [safe_name(c) if isinstance(features, pd.DataFrame) else c for c in categorical]
    unknown = [c for c in given if c not in names]
    if unknown:
        raise ValueError(f"Categorical features that are not there: {unknown}.")
    if isinstance(features, pd.DataFrame):
        given += [
            name
            for name, column in features.items()
            if isinstance(column.dtype, pd.CategoricalDtype) and name not in given
        ]
    return given


def _monotone(
    features: Features,
    monotone: Mapping[Any, int] | Sequence[int] | None,
    categorical: Sequence[Any],
    objective: str,
) -> list[int] | None:
    if monotone is None:
        return None
    names = _names(features)
    if isinstance(monotone, Mapping):
        signs = {
            safe_name(k) if isinstance(features, pd.DataFrame) else k: v
            for k, v in monotone.items()
        }
        unknown = [name for name in signs if name not in names]
        if unknown:
            raise ValueError(f"Monotone constraints on features that are not there: {unknown}.")
        listed = [int(signs.get(name, 0)) for name in names]
    else:
        listed = [int(sign) for sign in monotone]
    if len(listed) != len(names):
        raise ValueError(f"{len(listed)} monotone constraints for {len(names)} features.")
    if any(sign not in (-1, 0, 1) for sign in listed):
        raise ValueError("A monotone constraint is -1, 0 or 1.")
    both = [name for name, sign in zip(names, listed, strict=True) if sign and name in categorical]
    if both:
        raise ValueError(f"A categorical feature cannot be monotone: {both}.")
    if any(listed) and objective in _NOT_MONOTONE:
        raise ValueError(f"The objective {objective!r} does not take monotone constraints.")
    return listed


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """What a booster is fitted to.

    Attributes
    ----------
    features : frame or array, shape (n, n_features)
    target, weights : shape (n,)
    categorical : names (of a frame) or column numbers (of an array); a frame's text and category
        columns are categorical without being named
    monotone : signs by name or number, or one sign a feature
    """

    features: Features
    target: NDArray[Any] | pd.Series
    weights: NDArray[Any] | pd.Series | None = None
    categorical: Sequence[Any] = ()
    monotone: Mapping[Any, int] | Sequence[int] | None = None

    def only(self, rows: NDArray[np.intp]) -> TrainingRows:
        """Some of the rows, by number."""
        features: Any = self.features
        features = features.iloc if isinstance(features, pd.DataFrame) else features
        return replace(
            self,
            features=features[rows],
            target=np.asarray(self.target)[rows],
            weights=None if self.weights is None else np.asarray(self.weights)[rows],
        )


def make_dataset(
    rows: TrainingRows, parameters: BoosterParameters
) -> tuple[lgb.Dataset, dict[str, Any]]:
    """A LightGBM data set and the parameters to train on it, both checked.

    Raises
    ------
    ValueError
        For what would make LightGBM abort: lengths that differ, unknown names, a constraint on a
        category, a target or weight that is not finite.
    """
    import lightgbm as lgb

    ready = prepare(rows.features)
    count = ready.shape[0]
    for label, values in (("target", rows.target), ("weights", rows.weights)):
        if values is None:
            continue
        if len(values) != count:
            raise ValueError(f"{len(values)} {label} values for {count} rows of features.")
        if not np.isfinite(np.asarray(values, dtype=float)).all():
            raise ValueError(f"The {label} holds values that are not finite.")
    categories = _categorical(ready, rows.categorical)
    signs = _monotone(ready, rows.monotone, categories, parameters.objective)
    settings = parameters.as_lightgbm()
    if count < ROWS_A_THREAD:
        settings["num_threads"] = 1
    if signs is not None:
        settings["monotone_constraints"] = signs
    dataset = lgb.Dataset(
        ready,
        label=np.asarray(rows.target, dtype=np.float64),
        weight=None if rows.weights is None else np.asarray(rows.weights, dtype=np.float64),
        categorical_feature=categories or "auto",
        free_raw_data=not parameters.linear_tree,
        params=settings,
    )
    return dataset, settings


def fit_booster(rows: TrainingRows, parameters: BoosterParameters) -> lgb.Booster:
    """Fit ``parameters.rounds`` trees. See :func:`make_dataset` for errors.

    The categories of a frame's columns are fixed here: a later prediction maps by them, and a
    category not seen in the fit counts as missing.
    """
    import lightgbm as lgb

    dataset, settings = make_dataset(rows, parameters)
    return lgb.train(settings, dataset, num_boost_round=parameters.rounds)


def predict(booster: lgb.Booster, features: Features) -> NDArray[np.float64]:
    """Predictions, shape (n,). A frame must have the fit's columns; their order does not matter.

    Raises
    ------
    ValueError
        When a column of the fit is missing, or an array has another number of columns.
    """
    ready = prepare(features)
    names = booster.feature_name()
    if isinstance(ready, pd.DataFrame):
        missing = [name for name in names if name not in ready.columns]
        if missing:
            raise ValueError(f"Features of the fit that are missing: {missing}.")
        ready = ready[names]
    elif ready.shape[1] != len(names):
        raise ValueError(f"{ready.shape[1]} feature columns, but the fit had {len(names)}.")
    if ready.shape[0] == 0:
        return np.empty(0)
    # as many threads as the fit had: LightGBM would otherwise take every core to predict
    threads = int(booster.params.get("num_threads", 1) or 1)
    predicted = booster.predict(
        ready, validate_features=isinstance(ready, pd.DataFrame), num_threads=threads
    )
    return np.asarray(predicted, dtype=np.float64)


def cross_fit(
    rows: TrainingRows, folds: Sequence[Fold], parameters: BoosterParameters
) -> NDArray[np.float64]:
    """Out-of-fold predictions, shape (n,): each from a fit that did not see its row.

    ``folds`` are (rows to fit on, rows to predict); a row in no fold's second part stays NaN.
    """
    ready = replace(rows, features=prepare(rows.features))
    predicted = np.full(ready.features.shape[0], np.nan)
    for fit_rows, new_rows in folds:
        booster = fit_booster(ready.only(fit_rows), parameters)
        predicted[new_rows] = predict(booster, ready.only(new_rows).features)
    return predicted
