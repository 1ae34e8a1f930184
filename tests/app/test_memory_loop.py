"""The loop in memory: a running rollout is judged whatever becomes of the day's plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy
from liftloop.core.saturating import SaturatingCurves

DAY = date(2026, 3, 2)
SEGMENTS = "abcdef"


def policy(search: float, video: float) -> Policy:
    return Policy.of(
        {Cell(s, c): Decimal(str(x)) for s in SEGMENTS
         for c, x in (("search", search), ("video", video))}
    )  # fmt: skip


OLD = policy(100, 100)


@dataclass
class Plan:
    policy: Policy
    reason: str = "It pays."


@dataclass
class Planner:
    """Answers with one plan after the other; None is a conflict of rules."""

    plans: list[Policy | None]
    asked: int = field(default=0)

    def __call__(self, settings: Settings, **_: Any) -> Plan:
        plan = self.plans[self.asked]
        self.asked += 1
        if plan is None:
            raise InfeasibleBudget(["a floor", "a cap"])
        return Plan(plan)


def facts(until: date, in_force: Policy) -> dict[str, pd.DataFrame]:
    days = pd.date_range(until - timedelta(days=20), until - timedelta(days=1))
    rows = [(d, c.segment, c.channel, float(x), 10, 1) for d in days for c, x in in_force.budgets]
    names = ["date", "segment", "channel", "spend", "impressions", "clicks"]
    performance = pd.DataFrame(rows, columns=names)
    arms = ["arm", "stratum", "users", "converters", "conversions", "revenue", "revenue_sq"]
    holdout = pd.DataFrame({name: [] for name in ("date", "segment", "channel", *arms)})
    sales = pd.DataFrame({"date": [], "segment": [], "orders": [], "revenue": []})
    return {"performance": performance, "holdout": holdout, "sales": sales}


def run(plans: list[Policy | None], **rollout: object) -> MemoryLoop:
    settings = Settings.model_validate({"rollout": rollout})
    loop = MemoryLoop(settings, OLD, learn=lambda *_: None, plan=Planner(plans))
    for week in range(len(plans)):
        day = DAY + timedelta(days=7 * week)
        loop.cycle(day, facts(day, OLD))
    return loop


def moved(loop: MemoryLoop) -> set[str]:
    now, old = loop.in_force.as_dict(), OLD.as_dict()
    return {c.segment for c in old if now[c] != old[c]}


def test_a_conflict_of_rules_does_not_keep_a_rollout_from_being_judged() -> None:
    loop = run([policy(120, 80), None, None], max_days=14)
    assert [d.kind for d in loop.decided] == ["move", "hold", "roll_back"]
    assert loop.in_force == OLD
    assert "Undecided after 14 days" in loop.decided[-1].reason


def test_a_newer_plan_waits_and_the_rollout_says_so() -> None:
    loop = run([policy(120, 80), policy(90, 110)])
    assert [d.kind for d in loop.decided] == ["move", "hold"]
    assert "A newer policy waits" in loop.decided[-1].reason
    assert len(moved(loop)) == 1  # two of six equal segments would hold a third of the spend


def test_a_newer_plan_replaces_the_rollout_from_the_budgets_before_it() -> None:
    loop = run([policy(120, 80), policy(90, 110)], newer="replace")
    assert [d.kind for d in loop.decided] == ["move", "move"]
    assert len(moved(loop)) == 1  # two of six equal segments would hold a third of the spend
    assert {loop.in_force.as_dict()[Cell(s, "video")] for s in moved(loop)} == {Decimal("110.00")}
    assert loop.in_force.total == OLD.total


def test_a_plan_that_was_taken_back_stays_out_for_its_cool_down() -> None:
    plan = policy(120, 80)
    near = Policy.of({cell: amount + Decimal("0.01") for cell, amount in plan.budgets})
    loop = run([plan, plan, plan, near], max_days=14)
    assert [d.kind for d in loop.decided] == ["move", "hold", "roll_back", "hold"]
    assert "barred until" in loop.decided[-1].reason


def test_one_cell_that_does_not_spend_its_budget_holds_itself_and_not_the_whole_plan() -> None:
    better_search = SaturatingCurves(
        cells=OLD.cells,
        marginal_at_zero=np.tile(
            [4.0 if c.channel == "search" else 1.0 for c in OLD.cells], (60, 1)
        ),
        half_saturation=np.full((60, len(OLD.cells)), 100.0),
        carryover=np.zeros(len(OLD.cells)),
    )
    settings = Settings.model_validate({"rollout": {"enabled": False}, "exploration": {"share": 0}})
    loop = MemoryLoop(settings, OLD, learn=lambda *_: better_search if loop.decided else None)
    loop.cycle(DAY, facts(DAY, OLD))
    day = DAY + timedelta(days=7)
    known = facts(day, OLD)
    spent = known["performance"]
    slow = (spent.segment == "a") & (spent.channel == "search")
    known["performance"] = spent.assign(spend=spent.spend.where(~slow, 40.0))
    now = loop.cycle(day, known).as_dict()
    assert loop.decided[-1].kind == "move"
    assert now[Cell("a", "search")] == 100
    assert {now[Cell(s, "search")] for s in "bcdef"} == {Decimal("125.00")}
    assert sum(now.values()) == OLD.total


def test_a_cell_that_stops_spending_during_the_shadow_is_held_alone_in_the_canary() -> None:
    settings = Settings.model_validate({"rollout": {"shadow_days": 7, "canary_share": 0.5}})
    plan = policy(120, 80)
    loop = MemoryLoop(settings, OLD, learn=lambda *_: None, plan=Planner([OLD, plan, plan]))
    for week in range(2):
        loop.cycle(DAY + timedelta(days=7 * week), facts(DAY + timedelta(days=7 * week), OLD))
    assert loop.in_force == OLD and loop._running is not None
    one = loop._running.canary[0]
    day = DAY + timedelta(days=14)
    known = facts(day, OLD)
    spent = known["performance"]
    slow = (spent.segment == one) & (spent.channel == "search")
    known["performance"] = spent.assign(spend=spent.spend.where(~slow, 40.0))
    now = loop.cycle(day, known).as_dict()
    assert loop.decided[-1].kind == "promote", loop.decided[-1].reason
    assert now[Cell(one, "search")] == 100
    assert len(moved(loop)) >= 1 and sum(now.values()) == OLD.total
