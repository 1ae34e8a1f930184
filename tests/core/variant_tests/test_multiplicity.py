"""Of differences found by tests that run together, e-BH keeps those that may be believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from liftloop.core.variant_tests.multiplicity import corrected, discoveries
from liftloop.core.variant_tests.reading import (
    ReadingVerdict,
    TestReading,
    VariantEffect,
    judged,
)


def effect(e_value: float, *, relative: float = 0.1) -> VariantEffect:
    """A variant called different by its own test."""
    numbers = (1.1, 1.0, 0.1, 0.01, 0.2, relative, 0.01, 0.2, float(np.log(e_value)))
    return VariantEffect("b", *numbers, verdict=ReadingVerdict.CONCLUSIVE)


def reading(*effects: VariantEffect) -> TestReading:
    """A test of these effects."""
    names = ("a", *(f"b{i}" for i in range(len(effects))))
    named = tuple(replace(e, variant=n) for e, n in zip(effects, names[1:], strict=True))
    return judged(
        TestReading(
            ReadingVerdict.TOO_EARLY, None, named, names, None, None, days=10, waiting_days=0
        )
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100.0], [True]),
        ([19.0], [False]),
        ([30.0, 1.0], [False, False]),  # 2 / 0.05 = 40 are needed for one of two
        ([41.0, 1.0], [True, False]),
        ([21.0, 20.5], [True, True]),  # for both of two, 20
        ([1.0, 81.0, 70.0, 45.0], [False, True, True, True]),  # 80, 40, 26.7, 20
        ([1.0, 79.0, 1.0, 39.0], [False, False, False, False]),
        ([], []),
    ],
)
def test_e_bh_by_hand(values: list[float], expected: list[bool]) -> None:
    assert discoveries(np.log(np.array(values)), alpha=0.05).tolist() == expected


def test_what_is_no_discovery_is_too_early_again() -> None:
    found = corrected({"one": reading(effect(30.0)), "two": reading(effect(2.0))})
    assert found["one"].verdict is ReadingVerdict.TOO_EARLY and found["one"].best is None
    alone = corrected({"one": reading(effect(30.0))})
    assert alone["one"].verdict is ReadingVerdict.CONCLUSIVE and alone["one"].best == "b0"


def test_tests_that_have_ended_count_as_they_ended() -> None:
    one = {"one": reading(effect(25.0))}
    assert corrected(one)["one"].verdict is ReadingVerdict.CONCLUSIVE
    assert corrected(one, ended=[0.0])["one"].verdict is ReadingVerdict.TOO_EARLY
    assert corrected(one, ended=[np.log(30.0)])["one"].verdict is ReadingVerdict.CONCLUSIVE


def test_a_test_keeps_the_variants_that_are_discoveries() -> None:
    both = reading(effect(100.0, relative=0.05), effect(5.0, relative=0.3))
    assert both.best == "b1"
    kept = corrected({"one": both})["one"]
    assert kept.best == "b0"
    assert [e.verdict.value for e in kept.effects] == ["conclusive", "too early"]
