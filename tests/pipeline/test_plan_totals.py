"""A set total that is not what is spent, and currencies without cents, through plan and rollout."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.staged_budgets import land
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.pipeline.plan.stage_budgets import StageInputs, stage_budgets
from liftloop.settings.schema import Settings

CELLS = [Cell(s, c) for s in "ab" for c in ("search", "social", "video")]
SPENT = Policy.of(
    {c: Decimal(x) for c, x in zip(CELLS, (2001, 1499, 777, 901, 801, 996), strict=True)}
)
DAY = date(2026, 3, 2)


def curves(*, spread: float = 0.02) -> SaturatingCurves:
    rng = np.random.default_rng(1)
    slope = np.array([6.0, 2.0, 1.0, 5.0, 2.5, 1.2])
    return SaturatingCurves(
        cells=SPENT.cells,
        marginal_at_zero=slope * np.exp(spread * rng.normal(size=(60, 6))),
        half_saturation=np.tile(np.array([1000.0, 1500, 900, 800, 700, 600]), (60, 1)),
        carryover=np.zeros(6),
    )


def settings(total: str | None = None, currency: str = "USD", **budget: Any) -> Settings:
    return Settings.model_validate(
        {
            "account": {"currency": currency},
            "budget": {**({"total": total} if total else {}), **budget},
            "exploration": {"share": 0.0},
        }
    )


def plan(
    chosen: Settings, *, incumbent: Policy = SPENT, known: SaturatingCurves | None = None
) -> Plan:
    return plan_budgets(
        chosen,
        curves=known or curves(),
        incumbent=incumbent,
        frozen=(),
        evidence=PlanEvidence(as_of=DAY, facts={}),
    )


def said(made: Plan) -> str:
    return " ".join((made.reason, *made.notes))


def steps_kept(made: Policy, before: Policy, step: str = "0.25") -> bool:
    tenth = before.total / len(before.cells) / 10
    return all(
        abs(made.as_dict()[cell] - held) <= Decimal(step) * max(held, tenth)
        for cell, held in before.budgets
    )


@pytest.mark.parametrize("total", ["11160.00", "4185.00", "30000.00"])
def test_a_total_far_from_what_is_spent_is_approached_in_steps_and_said(total: str) -> None:
    made = plan(settings(total))
    more = Decimal(total) > SPENT.total
    assert abs(made.policy.total / SPENT.total - 1) == pytest.approx(0.25, abs=1e-4)
    assert (made.policy.total > SPENT.total) == more
    assert steps_kept(made.policy, SPENT)
    gap = f"{abs(Decimal(total) - SPENT.total):,.2f} {'more' if more else 'less'} a day"
    assert gap in said(made) and "than is spent now (6,975.00)" in said(made)


def test_a_total_within_a_step_is_reached_at_once_and_said() -> None:
    made = plan(settings("7500.00"))
    assert made.policy.total == Decimal("7500.00") and steps_kept(made.policy, SPENT)
    assert "525.00 more a day than is spent now (6,975.00)" in said(made)


def test_the_whole_way_is_gone_in_later_cycles() -> None:
    now, totals = SPENT, []
    for _ in range(4):
        now = plan(settings("11160.00"), incumbent=now).policy
        totals.append(now.total)
    assert totals[0] < totals[1] < totals[2] == totals[3] == Decimal("11160.00")


def test_where_no_move_is_sure_the_budgets_follow_the_total_in_proportion() -> None:
    made = plan(settings("7672.50", sureness=0.99, switching_cost=1000.0))
    assert made.policy.total == Decimal("7672.50")
    assert all(
        made.policy.as_dict()[cell] == pytest.approx(held * Decimal("1.1"), abs=Decimal("0.02"))
        for cell, held in SPENT.budgets
    )
    assert "follow the total" in made.reason


def test_without_a_response_nothing_moves_and_the_difference_is_said() -> None:
    made = plan_budgets(
        settings("11160.00"),
        curves=None,
        incumbent=SPENT,
        frozen=(),
        evidence=PlanEvidence(as_of=DAY, facts={}),
    )
    assert made.policy == SPENT
    assert "4,185.00 more a day than is spent now (6,975.00)" in made.reason


def test_a_total_that_contradicts_a_persons_own_rules_is_still_named() -> None:
    with pytest.raises(InfeasibleBudget, match=r"cap of every cell"):
        plan(settings("11160.00", limits=[{"cap": "1000.00"}], max_step=1.0))


def test_a_floor_for_all_cells_starts_none_that_stopped() -> None:
    stopped = Policy.of({**SPENT.as_dict(), CELLS[0]: Decimal(0)})
    made = plan_budgets(
        settings(limits=[{"floor": "50.00"}]),
        curves=curves(),
        incumbent=stopped,
        frozen=((CELLS[0].segment, CELLS[0].channel, "it stopped"),),
        evidence=PlanEvidence(as_of=DAY, facts={}),
    )
    assert made.policy.as_dict()[CELLS[0]] == 0
    assert min(amount for cell, amount in made.policy.budgets if cell != CELLS[0]) >= 50


def test_a_rollout_comes_as_near_to_a_new_total_as_steps_allow() -> None:
    far = Policy.of({cell: amount * 2 for cell, amount in SPENT.budgets})
    landed = land(far, in_force=SPENT, max_step=0.25)
    assert steps_kept(landed, SPENT) and landed.total > SPENT.total * Decimal("1.249")


@pytest.mark.parametrize("currency", ["JPY", "KRW", "CLP", "VND", "ISK", "XOF"])
@pytest.mark.parametrize("total", [None, "7201.00", "11160.00"])
@pytest.mark.parametrize(
    "rules",
    [
        {},
        {
            "groups": [
                {"name": "g", "segments": ["a"], "maximum": "4100.50"},
                {"name": "h", "channels": ["video"], "minimum": "1700.20"},
            ]
        },
        {"limits": [{"segment": "a", "channel": "search", "cap": "2222.75"}]},
        {"objective": "cvar"},
    ],
    ids=["plain", "groups", "cap", "cvar"],
)
def test_budgets_are_whole_where_a_currency_has_no_cents(
    currency: str, total: str | None, rules: dict[str, Any]
) -> None:
    chosen = settings(total, currency, **rules)
    made = plan(chosen)
    assert all(amount == amount.to_integral_value() for _, amount in made.policy.budgets)
    assert steps_kept(made.policy, SPENT)
    if total == "7201.00":
        assert made.policy.total == 7201
    if "groups" in rules:
        held = made.policy.as_dict()
        assert sum(x for c, x in held.items() if c.segment == "a") <= Decimal("4100.50")
        assert sum(x for c, x in held.items() if c.channel == "video") >= Decimal("1700.20")
    base = StageInputs(chosen, SPENT, (), {}, DAY)
    staged = stage_budgets(base, [(["a", "b"], SPENT), (["a"], made.policy)])
    low, high = sorted((SPENT.total, made.policy.total))
    assert low <= staged.total <= high
    for cell in CELLS:
        if cell.segment == "b":  # it has not got the plan yet
            assert staged.as_dict()[cell] == SPENT.as_dict()[cell]
    assert all(amount == amount.to_integral_value() for _, amount in staged.budgets)


@pytest.mark.parametrize("currency", ["USD", "EUR", "KWD", "TND"])
def test_other_currencies_are_planned_as_before(currency: str) -> None:
    assert plan(settings("7201.00", currency)).policy == plan(settings("7201.00", "USD")).policy
    assert plan(settings("7201.00", currency)).policy.total == Decimal("7201.00")
