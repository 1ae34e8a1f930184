"""All guardrails together, from facts to verdicts."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.settings import Settings
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.guardrails import ALPHA_SHARES
from liftloop.core.policy import Cell, Policy
from liftloop.core.profit import Prediction
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.transitions import RolloutState
from liftloop.core.spillover import Spillover
from liftloop.pipeline.guardrails import guard_plan, guard_rollout, profit_rule
from monitoring.verdicts import CellHealth, HealthVerdict

START = date(2026, 3, 2)
TODAY = START + timedelta(days=25)
CELLS = [Cell(s, c) for s in ("a", "b", "c") for c in ("search", "video")]
POLICY = Policy.of(dict.fromkeys(CELLS, Decimal(50)))
OTHER = Policy.of({c: Decimal(55 if c.channel == "search" else 45) for c in CELLS})
NAMES = (
    "incremental profit", "revenue", "cost per incremental conversion", "spend pacing",
    "channel share", "sample ratio", "data health",
)  # fmt: skip


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
    cell = ["date", "segment", "channel"]
    return {
        "performance": pd.DataFrame(performance, columns=[*cell, "spend"]),
        "holdout": pd.DataFrame(holdout, columns=[*cell, "arm", "users", "conversions"]),
        "sales": pd.DataFrame(sales, columns=["date", "segment", "revenue"]),
    }


FACTS = facts()


def running(exposed: dict[str, date] | None = None) -> Running:
    following = {"a": START} if exposed is None else exposed
    state = RolloutState("r-1", "canary", START, exposed=following)
    return Running(state, ("a",), ("b", "c"), OTHER, POLICY, POLICY, following)


def health(*paused: Cell, pacing: float = 1.0) -> HealthVerdict:
    cells = tuple(
        CellHealth(c, TODAY, 0, 0, pacing, "9 days late" if c in paused else "") for c in CELLS
    )
    return HealthVerdict(TODAY, cells, "", "")


def guarded(
    known: dict[str, pd.DataFrame] = FACTS, *, exposed: dict[str, date] | None = None,
    spillover: Spillover | None = None, **rules: object,
):  # fmt: skip
    found = guard_rollout(
        Settings.model_validate({"guardrails": rules}), known,
        running=running(exposed), as_of=TODAY,
        evidence=CanaryEvidence((), 100.0, 100.0, "No day counts.", spillover=spillover),
        prediction=Prediction(0.05, 0.04), facts_health=health(),
    )  # fmt: skip
    return {verdict.name: verdict for verdict in found}


def test_each_guardrail_speaks_and_only_what_cannot_be_measured_does_not_pass() -> None:
    found = guarded()
    assert set(NAMES) <= set(found)
    assert found["incremental profit"].verdict == "review"
    assert found["loss budget"].verdict == "review"
    rest = {n: v.verdict for n, v in found.items() if n in NAMES[1:]}
    assert set(rest.values()) == {"pass"}, rest


def test_spillover_is_named_and_blocks_nothing() -> None:
    reached = Spillover(0.1, 0.01, 0.05, 0.15, flagged=True, connected=True)
    found = guarded(spillover=reached)["spillover"]
    assert found.verdict == "pass" and "reaches them" in found.sentence
    assert "spillover" not in guarded()


def test_a_collapse_of_sales_rolls_back_even_where_profit_cannot_be_measured() -> None:
    found = guarded(facts(sold=0.5))
    assert found["incremental profit"].verdict == "review"
    assert (found["revenue"].verdict, found["revenue"].recommendation) == ("fail", "roll_back")


def test_in_the_shadow_only_the_data_is_judged() -> None:
    assert set(guarded(exposed={})) == {"data health"}


def test_a_feed_that_was_never_delivered_is_judged_only_where_it_is_required() -> None:
    silent = {**FACTS, "sales": FACTS["sales"].iloc[:0]}
    assert "revenue" not in guarded(silent)
    assert guarded(silent, revenue="required")["revenue"].verdict == "review"
    assert "revenue" not in guarded(revenue="off")


def test_a_feed_that_stopped_when_the_rollout_began_never_passes() -> None:
    sales = FACTS["sales"]
    stopped = {**FACTS, "sales": sales[sales.date < pd.Timestamp(START)]}
    assert guarded(stopped)["revenue"].verdict == "review"


def test_a_feed_that_stopped_long_ago_is_missing_and_not_unknown() -> None:
    sales = FACTS["sales"]
    old = sales.assign(date=sales.date - pd.Timedelta(days=400))
    assert guarded({**FACTS, "sales": old})["revenue"].verdict == "review"


@pytest.mark.parametrize("feed", ["performance", "holdout", "sales"])
def test_verdicts_never_change_an_input_frame(feed: str) -> None:
    before = FACTS[feed].copy(deep=True)
    guarded()
    pd.testing.assert_frame_equal(FACTS[feed], before)


def test_the_error_probability_is_shared_out_and_never_exceeded() -> None:
    assert sum(ALPHA_SHARES.values()) == pytest.approx(1.0)
    settings = Settings()
    assert profit_rule(settings.rollout).alpha < settings.rollout.alpha


def test_what_is_tolerated_and_what_must_be_ruled_out_is_as_set() -> None:
    set_so = Settings.model_validate({"rollout": {"margin": 0.2, "grave_loss": 0.4, "alpha": 0.1}})
    rule = profit_rule(set_so.rollout)
    assert (rule.margin, rule.grave_loss, rule.alpha_pass) == (0.2, 0.4, 0.1)
    assert rule.alpha == pytest.approx(0.095)


def planned(
    known: dict[str, pd.DataFrame], proposed: Policy = OTHER, *paused: Cell, pacing: float = 1.0
):
    return {
        v.name: v.verdict
        for v in guard_plan(
            Settings(), known, proposed=proposed, incumbent=POLICY, as_of=TODAY,
            facts_health=health(*paused, pacing=pacing),
        )
    }  # fmt: skip


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
    performance = FACTS["performance"]
    spent = performance.spend.where(performance.channel != "search", 20.0)
    slow = {**FACTS, "performance": performance.assign(spend=spent)}
    assert planned(slow, pacing=0.4)["spend pacing"] == "fail"
    assert planned(slow, POLICY, pacing=0.4) == {"total change": "pass"}


def test_a_plan_that_moves_a_paused_cell_is_held() -> None:
    assert planned(FACTS, OTHER, CELLS[0])["data health"] == "fail"


def test_a_plan_from_user_level_tests_needs_no_daily_facts() -> None:
    units = {"units": pd.DataFrame({"unit_id": ["u"]})}
    assert planned(units)["fresh data"] == "pass"
    assert planned({})["fresh data"] == "review"
