"""Shares of a cell's money: sums, floors, steps, who is new or gone, and the guard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.new_variants import NewVariantRule, Standing
from liftloop.core.variant_tests.splits.shares import Aim, Per, ShareRule, next_shares

FREE = ShareRule(per=Per.UNITS, floor=0.0, largest_step=1.0)


def facts(
    rates: Array | list[float], units: Array, *, price: Array | None = None, seed: int = 0
) -> VariantDays:
    """Conversions at ``rates``, (v,) or (v, d), among ``units`` (v, d); spend 1 a unit."""
    rates = np.asarray(rates)
    rates = rates[:, None] if rates.ndim == 1 else rates
    value = np.random.default_rng(seed).binomial(units.astype(int), rates).astype(float)
    days = np.datetime64("2026-03-02") + np.arange(units.shape[1])
    spend = units * (1.0 if price is None else price[:, None])
    return VariantDays(tuple("abcdef"[: len(units)]), days, units, spend, value, value)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 6), st.integers(0, 20), st.floats(0, 0.2), st.floats(0.02, 1), st.integers(0, 99)
)
def test_shares_sum_to_one_within_floor_and_step(
    variants: int, days: int, floor: float, step: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 500, (variants, days)).astype(float)
    observed = facts(rng.uniform(0, 0.1, variants), units, seed=seed)
    before = dict(zip(observed.variants, rng.dirichlet(np.full(variants, 5.0)), strict=True))
    rule = replace(FREE, floor=floor, largest_step=step, new=NewVariantRule(0, 0.0, 99))
    found = next_shares(observed, rule, seed=seed, before=before)
    shares = np.array([one.share for one in found.variants])
    least = min(floor, 0.5 / variants)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= least - 1e-12).all()
    if min(before.values()) >= least:
        assert np.abs(shares - list(before.values())).max() <= step + 1e-12


def test_the_same_facts_and_seed_give_the_same_shares() -> None:
    observed = facts([0.02, 0.03], np.full((2, 10), 300.0))
    assert next_shares(observed, FREE, seed=3) == next_shares(observed, FREE, seed=3)
    assert next_shares(observed, FREE, seed=3) != next_shares(observed, FREE, seed=4)


def test_without_evidence_the_split_is_about_even() -> None:
    shares = next_shares(facts([0.02] * 4, np.zeros((4, 0))), FREE, seed=1).by_variant
    assert list(shares.values()) == pytest.approx([0.25] * 4, abs=4 * np.sqrt(0.19 / 2000))


def test_the_share_is_the_probability_of_being_best() -> None:
    observed = facts([0.02, 0.02], np.full((2, 14), 1000.0))
    observed = replace(observed, value=observed.value * 0 + [[20.0], [22.0]])
    observed = replace(observed, value_squares=observed.value)
    best = next_shares(observed, FREE, seed=1).variants[1]
    # 280 and 308 conversions: z = log(1.1) / sqrt(1/280 + 1/308) = 1.15, shrunk a little
    assert best.share == pytest.approx(best.probability_best)
    assert 0.7 < best.share < 0.89


def test_dear_clicks_count_by_what_a_unit_of_spend_earns() -> None:
    units = np.full((2, 30), 2000.0)
    observed = facts([0.04, 0.03], units, price=np.array([2.0, 1.0]))
    by_spend = next_shares(observed, replace(FREE, per=Per.SPEND), seed=1).by_variant
    by_units = next_shares(observed, FREE, seed=1).by_variant
    assert by_spend["b"] > 0.95 and by_units["a"] > 0.95


def test_profit_is_that_of_a_unit_of_spend() -> None:
    units = np.full((2, 30), 20000.0)
    observed = facts([0.04, 0.03], units, price=np.array([0.01, 0.01]))
    rule = replace(FREE, per=Per.SPEND, margin=0.5)
    for one, rate in zip(next_shares(observed, rule, seed=1).variants, (0.04, 0.03), strict=True):
        assert one.low < 0.5 * rate / 0.01 - 1 < one.high
        assert one.profit == pytest.approx(0.5 * rate / 0.01 - 1, abs=0.06)


def test_to_find_the_best_the_second_is_shown_too() -> None:
    observed = facts([0.02, 0.03, 0.034], np.full((3, 30), 3000.0))
    earn = next_shares(observed, FREE, seed=1).by_variant
    find = next_shares(observed, replace(FREE, aim=Aim.FIND_BEST), seed=1).by_variant
    assert earn["c"] > 0.8 and 0.45 < find["c"] < 0.6 and find["b"] > 0.35


def test_a_new_variant_is_protected_and_a_gone_one_leaves_at_once() -> None:
    units = np.full((4, 30), 2000.0)
    units[2, :-5], units[3, -4:] = 0.0, 0.0
    observed = facts([0.03, 0.04, 0.02, 0.04], units)
    rule = replace(FREE, floor=0.01, largest_step=0.1)
    found = {one.variant: one for one in next_shares(observed, rule, seed=1).variants}
    assert found["d"].share == 0 and found["d"].standing is Standing.GONE
    assert found["d"].probability_best == 0
    assert found["c"].standing is Standing.NEW
    assert found["c"].share >= 0.5 / 3 - 1e-12
    assert found["c"].probability_best < 0.01
    later = replace(rule, new=NewVariantRule(protected_days=3))
    before = {"a": 0.4, "b": 0.4, "c": 0.1, "d": 0.1}
    assert next_shares(observed, later, seed=1, before=before).by_variant["c"] < 0.1


def test_a_variant_that_was_never_shown_starts_with_its_protected_share() -> None:
    units = np.full((3, 30), 2000.0)
    units[2] = 0.0
    found = next_shares(facts([0.03, 0.04, 0.02], units), FREE, seed=1)
    assert found.by_variant["c"] >= 0.5 / 3 - 1e-12
    assert found.variants[2].low < found.variants[1].low


def test_all_variants_gone_is_refused() -> None:
    observed = facts([0.02, 0.03], np.full((2, 10), 300.0))
    with pytest.raises(ValueError, match="All variants are gone"):
        next_shares(observed, FREE, seed=1, gone={"a", "b"})


def test_losses_against_an_even_split_bring_the_shares_back() -> None:
    """What was shown most turned out worse by far; while that is so, little may be wagered."""
    units = np.repeat([[1800.0], [200.0]], 60, axis=1)
    value = units * np.array([[0.02], [0.06]])
    value[:, -6:] = units[:, -6:] * np.array([[0.05], [0.02]])  # lately the other way round
    days = np.datetime64("2026-03-02") + np.arange(60)
    observed = VariantDays(("a", "b"), days, units, units, value, value)
    found = next_shares(observed, FREE, seed=1)
    assert found.gain_so_far < -0.02 and found.guarded == 0
    assert found.by_variant == {"a": 0.5, "b": 0.5}
    loose = next_shares(observed, replace(FREE, shortfall=10.0), seed=1)
    assert loose.guarded == 1


def test_gain_so_far_is_that_over_an_even_split() -> None:
    units = np.repeat([[1000.0], [3000.0]], 40, axis=1)
    observed = facts([0.04, 0.06], units)
    # 0.055 a unit on average beside 0.05
    assert next_shares(observed, FREE, seed=1).gain_so_far == pytest.approx(0.1, abs=0.015)


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        ShareRule(largest_step=0.0)
