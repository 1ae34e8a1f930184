"""Are two arms alike before the test? The ratio of their sizes against the planned propensity, and
their covariates against each other.

Both are score tests of "assignment depends on nothing but the plan". The ratio test sums treated
minus propensity over users, whatever each user's propensity (the variance is the sum of e (1 - e)).
The balance test holds the counts of each stratum fixed and asks whether covariates still tell who
was treated: every covariate by itself, and all together by the omnibus statistic of Hansen and
Bowers (2008), "Covariate balance in simple, stratified and clustered comparative studies",
Statistical Science 23. Numbers enter as ranks, so that a few huge customers decide nothing. Tails
are those of Bernstein's inequality, which holds for any sample size and any skewness.

A difference also has to matter: with millions of users chance differences of no consequence are
significant in some of many tests, and differences below .05 standard deviations are what covariate
adjustment takes out anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array, Index, Mask

LEAST_LOG_ODDS = 0.02  # a ratio this close to the planned one is of no consequence
LEAST_DISTANCE = 0.05  # standard deviations between the arms' means that matter
LEAST_JOINT = 0.1  # the same for all covariates together (Mahalanobis distance beyond chance)
LEAST_COUNT = 30  # users of a category in the smaller arm, expected, from which it is looked at
LEAST_USERS = 50  # in the smaller arm, for balance
MOST_LEVELS = 20  # categories of one column; rarer ones are taken together
MOST_ROWS = 200_000  # more users see nothing more that matters
MOST_VALUES = 20_000_000  # rows x columns held at once


@dataclass(frozen=True, slots=True)
class Ratio:
    """The treated share of users, the planned one, how far apart in log odds, and how likely chance
    makes them so different (two-sided)."""

    users: int
    share: float
    planned: float
    log_odds: float
    p_value: float

    def broken(self, alpha: float) -> bool:
        return self.p_value < alpha and abs(self.log_odds) >= LEAST_LOG_ODDS


@dataclass(frozen=True, slots=True)
class Imbalance:
    """A covariate, or one of its categories, that differs between the arms.

    Attributes
    ----------
    name : the column
    level : the category, "missing" for gaps; "" for a number
    distance : treated minus control in standard deviations (of the ranks, for numbers)
    treated, control : means, or shares of a category
    p_value : corrected for the number of covariates; for the omnibus test, its own
    """

    name: str
    level: str
    distance: float
    treated: float
    control: float
    p_value: float


def tail(deviation: Array, variance: Array, largest: Array) -> Array:
    """Two-sided chance of a sum of independent centred terms so far from 0, by Bernstein's
    inequality sharpened to the normal tail: z = t / sqrt(V + t b / 3).

    Parameters
    ----------
    deviation, variance, largest : shape (n,)
        The sum, its variance, and the largest size a term can have.
    """
    from scipy.special import ndtr

    size = np.abs(deviation)
    spread = np.sqrt(variance + size * largest / 3)
    z = np.divide(size, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(2 * ndtr(-z))


def ratio_of(treated: Mask, propensity: Array) -> Ratio | None:
    """The ratio of users whose ``propensity`` is stated, all shape (n,); None without any."""
    stated = np.isfinite(propensity) & (propensity > 0) & (propensity < 1)
    if not stated.any():
        return None
    arm, planned = treated[stated], propensity[stated]
    variance = float((planned * (1 - planned)).sum())
    gap = float(arm.sum() - planned.sum())
    largest = float(np.maximum(planned, 1 - planned).max())
    p_value = tail(np.array([gap]), np.array([variance]), np.array([largest]))[0]
    return Ratio(
        int(stated.sum()), float(arm.mean()), float(planned.mean()), gap / variance, float(p_value)
    )


def imbalance_of(
    covariates: pd.DataFrame, treated: Mask, strata: Index, *, alpha: float
) -> Imbalance | None:
    """The covariate that differs most between the arms, if they differ by more than chance.

    Parameters
    ----------
    covariates : shape (n, columns)
        Numbers as ``x_...``, categories as ``c_...``; what is missing is a category of its own.
    treated, strata : shape (n,)
        ``strata`` numbers the groups within which all had the same propensity.
    alpha : chance to name any covariate of a sound test
    """
    if min(int(treated.sum()), int((~treated).sum())) < LEAST_USERS or covariates.shape[1] == 0:
        return None
    rows = np.arange(len(treated))
    most = min(MOST_ROWS, max(MOST_VALUES // (covariates.shape[1] + 1), 1000))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    table, arm, stratum = covariates.iloc[rows], treated[rows], strata[rows]
    usable, share = _shares(arm, stratum)
    if usable.sum() < 2 * LEAST_USERS:
        return None
    table, arm, stratum, share = table[usable], arm[usable], stratum[usable], share[usable]
    values, labels = _encoded(table, share)
    if not labels:
        return None
    users = _Users(table, arm, stratum, share)
    return _most_imbalanced(values, labels, users, alpha)


def _shares(treated: Mask, strata: Index) -> tuple[Mask, Array]:
    """Which rows are in a stratum with both arms, and the treated share of each one's stratum."""
    total = np.bincount(strata)
    share = np.bincount(strata, weights=treated) / np.maximum(total, 1)
    mine = share[strata]
    return (mine > 0) & (mine < 1), mine


