"""Segments are split alike until they are shown to differ."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.segment_shares import segment_shares
from liftloop.core.variant_tests.splits.shares import Per, ShareRule, next_shares

RULE = ShareRule(per=Per.UNITS, floor=0.0, largest_step=1.0)


def facts(rates: list[float], *, units: float = 2000.0, seed: int = 0) -> VariantDays:
    """28 days of variants that convert at ``rates``."""
    shown = np.full((len(rates), 28), units)
    value = np.random.default_rng(seed).binomial(shown.astype(int), np.array(rates)[:, None])
    days = np.datetime64("2026-03-02") + np.arange(28)
    names = tuple("abcd"[: len(rates)])
    return VariantDays(names, days, shown, shown, value.astype(float), value.astype(float))


def test_segments_that_differ_are_split_apart() -> None:
    found = segment_shares(
        {"north": facts([0.03, 0.04], seed=1), "south": facts([0.04, 0.03], seed=2)}, RULE, seed=1
    )
    assert found.probability_apart > 0.95 and found.spread > 0.05
    assert found.segments["north"].by_variant["b"] > 0.95
    assert found.segments["south"].by_variant["a"] > 0.95


def test_a_small_segment_is_split_by_what_the_others_say() -> None:
    segments = {f"s{i}": facts([0.03, 0.036, 0.033], seed=i) for i in range(5)}
    small = facts([0.03, 0.036, 0.033], units=60.0, seed=17)
    found = segment_shares({**segments, "small": small}, RULE, seed=1)
    alone = next_shares(small, RULE, seed=1)
    assert found.probability_apart < 0.5
    assert alone.by_variant["b"] < 0.7 < found.segments["small"].by_variant["b"]


def test_one_segment_alone_is_split_as_ever() -> None:
    one = facts([0.03, 0.032], seed=3)
    apart = segment_shares({"all": one}, RULE, seed=1).segments["all"].by_variant["b"]
    assert apart == pytest.approx(next_shares(one, RULE, seed=1).by_variant["b"], abs=0.12)


def test_segments_with_other_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="same variants"):
        segment_shares({"x": facts([0.03, 0.04]), "y": facts([0.03] * 3)}, RULE, seed=1)
