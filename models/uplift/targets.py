"""What reaching the users a model prefers is worth, measured on users it did not learn from.

A user's doubly robust score has the effect of the ads on it as its mean, whatever any model says
(:mod:`models.uplift.aipw`), and each user was ranked by a fit that did not see it. So the mean
score of the users ranked first is an honest value of reaching so many by such a model (Athey &
Wager 2021, equation 2): nothing in it was chosen on the outcomes it is measured by. The best
in-sample figure would promise more than comes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Z90, Array
from liftloop.core.targets import Harm, Value
from models.evaluation.users import Targeting

ORDER_VALUE_SPREAD = 0.05
"""Standard deviation of the prior: the share by which ads change the value of an order."""
MOST_ORDERING = 0.5  # from here on an order is no rare event, and its value is all there is


def reach_weights(predicted: Array, fold: NDArray[np.int8], share: float) -> Array:
    """How much of each user the best ``share`` holds, shape (n,), from 0 to 1.

    Within each fold users are in the order of ``predicted``, for fits of different folds are on
    scales of their own. Users with one prediction are reached alike: those at the edge in the part
    that fills the share.
    """
    weights = np.empty(len(predicted))
    folds = fold if len(fold) else np.zeros(len(predicted), dtype=np.int8)
    for k in np.unique(folds):
        inside = np.flatnonzero(folds == k)
        wanted = share * len(inside)
        _, place, count = np.unique(-predicted[inside], return_inverse=True, return_counts=True)
        before = np.r_[0, np.cumsum(count)[:-1]]
        part = np.clip((wanted - before) / count, 0.0, 1.0)
        weights[inside] = part[place]
    return weights


def value_of(test: Targeting, weights: Array) -> Value:
    """What reaching users brings: the mean effect on revenue of a user in ``weights``, shape (n,).

    The interval is that of the doubly robust scores (a ratio of two means), and assumes nothing.
    Most of its width is the luck of who placed the large orders. So the mean leans on what is more
    certain: effect on conversions x the value of an order, and of what is left (ads that change the
    value of an order) only the part that the data bear out: the posterior mean under a normal prior
    by which orders change by :data:`ORDER_VALUE_SPREAD`, never farther than one standard error from
    the plain mean (a limited translation estimator: Efron & Morris 1972).
    """
    total = float(weights.sum())
    if total <= 0 or len(test.scores) < 2:
        return Value(float("nan"), float("nan"), float("nan"), total)
    mean, error = _mean(test.scores, weights)
    low, high = mean - Z90 * error, mean + Z90 * error
    leaning = mean - _shrunk(test, weights)
    return Value(float(np.clip(leaning, low, high)), low, high, total)


def _mean(scores: Array, weights: Array) -> tuple[float, float]:
    """The weighted mean and its standard error."""
    total = float(weights.sum())
    mean = float(weights @ scores) / total
    return mean, float(np.sqrt(((weights * (scores - mean)) ** 2).sum())) / total


def _shrunk(test: Targeting, weights: Array) -> float:
    """What is taken from the plain mean: the part of the effect on the value of an order that the
    data do not bear out. 0 where most users order, or conversions were not learned."""
    if not len(test.orders):
        return 0.0
    converted, orders, revenue = test.orders.T
    rate = float(weights @ orders) / float(weights.sum())
    if not 0 < rate < MOST_ORDERING:
        return 0.0
    order_value = float(weights @ revenue) / float(weights @ orders)
    rest, error = _mean(test.scores - order_value * converted, weights)
    if error == 0:
        return 0.0
    prior = ORDER_VALUE_SPREAD * abs(order_value) * rate
    shrunk = error**2 / (prior**2 + error**2)
    return float(np.clip(shrunk * rest, -error, error))


def promised(test: Targeting, share: float, *, segment: str | None = None) -> Value:
    """The value a user of reaching the best ``share`` of the users of a test, or of those of them
    who are in ``segment``."""
    weights = reach_weights(test.predicted, test.fold, share)
    if segment is not None:
        weights = np.where(test.segment == segment, weights, 0.0)
    return value_of(test, weights)


def at_random(test: Targeting, *, segment: str | None = None) -> Value:
    """The value a user of reaching users drawn at random: the average effect."""
    return value_of(
        test,
        np.ones(len(test.scores)) if segment is None else (test.segment == segment).astype(float),
    )


def harm_of(test: Targeting) -> Harm:
    """The users who are predicted, out of fold, to respond negatively. Where everyone counts as
    responding alike, that is all or none."""
    negative = (test.predicted < 0).astype(float)
    return Harm(float(negative.mean()), value_of(test, negative))