Label = tuple[str, str]  # column and category


def _encoded(table: pd.DataFrame, share: Array) -> tuple[Array, list[Label]]:
    """Columns of ranks, of categories and of gaps: (n, k) with their labels."""
    least = LEAST_COUNT / max(float(min(share.mean(), 1 - share.mean())), 1e-9)
    columns: list[Array] = []
    labels: list[Label] = []
    for name in map(str, table.columns):
        column = table[name]
        missing = column.isna().to_numpy()
        if least <= missing.sum() <= len(missing) - least:
            columns.append(missing.astype(float))
            labels.append((name, "missing"))
        if name.startswith("c_"):
            text = column.astype("object").where(~missing, None)
            codes, levels = pd.factorize(text)
            count = np.bincount(codes[codes >= 0], minlength=len(levels))
            for level in np.argsort(-count, kind="stable")[:MOST_LEVELS]:
                if least <= count[level] <= len(codes) - least:
                    columns.append((codes == level).astype(float))
                    labels.append((name, str(levels[level])))
            continue
        ranked = np.asarray(pd.to_numeric(column, errors="coerce").rank(pct=True), dtype=np.float64)
        known = np.isfinite(ranked)
        if not known.any():
            continue
        centred = np.where(known, ranked - ranked[known].mean(), 0.0)
        if centred.std() > 0 and len(np.unique(ranked[known])) > 1 and _enough(ranked, least):
            columns.append(centred)
            labels.append((name, ""))
    return (np.column_stack(columns) if columns else np.empty((len(table), 0))), labels


def _enough(ranked: Array, least: float) -> bool:
    """Whether enough users differ from the most frequent value."""
    known = ranked[np.isfinite(ranked)]
    return len(known) - int(np.unique(known, return_counts=True)[1].max()) >= least


@dataclass(frozen=True, slots=True, eq=False)
class _Users:
    """The users whose arms are compared: ``table`` (n, columns) their covariates, ``treated`` and
    ``strata`` (n,) as of :func:`imbalance_of`, ``share`` (n,) the treated share of each one's
    stratum, inside (0, 1)."""

    table: pd.DataFrame
    treated: Mask
    strata: Index
    share: Array


def _most_imbalanced(
    values: Array, labels: list[Label], users: _Users, alpha: float
) -> Imbalance | None:
    """The worst of the columns ``values`` (n, k), which are centred in place within strata."""
    from scipy.special import chdtrc

    table, treated, strata, share = users.table, users.treated, users.strata, users.share
    count = np.maximum(np.bincount(strata), 1)
    for k in range(values.shape[1]):
        means = np.bincount(strata, weights=values[:, k]) / count
        values[:, k] -= means[strata]
    weight = share * (1 - share)
    scores = values.T @ (treated - share)
    weighted = values * weight[:, None]
    covariance = values.T @ weighted
    variance = np.diag(covariance)
    kept = variance > 1e-9 * weight.sum()
    if not kept.any():
        return None
    largest = np.abs(values).max(axis=0) * float(np.maximum(share, 1 - share).max())
    p_values = np.where(kept, tail(scores, variance, largest), 1.0)
    p_values = np.minimum(p_values * kept.sum(), 1.0)
    deviation = np.sqrt(np.maximum(variance, 1e-300) / weight.sum())
    distance = np.where(kept, scores / weight.sum() / deviation, 0.0)
    named = kept & (p_values < alpha / 2) & (np.abs(distance) >= LEAST_DISTANCE)
    if named.any():
        worst = int(np.argmax(np.where(named, np.abs(distance), -1.0)))
        return _imbalance(labels[worst], distance[worst], p_values[worst], table, treated)
    smaller = min(int(treated.sum()), int((~treated).sum()))
    if smaller < 10 * kept.sum():
        return None
    size, rank = _omnibus(scores[kept], covariance[np.ix_(kept, kept)])
    p_value = float(chdtrc(rank, size))
    joint = np.sqrt(max(size - rank, 0.0) / weight.sum())
    if p_value >= alpha / 2 or joint < LEAST_JOINT:
        return None
    worst = int(np.argmax(np.abs(distance)))
    return _imbalance(labels[worst], distance[worst], p_value, table, treated)


def _omnibus(scores: Array, covariance: Array) -> tuple[float, int]:
    """d^2 and its degrees of freedom; covariates that repeat others count once."""
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    used = values > 1e-6 * values.max()
    turned = vectors[:, used].T @ (scores / scale)
    return float((turned**2 / values[used]).sum()), int(used.sum())


def _imbalance(
    label: Label, distance: float, p_value: float, table: pd.DataFrame, treated: Mask
) -> Imbalance:
    name, level = label
    column = table[name]
    if level == "missing" and not name.startswith("c_"):
        shown = column.isna().to_numpy(dtype=float)
    elif name.startswith("c_"):
        gaps = column.isna().to_numpy()
        same = (column.astype("object").where(~gaps, None).astype(str) == level).to_numpy()
        shown = (gaps if level == "missing" else same & ~gaps).astype(float)
    else:
        shown = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    known = np.isfinite(shown)
    means = [float(shown[known & arm].mean()) for arm in (treated, ~treated)]
    return Imbalance(name, level, float(distance), means[0], means[1], float(p_value))
