from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.inference.sequential import (
    EffectBelief,
    boundary,
    confidence_bounds,
    log_e_value,
    loss_log_e_value,
    mixture_precision,
    sceptical_prior,
    update,
)

EFFECTS = st.floats(-3, 3)
ERRORS = st.floats(0.01, 3)


def test_the_one_sided_normal_mixture_agrees_with_its_authors_reference_values() -> None:
    # confseq (R package and C++ header of Howard et al.): v_opt = 100, alpha_opt = 0.05.
    twice_log = 2 * math.log(1 / (2 * 0.05))
    rho = 100 / (twice_log + math.log1p(twice_log))  # their tuning for v_opt
    assert log_e_value(10, 100, rho=rho) == pytest.approx(-0.06502391, abs=1e-7)
    assert boundary(100, rho=rho, alpha=0.05) == pytest.approx(27.66071, abs=1e-5)


def test_without_information_the_e_value_is_one() -> None:
    assert log_e_value(0.0, 1e-12, rho=4.0) == pytest.approx(0.0, abs=1e-9)


@given(EFFECTS, ERRORS, st.floats(0.01, 0.2))
def test_the_upper_bound_is_below_zero_exactly_when_the_e_value_of_a_loss_passes_its_threshold(
    effect: float, error: float, alpha: float
) -> None:
    rho = mixture_precision(0.4)
    bounds = confidence_bounds(effect, error, rho=rho, alpha=alpha)
    e_value = loss_log_e_value(effect, error, rho=rho)
    if abs(bounds.high) > 1e-9:
        assert (bounds.high < 0) == (e_value > math.log(1 / alpha))


@given(EFFECTS, ERRORS, st.floats(0.1, 1000))
def test_bounds_do_not_depend_on_the_currency_unit(
    effect: float, error: float, unit: float
) -> None:
    here = confidence_bounds(effect, error, rho=mixture_precision(0.4), alpha=0.05)
    there = confidence_bounds(
        effect * unit, error * unit, rho=mixture_precision(0.4 * unit), alpha=0.05
    )
    assert there.low == pytest.approx(here.low * unit, rel=1e-6, abs=1e-6 * unit)


def test_an_effect_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        mixture_precision(0.0)


def test_estimates_that_share_their_past_form_a_brownian_motion_in_information() -> None:
    # effect_t = mean of t new weeks - mean of 8 old ones: Cov(effect_2, effect_5) = Var(effect_5).
    weeks = np.zeros((2, 13))
    weeks[:, :8] = -1 / 8
    weeks[0, 8:10], weeks[1, 8:13] = 1 / 2, 1 / 5
    covariance = weeks @ weeks.T
    assert covariance[0, 1] == pytest.approx(covariance[1, 1])


def test_nothing_ever_crosses_more_often_than_alpha() -> None:
    rng = np.random.default_rng(0)
    information = np.linspace(1, 80, 56)
    steps = rng.normal(size=(4000, 56)) * np.sqrt(np.diff(information, prepend=0.0))
    limit = [boundary(v, rho=mixture_precision(0.4), alpha=0.05) for v in information]
    crossed = (steps.cumsum(axis=1) > limit).any(axis=1).mean()
    assert 0.01 < crossed <= 0.05


@given(st.floats(-0.5, 2), st.floats(0, 1), st.floats(0.01, 0.5))
def test_the_models_word_alone_never_passes(predicted: float, sd: float, margin: float) -> None:
    prior = sceptical_prior(predicted, sd, margin=margin, confidence=0.95)
    assert prior.quantile(0.05) <= -margin + 1e-9 or predicted <= -margin


def test_beliefs_join_by_precision() -> None:
    joined = update(EffectBelief(0.0, 1.0), 1.0, 1.0)
    assert joined.mean == pytest.approx(0.5)
    assert joined.sd == pytest.approx(math.sqrt(0.5))
    assert EffectBelief(0.0, 1.0).above(-1.6448536) == pytest.approx(0.95)
    assert EffectBelief(0.0, 1.0).quantile(0.05) == pytest.approx(-1.6448536)
