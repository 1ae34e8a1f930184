from __future__ import annotations

from datetime import date

from liftloop.core.curves.gain import Estimate
from liftloop.core.inference.weekly_profit import WeekProfit
from liftloop.reporting.history.before_and_after import BeforeAndAfter, week_rows
from liftloop.reporting.outcome_words import OutcomeWords

MONDAY = date(2026, 3, 2)
WEEK = WeekProfit(MONDAY, 7, Estimate(1000, 700, 1300), 900.0, Estimate(500, 100, 900))
UNSEEN = WeekProfit(date(2026, 3, 9), 7, None, 900.0, Estimate(500, 100, 900))


def test_what_came_stands_beside_what_was_predicted_and_what_would_have_been() -> None:
    found = BeforeAndAfter((WEEK, UNSEEN), (MONDAY,))
    assert found.sentence(OutcomeWords("EUR")) == (
        "Since 2 March 2026, 7 days: +1,000 (90 %: +700 to +1,300) EUR profit measured; +900 were "
        "predicted. With the budgets left as they were it would have been +500 (90 %: +100 to "
        "+900) by the model in force: a difference of +500 (90 %: +0 to +1,000)."
    )


def test_without_a_measurement_it_says_so() -> None:
    assert BeforeAndAfter((UNSEEN,), ()).sentence(OutcomeWords("EUR")).startswith("Not measured")


def test_each_week_is_a_row_the_last_one_first() -> None:
    last, first = week_rows([WEEK, UNSEEN], OutcomeWords("EUR"))
    assert (last["week from"], last["measured"], last["difference"]) == ("9 March 2026", "–", "–")
    assert first["predicted"] == "+900"
    assert first["difference"] == "+500 (90 %: +0 to +1,000)"


def test_conversions_are_counted_where_no_value_is_known() -> None:
    words = OutcomeWords("EUR", counted=True, worth=10.0)
    assert "+100 (90 %: +70.0 to +130) conversions measured" in BeforeAndAfter(
        (WEEK,), ()
    ).sentence(words)
