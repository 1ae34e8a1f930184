"""The paired bootstrap."""

from __future__ import annotations

import numpy as np

from models.evaluation.bootstrap import BootstrapBounds, paired_bounds


def bounds(
    influence: np.ndarray, cluster: np.ndarray | None = None, value: float = 0.0
) -> BootstrapBounds:
    return paired_bounds(value, influence, cluster, alpha=0.05, draws=2000, seed=0)


def test_the_bound_is_a_standard_error_away_times_the_normal_quantile() -> None:
    rng = np.random.default_rng(0)
    sample = rng.normal(3.0, 2.0, size=400)
    found = bounds((sample - sample.mean()) / 400, np.arange(400), float(sample.mean()))
    error = sample.std(ddof=1) / 20
    assert abs(found.standard_error / error - 1) < 0.06  # 2,000 draws: 1.6 % of its own
    assert abs((found.value - found.low) / (1.645 * error) - 1) < 0.1
    assert abs((found.high - found.value) / (1.645 * error) - 1) < 0.1


def test_rows_of_one_cluster_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    luck = rng.normal(size=50)
    alone = bounds(np.repeat(luck - luck.mean(), 4), np.arange(200)).standard_error
    together = bounds(np.repeat(luck - luck.mean(), 4), np.repeat(np.arange(50), 4)).standard_error
    assert 1.7 < together / alone < 2.4  # exactly 2 but for draws and 200/199 against 50/49


def test_equal_plans_have_no_doubt_and_one_cluster_has_no_bounds() -> None:
    same = bounds(np.zeros(10))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    alone = bounds(np.ones(3), np.zeros(3, dtype=np.intp))
    assert (alone.low, alone.high) == (-np.inf, np.inf)
