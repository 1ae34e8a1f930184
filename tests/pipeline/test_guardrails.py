"""The guardrails of a stream and of a plan, from facts to verdicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.core.guardrails.verdict import ALPHA_SHARES, GuardrailVerdict
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import RolloutState, StreamPlan
from liftloop.pipeline.guardrails import PlanEvidence, guard_plan, guard_stream, known_until
from liftloop.pipeline.holds import Holds
from liftloop.settings.schema import Settings

START = date(2026, 3, 2)
TODAY = START + timedelta(days=25)
CELLS = [Cell(s, c) for s in ("a", "b", "c") for c in ("search", "video")]
POLICY = Policy.of(dict.fromkeys(CELLS, Decimal(50)))
OTHER = Policy.of({c: Decimal(55 if c.channel == "search" else 45) for c in CELLS})
NAMES = {
    "revenue",
    "cost per incremental conversion",
    "spend pacing",
    "channel share",
    "sample ratio",
}
WAVES = (("a",), ("b",), ("c",))


def facts(*, sold: float = 1.0) -> dict[str, pd.DataFrame]:
    """Ten weeks of three equal segments; ``sold`` is what the sales of ``a`` become."""
    rng = np.random.default_rng(4)
    performance, holdout, sales = [], [], []
    for day in pd.date_range(START - timedelta(days=56), TODAY - timedelta(days=1)):
        after = day >= pd.Timestamp(START)
        for name in ("a", "b", "c"):
            factor = sold if name == "a" and after else 1.0
            sales.append((day, name, 1000 * factor * (1 + 0.01 * rng.standard_normal())))
        for cell in CELLS:
            held = (day, cell.segment, cell.channel)
            performance.append((*held, 50.0))
            bought = 10 + rng.standard_normal()
            holdout.append((*held, "treated", 900, 90 + bought))
            holdout.append((*held, "control", 100, 10.0))
    keys = ["date", "segment", "channel"]
    return {
        "performance": pd.DataFrame(performance, columns=[*keys, "spend"]),
        "holdout": pd.DataFrame(holdout, columns=[*keys, "arm", "users", "conversions"]),
        "sales": pd.DataFrame(sales, columns=["date", "segment", "revenue"]),
    }


FACTS = facts()


def stream(
    *positions: int,
    waves: tuple[tuple[str, ...], ...] = WAVES,
    reached: tuple[date | None, ...] = (START, None, None),
) -> Running:
    """Plan 1 in the waves that have it since ``reached``."""
    state = RolloutState(
        "r-1",
        "canary",
        START,
        POLICY.version,
        START,
        100.0,
        plans=(StreamPlan(1, OTHER.version, START, 1.0, reached),),
        positions=positions,
    )
    return Running(state, waves, {p.version: p for p in (POLICY, OTHER)}, POLICY)


def guarded(
    known: dict[str, pd.DataFrame] = FACTS, *, running: Running | None = None, **rules: object
) -> dict[str, GuardrailVerdict]:
    found = guard_stream(
        Settings.model_validate({"guardrails": rules}),
        known,
        running=running or stream(1, 0, 0),
        as_of=TODAY,
        baseline=100.0,
    )
    return {verdict.name: verdict for verdict in found}


def test_a_stream_that_changes_nothing_passes_every_guardrail() -> None:
    found = guarded()
    assert set(found) == NAMES
    assert {v.verdict for v in found.values()} == {"pass"}, found


def test_a_collapse_of_sales_in_the_leading_wave_takes_the_stream_back() -> None:
    found = guarded(facts(sold=0.5))["revenue"]
    assert (found.verdict, found.recommendation) == ("fail", "roll_back")


def test_where_no_wave_has_a_plan_nothing_is_judged() -> None:
    assert guarded(running=stream(0, 0, 0, reached=(None, None, None))) == {}


def test_where_every_wave_has_the_newest_plan_there_is_nothing_to_compare_with() -> None:
    """Also not for a collapse of sales: the sum of contrasts and the holdouts see to that."""
    everywhere = stream(1, 1, 1, reached=(START, START, START))
    assert set(guarded(facts(sold=0.5), running=everywhere)) == NAMES - {
        "revenue",
        "cost per incremental conversion",
    }


def test_a_standing_holdback_is_compared_with_even_where_every_wave_has_the_plan() -> None:
    """Segment c is in no wave: its budgets stay."""
    everywhere = stream(1, 1, waves=(("a",), ("b",)), reached=(START, START))
    assert guarded(running=everywhere)["revenue"].verdict == "pass"
    assert guarded(facts(sold=0.5), running=everywhere)["revenue"].verdict == "fail"


def test_a_feed_that_was_never_delivered_is_judged_only_where_it_is_required() -> None:
    silent = {**FACTS, "sales": FACTS["sales"].iloc[:0]}
    assert "revenue" not in guarded(silent)
    assert guarded(silent, revenue="required")["revenue"].verdict == "review"
    assert "revenue" not in guarded(revenue="off")


def test_a_feed_that_stopped_when_the_stream_began_never_passes() -> None:
    sales = FACTS["sales"]
    stopped = {**FACTS, "sales": sales[sales.date < pd.Timestamp(START)]}
    assert guarded(stopped)["revenue"].verdict == "review"


def test_a_feed_that_stopped_long_ago_is_missing_and_not_unknown() -> None:
    sales = FACTS["sales"]
    old = sales.assign(date=sales.date - pd.Timedelta(days=400))
    assert guarded({**FACTS, "sales": old})["revenue"].verdict == "review"


def test_arms_that_lose_their_ratio_are_named() -> None:
    holdout = FACTS["holdout"]
    hit = (holdout.arm == "control") & (holdout.date >= pd.Timestamp(START))
    broken = holdout.assign(users=holdout.users.where(~hit, 50))
    found = guarded({**FACTS, "holdout": broken})["sample ratio"]
    assert (found.verdict, found.recommendation) == ("review", "hold")


@pytest.mark.parametrize("feed", ["performance", "holdout", "sales"])
def test_verdicts_never_change_an_input_frame(feed: str) -> None:
    before = FACTS[feed].copy(deep=True)
    guarded()
    pd.testing.assert_frame_equal(FACTS[feed], before)


def test_the_error_probability_is_shared_out_and_never_exceeded() -> None:
    assert sum(ALPHA_SHARES.values()) == pytest.approx(1.0)
    assert min(ALPHA_SHARES.values()) > 0


# -- plans -----------------------------------------------------------------------------------------


def planned(
    known: dict[str, pd.DataFrame], proposed: Policy = OTHER, held: Holds | None = None
) -> dict[str, str]:
    return {
        v.name: v.verdict
        for v in guard_plan(
            Settings(),
            PlanEvidence(known, TODAY),
            proposed=proposed,
            incumbent=POLICY,
            holds=held or Holds(),
        )
    }


def test_an_ordinary_plan_passes() -> None:
    assert set(planned(FACTS).values()) == {"pass"}


def test_a_plan_on_facts_of_last_month_is_held() -> None:
    late = {
        feed: frame[frame.date < pd.Timestamp(TODAY - timedelta(days=20))]
        for feed, frame in FACTS.items()
    }
    assert planned(late)["fresh data"] == "fail"
    assert set(planned(late, POLICY).values()) == {"pass"}


def test_a_plan_that_raises_a_cell_that_does_not_spend_is_held() -> None:
    slow = Holds(no_raise={Cell("a", "search"): 0.4})
    assert planned(FACTS, OTHER, slow)["spend pacing"] == "fail"
    lowered = Holds(no_raise={Cell("a", "video"): 0.4})
    assert planned(FACTS, OTHER, lowered)["spend pacing"] == "pass"


@pytest.mark.parametrize(
    "held",
    [
        Holds(lasting=(("a", "search", "paused by ana"),)),
        Holds(lasting=(("b", "*", "standing holdout"),)),
        Holds(passing=(("c", "video", "9 days late"),)),
        Holds(passing=(("*", "video", "broken feed"),)),
    ],
)
def test_a_plan_that_moves_a_held_cell_is_held_whatever_holds_it(held: Holds) -> None:
    assert planned(FACTS, OTHER, held)["data health"] == "fail"
    still = {
        c: a if c in held.held(POLICY) else b
        for (c, a), (_, b) in zip(POLICY.budgets, OTHER.budgets, strict=True)
    }
    assert planned(FACTS, Policy.of(still), held)["data health"] == "pass"


def test_a_plan_from_user_level_tests_needs_no_daily_facts() -> None:
    units = {"units": pd.DataFrame({"unit_id": ["u"]})}
    assert planned(units)["fresh data"] == "pass"
    assert planned({})["fresh data"] == "review"


def test_the_last_day_that_a_model_can_know_is_that_of_its_latest_daily_feed() -> None:
    assert known_until(FACTS, TODAY) == TODAY - timedelta(days=1)
    assert known_until(FACTS, START) == START - timedelta(days=1)
    assert known_until({}, TODAY) is None


def test_budgets_that_all_are_spent_pace_and_too_little_spend_does_not() -> None:
    performance = FACTS["performance"]
    hit = (performance.segment == "a") & (performance.date >= pd.Timestamp(START))
    poor = performance.assign(spend=performance.spend.where(~hit, 10.0))
    running = replace(stream(1, 0, 0), current=OTHER)
    found = guarded({**FACTS, "performance": poor}, running=running)["spend pacing"]
    assert found.verdict != "pass"
