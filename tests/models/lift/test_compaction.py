"""Old evidence joined to larger pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.lift.compaction import compacted
from models.response.fit import ResponseConfig, fit_curves


def test_a_little_evidence_stays_as_it_is(small_market: Callable[..., Any]) -> None:
    evidence = small_market(weeks=30).gathered()
    assert compacted(evidence) is evidence


def test_recent_weeks_stay_and_older_ones_are_joined_by_four(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(segments=2, channels=2, weeks=33)
    evidence = market.gathered(claims=market.claims)
    small = compacted(evidence, most_rows=0)
    # 13 weeks as they are, and 20 older ones in 5 blocks
    assert len(small.lift) == 4 * (13 + 5)
    assert small.claims is not None and len(small.claims.claimed) == 4 * (13 + 5)
    span = small.last - small.first + 1
    assert sorted(set(span.tolist())) == [7, 28]
    assert np.bincount(small.cell).tolist() == [18] * 4


def test_a_block_is_the_mean_weighted_by_precision(small_market: Callable[..., Any]) -> None:
    evidence = small_market(segments=1, channels=1, weeks=17).gathered()
    small = compacted(evidence, most_rows=0)
    old = evidence.last < evidence.last.max() - 90
    weight = evidence.noise[old] ** -2.0
    block = small.last - small.first > 7
    assert block.sum() == 1
    assert small.lift[block][0] == pytest.approx(np.average(evidence.lift[old], weights=weight))
    assert small.noise[block][0] == pytest.approx(weight.sum() ** -0.5)


def test_curves_from_joined_evidence_are_nearly_those_from_all_of_it(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(weeks=40)
    evidence = market.gathered(claims=market.claims)
    config = ResponseConfig(breaks=None)
    whole, joined = (fit_curves(e, config) for e in (evidence, compacted(evidence, most_rows=0)))
    spend = evidence.spend[-28:].mean(axis=0) * evidence.size
    drawn = whole.draw_revenue(spend)
    gap = (joined.mean_revenue(spend) - whole.mean_revenue(spend)) / drawn.std(axis=0)
    assert np.sqrt((gap**2).mean()) < 0.5
