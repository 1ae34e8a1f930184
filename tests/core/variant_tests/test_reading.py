"""A reading is conclusive, too early or nothing there, and only of days that are comparable."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy import stats

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.assignment import assign_days, by_rounds, turns_for
from liftloop.core.variant_tests.comparison import MissingEvidence, VariantQuestion
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy, Metric
from liftloop.core.variant_tests.reading import ReadingVerdict, effect_paths, read_test

START = np.datetime64("2026-01-05")
QUESTION = VariantQuestion(("old", "new"), Metric.CONVERSIONS, smallest_effect=0.05)


def drawn(
    seed: int,
    effects: tuple[float, ...] = (0.0, 0.0),
    *,
    days: int = 42,
    units: float = 5_000.0,
    own: float = 0.0,
) -> VariantDays:
    """Conversions with strong common shocks of the day, and each variant's ``own``."""
    rng = np.random.default_rng(seed)
    level = np.exp(0.3 * rng.standard_normal(days))
    count = rng.poisson(units * level, (len(effects), days)).astype(float)
    rate = 0.05 * level * (1 + np.array(effects))[:, None]
    rate = rate * np.exp(own * rng.standard_normal(rate.shape))
    value = rng.poisson(count * rate).astype(float)
    names = ("old", "new", "newer")[: len(effects)]
    return VariantDays(names, START + np.arange(days), count, count / 2, value)


def test_the_effect_is_the_ratio_of_mantel_and_haenszel_by_day() -> None:
    units = np.array([[100.0, 300.0] * 7, [300.0, 100.0] * 7])
    value = units * np.array([[0.1, 0.4] * 7, [0.2, 0.8] * 7])  # twice as much on each day
    facts = VariantDays(("old", "new"), START + np.arange(14), units, units, value)
    effect = read_test(facts, QUESTION).effects[0]
    assert effect.relative == pytest.approx(1.0)
    assert effect.difference == pytest.approx((0.1 + 0.4) / 2)  # both kinds of day weigh the same
    assert effect.first_rate == pytest.approx((0.1 * 100 + 0.4 * 300) / 400)
    assert effect.rate / effect.first_rate == pytest.approx(0.35 / 0.325)  # what pooling would say


def test_a_real_difference_is_conclusive_and_names_the_better_variant() -> None:
    reading = read_test(drawn(1, (0.0, 0.12)), QUESTION)
    effect = reading.effects[0]
    assert reading.verdict is ReadingVerdict.CONCLUSIVE and reading.best == "new"
    assert 0 < effect.relative_low < 0.12 < effect.relative_high
    assert effect.difference_low < effect.difference < effect.difference_high
    assert (reading.days, reading.waiting_days) == (42, 0)
    assert (reading.first_day, reading.last_day) == (date(2026, 1, 5), date(2026, 2, 15))
    worse = read_test(drawn(1, (0.0, -0.12)), QUESTION)
    assert worse.verdict is ReadingVerdict.CONCLUSIVE and worse.best == "old"


def test_equal_variants_end_as_nothing_there_and_few_days_as_too_early() -> None:
    facts = drawn(2, days=84, units=20_000)
    assert read_test(facts, QUESTION).verdict is ReadingVerdict.NOTHING_THERE
    assert read_test(facts.first(7), QUESTION).verdict is ReadingVerdict.TOO_EARLY
    clear = drawn(3, (0.0, 0.5), units=100_000)
    squares = replace(clear, value_squares=clear.value)
    assert read_test(squares.first(6), QUESTION).verdict is ReadingVerdict.TOO_EARLY
    assert read_test(squares.first(7), QUESTION).verdict is ReadingVerdict.CONCLUSIVE


def test_of_three_the_best_of_the_better_ones_is_named() -> None:
    question = replace(QUESTION, variants=("old", "new", "newer"))
    reading = read_test(drawn(4, (0.0, 0.15, 0.3)), question)
    assert reading.best == "newer" and len(reading.effects) == 2
    mixed = read_test(drawn(4, (0.0, -0.2, 0.0), days=84, units=20_000), question)
    assert [e.verdict.value for e in mixed.effects] == ["conclusive", "nothing there"]
    assert mixed.verdict is ReadingVerdict.NOTHING_THERE and mixed.best is None


@pytest.mark.parametrize(("own", "squares"), [(0.0, True), (0.0, False), (0.15, False)])
def test_equal_variants_looked_at_daily_rarely_seem_different(own: float, squares: bool) -> None:
    tests, wrong = 300, 0
    for seed in range(tests):
        facts = drawn(1000 + seed, own=own)
        facts = replace(facts, value_squares=facts.value) if squares else facts
        verdicts = effect_paths(facts, QUESTION)[0].verdicts(QUESTION)
        wrong += ReadingVerdict.CONCLUSIVE in verdicts
    assert wrong <= stats.binom.isf(1e-3, tests, 0.05)


def test_the_path_ends_where_the_reading_is() -> None:
    facts = drawn(5, (0.0, 0.1))
    path, effect = effect_paths(facts, QUESTION)[0], read_test(facts, QUESTION).effects[0]
    assert path.relative[-1] == effect.relative and path.high[-1] == effect.relative_high
    early = read_test(facts.first(20), QUESTION).effects[0]
    assert path.low[19] == pytest.approx(early.relative_low)
    assert path.log_e_values[19] == pytest.approx(early.log_e_value)


