"""A loop whose sales tell what channels earn varies its budgets on purpose; the plan stays apart
from it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.runs import run_seed
from liftloop.core.policy import Cell, Policy
from liftloop.markets.without_holdouts import SalesMarket
from liftloop.settings.schema import Settings

WEEKS = 5


class QuietMarket(SalesMarket):
    """Six segments that sell little beside what their two channels bring: sales tell much."""

    constants = replace(
        SalesMarket.constants,
        segments=tuple("abcdef"),
        channels=("search", "video"),
        history_days=70,
        organic_revenue=3000.0,
        size_spread=0.3,
    )


def ran(**exploration: float) -> MemoryLoop:
    """The loop after five weeks on that market."""
    made: list[MemoryLoop] = []

    def make(settings: Settings, policy: Policy) -> MemoryLoop:
        asked = settings.exploration.model_copy(update=exploration)
        made.append(MemoryLoop(settings.model_copy(update={"exploration": asked}), policy))
        return made[0]

    run_seed(QuietMarket, 1, WEEKS, True, beside=(), loop=make)
    return made[0]


@pytest.fixture(scope="module")
def loop() -> MemoryLoop:
    return ran(vary=0.2)


def by_channel(policy: Policy) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for cell, amount in policy.budgets:
        found[cell.channel] = found.get(cell.channel, Decimal(0)) + amount
    return found


def test_budgets_vary_around_the_plan_and_the_next_plan_is_made_from_the_plan(
    loop: MemoryLoop,
) -> None:
    varied = [each for each in loop.results if each.variation is not None]
    assert len(varied) == WEEKS
    for each in varied:
        assert each.running is not None and each.variation is not None
        plain = each.settlement.policy.as_dict()
        for pair in each.variation.pairs:
            assert pair.raised.channel == pair.lowered.channel
            plain[pair.raised] -= pair.amount
            plain[pair.lowered] += pair.amount
        assert by_channel(Policy.of(plain)) == by_channel(each.settlement.policy)
        assert each.running.state.varied
        # every wave follows the newest plan on this market, so what is left is that plan
        assert set(each.running.state.positions) == {each.running.state.newest}
        head = each.running.head.as_dict()
        off = [cell for cell, amount in plain.items() if abs(amount - head[cell]) > 0.01]
        assert not off


def test_each_week_has_coins_of_its_own(loop: MemoryLoop) -> None:
    directions: dict[frozenset[Cell], set[Cell]] = {}
    for each in loop.results:
        for pair in each.variation.pairs if each.variation else ():
            directions.setdefault(frozenset((pair.raised, pair.lowered)), set()).add(pair.raised)
    assert any(len(raised) == 2 for raised in directions.values())


def test_it_is_said_in_the_decision(loop: MemoryLoop) -> None:
    reason = loop.decided[-1].reason
    assert "To learn what search and video earn" in reason
    assert "no total changes" in reason


def test_it_is_off_unless_asked_for(loop: MemoryLoop) -> None:
    off = ran()
    assert all(each.variation is None for each in off.results)
    assert not any("a coin" in each.reason for each in off.decided)
