"""User-level tests as evidence on their cells: whose money, of which days, speaking for whom."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.core.policy import Cell
from models.lift import user_test_lifts as units_evidence
from models.lift.evidence import gather
from models.lift.user_test_lifts import UnitRules, with_user_tests
from models.response.train import HoldoutConfig, train_holdout
from models.uplift.costs import (
    cells_without_reports,
    daily_costs,
    latest_levels,
    unit_costs,
    unit_test_sentences,
    with_unit_spend,
)

AS_OF = date(2026, 5, 1)
DAY = pd.Timestamp("2026-03-01")


def users(
    n: int = 16_000,
    *,
    lift: float = 0.03,
    day: pd.Timestamp = DAY,
    seed: int = 0,
    **columns: Any,
) -> pd.DataFrame:
    """Half of ``n`` users treated at 1.00 each; 5 % buy for 10 without ads, ``lift`` more with."""
    rng = np.random.default_rng(seed)
    treated = np.arange(n) % 2 == 0
    bought = rng.random(n) < np.where(treated, 0.05 + lift, 0.05)
    frame = pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": np.arange(n).astype(str),
            "segment": "north",
            "channel": "email",
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": day,
            "outcome_days": 28.0,
            "cost": np.where(treated, 1.0, 0.0),
            "converted": bought.astype(int),
            "conversions": bought.astype(float),
            "revenue": bought * 10.0,
        }
    )
    return frame.assign(**columns)


def performance(spend: float = 500.0, channel: str = "email") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": pd.date_range("2026-01-01", "2026-04-30"),
            "segment": "north",
            "channel": channel,
            "spend": spend,
            "impressions": 1000,
            "clicks": 10,
            "conversions": 1.0,
            "revenue": 5.0,
        }
    )


def frames(units: pd.DataFrame, reported: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    none = performance().iloc[:0]
    arms = [
        "date",
        "segment",
        "channel",
        "arm",
        "users",
        "converters",
        "conversions",
        "revenue",
        "revenue_sq",
    ]
    holdout = pd.DataFrame(columns=arms).assign(date=lambda f: pd.to_datetime(f["date"]))
    return {
        "performance": none if reported is None else reported,
        "holdout": holdout,
        "experiments": pd.DataFrame(),
        "units": units,
    }


def learned(units: pd.DataFrame, reported: pd.DataFrame | None) -> tuple[float, float, float]:
    """The return of the test's money and its 90 % interval, as the curve has it."""
    feeds = with_user_tests(frames(units, reported), as_of=AS_OF)
    config = HoldoutConfig(sales=False, season=False, interactions=None, tuning_trials=0)
    model = train_holdout(feeds, as_of=AS_OF, config=config, for_registry=False)
    spend = feeds["experiments"]["actual_spend"].to_numpy(dtype=float)
    drawn = model.ensemble.curves.draw_revenue(spend)[:, 0] / spend[0]
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(low), float(drawn.mean()), float(high)


@pytest.mark.parametrize("window", [1, 28, None])
@pytest.mark.parametrize("reported", [None, 300.0, 5000.0])
def test_eight_thousand_users_at_1_each_and_three_points_at_10_return_point_3(
    window: int | None, reported: float | None
) -> None:
    units = users() if window is None else users(outcome_days=float(window))
    units = units.drop(columns="outcome_days") if window is None else units
    spend = None if reported is None else performance(reported)
    if window is None and reported is None:  # nothing says what the cell spends a day
        assert with_user_tests(frames(units), as_of=AS_OF)["experiments"].empty
        return
    measured = units.groupby("arm")["revenue"].mean().diff().iloc[-1]
    low, mean, high = learned(units, spend)
    # 0.3 +- 0.039 (a standard error of sqrt(2 x 100 x .065 / 8000)); the prior adds a little
    assert low <= measured <= high
    assert mean == pytest.approx(measured, abs=0.12)
    assert high < 0.7


