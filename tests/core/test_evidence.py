from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.core.evidence import CanaryEvidence, Look, canary_evidence, combine
from liftloop.core.sales_contrast import sales_evidence

START = date(2026, 3, 2)


def weekly_lifts(after: dict[str, float], *, weeks_in: int = 4) -> pd.DataFrame:
    """Two segments x one channel: 100 a day each for four weeks, then `after`."""
    rows = []
    for week in range(-4, weeks_in):
        begin = START + timedelta(days=7 * week)
        for segment in ("can", "con"):
            rows.append(
                {
                    "segment": segment,
                    "channel": "search",
                    "period_start": begin,
                    "period_end": begin + timedelta(days=6),
                    "days": 7,
                    "lift": 100.0 if week < 0 else after[segment],
                    "standard_error": 20.0,
                    "spend": 50.0,
                }
            )
    return pd.DataFrame(rows)


def judge(lifts: pd.DataFrame, **more: Any) -> CanaryEvidence:
    asked: dict[str, Any] = {
        "canary": ["can"],
        "control": ["con"],
        "started_on": START,
        "as_of": START + timedelta(days=28),
    }
    return canary_evidence(lifts, **{**asked, **more})


def test_a_season_that_hits_both_cancels_and_the_canarys_own_loss_remains() -> None:
    last = judge(weekly_lifts({"can": 50.0, "con": 80.0})).last
    assert last is not None
    assert last.effect == pytest.approx(-30.0)
    # Four weeks in and four before on both sides: 20^2 * (1/4 + 1/4) * 2.
    assert last.standard_error == pytest.approx(20.0)
    assert last.days == 28
    assert last.day == START + timedelta(days=27)


def test_a_control_of_another_size_is_scaled_by_spend() -> None:
    lifts = weekly_lifts({"can": 100.0, "con": 60.0})
    lifts.loc[lifts.segment == "con", "spend"] = 200.0
    last = judge(lifts).last
    assert last is not None
    assert last.effect == pytest.approx(0.25 * 40.0)


def test_profit_is_revenue_times_margin_less_spend() -> None:
    lifts = weekly_lifts({"can": 80.0, "con": 100.0})
    later = (lifts.segment == "can") & (lifts.period_start >= START)
    lifts.loc[later, "spend"] = 45.0
    found = judge(lifts, revenue_margin=0.5)
    assert found.baseline == pytest.approx(50.0)
    assert found.last is not None
    assert found.last.effect == pytest.approx(0.5 * -20.0 + 5.0)


def test_information_grows_with_every_look() -> None:
    errors = [k.standard_error for k in judge(weekly_lifts({"can": 90.0, "con": 100.0})).looks]
    assert len(errors) == 4
    assert errors == sorted(errors, reverse=True)


def test_days_in_the_wait_after_the_start_and_before_today_do_not_count() -> None:
    lifts = weekly_lifts({"can": 90.0, "con": 100.0})
    daily = pd.concat(
        [
            lifts.assign(
                period_start=[d + timedelta(days=k) for d in lifts.period_start],
                period_end=[d + timedelta(days=k) for d in lifts.period_start],
                days=1,
            )
            for k in range(7)
        ]
    )
    looks = judge(daily, as_of=START + timedelta(days=10), wait_days=3).looks
    assert [k.day for k in looks] == [START + timedelta(days=d) for d in range(3, 7)]


def test_nothing_on_or_after_the_day_asked_for_is_known() -> None:
    lifts = weekly_lifts({"can": 90.0, "con": 100.0})
    early = judge(lifts, as_of=START + timedelta(days=14))
    assert len(early.looks) == 2
    assert early.looks == judge(lifts[lifts.period_start < START + timedelta(days=14)]).looks


