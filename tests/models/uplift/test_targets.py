"""What reaching users is promised to bring: honest out of fold, an interval that holds."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.users import Targeting
from models.uplift.targets import at_random, harm_of, promised, reach_weights

N = 20_000


def orders(seed: int, *, lift: float = 0.5, order_effect: float = 0.0) -> tuple[Targeting, float]:
    """One in fifty orders, for 100 on average; mail raises orders by ``lift`` and their value by
    ``order_effect``. Exact scores (no outcome model); the true effect a user."""
    rng = np.random.default_rng(seed)
    treated = rng.random(N) < 0.5
    rate = 0.02 * (1 + lift * treated)
    converted = (rng.random(N) < rate).astype(float)
    value = rng.gamma(1.5, 100 / 1.5, N) * (1 + order_effect * treated)
    revenue = converted * value
    lean = np.where(treated, 2.0, -2.0)
    truth = 0.02 * 100 * ((1 + lift) * (1 + order_effect) - 1)
    scores = lean * (revenue - revenue.mean())
    test = Targeting(
        name="t/mail/revenue",
        unit_id=np.arange(N).astype(object),
        scores=scores,
        predicted=np.full(N, scores.mean()),
        cost=0.1,
        fold=np.zeros(N, dtype=np.int8),
        segment=np.full(N, "all", dtype=object),
        orders=np.column_stack([lean * (converted - converted.mean()), converted, revenue]),
    )
    return test, truth


def test_the_promise_is_nearer_to_the_truth_than_a_plain_mean() -> None:
    promise, plain, inside = [], [], []
    for seed in range(200):
        test, truth = orders(seed)
        value = at_random(test)
        promise.append(value.mean - truth)
        plain.append(test.scores.mean() - truth)
        inside.append(value.low <= truth <= value.high)
    # the luck of large orders is most of the noise: a tenth less of it at least
    assert np.std(promise) < 0.9 * np.std(plain)
    assert abs(np.mean(promise)) < 3 * np.std(promise) / np.sqrt(200)
    # 200 draws of .9: four standard errors are .085
    assert abs(np.mean(inside) - 0.9) < 0.085


def test_ads_that_raise_the_value_of_orders_are_believed_where_the_data_bear_it_out() -> None:
    gaps = []
    for seed in range(60):
        test, truth = orders(seed, lift=0.0, order_effect=1.5)
        value = at_random(test)
        assert value.low <= value.mean <= value.high
        error = test.scores.std() / np.sqrt(N)
        assert abs(value.mean - test.scores.mean()) <= error + 1e-9
        gaps.append((value.mean - truth) / error)
    assert abs(np.mean(gaps)) < 1.1  # at most one standard error is left out


def test_where_most_users_order_nothing_is_shrunk() -> None:
    test, _ = orders(0)
    everyone = test.orders.copy()
    everyone[:, 1] = 1.0
    full = Targeting(
        test.name,
        test.unit_id,
        test.scores,
        test.predicted,
        0.1,
        segment=test.segment,
        fold=test.fold,
        orders=everyone,
    )
    assert at_random(full).mean == pytest.approx(test.scores.mean())


def test_reached_are_the_best_of_each_fold_and_ties_in_part() -> None:
    predicted = np.array([3.0, 2.0, 2.0, 1.0, 30.0, 20.0, 20.0, 10.0])
    fold = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=np.int8)
    np.testing.assert_allclose(
        reach_weights(predicted, fold, 0.5), [1, 0.5, 0.5, 0, 1, 0.5, 0.5, 0]
    )
    assert reach_weights(predicted, fold, 1.0).min() == 1
    assert reach_weights(predicted, fold, 0.0).max() == 0


def learned(seed: int, *, harmed: float) -> Targeting:
    """A fifth of the users lose ``harmed`` by being reached, the others gain 1."""
    rng = np.random.default_rng(seed)
    bad = rng.random(4000) < 0.2
    effect = np.where(bad, -harmed, 1.0)
    return Targeting(
        "t/mail/revenue",
        np.arange(4000).astype(object),
        effect + rng.normal(size=4000) * 3,
        np.where(bad, -harmed, 1.0) + 0.0,
        0.2,
        segment=np.where(rng.random(4000) < 0.5, "north", "south").astype(object),
        fold=rng.integers(0, 5, 4000).astype(np.int8),
    )


def test_reaching_the_best_brings_more_than_the_same_number_at_random() -> None:
    test = learned(1, harmed=2.0)
    best, random = promised(test, 0.8), at_random(test)
    assert best.low <= 1.0 <= best.high
    assert random.low <= 0.8 * 1.0 - 0.2 * 2.0 <= random.high
    north = promised(test, 0.8, segment="north")
    assert north.users == pytest.approx(best.users / 2, rel=0.1)


def test_harm_is_priced_and_not_floored_and_none_is_shown_where_none_is() -> None:
    harm = harm_of(learned(1, harmed=2.0))
    assert harm.is_shown and harm.share == pytest.approx(0.2, abs=0.03)
    shown = [harm_of(learned(seed, harmed=2.0)).value for seed in range(50)]
    covered = np.mean([one.low <= -2.0 <= one.high for one in shown])
    assert covered > 0.9 - 3 * np.sqrt(0.9 * 0.1 / 50)
    assert not harm_of(learned(1, harmed=0.0)).is_shown
