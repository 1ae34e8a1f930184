"""The choice of the CATE learner, and out-of-fold predictions of the whole procedure.

Nested: within the rows outside a fold, outcome models, learners and their rounds are fitted and
chosen on inner folds by the doubly robust loss, the mean of (phi - tau(x))^2, whose minimizer is
the true CATE whatever the outcome model (Kennedy 2023; Saito & Yasui 2020 for the choice by it).
The fold itself is only predicted. So a fold measures the procedure, the choice included, on rows
that chose nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.gbm.booster import BoosterParameters
from models.gbm.encoding import Encoding, Matrix, Vector
from models.gbm.tuning import fold_labels
from models.uplift.aipw import doubly_robust
from models.uplift.learners import Cate, Learner, Sample, default_learners, fit_cate
from models.uplift.outcome_model import (
    NUISANCE_BOOSTER,
    OutcomeRows,
    choose_family,
    cross_fit_outcome,
    efficiency_weights,
)

_PERCENTILES = 100
_SEEN = 50_000


@dataclass(frozen=True, slots=True)
class UpliftConfig:
    """How a CATE is learned. From ``large_rows`` on: two folds, a choice on ``choice_rows`` of
    the rows, and rounds chosen anew on a tenth."""

    folds: int = 5
    inner_folds: int = 2
    choice_rows: int = 60_000
    large_rows: int = 300_000
    threads: int = 1
    seed: int = 0
    nuisance: BoosterParameters = field(default=NUISANCE_BOOSTER)
    learners: tuple[Learner, ...] | None = None


@dataclass(frozen=True, slots=True)
class Randomized:
    """A randomized comparison as arrays of shape (n,); ``matrix`` (n, n_columns) float32."""

    matrix: Matrix
    treated: NDArray[np.bool_]
    propensity: Vector
    outcome: Vector
    encoding: Encoding

    def rows(self, chosen: NDArray[np.intp]) -> Randomized:
        return Randomized(
            self.matrix[chosen],
            self.treated[chosen],
            self.propensity[chosen],
            self.outcome[chosen],
            self.encoding,
        )

    def __len__(self) -> int:
        return len(self.outcome)


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen learner and rounds, and every candidate's best loss less the constant's."""

    learner: Learner
    rounds: int
    losses: dict[str, float]


def make_sample(trial: Randomized, *, config: UpliftConfig) -> Sample:
    """Scores and residuals of ``trial``, cross-fitted within it."""
    weights = efficiency_weights(trial.treated, trial.propensity)
    data = OutcomeRows(trial.matrix, trial.outcome, weights, trial.encoding)
    family = choose_family(
        data,
        strata=trial.treated,
        parameters=config.nuisance,
        seed=config.seed,
    )
    folds = 2 if len(trial) >= config.large_rows else 3
    fitted = cross_fit_outcome(
        data,
        folds=fold_labels(strata=trial.treated, folds=folds, seed=config.seed + 1),
        family=family,
        parameters=config.nuisance,
    )
    scores = doubly_robust(
        outcome=trial.outcome, fitted=fitted, treated=trial.treated, propensity=trial.propensity
    )
    return Sample(trial.matrix, trial.treated, trial.propensity, trial.outcome - fitted, scores)


def choose_learner(sample: Sample, *, encoding: Encoding, config: UpliftConfig) -> Choice:
    """The learner and rounds of least doubly robust loss over inner folds of ``sample``."""
    if len(sample) > config.choice_rows:
        rng = np.random.default_rng(config.seed + 2)
        sample = sample.rows(rng.choice(len(sample), config.choice_rows, replace=False))
    even = abs(float(sample.propensity.mean()) - 0.5) < 0.02
    learners = config.learners or default_learners(
        threads=config.threads, seed=config.seed, even=even
    )
    label = fold_labels(strata=sample.treated, folds=config.inner_folds, seed=config.seed + 3)
    total = {learner.name: np.zeros(len(learner.path)) for learner in learners}
    for k in range(config.inner_folds):
        fit, held = sample.rows(label != k), sample.rows(label == k)
        flat = float(((held.scores - fit.scores.mean()) ** 2).sum())
        for learner in learners:
            cate = fit_cate(learner, fit, encoding=encoding)
            predicted = cate.along_path(held.matrix)
            total[learner.name] += ((held.scores - predicted) ** 2).sum(axis=1) - flat
    best = {name: float(losses.min()) / len(sample) for name, losses in total.items()}
    # the plainest wins a tie: the candidates are in that order
    winner = min(learners, key=lambda learner: best[learner.name])
    rounds = winner.path[int(total[winner.name].argmin())]
    return Choice(winner, rounds, best)


