"""The canary's promises on the base market, simulated; the tables: benchmarks/canary_aa.py."""

from __future__ import annotations

import pytest

from benchmarks.canary_aa import rows, simulate


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_policy_that_changes_nothing_stays_and_one_that_loses_most_goes_back() -> None:
    worlds = [simulate(seed) for seed in range(60)]
    same, ruinous = rows(worlds, losses=[0.0, 0.8])
    assert same["back_56"] <= 0.05
    assert ruinous["back_56"] >= 0.9
    assert ruinous["promoted"] == 0.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_looking_every_day_costs_nothing() -> None:
    worlds = [simulate(seed, days_each=1) for seed in range(40)]
    (same,) = rows(worlds, losses=[0.0])
    assert same["back_56"] <= 0.05
