"""Guardrails on every plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.guardrails.plan import (
    Freshness,
    PlanRule,
    judge_late_cells,
    judge_plan,
    judge_plan_channels,
    judge_plan_pacing,
    judge_staleness,
    judge_total_change,
    underspenders,
)
from liftloop.core.guardrails.verdict import GuardrailVerdict, Verdict
from liftloop.core.policy import Cell, Policy

TODAY = date(2026, 3, 20)
YESTERDAY = TODAY - timedelta(days=1)
SEARCH, VIDEO = Cell("a", "search"), Cell("a", "video")
RULE = PlanRule()
FRESH = Freshness({"performance": YESTERDAY}, TODAY)


def policy(search: float, video: float) -> Policy:
    return Policy.of({SEARCH: Decimal(str(search)), VIDEO: Decimal(str(video))})


OLD = policy(60, 40)


def test_a_plan_that_moves_too_much_at_once_is_held() -> None:
    rule = PlanRule(total_change=0.2)
    assert judge_total_change(policy(40, 60), OLD, rule).verdict == "pass"
    held = judge_total_change(policy(39, 61), OLD, rule)
    assert (held.verdict, held.recommendation) == ("fail", "hold")
    assert "21% of the money" in held.sentence


def test_a_total_that_jumps_is_held_though_no_money_changes_place() -> None:
    assert judge_total_change(policy(120, 80), OLD, RULE).verdict == "fail"


def test_a_channel_may_not_grow_past_its_share_but_may_keep_what_it_had() -> None:
    assert judge_plan_channels(policy(85, 15), OLD, RULE).verdict == "fail"
    assert judge_plan_channels(policy(85, 15), policy(90, 10), RULE).verdict == "pass"
    assert judge_plan_channels(policy(91, 9), policy(90, 10), RULE).verdict == "fail"
    one = Policy.of({SEARCH: Decimal(100)})
    assert judge_plan_channels(one, one, RULE).verdict == "pass"


def feed(*paces: float, last: date = YESTERDAY) -> pd.DataFrame:
    """Spend of ``search`` as shares of its budget of 60, the last one on ``last``."""
    days = [last - timedelta(days=n) for n in range(len(paces))][::-1]
    return pd.DataFrame(
        {"date": days, "segment": "a", "channel": "search", "spend": [60 * p for p in paces]}
    )


def found_slow(
    spent: pd.DataFrame, incumbent: Policy = OLD, pace: float | None = 0.5
) -> Mapping[Cell, float]:
    return underspenders(spent, incumbent=incumbent, pacing={SEARCH: pace}, as_of=TODAY, share=0.7)


@pytest.mark.parametrize(
    ("paces", "slow"),
    [
        ([0.5] * 14, True),
        ([0.71] * 14, False),
        ([0.5] * 11 + [1.0] * 3, False),  # it is catching up
        ([1.0] * 11 + [0.3] * 3, False),  # a quiet weekend
        ([0.5] * 30, True),
    ],
)
def test_a_cell_is_slow_when_two_weeks_and_the_last_days_both_say_so(
    paces: list[float], slow: bool
) -> None:
    found = found_slow(feed(*paces))
    assert list(found) == ([SEARCH] if slow else [])


def test_days_long_past_and_cells_without_a_budget_are_not_looked_at() -> None:
    assert not found_slow(feed(*[0.1] * 14, last=TODAY - timedelta(days=20)))
    assert not found_slow(feed(0.0), incumbent=policy(0, 100))
    assert not found_slow(feed())


@pytest.mark.parametrize("pace", [None, 0.8])
def test_a_budget_that_was_just_set_is_not_held_against_what_was_spent_before(
    pace: float | None,
) -> None:
    assert not found_slow(feed(*[0.5] * 14), pace=pace)


def test_a_slow_cell_gets_no_raise_and_may_get_less() -> None:
    slow = {SEARCH: 0.5}
    held = judge_plan_pacing(slow, proposed=policy(65, 35), incumbent=OLD, rule=RULE)
    assert held.verdict == "fail" and "a x search (50%)" in held.sentence
    for proposed in (policy(55, 45), OLD):
        kept = judge_plan_pacing(slow, proposed=proposed, incumbent=OLD, rule=RULE)
        assert kept.verdict == "pass"


def test_nothing_moves_on_stale_facts_or_by_a_stale_model() -> None:
    def judged(age: int, model_age: int | None = None, user_level: bool = False) -> Verdict:
        return judge_staleness(
            {"performance": YESTERDAY, "holdout": YESTERDAY - timedelta(days=age)},
            as_of=TODAY,
            rule=RULE,
            user_level=user_level,
            model_until=None if model_age is None else YESTERDAY - timedelta(days=model_age),
        ).verdict

    assert judged(7) == "pass"
    assert judged(8) == "fail"
    assert judged(0, model_age=90) == "pass"
    assert judged(0, model_age=91) == "fail"


def test_without_any_fact_a_plan_is_not_judged_unless_it_rests_on_user_level_tests() -> None:
    nothing = {"performance": None, "holdout": None}
    assert judge_staleness(nothing, as_of=TODAY, rule=RULE).verdict == "review"
    units = judge_staleness(nothing, as_of=TODAY, rule=RULE, user_level=True)
    assert units.verdict == "pass"


def test_cells_with_broken_facts_may_not_move() -> None:
    late = {VIDEO: "9 days late"}
    assert judge_late_cells(late, proposed=OLD, incumbent=OLD).verdict == "pass"
    held = judge_late_cells(late, proposed=policy(65, 35), incumbent=OLD)
    assert held.verdict == "fail" and "9 days late" in held.sentence


def whole(proposed: Policy, incumbent: Policy, **said: Any) -> tuple[GuardrailVerdict, ...]:
    common: dict[str, Any] = {"slow": {}, "freshness": FRESH} | said
    return judge_plan(
        proposed=proposed,
        incumbent=incumbent,
        rule=RULE,
        **common,
    )


def held_by(verdicts: tuple[GuardrailVerdict, ...]) -> str:
    return " ".join(v.sentence for v in verdicts if v.verdict != "pass")


def test_a_plan_that_moves_nothing_is_never_held() -> None:
    assert held_by(whole(OLD, OLD, freshness=Freshness({"performance": None}, TODAY))) == ""


def test_a_held_plan_is_told_every_reason() -> None:
    held = held_by(whole(policy(85, 15), OLD, slow={SEARCH: 0.2}))
    assert "85%" in held and "(20%)" in held and "stay" in held


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 100), st.integers(1, 100))
def test_a_plan_that_passes_moves_at_most_its_share_and_raises_no_slow_cell(
    a: int, b: int, c: int, d: int
) -> None:
    old, new = policy(a, b), policy(c, d)
    if held_by(whole(new, old, slow={SEARCH: 0.5})):
        return
    before, after = old.as_dict(), new.as_dict()
    assert after[SEARCH] <= before[SEARCH]
    assert abs(new.total / old.total - 1) <= Decimal("0.5")
