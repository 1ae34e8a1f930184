"""Sales and conversions per spend of exposed against control segments, in whole weeks."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from liftloop.core.guardrails.noninferiority import MetricChange
from liftloop.core.inference.difference_in_differences import (
    conversions_per_spend_change,
    sales_change,
)

START = date(2026, 3, 2)
WEEKS_BEFORE, WEEKS_AFTER = 8, 4
AS_OF = START + timedelta(days=7 * WEEKS_AFTER + 4)  # the last week is past its wait
SEGMENTS = {"a": 100.0, "b": 200.0, "c": 300.0}


def sales(fall: float = 0.0, *, since: date = START, segment: str = "a") -> pd.DataFrame:
    """Segments share one weekly wave of 10 %; a and the others differ by chance of 1 %."""
    rng = np.random.default_rng(1)
    days = pd.date_range(START - timedelta(days=7 * WEEKS_BEFORE), AS_OF - timedelta(days=1))
    rows = []
    for number, day in enumerate(days):
        for name, size in SEGMENTS.items():
            lost = fall if name == segment and day >= pd.Timestamp(since) else 0.0
            own = 1 + 0.01 * rng.standard_normal()
            wave = 1 + 0.1 * np.sin(number / 5)
            rows.append((day, name, size * wave * own * (1 - lost)))
    return pd.DataFrame(rows, columns=["date", "segment", "revenue"])


def measured(feed: pd.DataFrame, **exposed: date) -> MetricChange:
    return sales_change(
        feed, exposed=exposed or {"a": START}, control=["b", "c"], as_of=AS_OF, wait_days=3
    )


def test_a_shared_wave_is_no_change() -> None:
    change = measured(sales())
    assert abs(change.effect) < 4 * change.standard_error < 0.02
    assert change.days == 28 and change.covered == ("a",)


def test_a_fall_in_the_exposed_segment_alone_is_seen_whole() -> None:
    change = measured(sales(fall=0.2))
    assert change.effect == pytest.approx(-0.2, abs=0.02)
    assert change.level == pytest.approx(100, rel=0.1)


def test_a_segment_that_joined_later_is_measured_from_its_own_day() -> None:
    later = START + timedelta(days=14)
    feed = sales(fall=0.2, since=later, segment="b")
    alone = sales_change(feed, exposed={"b": later}, control=["c"], as_of=AS_OF)
    assert alone.effect == pytest.approx(-0.2, abs=0.02)
    both = sales_change(feed, exposed={"a": START, "b": later}, control=["c"], as_of=AS_OF)
    assert both.covered == ("a", "b")
    assert -0.15 < both.effect < -0.05  # a did not fall; their precisions are alike


def test_a_group_of_a_few_days_does_not_drown_what_others_have_shown() -> None:
    later = AS_OF - timedelta(days=12)
    first = sales_change(sales(), exposed={"a": START}, control=["c"], as_of=AS_OF)
    both = sales_change(sales(), exposed={"a": START, "b": later}, control=["c"], as_of=AS_OF)
    assert both.covered == ("a", "b")
    assert both.standard_error < 1.5 * first.standard_error


def test_a_segment_that_has_just_joined_does_not_count_yet() -> None:
    change = sales_change(
        sales(), exposed={"a": START, "b": AS_OF - timedelta(days=5)}, control=["c"], as_of=AS_OF
    )
    assert change.covered == ("a",)


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        (sales().iloc[:0], "no sales"),
        (sales().query("segment != 'b'"), "unknown"),
        (sales()[lambda f: f.date >= pd.Timestamp(START - timedelta(days=35))], "6 are needed"),
        (sales()[lambda f: f.date < pd.Timestamp(START + timedelta(days=6))], "No whole week"),
        (sales().assign(revenue=0.0), "not positive"),
        (sales().assign(revenue=np.nan), "unknown"),
    ],
)
def test_what_cannot_be_measured_says_why(feed: pd.DataFrame, words: str) -> None:
    assert words in measured(feed).problem


def test_a_canary_chosen_because_it_was_calm_is_not_held_to_stay_calm() -> None:
    """Of 40 draws the one whose contrast varied least before the start is exposed, and nothing
    happens: the effects vary as much as is claimed (150 worlds: their ratio has an error of .06).
    Judged by the contrast's own past alone the ratio would be near 2."""
    rng, names, weeks = np.random.default_rng(7), [f"s{k}" for k in range(10)], 16
    days = pd.date_range(START - timedelta(days=56), periods=7 * weeks)
    as_of = START + timedelta(days=7 * (weeks - 8) + 4)
    ratios = []
    for _ in range(150):
        sold = 100 + 4 * rng.normal(size=(weeks, 10)) + 3 * rng.normal(size=(weeks, 1))
        draws = [rng.permutation(10) for _ in range(40)]
        calm = [np.var(sold[:8, d[:3]].mean(1) - sold[:8, d[3:]].mean(1)) for d in draws]
        chosen = draws[int(np.argmin(calm))]
        feed = pd.DataFrame(
            {
                "date": np.repeat(days, 10),
                "segment": np.tile(names, len(days)),
                "revenue": np.repeat(sold, 7, axis=0).ravel(),
            }
        )
        change = sales_change(
            feed,
            exposed={names[k]: START for k in chosen[:3]},
            control=[names[k] for k in chosen[3:]],
            as_of=as_of,
        )
        ratios.append(change.effect / change.standard_error)
    assert 0.75 < np.std(ratios) < 1.2


