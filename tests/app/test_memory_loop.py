"""The loop in memory: cycles and looks, decided by the same functions as in production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.app.backtest.known import KnownFacts
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.market import budgets_frame
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.feeds.context import Account
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import stages_of
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket
from liftloop.settings.schema import Settings

DAY = date(2026, 3, 2)
SEGMENTS = "abcdef"


def policy(search: float, video: float) -> Policy:
    return Policy.of(
        {
            Cell(s, c): Decimal(str(x))
            for s in SEGMENTS
            for c, x in (("search", search), ("video", video))
        }
    )


OLD, NEW, NEWER = policy(100, 100), policy(110, 90), policy(120, 80)


def curves(search: float = 4.0) -> SaturatingCurves:
    """Search earns ``search`` for the first unit, video 1."""
    rng = np.random.default_rng(0)
    slope = np.array([search if c.channel == "search" else 1.0 for c in OLD.cells])
    return SaturatingCurves(
        cells=OLD.cells,
        marginal_at_zero=np.exp(0.1 * rng.standard_normal((60, 1))) * slope,
        half_saturation=np.full((60, len(OLD.cells)), 100.0),
        carryover=np.zeros(len(OLD.cells)),
    )


@dataclass
class Plan:
    policy: Policy
    sentences: tuple[str, ...] = ("It pays.",)


@dataclass
class Planner:
    """Answers with one plan after the other; None is a conflict of rules."""

    plans: list[Policy | None]
    heads: list[Policy] = field(default_factory=list)

    def __call__(self, settings: Settings, *, incumbent: Policy, **_: Any) -> Plan:
        plan = self.plans[len(self.heads)]
        self.heads.append(incumbent)
        if plan is None:
            raise InfeasibleBudget(["a floor", "a cap"])
        return Plan(plan)


def facts(
    until: date,
    in_force: Policy,
    *,
    slow: Cell | None = None,
    sold: Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """Twelve weeks in which all is spent; ``slow`` spends two fifths of what it has, and the
    segments in ``sold`` sell that much of what they did from ``DAY`` on."""
    days = pd.date_range(until - timedelta(days=84), until - timedelta(days=1))
    rows = [
        (d, c.segment, c.channel, float(x) * (0.4 if c == slow else 1.0), 10, 1)
        for d in days
        for c, x in in_force.budgets
    ]
    names = ["date", "segment", "channel", "spend", "impressions", "clicks"]
    performance = pd.DataFrame(rows, columns=names)
    arms = ["arm", "stratum", "users", "converters", "conversions", "revenue", "revenue_sq"]
    holdout = pd.DataFrame({name: [] for name in ("date", "segment", "channel", *arms)})
    rng = np.random.default_rng(1)
    sales = pd.DataFrame(
        [
            (
                d,
                s,
                5,
                1_000
                * (1 + 0.01 * rng.standard_normal())
                * ((sold or {}).get(s, 1.0) if d >= pd.Timestamp(DAY) else 1.0),
            )
            for d in days
            for s in SEGMENTS
        ],
        columns=["date", "segment", "orders", "revenue"],
    )
    return {"performance": performance, "holdout": holdout, "sales": sales}


def loop_of(plans: list[Policy | None], **rollout: object) -> MemoryLoop:
    told = Settings.model_validate({"rollout": rollout, "exploration": {"vary": 0.0}})
    return MemoryLoop(told, OLD, learn=lambda *_: curves(), plan=Planner(plans))


def week(loop: MemoryLoop, number: int, **known: Any) -> None:
    day = DAY + timedelta(days=7 * number)
    loop.cycle(day, facts(day, loop.in_force, **known))


def moved(loop: MemoryLoop) -> set[str]:
    now, old = loop.in_force.as_dict(), OLD.as_dict()
    return {c.segment for c in old if now[c] != old[c]}


def leading(loop: MemoryLoop) -> tuple[str, ...]:
    assert loop.running is not None
    return loop.running.waves[0]


def test_a_small_sure_plan_is_everywhere_at_once_and_the_next_is_made_from_it() -> None:
    loop = loop_of([NEW, NEWER], allowance=1e9)
    week(loop, 0)
    assert (loop.decided[-1].kind, loop.in_force) == ("move", NEW)
    week(loop, 1)
    assert loop.in_force == NEWER
    assert isinstance(loop.plan, Planner) and loop.plan.heads == [OLD, NEW]


def test_with_an_allowance_of_nothing_a_plan_stays_in_the_first_wave_until_it_is_proven() -> None:
    loop = loop_of([NEW, NEWER, NEWER], allowance=0)
    for number in range(3):
        week(loop, number)
    assert [d.kind for d in loop.decided] == ["move", "hold", "hold"]
    assert moved(loop) == set(leading(loop))
    assert loop.in_force.total == OLD.total


def test_a_conflict_of_rules_does_not_keep_a_stream_from_being_judged() -> None:
    loop = loop_of([NEW, None, None], allowance=0)
    week(loop, 0)
    week(loop, 1)
    assert loop.decided[-1].kind == "hold"
    assert "at risk this quarter" in loop.decided[-1].reason
    assert loop.running is not None
    week(loop, 2, sold=dict.fromkeys(leading(loop), 0.5))
    assert (loop.decided[-1].kind, loop.in_force) == ("roll_back", OLD)


def test_a_conflict_of_rules_without_a_stream_keeps_the_budgets_and_is_said() -> None:
    loop = loop_of([None])
    week(loop, 0)
    assert (loop.decided[-1].kind, loop.decided[-1].in_force) == ("hold", False)
    assert "a floor" in loop.decided[-1].reason


def test_a_day_between_two_cycles_takes_a_harmful_stream_back_and_else_decides_nothing() -> None:
    loop = loop_of([NEW], allowance=0)
    week(loop, 0)
    before, day = loop.in_force, DAY + timedelta(days=10)
    assert loop.look(day, facts(day, before)) == before
    assert len(loop.decided) == 1
    bad = facts(day + timedelta(days=1), before, sold=dict.fromkeys(leading(loop), 0.3))
    assert loop.look(day + timedelta(days=1), bad) == OLD
    assert (loop.decided[-1].kind, loop.running) == ("roll_back", None)
    assert loop.look(day + timedelta(days=2), bad) == OLD
    assert len(loop.decided) == 2


def test_after_a_stream_was_taken_back_no_plan_enters_before_the_cool_down_ends() -> None:
    loop = loop_of([NEW, NEW, NEW, NEWER, NEWER], allowance=0, cooldown_days=14)
    week(loop, 0)
    week(loop, 1)
    week(loop, 2, sold=dict.fromkeys(leading(loop), 0.3))
    week(loop, 3)
    week(loop, 4)
    assert [d.kind for d in loop.decided] == ["move", "hold", "roll_back", "hold", "move"]
    assert "no plan enters before 2026-03-30" in loop.decided[3].reason


@pytest.mark.parametrize(
    "asks",
    [{"budget": {"approve_above": 0.01}}, {"approval": {"rules": [{"on": "risk", "limit": 0}]}}],
)
def test_a_plan_that_meets_a_rule_waits_for_a_person_whom_a_backtest_does_not_have(
    asks: dict[str, Any],
) -> None:
    told = Settings.model_validate({"rollout": {"allowance": 1e9}, **asks})
    loop = MemoryLoop(told, OLD, learn=lambda *_: curves(), plan=Planner([NEW]))
    week(loop, 0)
    assert loop.decided[-1].waits and not loop.decided[-1].in_force
    assert loop.in_force == OLD and loop.running is None


def test_days_without_spend_are_kept_and_end() -> None:
    days = {"name": "x", "channels": ["search"], "start": DAY, "end": DAY + timedelta(days=6)}
    told = Settings.model_validate({"budget": {"blackouts": [{**days, "no_spend": True}]}})
    loop = MemoryLoop(told, OLD, learn=lambda *_: curves(), plan=Planner([NEW]))
    week(loop, 0)
    assert {x for c, x in loop.in_force.budgets if c.channel == "search"} == {0}
    assert [x for c, x in loop.in_force.budgets if c.channel != "search"] == [
        x for c, x in OLD.budgets if c.channel != "search"
    ]
    week(loop, 1)
    assert loop.in_force == OLD


def test_one_cell_that_does_not_spend_its_budget_holds_itself_and_not_the_whole_plan() -> None:
    told = Settings.model_validate({"rollout": {"enabled": False}, "exploration": {"share": 0}})
    loop = MemoryLoop(told, OLD, learn=lambda *_: curves() if loop.decided else None)
    week(loop, 0)
    week(loop, 1, slow=Cell("a", "search"))
    now = loop.in_force.as_dict()
    assert loop.decided[-1].kind == "move"
    assert now[Cell("a", "search")] == 100
    assert {now[Cell(s, "search")] for s in "bcdef"} == {Decimal("125.00")}
    assert sum(now.values()) == OLD.total


def test_a_cell_that_stops_spending_during_the_shadow_gets_no_raise_when_the_plan_is_followed() -> (
    None
):
    loop = loop_of([NEW, NEW, NEW], shadow_days=7, allowance=1e9)
    week(loop, 0)
    assert loop.in_force == OLD and loop.running is not None
    one = leading(loop)[0]
    week(loop, 1, slow=Cell(one, "search"))
    assert loop.decided[-1].kind == "promote", loop.decided[-1].reason
    now = loop.in_force.as_dict()
    assert now[Cell(one, "search")] == 100
    assert sum(now.values()) == OLD.total


# -- on a market -----------------------------------------------------------------------------------


def live(segments: tuple[str, ...], *, weeks: int) -> tuple[MemoryLoop, Policy, list[Policy]]:
    """Run the loop on a small market, with a look in the middle of each week. Returns the loop, the
    budgets it began with, and those of every cycle and look."""
    constants = HillConstants(
        segments=segments,
        channels=("search", "social", "video"),
        history_days=70,
        total_daily_budget=Decimal("8000.00"),
        organic_revenue=100_000.0,
        users=400_000,
        holdout_share=0.4,
        revenue_sd=2.0,
        size_spread=0.3,
    )
    market = HillMarket(5, constants=constants)
    rows = market.incumbent
    old = Policy.of(
        {
            Cell(s, c): Decimal(x)
            for s, c, x in zip(rows.segment, rows.channel, rows.daily_budget, strict=True)
        }
    )
    told = Settings.model_validate({"model": {"tuning_trials": 0, "threads": 1}})
    loop, day, seen = MemoryLoop(told, old), market.start, []
    known = KnownFacts(Account("USD", "UTC", ()), history_days=told.data.history_days)
    known.deliver(market.history(), on=day)
    for _ in range(weeks):
        for days, decide in ((3, loop.cycle), (4, loop.look)):
            seen.append(decide(day, known.known(day)))
            feeds = market.step(budgets_frame(seen[-1]), days)
            day += timedelta(days=days)
            known.deliver(feeds, on=day)
    return loop, old, seen


@pytest.mark.parametrize(("segments", "waves"), [("abcd", 3), ("ab", 2), ("a", 1)])
def test_two_weeks_on_a_market_keep_every_total_and_every_stage(segments: str, waves: int) -> None:
    loop, old, seen = live(tuple(segments), weeks=2)
    assert {p.total for p in seen} == {old.total}
    assert loop.decided[0].as_of == date(2026, 1, 5)
    steps = [step for result in loop.results for step in result.steps]
    for result in loop.results:
        stages = result.settlement.stages
        assert set(stages) == set(segments)
        assert set(stages.values()) <= {"incumbent", "canary", "ramp", "full", "rolled_back"}
    for started in (r.started for r in loop.results if r.started is not None):
        assert len(started.waves) <= waves
        assert sorted(n for wave in started.waves for n in wave) == sorted(segments)
    for step in steps:
        places = step.after.positions
        assert list(places) == sorted(places, reverse=True)
    if loop.running is not None:
        assert set(stages_of(loop.running)) == set(segments)
        assert loop.running.current == loop.in_force
