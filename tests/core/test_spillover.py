"""Spillover between exposed and control segments, in words and numbers."""

from __future__ import annotations

import pytest

from liftloop.core.finite_horizon import Plan
from liftloop.core.spillover import flagged, leaning, spillover_of

PLAN = Plan(information=100.0, looks=50, before_days=56, wait_days=3)


def test_a_shift_beyond_its_bounds_is_flagged_in_either_direction() -> None:
    for sign in (-1, 1):
        found = spillover_of(sign * 0.5, 100.0, plan=PLAN, alpha=0.05, connected=False)
        assert found is not None and found.flagged
        assert found.low < sign * 0.5 < found.high
        assert (found.low > 0) is (sign > 0)
        assert "may reach them" in found.sentence


def test_a_shift_that_noise_explains_is_not_flagged_and_what_could_hide_is_said() -> None:
    found = spillover_of(-0.05, 100.0, plan=PLAN, alpha=0.05, connected=False)
    assert found is not None and not found.flagged
    assert "no spillover shows" in found.sentence
    assert f"{found.low:+.0%}" in found.sentence


def test_a_flag_and_the_bounds_say_the_same() -> None:
    for shift in (-0.4, -0.25, -0.2, 0.1, 0.23, 0.3):
        found = spillover_of(shift, 100.0, plan=PLAN, alpha=0.05, connected=True)
        assert found is not None
        assert found.flagged is (found.low > 0 or found.high < 0)
        assert flagged(shift, 100.0, plan=PLAN, alpha=0.05) is found.flagged


def test_nothing_to_read_is_no_spillover_found_and_none_ruled_out() -> None:
    assert spillover_of(float("nan"), 0.0, plan=PLAN, alpha=0.05, connected=False) is None
    assert not flagged(float("nan"), 100.0, plan=PLAN, alpha=0.05)


def test_an_estimate_that_leans_on_its_own_past_is_wider_by_what_the_control_would_change() -> None:
    effect, error = leaning(-0.6, -0.56, 0.03)
    assert effect == -0.6
    assert error == pytest.approx(0.05)
