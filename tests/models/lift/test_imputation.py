"""The budgets set stand in for spend that no report tells of."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.core.policy import Cell, Policy
from models.lift.attributed_revenue import weekly_claims
from models.lift.imputation import STAND_IN, with_imputed_spend
from models.lift.imputed_spend import daily_spend

START = date(2026, 1, 5)
CELLS = [Cell(s, "search") for s in ("n", "s")]
BUDGETS = [
    (START, Policy.of({cell: Decimal(100) for cell in CELLS})),
    (START + timedelta(days=28), Policy.of({cell: Decimal(120) for cell in CELLS})),
]
UNTIL = START + timedelta(days=34)


def feed(pace: float = 1.0) -> pd.DataFrame:
    """Five weeks in which each cell spends ``pace`` times its budget; the last week has 120."""
    rows = [
        (
            pd.Timestamp(START) + timedelta(days=d),
            c.segment,
            c.channel,
            "all",
            pace * (120.0 if d >= 28 else 100.0),
            1000,
            20,
            5.0,
            300.0,
        )
        for d in range(35)
        for c in CELLS
    ]
    names = ["date", "segment", "channel", "campaign", "spend", "impressions", "clicks"]
    return pd.DataFrame(rows, columns=[*names, "conversions", "revenue"])


def spent(rows: pd.DataFrame) -> np.ndarray:
    return daily_spend(rows, as_of=UNTIL + timedelta(days=1)).to_numpy()


def late(rows: pd.DataFrame, days: int, segment: str | None = None) -> pd.DataFrame:
    recent = rows["date"] > pd.Timestamp(UNTIL) - timedelta(days=days)
    return rows[~(recent & (rows["segment"] == segment if segment else True))]


def test_a_whole_feed_needs_no_stand_in_and_is_given_back_as_it_is() -> None:
    rows = feed()
    found = with_imputed_spend(rows, budgets=BUDGETS, until=UNTIL, most_days=7)
    assert found.performance is rows
    assert found.sentence == "" and found.identity == []


def test_what_no_other_feed_tells_of_either_is_not_late() -> None:
    rows = late(feed(), 7)
    found = with_imputed_spend(rows, budgets=BUDGETS, until=UNTIL - timedelta(days=7), most_days=7)
    assert found.days == {}


@pytest.mark.parametrize("segment", [None, "n"])
def test_a_week_that_is_not_reported_spent_the_budgets_times_the_usual_share(
    segment: str | None,
) -> None:
    rows = late(feed(0.9), 7, segment)
    copy = rows.copy()
    found = with_imputed_spend(rows, budgets=BUDGETS, until=UNTIL, most_days=7)
    assert spent(found.performance)[-7:] == pytest.approx(0.9 * 120)
    assert set(found.recent.values()) == {7}
    assert "7 days up to 2026-02-08" in found.sentence
    pd.testing.assert_frame_equal(rows, copy)


def test_a_default_stands_in_for_no_more_days_than_allowed() -> None:
    rows = late(feed(), 7)
    found = with_imputed_spend(rows, budgets=BUDGETS, until=UNTIL, most_days=3)
    lacking = tuple(UNTIL - timedelta(days=6 - n) for n in range(3))
    assert found.days == dict.fromkeys(CELLS, lacking)
    assert found.performance["date"].max() == pd.Timestamp(UNTIL) - timedelta(days=4)


def test_spend_in_cents_is_the_budget_and_keeps_its_revenue() -> None:
    rows = feed()
    cents = (rows["segment"] == "n") & (rows["date"] > pd.Timestamp(UNTIL) - timedelta(days=5))
    rows.loc[cents, "spend"] *= 100
    found = with_imputed_spend(rows, budgets=BUDGETS, until=UNTIL, most_days=7).performance
    assert spent(found)[-5:] == pytest.approx(120)
    assert (found["revenue"] == 300).all() and len(found) == len(rows)


def test_days_before_any_budget_is_known_are_not_filled() -> None:
    rows = feed().loc[lambda f: f["date"] != pd.Timestamp(START) + timedelta(days=10)]
    later = [(START + timedelta(days=20), BUDGETS[0][1])]
    assert with_imputed_spend(rows, budgets=later, until=UNTIL, most_days=7).days == {}


def test_a_stand_in_is_no_day_without_claims() -> None:
    rows = late(feed(), 2)
    filled = with_imputed_spend(rows, budgets=BUDGETS, until=UNTIL, most_days=7).performance
    assert (filled["campaign"] == STAND_IN).sum() == 4
    sales = rows.drop_duplicates(["date", "segment"])[["date", "segment", "revenue"]]
    claims = weekly_claims(
        performance=filled, sales=sales, holdout=None, as_of=UNTIL + timedelta(days=1)
    )
    assert claims["claimed"].to_numpy() == pytest.approx(300)
