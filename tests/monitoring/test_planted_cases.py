"""Planted cases on the base market, through production's functions (a part of the benchmark)."""

from __future__ import annotations

import pytest

from benchmarks.triage_cases import KINDS, base_of, make_case
from liftloop.pipeline.monitor import compare_weeks
from monitoring.triage import TriageConfig


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_the_planted_cases_nine_in_ten_are_told_right() -> None:
    right = []
    for seed in (0, 1, 2):
        base = base_of(seed)
        for kind in KINDS:
            case = make_case(kind, seed, base)
            found = compare_weeks(
                case.frames, curves=case.curves, as_of=case.as_of, config=TriageConfig()
            )
            right.append(case.right(found.triage))
    assert len(right) == 30
    assert sum(right) >= 27