def test_the_test_speaks_for_the_portion_of_the_cell_that_its_users_are() -> None:
    (test,) = with_user_tests(frames(users(), performance(500.0)), as_of=AS_OF)[
        "experiments"
    ].itertuples()
    assert (test.start, test.end) == (DAY, DAY + timedelta(days=27))
    assert test.actual_spend == pytest.approx(500.0)
    assert test.portion == pytest.approx(8000 / (500 * 28))
    assert test.otherwise_spend == 0.0
    assert test.spend_delta == pytest.approx(8000.0)


def test_less_reported_than_the_test_cost_is_said_and_its_own_money_counts() -> None:
    units, reported = users(), performance(100.0)
    (test,) = with_user_tests(frames(units, reported), as_of=AS_OF)["experiments"].itertuples()
    assert test.actual_spend == pytest.approx(8000 / 28)
    assert test.portion == pytest.approx(1.0)
    (words,) = unit_test_sentences(unit_costs(units), reported, as_of=AS_OF)
    assert "spent 8,000.00 on north x email from 2026-03-01 to 2026-03-28" in words
    assert "performance has 2,800.00" in words
    assert unit_test_sentences(unit_costs(units), performance(), as_of=AS_OF) == ()


def test_users_of_several_days_have_each_their_own_window() -> None:
    late = users(8000, day=DAY + timedelta(days=2), seed=1).assign(
        unit_id=lambda f: "late " + f["unit_id"]
    )
    units = pd.concat([users(8000), late], ignore_index=True).assign(outcome_days=4.0)
    spread = daily_costs(unit_costs(units)).set_index("date")["spend"]
    assert spread.tolist() == pytest.approx([1000, 1000, 2000, 2000, 1000, 1000])
    feeds = with_user_tests(frames(units), as_of=AS_OF)
    (test,) = feeds["experiments"].to_dict("records")
    assert (test["end"] - test["start"]).days + 1 == 6
    assert test["actual_spend"] * test["portion"] * 6 == pytest.approx(8000)
    assert feeds["performance"]["spend"].sum() == pytest.approx(8000)


def test_what_control_users_cost_is_no_cost_of_the_ads() -> None:
    units = users().assign(cost=lambda f: np.where(f["arm"] == "treated", 1.0, 0.25))
    assert unit_costs(units)["cost"].sum() == pytest.approx(8000 * 0.75)


def test_a_window_that_is_not_over_does_not_count_yet_and_is_said() -> None:
    units = users()
    before = date(2026, 3, 28)
    assert with_user_tests(frames(units), as_of=before)["experiments"].empty
    (words,) = unit_test_sentences(unit_costs(units), performance(), as_of=before)
    assert "counts from 2026-03-29 on" in words
    assert len(with_user_tests(frames(units), as_of=date(2026, 3, 29))["experiments"]) == 1


def test_a_window_that_nothing_records_is_asked_for() -> None:
    units = users().drop(columns="outcome_days")
    (words,) = unit_test_sentences(unit_costs(units), performance(), as_of=AS_OF)
    assert "spring" in words
    assert "liftloop ingest FILE --outcome-days N" in words
    assert unit_test_sentences(unit_costs(units, outcome_days=28), performance(), as_of=AS_OF) == ()


def test_cells_that_only_tests_tell_of_have_the_tests_spend_and_others_their_own() -> None:
    costs = unit_costs(users())
    alone = with_unit_spend(performance(channel="search"), costs, as_of=AS_OF)
    mail = alone[alone["channel"] == "email"].set_index("date")["spend"]
    assert mail.sum() == pytest.approx(8000)
    assert mail[DAY] == pytest.approx(8000 / 28)
    assert mail[pd.Timestamp("2026-04-30")] == 0.0
    assert alone.loc[alone["channel"] == "email", "revenue"].isna().all()
    both = performance()
    assert with_unit_spend(both, costs, as_of=AS_OF) is both
    assert cells_without_reports(costs, both) == frozenset()
    assert cells_without_reports(costs, performance(channel="search")) == {Cell("north", "email")}


