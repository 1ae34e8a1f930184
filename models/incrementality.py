"""What the ads caused, from users assigned at random: doubly robust scores and effects.

A score phi_i has the effect as its mean whatever the outcome model, and the smallest variance when
the model is right (augmented inverse propensity weighting; Robins, Rotnitzky & Zhao 1994, with the
cross-fitting of Chernozhukov et al. 2018, "Double/debiased machine learning", section 5.1):

    phi = mu1 - mu0 + t (y - mu1) / e - (1 - t) (y - mu0) / (1 - e)

computed in the equal form of :mod:`models.nuisance`. Positive: the ads add to the outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from liftloop.core.errors import InsufficientEvidence
from models.boosting import BoosterParameters
from models.design import Encoding, Matrix, Vector
from models.nuisance import (
    NUISANCE_BOOSTER,
    Family,
    choose_family,
    cross_fit_outcome,
    efficiency_weights,
)
from models.tuning import fold_labels

OUTCOMES = ("converted", "conversions", "revenue")
_Z95 = float(stats.norm.ppf(0.975))
_MIN_ARM = 10


@dataclass(frozen=True, slots=True)
class AipwConfig:
    """How scores are cross-fitted. ``family`` None: chosen by held-out loss."""

    folds: int = 5
    seed: int = 0
    threads: int = 1
    family: Family | None = None
    booster: BoosterParameters = field(default=NUISANCE_BOOSTER)


@dataclass(frozen=True, slots=True)
class Contrast:
    """The users of one experiment who were sent one channel's ads, and those who were not.

    All arrays have shape (n,), in the order of ``features``. ``propensity`` is the probability of
    ``treated`` within the contrast; ``cost`` the money spent on a user (NaN: not known).
    """

    experiment: str
    channel: str
    features: pd.DataFrame
    treated: NDArray[np.bool_]
    propensity: Vector
    segment: NDArray[np.object_]
    cost: Vector
    outcomes: pd.DataFrame
    unit_id: NDArray[np.object_]

    def outcome(self, name: str) -> Vector:
        """One outcome, shape (n,); a missing value counts as zero (nothing happened)."""
        if name not in self.outcomes.columns:
            raise ValueError(f"No outcome {name!r}; there are {list(self.outcomes.columns)}.")
        values = self.outcomes[name].to_numpy(dtype=np.float64, na_value=0.0)
        return np.nan_to_num(values, nan=0.0)

    @property
    def segments(self) -> list[str]:
        """The segments, sorted."""
        return sorted(set(self.segment))


def contrasts(units: pd.DataFrame) -> list[Contrast]:
    """One contrast an experiment and channel of the ``units`` feed, sorted by both.

    A control row without a channel is the control of every channel of its experiment and segment.
    A segment without both arms tells nothing and is left out.

    Raises
    ------
    InsufficientEvidence
        When no channel has at least ten users in each arm.
    """
    found: list[Contrast] = []
    channel = units["channel"].astype("object").where(units["channel"].notna(), "")
    channel = channel.map(lambda text: str(text).strip()).to_numpy()
    treated = (units["arm"].astype(str) == "treated").to_numpy()
    if (treated & (channel == "")).any():
        raise ValueError("A treated row needs a channel; only a control row may leave it empty.")
    experiment = units["experiment"].astype(str).to_numpy()
    segment = units["segment"].astype(str).to_numpy().astype(object)
    for name in sorted(set(experiment)):
        within = experiment == name
        named = sorted(set(channel[within & treated]))
        for one in named:
            mine = within & ((channel == one) | (~treated & (channel == "")))
            both = set(segment[mine & treated]) & set(segment[mine & ~treated])
            rows = np.flatnonzero(mine & np.isin(segment, list(both)))
            arm = treated[rows]
            if min(arm.sum(), (~arm).sum()) < _MIN_ARM:
                continue
            pool = within & treated & np.isin(segment, list(both))
            shared = ~arm & (channel[rows] == "")
            share = arm.sum() / pool.sum() if shared.any() and pool.any() else 1.0
            found.append(
                _contrast(
                    units.iloc[rows],
                    experiment=name,
                    channel=one,
                    treated=arm,
                    segment=segment[rows],
                    share=share,
                )
            )
    if not found:
        raise InsufficientEvidence(
            "No channel has ten treated and ten control users in a segment.",
            fix="Deliver units with both arms, or wait for more users.",
        )
    return found


def _contrast(
    rows: pd.DataFrame,
    *,
    experiment: str,
    channel: str,
    treated: NDArray[np.bool_],
    segment: NDArray[np.object_],
    share: float,
) -> Contrast:
    columns = [c for c in rows.columns if str(c).startswith(("x_", "c_"))]
    # a column that holds nothing here tells nothing (a feed may carry other experiments')
    features = rows[[c for c in columns if rows[c].notna().any()]].reset_index(drop=True)
    if len(set(segment)) > 1:
        features = features.assign(segment=pd.Categorical(segment))
    names = [n for n in OUTCOMES if n in rows] + [c for c in rows if str(c).startswith("y_")]
    outcomes = rows[[n for n in names if rows[n].notna().any()]].reset_index(drop=True)
    nothing = np.full(len(rows), np.nan)
    given = _numbers(rows, "propensity", nothing)
    return Contrast(
        experiment=experiment,
        channel=channel,
        features=features,
        treated=treated,
        propensity=_propensity(given, treated, segment, share),
        segment=segment,
        cost=_numbers(rows, "cost", nothing),
        outcomes=outcomes,
        unit_id=rows["unit_id"].to_numpy(dtype=object),
    )


def _numbers(rows: pd.DataFrame, name: str, otherwise: Vector) -> Vector:
    if name not in rows.columns:
        return otherwise
    return rows[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _propensity(
    given: Vector, treated: NDArray[np.bool_], segment: NDArray[np.object_], share: float
) -> Vector:
    """P(treated) within the contrast.

    A given probability is of any ad; a channel that has the part ``share`` of the treated keeps
    p share / (p share + 1 - p) against the common control. Without one: the arm's share, by
    segment where the segments' shares differ by more than chance (chi-squared, p < .001).
    """
    overall = np.full(len(treated), treated.mean())
    codes, names = pd.factorize(segment)
    if len(names) > 1:
        sizes = np.bincount(codes).astype(float)
        hits = np.bincount(codes, weights=treated.astype(float))
        table = np.stack([hits, sizes - hits])
        if stats.chi2_contingency(table).pvalue < 0.001:
            overall = (hits / sizes)[codes]
    known = np.isfinite(given)
    if not known.any():
        return overall
    if ((given[known] <= 0) | (given[known] >= 1)).any():
        raise ValueError("A propensity lies strictly between 0 and 1.")
    p = np.where(known, given, 0.5)
    return np.where(known, p * share / (p * share + 1 - p), overall)


def doubly_robust(
    *, outcome: Vector, fitted: Vector, treated: NDArray[np.bool_], propensity: Vector
) -> Vector:
    """The scores phi, shape (n,), from the cross-fitted m(x) in ``fitted``."""
    lean = np.where(treated, 1 / propensity, -1 / (1 - propensity))
    return (outcome - fitted) * lean


def aipw(contrast: Contrast, outcome: str, *, config: AipwConfig | None = None) -> Vector:
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
    folds: NDArray[np.int8] | None = None,
) -> tuple[Vector, Family]:
    """:func:`aipw` on arrays; also the outcome model's family."""
    weights = efficiency_weights(treated, propensity)
    family = config.family or choose_family(
        matrix=matrix,
        outcome=outcome,
        weights=weights,
        strata=treated,
        encoding=encoding,
        parameters=config.booster,
        seed=config.seed,
    )
    if folds is None:
        folds = fold_labels(strata=treated, folds=config.folds, seed=config.seed)
    fitted = cross_fit_outcome(
        matrix=matrix,
        outcome=outcome,
        weights=weights,
        folds=folds,
        encoding=encoding,
        family=family,
        parameters=config.booster,
    )
    scores = doubly_robust(outcome=outcome, fitted=fitted, treated=treated, propensity=propensity)
    return scores, family


def difference_in_means(outcome: Vector, treated: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean treated minus mean control, and its standard error (Neyman 1923)."""
    one, zero = outcome[treated], outcome[~treated]
    error = np.sqrt(one.var(ddof=1) / len(one) + zero.var(ddof=1) / len(zero))
    return float(one.mean() - zero.mean()), float(error)


def effect_rows(
    contrast: Contrast, outcome: str, scores: Vector, *, segments: bool = True
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
    compared: Sequence[Contrast],
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
