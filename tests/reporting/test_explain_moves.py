"""Why a cell gets no more, in a sentence; and the rule that holds it."""

from __future__ import annotations

import pytest

from liftloop.core.curves.returns import NextUnit
from liftloop.reporting.explain_moves import binding_rule, why_not_more
from liftloop.reporting.outcome_words import OutcomeWords


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (NextUnit(1.5, 2.0, 1234.0, False), "(its average is 2.00). Up to about 1,234 EUR a day"),
        (NextUnit(0.4, None, None, False), "returns 0.40 here. No budget pays here"),
        (NextUnit(1.5, 2.0, 99.0, True), "as far as the curve is known."),
    ],
)
def test_why_not_more_says_what_the_next_unit_returns(unit: NextUnit, says: str) -> None:
    assert says in why_not_more(unit, margin=1.0, words=OutcomeWords("EUR"))


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (
            NextUnit(2.0, 4.0, 1234.0, False),
            "The next conversion costs 10.00 EUR here (on average 5.00 EUR). Up to about 1,234 "
            "EUR a day one costs less than 20.00 EUR, what one usually costs.",
        ),
        (NextUnit(0.4, None, None, False), "No budget brings one for less than 20.00 EUR here"),
        (NextUnit(2.0, 4.0, 99.0, True), "Up to twice this budget and beyond one costs less"),
    ],
)
def test_where_conversions_are_counted_it_speaks_of_what_one_costs(
    unit: NextUnit, says: str
) -> None:
    words = OutcomeWords("EUR", counted=True, worth=20.0)
    said = why_not_more(unit, margin=1.0, words=words)
    assert says in said and "revenue" not in said and "returns" not in said


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        (
            "Up 25%: the next 1.00 here earns about 2.00 against 1.00 where it goes; steps of at "
            "most 25% a cycle.",
            "steps of at most 25% a cycle",
        ),
        (
            "Unchanged: frozen at 100.00 (paused) (the next 1.00 here earns about 2.00 against "
            "1.00 on average).",
            "frozen at 100.00 (paused)",
        ),
        ("Up 3%: the next 1.00 here earns about 2.00 against 1.00 where it comes from.", ""),
        ("Set by ana from mine.csv.", ""),
    ],
)
def test_the_rule_that_holds_a_cell_is_named(sentence: str, rule: str) -> None:
    assert binding_rule(sentence) == rule