def learn(trial: Randomized, *, config: UpliftConfig) -> tuple[Cate, Choice, Sample]:
    """The whole procedure on all of ``trial``: scores, choice, final fit."""
    sample = make_sample(trial, config=config)
    choice = choose_learner(sample, encoding=trial.encoding, config=config)
    return fit_chosen(choice, sample, encoding=trial.encoding, config=config), choice, sample


def fit_chosen(choice: Choice, sample: Sample, *, encoding: Encoding, config: UpliftConfig) -> Cate:
    """The final fit; with many more rows than the choice saw, rounds are chosen anew."""
    large = len(sample) >= config.large_rows
    if not large or len(choice.learner.path) == 1:
        return fit_cate(choice.learner, sample, encoding=encoding, rounds=choice.rounds)
    apart = fold_labels(strata=sample.treated, folds=10, seed=config.seed + 4) == 0
    cate = fit_cate(choice.learner, sample.rows(~apart), encoding=encoding)
    held = sample.rows(apart)
    losses = ((held.scores - cate.along_path(held.matrix)) ** 2).mean(axis=1)
    return replace(cate, rounds=choice.learner.path[int(losses.argmin())])


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Predictions of each row by a procedure that did not see it.

    The fits' predictions are on slightly different scales, by chance and always against the
    held-out fold (where a fold responds most, the others respond least). So a row keeps its
    *percentile* among the predictions of its own fit, and ``predicted`` is the mean over the fits
    of that percentile's prediction, plus what makes their mean the overall effect. No row's own
    outcome has a say in its order. ``raw`` is what the fits said.
    """

    predicted: Vector
    raw: Vector
    scores: Vector
    folds: NDArray[np.int8]
    choices: tuple[Choice, ...]

    @property
    def chosen(self) -> dict[str, int]:
        """In how many folds each learner was chosen."""
        return dict(Counter(choice.learner.name for choice in self.choices))


def out_of_fold(trial: Randomized, *, config: UpliftConfig, seed: int | None = None) -> OutOfFold:
    """Cross-fitted predictions and doubly robust scores. ``seed`` draws the outer folds."""
    count = 2 if len(trial) >= config.large_rows else config.folds
    folds = fold_labels(
        strata=trial.treated, folds=count, seed=config.seed if seed is None else seed
    )
    raw, percentile = np.empty(len(trial)), np.empty(len(trial))
    quantiles = np.zeros(_PERCENTILES)
    weights = efficiency_weights(trial.treated, trial.propensity)
    choices = []
    for k in range(count):
        held = np.flatnonzero(folds == k)
        outside = trial.rows(np.flatnonzero(folds != k))
        cate, choice, sample = learn(outside, config=config)
        raw[held] = cate.predict(trial.matrix[held])
        seen = np.sort(cate.predict(outside.matrix[:: max(1, len(outside) // _SEEN)]))
        percentile[held] = _percentile(seen, raw[held])
        quantiles += np.quantile(seen, (np.arange(_PERCENTILES) + 0.5) / _PERCENTILES) / count
        choices.append(choice)
        del sample
    data = OutcomeRows(trial.matrix, trial.outcome, weights, trial.encoding)
    family = choose_family(
        data,
        strata=trial.treated,
        parameters=config.nuisance,
        seed=config.seed,
    )
    fitted = cross_fit_outcome(
        data,
        folds=folds,
        family=family,
        parameters=config.nuisance,
    )
    scores = doubly_robust(
        outcome=trial.outcome, fitted=fitted, treated=trial.treated, propensity=trial.propensity
    )
    predicted = quantiles[percentile.astype(int)]
    predicted += scores.mean() - predicted.mean()
    return OutOfFold(predicted, raw, scores, folds, tuple(choices))


def _percentile(seen: Vector, predicted: Vector) -> Vector:
    """The place of each prediction among the sorted ``seen``, 0 to 99; ties take their middle."""
    low = np.searchsorted(seen, predicted, side="left")
    high = np.searchsorted(seen, predicted, side="right")
    return np.minimum(np.floor((low + high) / 2 / len(seen) * _PERCENTILES), _PERCENTILES - 1)
