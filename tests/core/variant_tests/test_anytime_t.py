"""The e-values of effects over days are those of the Bayes factor, and hold at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from liftloop.core.variant_tests.anytime_t import (
    DayNoise,
    confidence_sequence,
    day_moments,
    log_e_values,
)

RNG_SEED = 41
NONE = np.zeros((12, 0))


def rows(rng: np.random.Generator, *, days: int = 12, effect: float = 0.0) -> np.ndarray:
    """Columns a, b and m of days of different size."""
    m = rng.uniform(1.0, 3.0, days)
    return np.stack([effect * m + rng.standard_normal(days), m, m], axis=1)


def test_with_a_known_variance_it_is_the_normal_mixture() -> None:
    data = rows(np.random.default_rng(RNG_SEED))
    known = DayNoise(np.ones(12), prior_days=1e9)
    logs = log_e_values(day_moments(data, nuisance=NONE, noise=known), rho=5.0)
    information, score = (data[:, 2] ** 2).sum(), data[:, 2] @ data[:, 0]
    expected = 0.5 * math.log(5.0 / (5.0 + information)) + score**2 / (2 * (5.0 + information))
    assert logs[-1] == pytest.approx(expected, rel=1e-5)


def test_with_an_unknown_variance_it_is_the_bayes_factor_of_the_t_test() -> None:
    """Marginal likelihoods summed over a grid: effect over sd ~ N(0, 1 / rho), flat log sd."""
    data = rows(np.random.default_rng(RNG_SEED), days=6)
    a, m, rho = data[:, 0], data[:, 2], 3.0
    sd = np.exp(np.linspace(-3.0, 4.0, 400))[:, None, None]
    effect = np.linspace(-4.0, 4.0, 801)[None, :, None]
    given = np.asarray(stats.norm.pdf(a, effect * sd * m, sd)).prod(axis=2)
    prior = stats.norm.pdf(effect[0, :, 0], 0.0, rho**-0.5) * 0.01
    null = np.asarray(stats.norm.pdf(a, 0.0, sd[:, :, 0])).prod(axis=1).sum()
    against = (given @ prior).sum()
    found = day_moments(data, nuisance=NONE[:6], noise=DayNoise(np.ones(6), prior_days=0.0))
    assert log_e_values(found, rho=rho)[-1] == pytest.approx(math.log(against / null), abs=1e-4)


def test_an_effect_is_outside_the_interval_exactly_where_its_e_value_passes() -> None:
    rng = np.random.default_rng(RNG_SEED)
    data = rows(rng, effect=0.5)
    moments = day_moments(data, nuisance=NONE)
    low, high = confidence_sequence(moments, rho=2.0, alpha=0.1)
    for bound in (float(low[-1]), float(high[-1])):
        shifted = data.copy()
        shifted[:, 0] -= bound * data[:, 1]
        # the variance that scales rho stays that of the data: the same residuals
        logs = log_e_values(day_moments(shifted, nuisance=NONE), rho=2.0)
        assert logs[-1] == pytest.approx(math.log(10.0), abs=1e-6)


def test_nuisance_is_taken_out_as_least_squares_does() -> None:
    rng = np.random.default_rng(RNG_SEED)
    data, nuisance = rows(rng, effect=0.3), rng.standard_normal((12, 2))
    data[:, 0] += nuisance @ np.array([2.0, -5.0])
    moments = day_moments(data, nuisance=nuisance)
    fitted = np.linalg.lstsq(np.column_stack([data[:, 2], nuisance]), data[:, 0], rcond=None)[0]
    assert moments.estimate[-1] == pytest.approx(fitted[0])
    assert moments.freedom[-1] == 10


def test_days_without_evidence_change_nothing() -> None:
    rng = np.random.default_rng(RNG_SEED)
    data = rows(rng)
    gaps = np.vstack([data[:5], np.zeros((3, 3)), data[5:]])
    whole = log_e_values(day_moments(data, nuisance=NONE), rho=2.0)
    gapped = log_e_values(day_moments(gaps, nuisance=np.zeros((15, 0))), rho=2.0)
    assert gapped[-1] == pytest.approx(whole[-1])
    assert gapped[:1] == [0.0] and np.isinf(
        confidence_sequence(day_moments(data, nuisance=NONE), rho=2.0, alpha=0.1)[0][0]
    )


def test_days_that_differ_more_than_their_units_do_are_believed() -> None:
    rng = np.random.default_rng(RNG_SEED)
    data = rows(rng, days=40)
    none, wild = np.zeros((40, 0)), data * np.array([3.0, 1.0, 1.0])
    units = DayNoise(np.ones(40), prior_days=14.0)
    assert day_moments(data, nuisance=none, noise=units).freedom[-1] == 54
    assert day_moments(wild, nuisance=none, noise=units).freedom[-1] == 40


def test_looked_at_daily_few_paths_of_nothing_pass() -> None:
    rng = np.random.default_rng(RNG_SEED)
    passed = 0
    for _ in range(400):
        logs = log_e_values(day_moments(rows(rng, days=40), nuisance=np.zeros((40, 0))), rho=20.0)
        passed += bool((logs >= math.log(20.0)).any())
    assert passed <= stats.binom.isf(1e-3, 400, 0.05)
