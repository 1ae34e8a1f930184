"""Who responds: learners of the conditional average treatment effect (CATE) on LightGBM.

All learn from the same sample with the outcome model m(x) taken out beforehand, r = y - m(x), so
that none has to spend trees on what the arms have in common:

* ``constant``: everyone responds alike;
* ``linear``: ridge regression of the doubly robust scores;
* ``rule``, ``tree``, ``dr``: trees of the doubly robust scores (Kennedy 2023, DR-learner): one
  split, one small tree, or boosting;
* ``r``: boosting of r / (t - e) with weights (t - e)^2 (Nie & Wager 2021, equation 4). With e = 1/2
  it is ``dr``;
* ``s``, ``t``, ``x``: one model with the arm as a covariate, a model an arm, and the imputed
  effects of Künzel et al. (2019, equations 5 to 9).

Which one is best depends on the data (on one set the order of another is reversed): see
:mod:`models.uplift.selection`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.gbm.booster import BoosterParameters
from models.gbm.encoding import Encoding, LinearModel, Matrix, Vector, fit_linear

if TYPE_CHECKING:
    import lightgbm as lgb

_IMPUTING_ROUNDS = 40

Kind = Literal["constant", "linear", "dr", "r", "s", "t", "x"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows to learn from, all of shape (n,) but ``matrix``. ``residual`` is y - m(x)."""

    matrix: Matrix
    treated: NDArray[np.bool_]
    propensity: Vector
    residual: Vector
    scores: Vector

    def rows(self, chosen: NDArray[Any]) -> Sample:
        """Some of the rows."""
        return Sample(
            self.matrix[chosen],
            self.treated[chosen],
            self.propensity[chosen],
            self.residual[chosen],
            self.scores[chosen],
        )

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Learner:
    """A way to learn a CATE. ``path``: the numbers of rounds among which is chosen."""

    name: str
    kind: Kind
    booster: BoosterParameters = field(default_factory=BoosterParameters)
    path: tuple[int, ...] = (1,)
    penalty: float = 0.0

    def of_size(self, rows: int) -> Learner:
        """The same with leaves of at least half a percent of ``rows``, penalties in proportion."""
        leaf = max(self.booster.min_leaf, rows // 200)
        return replace(self, booster=replace(self.booster, min_leaf=leaf))


@dataclass(frozen=True, slots=True)
class Cate:
    """A fitted CATE. ``boosters`` are named by their part; ``average`` is the mean effect."""

    learner: Learner
    rounds: int
    average: float
    boosters: dict[str, lgb.Booster]
    linear: LinearModel | None = None
    propensity: float = 0.5

    def predict(self, matrix: Matrix) -> Vector:
        """The predicted effect of each row, shape (n,), in the outcome's unit."""
        if self.learner.kind == "constant":
            return np.full(len(matrix), self.average)
        if self.linear is not None:
            return self.linear.predict(matrix)
        return self._boosted(matrix, 0, self.rounds)

    def along_path(self, matrix: Matrix) -> NDArray[np.float32]:
        """Predictions after each number of rounds of the path, shape (n_path, n)."""
        if not self.boosters:
            return self.predict(matrix).astype(np.float32)[None, :]
        path = [min(rounds, self.rounds) for rounds in self.learner.path]
        out = np.empty((len(path), len(matrix)), dtype=np.float32)
        running = np.zeros(len(matrix))
        done = 0
        for row, rounds in enumerate(path):
            if rounds > done:
                running = running + self._boosted(matrix, done, rounds)
                done = rounds
            out[row] = running
        return out

    def _boosted(self, matrix: Matrix, start: int, end: int) -> Vector:
        def part(name: str, rows: Matrix) -> Vector:
            return np.asarray(
                self.boosters[name].predict(
                    rows,
                    start_iteration=start,
                    num_iteration=end - start,
                    num_threads=self.learner.booster.threads,
                )
            )

        kind = self.learner.kind
        if kind == "s":
            one = np.concatenate([matrix, np.ones((len(matrix), 1), np.float32)], axis=1)
            with_ads = part("outcome", one)
            one[:, -1] = 0.0
            return with_ads - part("outcome", one)
        if kind == "t":
            return part("treated", matrix) - part("control", matrix)
        if kind == "x":
            e = self.propensity
            return (1 - e) * part("treated", matrix) + e * part("control", matrix)
        return part("effect", matrix)


def _train(
    *,
    matrix: Matrix,
    target: Vector,
    encoding: Encoding,
    parameters: BoosterParameters,
    weights: Vector | None = None,
    extra: tuple[str, ...] = (),
) -> lgb.Booster:
    import lightgbm as lgb

    settings = parameters.as_lightgbm() | {"feature_pre_filter": False}
    dataset = lgb.Dataset(
        matrix,
        label=target,
        weight=weights,
        feature_name=[*encoding.names, *extra],
        categorical_feature=encoding.categorical or "auto",
        params=settings,
    )
    return lgb.train(settings, dataset, num_boost_round=parameters.rounds)


def fit_cate(
    learner: Learner,
    sample: Sample,
    *,
    encoding: Encoding,
    rounds: int | None = None,
) -> Cate:
    """Fit one learner for ``rounds`` (None: to the end of its path)."""
    kind = learner.kind
    rounds = rounds or learner.path[-1]
    learner = learner.of_size(len(sample))
    average = float(sample.scores.mean())
    e = float(sample.propensity.mean())
    if kind == "constant" or not encoding.columns:
        return Cate(replace(learner, kind="constant"), 0, average, {}, None, e)
    if kind == "linear":
        linear = fit_linear(
            matrix=sample.matrix,
            target=sample.scores,
            weights=None,
            encoding=encoding,
            penalty=learner.penalty,
        )
        return Cate(learner, 0, average, {}, linear, e)
    if kind in ("dr", "r"):
        target, weights = _pseudo_outcome(kind, sample)
        boosters = {
            "effect": _train(
                matrix=sample.matrix,
                target=target,
                weights=weights,
                encoding=encoding,
                parameters=replace(learner.booster, rounds=rounds),
            )
        }
        return Cate(learner, rounds, average, boosters, None, e)
    boosters = _meta(learner, sample, encoding, rounds, e)
    return Cate(learner, rounds, average, boosters, None, e)


def _pseudo_outcome(kind: Kind, sample: Sample) -> tuple[Vector, Vector | None]:
    if kind == "dr":
        return sample.scores, None
    lean = sample.treated - sample.propensity
    return sample.residual / lean, lean**2


def _meta(
    learner: Learner, sample: Sample, encoding: Encoding, rounds: int, e: float
) -> dict[str, lgb.Booster]:
    if learner.kind == "s":
        arm = sample.treated.astype(np.float32)[:, None]
        return {
            "outcome": _train(
                matrix=np.concatenate([sample.matrix, arm], axis=1),
                target=sample.residual,
                encoding=encoding,
                parameters=replace(learner.booster, rounds=rounds),
                extra=("treated",),
            )
        }
    arms = {"treated": sample.treated, "control": ~sample.treated}
    first = {
        name: _train(
            matrix=sample.matrix[inside],
            target=sample.residual[inside],
            encoding=encoding,
            parameters=replace(
                learner.booster, rounds=rounds if learner.kind == "t" else _IMPUTING_ROUNDS
            ),
        )
        for name, inside in arms.items()
    }
    if learner.kind == "t":
        return first
    other = {"treated": "control", "control": "treated"}
    sign = {"treated": 1.0, "control": -1.0}
    return {
        name: _train(
            matrix=sample.matrix[inside],
            target=sign[name]
            * (
                sample.residual[inside]
                - np.asarray(
                    first[other[name]].predict(
                        sample.matrix[inside], num_threads=learner.booster.threads
                    )
                )
            ),
            encoding=encoding,
            parameters=replace(learner.booster, rounds=rounds),
        )
        for name, inside in arms.items()
    }


def default_learners(*, threads: int = 1, seed: int = 0, even: bool = True) -> tuple[Learner, ...]:
    """The candidates, from the plainest to the richest. ``even``: half are treated (no ``r``)."""

    def booster(leaves: int, rate: float, l2: float = 1.0) -> BoosterParameters:
        return BoosterParameters(
            leaves=leaves, learning_rate=rate, l2=l2, min_leaf=50, threads=threads, seed=seed
        )

    steps = (5, 10, 15, 20, 30, 40, 60, 80)
    return (
        Learner("constant", "constant"),
        Learner("shrunk linear", "linear", penalty=3000.0),
        Learner("linear", "linear", penalty=30.0),
        Learner("rule", "dr", booster(2, 1.0, 0.0), (1,)),
        Learner("tree", "dr", booster(4, 1.0, 0.0), (1,)),
        Learner("dr stumps", "dr", booster(2, 0.2), steps),
        Learner("dr", "dr", booster(15, 0.1), steps),
        *(() if even else (Learner("r", "r", booster(15, 0.1), steps),)),
        Learner("s", "s", booster(15, 0.1), (10, 20, 30, 40, 60)),
        Learner("t", "t", booster(4, 0.1), (8, 15, 30, 60)),
        Learner("x", "x", booster(4, 0.1), (8, 15, 30, 60)),
    )
