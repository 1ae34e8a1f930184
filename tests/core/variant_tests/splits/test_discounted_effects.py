"""Effects within days: shocks cancel, drift is forgotten, a steady test forgets nothing."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.discounted_effects import fit_effects


def facts(
    rates: Array, units: Array, *, matured: Array | None = None, seed: int = 0
) -> VariantDays:
    """Conversions at ``rates`` (v, d) among ``units`` (v, d); of days that are not matured the
    fraction that is."""
    rng = np.random.default_rng(seed)
    part = np.ones(units.shape[1]) if matured is None else matured
    value = rng.binomial(units.astype(int), rates * part).astype(float)
    days = np.datetime64("2026-03-02") + np.arange(units.shape[1])
    names = tuple(f"v{i}" for i in range(len(units)))
    return VariantDays(names, days, units, units * 0.01, value, value, part)


def test_shocks_of_a_day_move_no_effect() -> None:
    level = np.where(np.arange(40) % 2, 0.01, 0.04)  # every other day sells four times as much
    units = np.where(np.arange(40) % 2, [[9000.0], [1000.0]], [[1000.0], [9000.0]])
    observed = facts(np.array([level, level]), units)
    pooled = observed.value.sum(axis=1) / observed.units.sum(axis=1)
    assert pooled[1] > 2 * pooled[0]  # a naive reading: shown on the better days
    effects = fit_effects(observed, units)
    gap = effects.draw(2000, np.random.default_rng(1)) @ [-1.0, 1.0]
    assert abs(gap.mean()) < 3 * gap.std() and gap.std() < 0.1


def test_a_known_difference_is_found_with_its_standard_error() -> None:
    rates = np.repeat([[0.02], [0.024]], 60, axis=1)
    units = np.full((2, 60), 5000.0)
    effects = fit_effects(facts(rates, units), units)
    gap = effects.draw(4000, np.random.default_rng(1)) @ [-1.0, 1.0]
    assert gap.mean() == pytest.approx(np.log(1.2), abs=0.05)
    counts = 60 * 5000 * np.array([0.02, 0.024])
    # it might drift, or tire (then only the last days tell): wider, and not twice as wide
    assert 0.95 < gap.std() / np.sqrt((1 / counts).sum()) < 2.0


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_test_forgets_nothing_and_a_drifting_one_does(seed: int) -> None:
    units = np.full((3, 84), 4000.0)
    rates = np.repeat([[0.03], [0.04], [0.05]], 84, axis=1)
    steady = fit_effects(facts(rates, units, seed=seed), units)
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.08, (3, 84)), axis=1)
    drifting = fit_effects(facts(0.03 * np.exp(np.clip(walk, -1, 1)), units, seed=seed), units)
    assert steady.discount > 0.985
    assert drifting.discount < 0.96


def test_a_drifting_effect_is_read_at_its_present_level() -> None:
    rates = np.array([np.linspace(0.02, 0.04, 84), np.linspace(0.04, 0.02, 84)])
    units = np.full((2, 84), 6000.0)
    gap = fit_effects(facts(rates, units), units).draw(2000, np.random.default_rng(1)) @ [1.0, -1.0]
    assert np.quantile(gap, 0.05) > 0.2  # on average over the days there is no difference


def test_a_variant_without_evidence_is_like_its_siblings() -> None:
    rates = np.repeat([[0.02], [0.025], [0.03], [0.02]], 40, axis=1)
    units = np.full((4, 40), 5000.0)
    units[3] = 0.0
    effects = fit_effects(facts(rates, units), units)
    drawn = effects.draw(4000, np.random.default_rng(1))
    siblings = drawn[:, :3] - drawn[:, :3].mean(axis=1, keepdims=True)
    new = drawn[:, 3] - drawn[:, :3].mean(axis=1)
    assert new.mean() == pytest.approx(0.0, abs=0.06)
    assert new.std() > 5 * siblings.std(axis=0).max()
    assert 0.8 * effects.spread < new.std() < 1.6 * effects.spread


def test_similar_variants_are_drawn_together() -> None:
    units = np.full((4, 10), 400.0)
    effects = fit_effects(facts(np.full((4, 10), 0.03), units), units)
    values = facts(np.full((4, 10), 0.03), units).value.sum(axis=1)
    raw = np.log(values / values.mean())
    assert np.ptp(effects.means[0]) < 0.8 * np.ptp(raw)


def test_days_that_are_young_move_a_fast_variant_little() -> None:
    days, units = 20, np.full((2, 20), 5000.0)
    matured = np.clip(np.arange(days, 0, -1) / 10, 0.1, 1.0)
    rates = np.full((2, days), 0.03)
    observed = facts(rates, units, matured=matured)
    fast = observed.value.copy()
    fast[1] *= (1 - (1 - matured) ** 2) / matured  # converts sooner, and in the end no more
    told = VariantDays(observed.variants, observed.days, units, units, fast, fast, matured)
    taken_for_ripe = VariantDays(observed.variants, observed.days, units, units, fast, fast)
    naive = fit_effects(taken_for_ripe, units).draw(2000, np.random.default_rng(1)) @ [-1.0, 1.0]
    gap = fit_effects(told, units).draw(2000, np.random.default_rng(1)) @ [-1.0, 1.0]
    assert np.quantile(naive, 0.05) > 0
    assert gap.mean() < 0.5 * naive.mean() and np.quantile(gap, 0.05) < 0


def test_outcomes_that_come_in_lumps_are_less_certain() -> None:
    observed = facts(np.full((2, 30), 0.03), np.full((2, 30), 3000.0))
    large = VariantDays(
        observed.variants,
        observed.days,
        observed.units,
        observed.spend,
        observed.value * 50,
        observed.value * 50**2 * 3,  # revenue of 50 on average, squares of thrice the mean's
    )
    alone, lumps = (fit_effects(o, o.units) for o in (observed, large))
    assert lumps.dispersion > 50 * alone.dispersion
    rng = np.random.default_rng(1)
    assert lumps.draw(2000, rng)[:, 0].std() > alone.draw(2000, rng)[:, 0].std()
