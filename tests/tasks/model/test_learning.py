"""From facts to an examined model, without registry or ledger."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.app.backtest.known import empty_feed
from liftloop.core.errors import InsufficientEvidence
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket
from liftloop.settings.schema import Model, Settings
from tasks.model.learning import (
    HOLDOUT_FEEDS,
    examine_metrics,
    holdout_config,
    learn_from_holdout,
    quarter,
)

SETTINGS = Settings(model=Model(draws=50, tuning_trials=0, threads=1))


@pytest.fixture(scope="module")
def market() -> HillMarket:
    return HillMarket(
        2,
        constants=HillConstants(
            segments=("a", "b"),
            channels=("search", "video"),
            history_days=35,
            revenue_sd=1.0,
        ),
    )


def frames(market: HillMarket) -> dict[str, pd.DataFrame]:
    told: dict[str, Any] = {name: empty_feed(name) for name in HOLDOUT_FEEDS}
    for name, frame in market.history().items():
        told[name] = frame.assign(date=pd.to_datetime(frame["date"]))
    return told


def test_the_settings_reach_the_model_they_configure() -> None:
    config = holdout_config(Settings(model=Model(draws=77, tuning_trials=3, threads=1, seed=5)))
    assert (config.response.draws, config.response.seed) == (77, 5)
    assert (config.tuning_trials, config.threads, config.seed) == (3, 1, 5)


def test_learning_twice_from_the_same_facts_gives_the_same_curves_and_changes_no_frame(
    market: HillMarket,
) -> None:
    told = frames(market)
    before = {name: frame.copy() for name, frame in told.items()}
    one, two = (learn_from_holdout(SETTINGS, told, as_of=market.start) for _ in range(2))
    spend = np.full(len(one.curves.cells), 1000.0)
    np.testing.assert_array_equal(one.curves.draw_revenue(spend), two.curves.draw_revenue(spend))
    for name, frame in told.items():
        pd.testing.assert_frame_equal(frame, before[name])


def test_nothing_on_or_after_the_day_is_learned_from(market: HillMarket) -> None:
    day = date(2025, 12, 29)
    told = frames(market)
    past = {name: f[f["date"] < pd.Timestamp(day)] if len(f) else f for name, f in told.items()}
    one, two = (learn_from_holdout(SETTINGS, known, as_of=day) for known in (told, past))
    spend = np.full(len(one.curves.cells), 1000.0)
    np.testing.assert_array_equal(one.curves.draw_revenue(spend), two.curves.draw_revenue(spend))


def test_without_randomized_evidence_and_sales_there_is_nothing_to_learn(
    market: HillMarket,
) -> None:
    told = {**frames(market), "holdout": empty_feed("holdout")}
    assert learn_from_holdout(SETTINGS, told, as_of=market.start).metrics["untested_cells"] > 0
    with pytest.raises(InsufficientEvidence):
        learn_from_holdout(SETTINGS, told | {"sales": empty_feed("sales")}, as_of=market.start)


def test_a_model_that_misses_its_lifts_does_not_pass() -> None:
    assert examine_metrics({"lifts": 40.0, "misfit": 1.1}, source="holdout").passed
    assert not examine_metrics({"lifts": 40.0, "misfit": 9.0}, source="holdout").passed
    assert not examine_metrics({}, source="holdout").passed


def test_a_quarter_is_named_by_its_year_and_number() -> None:
    assert quarter(date(2026, 3, 31)) == "2026q1"
    assert quarter(date(2026, 10, 1)) == "2026q4"
