"""The e-value on a champion's calibration: it holds its level at every look, and finds decay."""

from __future__ import annotations

import math

import numpy as np
import pytest

from liftloop.core.inference.champion_decay import Decay, MeasuredRatio, judge_decay


def judged(*levels: tuple[float, float], tolerance: float = 0.25, alpha: float = 0.01) -> Decay:
    made = [MeasuredRatio(f"channel {n}", ratio, error) for n, (ratio, error) in enumerate(levels)]
    return judge_decay(made, tolerance=tolerance, alpha=alpha)


def test_a_champion_within_the_tolerance_holds_and_one_far_off_has_decayed() -> None:
    assert not judged((1.0, 0.05)).decayed
    assert not judged((0.8, 0.02)).decayed
    assert judged((0.3, 0.1)).decayed
    assert judged((1.9, 0.1)).decayed


def test_one_channel_is_enough_though_the_sum_of_all_holds() -> None:
    assert judged((1.0, 0.05), (1.6, 0.05), (0.4, 0.05)).decayed


@pytest.mark.parametrize("level", [(math.nan, 0.1), (0.2, math.inf), (0.2, 0.0)])
def test_without_a_measurement_nobody_is_demoted(level: tuple[float, float]) -> None:
    found = judged(level)
    assert not found.decayed and "No later lift" in found.sentence


def test_looked_at_every_week_of_a_year_a_champion_at_its_tolerance_is_hardly_ever_demoted() -> (
    None
):
    """2,000 champions, each exactly at the edge: at most alpha are ever called decayed."""
    alpha, runs, weeks = 0.05, 2000, 52
    rng = np.random.default_rng(0)
    noise = 0.5
    found = 0
    for _ in range(runs):
        lifts = 0.75 + noise * rng.normal(size=weeks)
        means = np.cumsum(lifts) / np.arange(1, weeks + 1)
        errors = noise / np.sqrt(np.arange(1, weeks + 1))
        found += any(
            judge_decay([MeasuredRatio("all", m, e)], tolerance=0.25, alpha=alpha).decayed
            for m, e in zip(means[3::4], errors[3::4], strict=True)
        )
    assert found / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)