def test_rows_without_a_usable_number_are_left_out_and_told() -> None:
    lifts = weekly_lifts({"can": 90.0, "con": 100.0})
    lifts.loc[lifts.index[-2], "lift"] = np.nan
    lifts.loc[0, "standard_error"] = 0.0
    found = judge(lifts)
    assert found.notes == ("2 lifts without a usable number were left out.",)
    assert all(np.isfinite(k.effect) for k in found.looks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns="lift"), "lack the columns lift"),
        (lambda f: f[f.period_start >= START], "canary segments have no lift from before"),
        (lambda f: f[f.period_start < START], "No day of the canary segments counts yet"),
        (lambda f: f[f.segment == "can"], "control segments have no lift"),
        (lambda f: f.assign(lift=-5.0), "no measurable incremental revenue"),
        (lambda f: f.assign(spend=0.0), "spent nothing"),
        (lambda f: f.assign(lift=np.inf), "no lift from before"),
        (lambda f: f.iloc[:0], "no lift from before"),
    ],
)
def test_what_cannot_be_judged_says_why(change: Any, says: str) -> None:
    found = judge(change(weekly_lifts({"can": 90.0, "con": 100.0})))
    assert not found.looks
    assert says in found.problem


def test_a_canary_most_of_whose_spend_has_no_lift_is_not_judged() -> None:
    lifts = weekly_lifts({"can": 90.0, "con": 100.0})
    lost = lifts[(lifts.segment == "can") & (lifts.period_start < START)]
    lost = lost.assign(channel="social", spend=150.0)
    assert "Only 25%" in judge(pd.concat([lifts, lost])).problem


def test_the_input_is_not_changed() -> None:
    lifts = weekly_lifts({"can": 90.0, "con": 100.0})
    copy = lifts.copy()
    judge(lifts)
    pd.testing.assert_frame_equal(lifts, copy)


def sales(loss: float, *, weeks_before: int = 8) -> pd.DataFrame:
    """Both sell 1000 a day, the canary +-5 in alternate weeks before, and then `loss` less."""
    days = [START + timedelta(days=d) for d in range(-7 * weeks_before, 28)]
    rows = []
    for day in days:
        wobble = 5.0 if ((day - START).days // 7) % 2 else -5.0
        now = wobble if day < START else -loss
        rows.append({"date": day, "segment": "can", "revenue": 1000.0 + now})
        rows.append({"date": day, "segment": "con", "revenue": 1000.0})
    return pd.DataFrame(rows)


def witness(frame: pd.DataFrame, **more: Any) -> CanaryEvidence:
    asked: dict[str, Any] = {
        "canary": ["can"],
        "control": ["con"],
        "started_on": START,
        "as_of": START + timedelta(days=28),
        "baseline": 100.0,
    }
    return sales_evidence(frame, **{**asked, **more})


def test_sales_show_what_the_canary_lost_against_the_control() -> None:
    found = witness(sales(40.0))
    assert found.last is not None
    assert found.last.effect == pytest.approx(-40.0)
    # Eight weeks of +-5: variance 8 * 25 / 7, widened by 7/5; 1/4 + 1/8 weeks.
    assert found.last.standard_error == pytest.approx((8 * 25 / 5 * 0.375) ** 0.5)


def test_sales_with_too_short_a_past_or_gaps_are_not_judged() -> None:
    assert "5 whole weeks" in witness(sales(0.0, weeks_before=5)).problem
    holes = sales(0.0)
    assert "are needed" in witness(holes[holes.date.map(lambda d: d.weekday() != 3)]).problem
    assert witness(sales(0.0).iloc[:0]).problem
    assert "not positive" in witness(sales(0.0), baseline=float("nan")).problem


def test_two_witnesses_are_joined_by_information() -> None:
    day = date(2026, 3, 15)
    one = CanaryEvidence((Look(day, -10.0, 1.0, 14),), 100.0, 50.0)
    two = CanaryEvidence((Look(day, -20.0, 2.0, 14),), 100.0, 50.0)
    both = combine(one, two).last
    assert both is not None
    assert both.effect == pytest.approx((-10 * 1 - 20 * 0.25) / 1.25)
    assert both.standard_error == pytest.approx(1.25**-0.5)


def test_a_witness_that_cannot_speak_leaves_the_other_alone_and_is_named() -> None:
    one = CanaryEvidence((Look(date(2026, 3, 15), -10.0, 1.0, 14),), 100.0, 50.0)
    mute = CanaryEvidence((), 100.0, 50.0, "No sales.")
    assert combine(one, mute).looks == combine(mute, one).looks == one.looks
    assert combine(one, mute).notes == ("No sales.",)
    assert combine(mute, mute).problem == "No sales."
