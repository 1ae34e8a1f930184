from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.policy import Cell
from liftloop.reporting.messages.platform_differences import (
    PlatformDifference,
    difference_notice,
    fits,
    outcome_of,
    outside_changes,
    outside_notice,
    waiting_notice,
)

NORTH, SOUTH = Cell("north", "search"), Cell("south", "search")
TEN, TWENTY = Decimal("10.00"), Decimal("20.00")
AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=2)


@pytest.mark.parametrize(
    ("read_back", "error", "state"),
    [
        (TEN, "", "confirmed"),
        (TEN, "no answer", "confirmed"),  # it was carried out all the same
        (TWENTY, "", "differs"),
        (TWENTY, "no answer", "failed"),
        (None, "", "failed"),
        (None, "no answer", "failed"),
        (Decimal("10.001"), "", "differs"),
    ],
)
def test_what_is_read_back_decides(read_back: Decimal | None, error: str, state: str) -> None:
    outcome = outcome_of(TEN, read_back=read_back, error=error)
    assert outcome.state == state
    assert bool(outcome.words) == (state != "confirmed")


@given(wanted=AMOUNTS, read_back=st.none() | AMOUNTS, error=st.sampled_from(["", "no answer"]))
def test_nothing_but_the_wanted_amount_is_ever_confirmed(
    wanted: Decimal, read_back: Decimal | None, error: str
) -> None:
    confirmed = outcome_of(wanted, read_back=read_back, error=error).state == "confirmed"
    assert confirmed == (read_back == wanted)


def test_only_what_the_loop_cannot_explain_was_changed_outside() -> None:
    last = {NORTH: TEN, SOUTH: TEN}
    found = {NORTH: TWENTY, SOUTH: TWENTY, Cell("east", "search"): TWENTY}
    (changed,) = outside_changes(found, last=last, explained={SOUTH: [TWENTY]})
    assert changed == PlatformDifference(NORTH, TEN, TWENTY)
    assert outside_changes({NORTH: TEN}, last=last, explained={}) == ()
    assert outside_changes({}, last=last, explained={}) == ()


LONG = "north-east region of the country "


def test_notices_name_cells_amounts_and_what_to_do() -> None:
    found = [PlatformDifference(Cell(f"s{n:02}", "search"), TEN, TWENTY) for n in range(12)]
    outside = outside_notice("shop", "d-1", found, currency="EUR").text
    assert "s00 search: 20.00 instead of 10.00 EUR a day" in outside
    assert "9 more" in outside
    assert "s03" not in outside
    assert "liftloop pause" in outside
    other = difference_notice("shop", "d-1", found[:1], currency="EUR").text
    assert "20.00 instead of 10.00 EUR" in other
    reasons = {NORTH: "it answered 503", SOUTH: "it answered 503"}
    waits = waiting_notice("shop", "d-1", reasons, effective="2026-03-02").text
    assert waits.count("503") == 1
    assert "2 budgets are not on shop yet" in waits
    assert "liftloop doctor" in waits
    every = {Cell(f"{n} {LONG}", LONG): LONG * 20 for n in range(12)}
    found = [PlatformDifference(cell, TEN, TWENTY) for cell in every]
    for words in (
        outside_notice("shop", "d-1", found, currency="EUR"),
        difference_notice("shop", "d-1", found, currency="EUR"),
        waiting_notice("shop", "d-1", every, effective="2026-03-02"),
    ):
        assert len(words.text.split()) <= 80


def test_a_cut_always_fits_and_a_raise_while_there_is_room() -> None:
    stands = {NORTH: TEN, SOUTH: TEN}
    assert fits(NORTH, Decimal("9.99"), stands=stands, ceiling=TEN)
    assert fits(NORTH, Decimal("15.00"), stands=stands, ceiling=Decimal("25.00"))
    assert not fits(NORTH, Decimal("15.01"), stands=stands, ceiling=Decimal("25.00"))
    assert fits(Cell("east", "search"), TEN, stands=stands, ceiling=Decimal("30.00"))
