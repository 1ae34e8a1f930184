"""The standing holdout in the loop, and the loop's worth in its ledger and on a known market."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from liftloop.adapters.ledger.loop_value_entries import STANDING, entries_of, standing, worth_known
from liftloop.adapters.ledger.records import session
from liftloop.app.backtest.known import empty_feed
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.core.inference.loop_value import Worth, worth_against_holdout
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.holdback import draw_holdback
from liftloop.markets.families import DemoMarket
from liftloop.markets.hill import HillMarket
from liftloop.settings.schema import parse_settings
from models.lift.daily_panel import daily_facts
from tasks.model.learning import HOLDOUT_FEEDS
from tasks.report.loop_value import measure_once


def of_segment(policy: Policy, segment: str) -> dict[Cell, Decimal]:
    return {cell: amount for cell, amount in policy.budgets if cell.segment == segment}


def test_a_standing_segment_keeps_its_budgets_and_the_month_is_measured_once(world: Any) -> None:
    world.set("\nsegments = []", '\nsegments = ["south"]')
    settled = world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        kept = standing(db)
    assert kept is not None
    assert (kept["segments"], kept["start"]) == (["south"], world.day.isoformat())
    running = world.rollout()
    assert not any("south" in wave for wave in running.waves)
    for policy in (running.current, running.head):
        assert of_segment(policy, "south") == of_segment(running.reference, "south")
        assert policy.total == running.reference.total
        assert policy.version != running.reference.version

    begun = world.day
    for _ in range(5):
        world.live(settled)
    assert world.day == date(2026, 2, 9)
    assert measure_once(world.loop, date(2026, 2, 2)) is None  # late rows of January may come
    said = measure_once(world.loop, world.day)
    assert said is not None
    assert (said["basis"], said["start"], said["until"]) == (
        "holdout",
        begun.isoformat(),
        "2026-02-01",
    )
    assert said["low"] < said["gain"] < said["high"]
    assert measure_once(world.loop, world.day) is None
    with session(world.loop.engine, read_only=True) as db:
        assert worth_known(db, as_of=world.day) == said
        assert worth_known(db, as_of=world.day - timedelta(days=1)) is None

    world.set('\nsegments = ["south"]', "\nsegments = []")
    world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        assert [entry["segments"] for entry in entries_of(db, STANDING)] == [[], ["south"]]


def test_without_a_standing_holdout_the_figure_is_said_to_be_the_models(world: Any) -> None:
    settled = world.cycle()
    for _ in range(5):
        world.live(settled)
    said = measure_once(world.loop, world.day)
    assert said is not None
    assert (said["basis"], said["standing"]) == ("model", [])
    assert "not measured: no segment is held out" in said["sentence"]


def test_before_the_first_decision_there_is_nothing_to_measure(world: Any) -> None:
    assert measure_once(world.loop, date(2026, 2, 9)) is None


def test_the_loop_in_memory_keeps_them_too() -> None:
    market = DemoMarket(1)
    budgets = zip(
        market.incumbent.segment,
        market.incumbent.channel,
        market.incumbent.daily_budget,
        strict=True,
    )
    incumbent = Policy.of({Cell(s, c): amount for s, c, amount in budgets})
    settings = parse_settings(
        {
            "worth": {"share": 0.3, "seed": 5},
            "rollout": {"enabled": False},
            "model": {"tuning_trials": 0, "draws": 50},
        },
        source="test",
    )
    still = draw_holdback({c.segment for c in incumbent.cells}, named=(), share=0.3, seed=5)
    facts = {name: empty_feed(name) for name in HOLDOUT_FEEDS} | market.history()
    found = MemoryLoop(settings, incumbent).cycle(market.start, facts)
    assert found.version != incumbent.version
    assert len(still) == 2
    for segment in still:
        assert of_segment(found, segment) == of_segment(incumbent, segment)


def planned(seed: int, weeks: int) -> tuple[float, Worth]:
    """The true gain of somebody who knows the curves and moves all but two segments, and what is
    measured of it."""
    market, idle = HillMarket(seed), HillMarket(seed)
    feeds = {feed: [frame] for feed, frame in market.history().items()}
    start, before = market.start, market.incumbent
    names = sorted(before.segment.unique())
    still = draw_holdback(names, named=(), share=0.2, seed=seed)
    moves = ~before.segment.isin(still).to_numpy()
    first = before.daily_budget.astype(float).to_numpy()
    spend = first.copy()
    for _ in range(weeks):
        now = market.expected(before.assign(daily_budget=spend)).incremental_revenue
        more = market.expected(before.assign(daily_budget=spend * 1.02)).incremental_revenue
        marginal = ((more - now) / spend).to_numpy()
        spend = np.where(moves, spend * np.where(marginal > np.median(marginal), 1.1, 0.9), first)
        spend[moves] *= first[moves].sum() / spend[moves].sum()
        for feed, frame in market.step(before.assign(daily_budget=spend.round(2)), 7).items():
            feeds[feed].append(frame)
        idle.step(before, 7)
    facts = {feed: pd.concat(frames, ignore_index=True) for feed, frames in feeds.items()}
    until = start + timedelta(days=7 * weeks)
    daily = daily_facts(
        **facts,
        segments=names,
        first=pd.to_datetime(facts["performance"].date).min().date(),
        as_of=until,
    )
    found = worth_against_holdout(daily, standing=still, start=start, until=until, margin=1.0)
    assert isinstance(found, Worth)

    def earned(world: HillMarket) -> float:
        truth = world.truth()
        counts = (pd.to_datetime(truth.date) >= pd.Timestamp(start)) & ~truth.segment.isin(still)
        return float(truth.incremental_revenue[counts].sum())

    return earned(market) - earned(idle), found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_on_the_base_market_the_interval_holds_the_true_gain_in_nine_of_ten_cases() -> None:
    runs = [planned(seed, weeks=13) for seed in range(40)]
    hits = sum(found.low <= true <= found.high for true, found in runs)
    assert hits >= binom.ppf(0.01, 40, 0.9)
    apart = np.array([(found.gain - true) for true, found in runs])
    errors = np.array([(found.high - found.low) / 2 / 1.645 for _, found in runs])
    assert abs((apart / errors).mean()) < 3 / np.sqrt(40)  # no bias beyond chance