def holdout(bought: float, *, seed: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every cell spends 50 a day for 10 incremental conversions (price 5), ``bought`` times as many
    in ``a`` since the start; 900 treated and 100 control users with a chance of .1 beside."""
    rng = np.random.default_rng(seed)
    days = pd.date_range(START - timedelta(days=7 * WEEKS_BEFORE), AS_OF - timedelta(days=1))
    arms, paid = [], []
    for day in days:
        for name in SEGMENTS:
            more = bought if name == "a" and day >= pd.Timestamp(START) else 1.0
            lucky = rng.normal(0, 1.0)
            arms.append((day, name, "search", "treated", 900, 90 + 10 * more + lucky))
            arms.append((day, name, "search", "control", 100, 10.0))
            paid.append((day, name, "search", 50.0))
    names = ["date", "segment", "channel"]
    return (
        pd.DataFrame(arms, columns=[*names, "arm", "users", "conversions"]),
        pd.DataFrame(paid, columns=[*names, "spend"]),
    )


def cost_change(bought: float, factor: float = 1.0) -> tuple[MetricChange, float]:
    arms, paid = holdout(bought)
    later = paid.date >= pd.Timestamp(START)
    paid["spend"] = paid.spend.where(~(later & (paid.segment == "a")), paid.spend * factor)
    return conversions_per_spend_change(
        arms, paid, exposed={"a": START}, control=["b", "c"], as_of=AS_OF
    )


def test_the_price_before_and_half_as_many_conversions_for_it_are_found() -> None:
    change, price = cost_change(0.5)
    assert price == pytest.approx(5.0, rel=0.05)
    assert change.effect == pytest.approx(-0.5, abs=0.1)


def test_twice_the_conversions_for_twice_the_spend_cost_the_same() -> None:
    change, _ = cost_change(2.0, factor=2.0)
    assert abs(change.effect) < 0.1


def test_conversions_that_cannot_be_told_from_none_have_no_price() -> None:
    arms, paid = holdout(1.0)
    flat = arms.assign(conversions=arms.users * 0.1)
    change, price = conversions_per_spend_change(
        flat, paid, exposed={"a": START}, control=["b", "c"], as_of=AS_OF
    )
    assert np.isnan(price) and "cannot be told from none" in change.problem
