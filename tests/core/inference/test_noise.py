"""Noise learned from the days before."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.inference.gls import Panel
from liftloop.core.inference.panels import memory_of, placebo_widening, shared_noise


def wandering(days: int, series: int, memory: float, sd: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = np.empty((days, series))
    noise[0] = rng.normal(size=series)
    for day in range(1, days):
        noise[day] = memory * noise[day - 1] + np.sqrt(1 - memory**2) * rng.normal(size=series)
    return sd * noise


def test_memory_variance_and_common_shock_are_found() -> None:
    rng = np.random.default_rng(4)
    noise = wandering(700, 10, 0.5, 0.06, 4) + 0.02 * rng.normal(size=(700, 1))
    found = shared_noise(noise - noise.mean(axis=0))
    assert found.memory == pytest.approx(0.5, abs=0.05)
    assert np.sqrt(found.variance.mean()) == pytest.approx(0.06, rel=0.05)
    # sized for slow swings: a shock that is forgotten at once has a long run of its own variance
    long_run = found.shock_variance * (1 + found.memory) / (1 - found.memory)
    assert long_run == pytest.approx(0.02**2, rel=0.6)


def test_memory_of_a_short_past_is_not_too_small_on_average() -> None:
    found = [memory_of(wandering(56, 10, 0.5, 1.0, seed)) for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)


def test_memory_that_chance_explains_is_none() -> None:
    independent = np.random.default_rng(6).normal(size=(56, 5))
    assert memory_of(independent, least=3.0) == 0.0


def a_past(noise: np.ndarray, memory: float) -> Panel:
    return Panel(
        noise,
        np.zeros_like(noise),
        np.full(noise.shape, noise.var()),
        memory,
        np.ones(noise.shape[1]),
    )


def test_placebos_leave_a_true_claim_alone_and_widen_one_that_forgets_memory() -> None:
    noise = wandering(56, 10, 0.8, 1.0, 7)
    starts = (28,)
    true = placebo_widening(a_past(noise, 0.8), np.ones(10), starts=starts)
    naive = placebo_widening(a_past(noise, 0.0), np.ones(10), starts=starts)
    assert true == pytest.approx(1.0, abs=0.1)
    assert naive > 1.5
