"""Challengers whose worth is known go through the suite: the benchmark's claims, on fewer runs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import promotion


def test_in_one_market_the_better_passes_and_the_random_does_not() -> None:
    told = promotion.by_holdout(0)
    assert told["random"]["promoted"] == 0.0
    assert told["+5%"]["passes profit of the plan"] == 1.0
    for name in ("+1%", "+5%", "+10%"):
        assert told[name]["gain"] == pytest.approx(float(name[1:-1]) / 100, abs=1e-3)
    assert told["equal"]["gain"] == pytest.approx(0.0, abs=1e-3)


def test_a_policy_for_users_that_knows_nothing_is_refused() -> None:
    told = promotion.by_units(0, users=40_000)
    assert told["random"]["promoted"] == 0.0
    assert told["+5%"]["gain"] == pytest.approx(0.05, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["holdout", "units"])
def test_a_random_challenger_is_refused_and_one_worth_five_percent_is_promoted(source: str) -> None:
    """200 runs each; bounds two standard errors from the claims of BENCHMARKS.md."""
    one = promotion.by_holdout if source == "holdout" else promotion.by_units
    runs = [one(seed) for seed in range(5000, 5200)]

    def share(name: str, what: str = "promoted") -> float:
        return float(np.mean([run[name][what] for run in runs if name in run]))

    assert share("random") <= 0.05
    assert share("+5%") >= 0.80
    assert (
        share("equal", "passes profit of the plan") <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200) + 0.02
    )
