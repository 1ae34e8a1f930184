"""Standard errors that are widened where curves miss the lifts by more than noise explains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.response.fit import FitFeeds, ResponseConfig
from models.response.train import fit_with_discrepancy

CONFIG = ResponseConfig(fade_per_day=0.0, carryover_grid=(0.3,))


@pytest.mark.parametrize("claimed", [False, True])
def test_errors_stated_at_half_their_size_are_doubled(
    small_market: Callable[..., Any], claimed: bool
) -> None:
    market = small_market()
    bold = market.lifts.assign(standard_error=market.lifts.standard_error / 2)
    fit, widened = fit_with_discrepancy(
        FitFeeds(bold, market.daily, claims=market.claims if claimed else None), CONFIG
    )
    ratio = fit.diagnostics["discrepancy"]
    # 800 lifts and some 100 parameters fitted to them: 2 x sqrt(700 / 800) at the least
    assert 1.8 < ratio < 2.1
    np.testing.assert_allclose(widened.lifts.standard_error, ratio * bold.standard_error)
    assert fit.diagnostics["misfit"] == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(fit.evidence.standard_error, widened.lifts.standard_error)


def test_honest_errors_are_left_as_they_are(small_market: Callable[..., Any]) -> None:
    market = small_market()
    before = market.lifts.copy()
    fit, widened = fit_with_discrepancy(FitFeeds(market.lifts, market.daily), CONFIG)
    assert fit.diagnostics["discrepancy"] == 1.0
    pd.testing.assert_frame_equal(widened.lifts, before)
    pd.testing.assert_frame_equal(market.lifts, before)