def test_a_fast_variant_has_no_advantage() -> None:
    facts = drawn(6)
    known = np.ones((2, 42))
    known[0, -10:] = np.linspace(0.95, 0.05, 10)  # the old one's conversions come later
    young = replace(facts, value=facts.value * known)
    naive = read_test(young, QUESTION).effects[0].relative
    matured = np.where(np.arange(42) < 32, 1.0, 0.5)
    reading = read_test(replace(young, matured=matured), QUESTION)
    assert naive > 0.1 and abs(reading.effects[0].relative) < 0.03
    assert (reading.days, reading.waiting_days) == (32, 10)


def test_value_per_spend_is_read_by_spend() -> None:
    facts = drawn(7, (0.0, 0.0), days=60)
    dear = replace(facts, spend=facts.spend * np.array([[1.0], [1.25]]), value_squares=facts.value)
    profit = replace(QUESTION, metric=Metric.PROFIT)
    effect = read_test(dear, profit).effects[0]
    assert effect.relative == pytest.approx(-0.2, abs=0.02)
    assert effect.first_rate == pytest.approx(facts.value[0].sum() / facts.spend[0].sum())
    assert read_test(dear, QUESTION).verdict is ReadingVerdict.NOTHING_THERE


def with_covariate(seed: int, effect: float) -> tuple[VariantDays, Array]:
    """Revenue of which nine tenths of the variance were known before."""
    rng = np.random.default_rng(seed)
    units = np.full((2, 42), 400.0)
    before = units * 10 + rng.standard_normal((2, 42)) * 9 * 20
    value = before * np.array([[1.0], [1.0 + effect]]) + rng.standard_normal((2, 42)) * 3 * 20
    return VariantDays(("old", "new"), START + np.arange(42), units, units, value), before


def test_what_was_known_before_narrows_the_interval() -> None:
    facts, before = with_covariate(8, 0.03)
    question = replace(QUESTION, metric=Metric.REVENUE)
    plain = read_test(facts, question).effects[0]
    adjusted = read_test(facts, question, covariate=before).effects[0]
    width = adjusted.relative_high - adjusted.relative_low
    assert width < 0.5 * (plain.relative_high - plain.relative_low)
    assert adjusted.relative_low < 0.03 < adjusted.relative_high


def test_regions_are_compared_with_what_they_were_before() -> None:
    before, facts = drawn(9, (0.0, 0.4), days=84), drawn(10, (0.0, 0.4), days=70)
    geo = replace(QUESTION, assigned_by=AssignedBy.GEO)
    reading = read_test(facts, geo, before=before)
    assert abs(reading.effects[0].relative) < 0.05
    assert reading.verdict is not ReadingVerdict.CONCLUSIVE
    lifted = replace(facts, value=np.stack([facts.value[0], facts.value[1] * 1.3]))
    found = read_test(lifted, geo, before=before)
    assert found.best == "new" and found.effects[0].relative == pytest.approx(0.3, abs=0.06)
    assert len(effect_paths(lifted, geo, before=before)[0].days) == 10
    assert read_test(facts, geo).effects[0].missing is MissingEvidence.NO_DAYS_BEFORE


def test_a_test_by_time_is_read_by_rounds() -> None:
    turns = turns_for(0.0)
    schedule = assign_days(("old", "new"), start=date(2026, 1, 5), turns=turns, rounds=12, seed=3)
    both = drawn(11, (0.0, 0.4), days=168)
    on = np.zeros((2, 168))
    for turn in schedule:
        first = (turn.first - date(2026, 1, 5)).days
        on[("old", "new").index(turn.variant), first : first + turns.days] = 1.0
    facts = replace(both, units=both.units * on, spend=both.spend * on, value=both.value * on)
    time = replace(QUESTION, assigned_by=AssignedBy.TIME)
    assert read_test(facts, time).effects[0].missing is MissingEvidence.NO_COMMON_DAYS
    assert read_test(by_rounds(facts, schedule), time).best == "new"


def test_nothing_to_read_is_said() -> None:
    facts = drawn(12)
    young = replace(facts, matured=np.full(42, 0.5))
    reading = read_test(young, QUESTION)
    assert reading.effects[0].missing is MissingEvidence.NO_MATURE_DAYS
    assert reading.verdict is ReadingVerdict.TOO_EARLY and reading.first_day is None
    empty = replace(facts, value=np.zeros_like(facts.value))
    assert read_test(empty, QUESTION).effects[0].missing is MissingEvidence.NO_OUTCOMES
    with pytest.raises(ValueError, match="facts are of"):
        read_test(facts.of(["new", "old"]), QUESTION)


def test_a_question_of_one_variant_or_no_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="two variants"):
        VariantQuestion(("old",), Metric.CONVERSIONS, 0.05)
    with pytest.raises(ValueError, match="smallest_effect"):
        VariantQuestion(("old", "new"), Metric.CONVERSIONS, 0.0)


def test_whatever_the_facts_a_reading_has_numbers_or_says_what_is_missing() -> None:
    rng = np.random.default_rng(13)
    for _ in range(200):
        days = int(rng.choice([0, 1, 6, 8, 30]))
        units = rng.poisson(rng.choice([0.0, 0.5, 50.0]), (3, days)).astype(float)
        refunds = rng.normal(1.0, 1.5, (3, days))
        value = rng.binomial(units.astype(int), rng.choice([0.0, 0.1, 1.0])) * refunds
        names = ("a", "b", "c")
        facts = VariantDays(names, START + np.arange(days), units, units, value, value**2)
        by = AssignedBy(str(rng.choice(list(AssignedBy))))
        metric = Metric(str(rng.choice(list(Metric))))
        question = VariantQuestion(names, metric, 0.1, assigned_by=by)
        for effect in read_test(facts, question, before=facts).effects:
            assert np.isfinite(effect.log_e_value)
            assert effect.missing or effect.relative_low <= effect.relative_high
