"""Optuna chooses a booster's parameters out of fold.

The caller makes the study (its storage is I/O); a study that already holds finished trials goes on
where it stopped. With a fixed seed, and a time budget that does not bite, two runs agree, also when
one of them was killed on the way and continued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.gbm.booster import BoosterParameters, Fold, TrainingRows, make_dataset, prepare

if TYPE_CHECKING:
    import optuna

ROUNDS_LIMIT = 600
PATIENCE = 25

_FINISHED = ("COMPLETE", "PRUNED")  # names of optuna.trial.TrialState


def stratified_folds(
    *, strata: NDArray[Any] | pd.Series, folds: int, seed: int
) -> tuple[Fold, ...]:
    """``folds`` random (fit, hold out) pairs in which every stratum (an arm) keeps its share."""
    if folds < 2:
        raise ValueError("At least two folds are needed.")
    label = fold_labels(strata=strata, folds=folds, seed=seed)
    return tuple((np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in range(folds))


def fold_labels(*, strata: NDArray[Any] | pd.Series, folds: int, seed: int) -> NDArray[np.int8]:
    """The fold number of every row, shape (n,): random within a stratum, of equal size to one."""
    codes, _ = pd.factorize(np.asarray(strata))
    order = np.random.default_rng(seed).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    # numbering on through the strata keeps whole folds equal as well
    label = np.empty(len(codes), dtype=np.int8)
    label[order] = np.arange(len(codes)) % folds
    return label


def time_ordered_folds(*, dates: NDArray[Any] | pd.Series, folds: int) -> tuple[Fold, ...]:
    """``folds`` pairs that fit on the past and hold out the next block of days.

    The days are cut in ``folds`` + 1 blocks with whole days; block ``k`` is held out of a fit on
    all blocks before it, so no fit ever sees a later day.
    """
    days, number = np.unique(np.asarray(dates), return_inverse=True)
    if len(days) < folds + 1:
        raise ValueError(f"{len(days)} days are too few for {folds} time-ordered folds.")
    block = (np.arange(len(days)) * (folds + 1) // len(days))[number]
    return tuple(
        (np.flatnonzero(block < k), np.flatnonzero(block == k)) for k in range(1, folds + 1)
    )


def suggest_booster(
    trial: optuna.Trial, *, rows: int, base: BoosterParameters
) -> BoosterParameters:
    """The search space: small trees to middling ones, leaves of 0.05 % to 5 % of the rows."""
    smallest = max(5, rows // 2000)
    return replace(
        base,
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        leaves=trial.suggest_int("leaves", 3, 63, log=True),
        min_leaf=trial.suggest_int("min_leaf", smallest, max(smallest + 1, rows // 20), log=True),
        feature_fraction=trial.suggest_float("feature_fraction", 0.5, 1.0),
        bagging_fraction=trial.suggest_float("bagging_fraction", 0.6, 1.0),
        l2=trial.suggest_float("l2", 0.01, 100.0, log=True),
    )


def tune(
    *,
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    trials: int,
    seconds: float | None,
    seed: int,
    first: dict[str, Any] | None = None,
) -> optuna.trial.FrozenTrial:
    """Run ``objective`` until the study holds ``trials`` finished trials or ``seconds`` are over.

    ``first`` is tried before anything is searched, so that the choice is never worse (on the same
    folds) than the parameters one would have used untuned.

    Raises
    ------
    ValueError
        When the study has no finished trial at the end (no time, no trials).
    """
    import optuna

    done = _finished(study)
    waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
    # A kill may leave `first` begun, and never to be ended: then it is tried again.
    if first is not None and not done and not waiting:
        study.enqueue_trial(first)

    def draw_anew(study: optuna.Study, _: object = None) -> None:
        study.sampler = _sampler(seed=seed + _finished(study), trials=trials)

    draw_anew(study)
    if done < trials and (seconds is None or seconds > 0):
        study.optimize(
            objective, n_trials=trials - done, timeout=seconds, n_jobs=1, callbacks=[draw_anew]
        )
    try:
        return study.best_trial
    except ValueError:
        raise ValueError("No trial finished: give the search more trials or more time.") from None


def _finished(study: optuna.Study) -> int:
    return sum(trial.state.name in _FINISHED for trial in study.get_trials(deepcopy=False))


def _sampler(*, seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """A trial's own sampler: what it draws depends on the finished trials alone.

    So a search that was killed goes on with just the draws it would have made. Trials that others
    have begun are not looked at (``constant_liar``): a killed one stays begun for ever.
    """
    import optuna

    return optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=min(10, max(3, trials // 2)),
        multivariate=False,
        constant_liar=False,
    )


def tune_regressor(
    training: TrainingRows,
    folds: Sequence[Fold],
    *,
    study: optuna.Study,
    base: BoosterParameters,
    trials: int,
    seconds: float | None,
) -> BoosterParameters:
    """Parameters with the least held-out loss, mean over ``folds``, with early stopping.

    Parameters
    ----------
    folds : (rows to fit on, rows held out), for example :func:`time_ordered_folds`
    study : the caller's, direction "minimize"; a study with finished trials is continued
    base : the parameters that are not searched (objective, bins, threads, the seed, which is the
        search's too...), and the first ones tried
    trials, seconds : the search ends at whichever comes first; ``trials`` counts those the study
        already holds, ``seconds`` only this call

    Returns
    -------
    BoosterParameters
        ``rounds`` is where early stopping found the least mean held-out loss. With ``trials`` 0
        and an empty study: ``base`` unchanged.
    """
    import lightgbm as lgb
    import optuna

    if trials <= 0 and not any(t.state.name in _FINISHED for t in study.get_trials(deepcopy=False)):
        return base
    ready = replace(training, features=prepare(training.features))
    rows = min(len(fit) for fit, _ in folds)
    metric = "binary_logloss" if base.objective in ("binary", "cross_entropy") else "l2"

    def held_out_loss(trial: optuna.Trial) -> float:
        parameters = suggest_booster(trial, rows=rows, base=base)
        dataset, settings = make_dataset(ready, parameters)
        history = lgb.cv(
            settings | {"metric": metric},
            dataset,
            num_boost_round=ROUNDS_LIMIT,
            folds=list(folds),
            callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
        )
        losses = np.asarray(history[f"valid {metric}-mean"])
        trial.set_user_attr("rounds", int(losses.argmin()) + 1)
        return float(losses.min())

    smallest = max(5, rows // 2000)
    best = tune(
        study=study,
        objective=held_out_loss,
        trials=trials,
        seconds=seconds,
        seed=base.seed,
        first={
            "learning_rate": float(np.clip(base.learning_rate, 0.02, 0.2)),
            "leaves": int(np.clip(base.leaves, 3, 63)),
            "min_leaf": int(np.clip(base.min_leaf, smallest, max(smallest + 1, rows // 20))),
            "feature_fraction": float(np.clip(base.feature_fraction, 0.5, 1.0)),
            "bagging_fraction": float(np.clip(base.bagging_fraction, 0.6, 1.0)),
            "l2": float(np.clip(base.l2, 0.01, 100.0)),
        },
    )
    return replace(
        suggest_booster(
            cast(optuna.Trial, optuna.trial.FixedTrial(best.params)), rows=rows, base=base
        ),
        rounds=int(best.user_attrs["rounds"]),
    )