def test_the_first_budget_of_such_a_cell_is_what_its_latest_test_cost_a_day() -> None:
    older = users(4000, day=DAY - timedelta(days=60)).assign(experiment="winter")
    costs = unit_costs(pd.concat([older, users()], ignore_index=True))
    search = performance(channel="search")
    levels = latest_levels(costs, search, as_of=AS_OF, recent_days=90)
    assert levels == {Cell("north", "email"): pytest.approx(8000 / 28)}
    long_ago = latest_levels(costs, search, as_of=date(2026, 12, 1), recent_days=90)
    assert long_ago == {}
    none = performance().iloc[:0]
    assert latest_levels(costs, none, as_of=date(2026, 12, 1), recent_days=90) == levels


def test_two_segments_and_a_common_control_are_one_test_each() -> None:
    south = users(seed=3).assign(segment="south", unit_id=lambda f: "s" + f["unit_id"])
    units = pd.concat([users(), south], ignore_index=True)
    units["channel"] = units["channel"].where(units["arm"] == "treated", "")
    feeds = with_user_tests(frames(units), as_of=AS_OF)
    assert sorted(feeds["experiments"]["segments"]) == ["north", "south"]
    evidence = gather(
        lifts=pd.DataFrame(
            columns=["segment", "channel", "period_start", "period_end", "lift", "standard_error"]
        ),
        daily=feeds["performance"].pivot_table(
            index="date", columns=["segment", "channel"], values="spend"
        ),
        experiments=feeds["experiments"],
        fade_per_day=0.0,
    )
    assert len(evidence.tests) == 2
    assert evidence.ignored_tests == 0


def test_without_both_arms_or_costs_nothing_is_taught_and_nothing_fails() -> None:
    for units in (
        users().query("arm == 'treated'"),
        users().drop(columns="cost"),
        users(cost=0.0),
        users().iloc[:0],
    ):
        feeds = with_user_tests(frames(units), as_of=AS_OF)
        assert feeds["experiments"].empty
        assert "units" not in feeds


def responders(n: int = 12_000) -> pd.DataFrame:
    """Users of whom the half with x_a above 0 responds by 4, and the others not at all."""
    rng = np.random.default_rng(5)
    units = users(n, lift=0.0)
    x = rng.normal(size=n)
    gained = 4.0 * (x > 0) * (units["arm"] == "treated")
    return units.assign(x_a=x, revenue=gained + rng.normal(size=n), converted=0, conversions=0.0)


@pytest.mark.slow
def test_where_the_rule_is_delivered_its_groups_bend_the_curve() -> None:
    spend = performance(8000 / 28)
    at_random = with_user_tests(frames(responders(), spend), as_of=AS_OF)["experiments"]
    rules = UnitRules(targeted=(("*", "email"),))
    groups = with_user_tests(frames(responders(), spend), as_of=AS_OF, rules=rules)["experiments"]
    assert len(at_random) == 1
    assert 2 <= len(groups) <= 10
    # together they are the whole test, one after the other
    assert groups["spend_delta"].sum() == pytest.approx(at_random["spend_delta"].sum())
    total = at_random["incremental_revenue"].sum()
    assert groups["incremental_revenue"].sum() == pytest.approx(total, rel=0.05)
    np.testing.assert_allclose(groups["otherwise_spend"][1:], groups["actual_spend"][:-1])
    best = groups["incremental_revenue"].to_numpy() / groups["spend_delta"].to_numpy()
    # the upper half responds by 4 for 1.00 each, the lower half not at all
    assert best[0] == pytest.approx(4.0, abs=0.4)
    assert best[-1] == pytest.approx(0.0, abs=0.4)
    other = UnitRules(targeted=(("south", "*"),))
    untouched = with_user_tests(frames(responders(), spend), as_of=AS_OF, rules=other)
    assert len(untouched["experiments"]) == 1


def test_the_same_units_give_the_same_tests() -> None:
    spend = performance().pivot_table(index="date", columns=["segment", "channel"], values="spend")
    one, two = (
        units_evidence.tests_from_units(users(), spend=spend, as_of=AS_OF) for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, two)
