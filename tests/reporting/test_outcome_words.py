"""Gains and returns are said in the account's unit."""

from __future__ import annotations

from liftloop.reporting.outcome_words import OutcomeWords

MONEY, COUNTED = OutcomeWords("EUR"), OutcomeWords("EUR", counted=True)


def test_a_gain_is_in_money_or_in_conversions() -> None:
    assert f"{MONEY.gain(102.6)} {MONEY.gain_label}" == "+103 EUR profit"
    assert f"{COUNTED.gain(2.57)} {COUNTED.gain_label}" == "+2.6 conversions"
    assert COUNTED.gain(-1234.5) == "-1,234"
    priced = OutcomeWords("EUR", counted=True, worth=25.0)
    assert priced.gain(64.25) == "+2.6" and priced.returns(0.5) == "50.00"


def test_a_return_is_a_rate_or_what_a_conversion_costs() -> None:
    assert (MONEY.return_label, MONEY.returns(0.05)) == ("iROAS", "0.05")
    assert (COUNTED.return_label, COUNTED.returns(0.05)) == (
        "cost per incremental conversion",
        "20.00",
    )
    assert MONEY.interval(0.5, 2.0) == "0.50 to 2.00"
    assert COUNTED.interval(0.05, 0.1) == "10.00 to 20.00"
    # what may bring nothing may cost any amount
    assert COUNTED.interval(-0.01, 0.1) == "10.00 to no limit"
    assert COUNTED.interval(-0.02, -0.01) == "no limit"


def test_the_next_unit_is_said_with_its_price() -> None:
    assert MONEY.next_unit(1.5, 2.0, "where it goes", untested=False) == (
        "the next 1.00 here earns about 1.50 against 2.00 where it goes"
    )
    assert COUNTED.next_unit(0.02, 0.05, "where it goes", untested=True) == (
        "the next conversion here costs about 50.00 EUR (never tested) against 20.00 EUR where it "
        "goes"
    )
    assert "more than anyone would pay" in COUNTED.next_unit(0.0, 0.05, "there", untested=False)
