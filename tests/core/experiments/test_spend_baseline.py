"""What would have been spent without a test."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.experiments.spend_baseline import spend_change


def test_a_cut_is_counted_against_the_four_weeks_before_scaled_by_the_others() -> None:
    tested, others = np.full(70, 100.0), np.full(70, 300.0)
    tested[42:56] = 50.0
    found = spend_change(tested, others, first=42, days=14)
    assert found is not None
    assert (found.spent, found.expected, found.delta) == (700.0, 1400.0, -700.0)
    assert found.shows
    others[42:] = 360.0  # the season took all other segments up by a fifth
    scaled = spend_change(tested, others, first=42, days=14)
    assert scaled is not None
    assert scaled.expected == pytest.approx(1680.0)
    alone = spend_change(tested, np.zeros(70), first=42, days=14)
    assert alone is not None and alone.delta == -700.0


def test_spend_that_differs_as_in_any_week_shows_no_change() -> None:
    rng = np.random.default_rng(1)
    weeks = np.repeat(100 * np.exp(rng.normal(0, 0.15, 20)), 7)
    found = spend_change(weeks, np.zeros(140), first=126, days=14)
    assert found is not None
    assert not found.shows
    dark = weeks.copy()
    dark[126:] = 0.0
    off = spend_change(dark, np.zeros(140), first=126, days=14)
    assert off is not None and off.shows
    steady = spend_change(np.full(60, 10.0), np.zeros(60), first=40, days=14)
    assert steady is not None and steady.delta == 0.0 and not steady.shows


def test_days_that_are_not_known_give_no_answer() -> None:
    spend = np.full(30, 10.0)
    assert spend_change(spend, spend, first=6, days=7) is None
    assert spend_change(spend, spend, first=20, days=14) is None
