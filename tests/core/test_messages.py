from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from liftloop.core.messages import Announcement, clip, decision_message
from liftloop.core.policy import BudgetLine

LINE = BudgetLine(
    "d-1", "p-1", date(2026, 3, 2), "north", "search", Decimal("65.00"), Decimal("60.00"), "full",
    12.5, 10.0, 15.25, "The next unit earns 2.10 there.", "b-1",
)  # fmt: skip
SOUTH = replace(LINE, segment="south", daily_budget=Decimal("35.00"),
                previous_daily_budget=Decimal("40.00"), reason="It earns 0.60 there.")  # fmt: skip
EAST = replace(LINE, segment="east", daily_budget=Decimal("7.00"),
               previous_daily_budget=Decimal("7.00"))  # fmt: skip
MOVE = Announcement(
    decision_id="d-1", kind="move", state="in_force", effective_from=date(2026, 3, 2),
    reason="Money moves to where the next unit earns more.", currency="EUR",
    gain=1234.4, gain_low=-100.2, gain_high=2500.0,
)  # fmt: skip


def test_a_move_says_what_why_how_much_what_reverses_it_and_who_acts() -> None:
    text = decision_message(announcement=MOVE, lines=[EAST, SOUTH, LINE]).text
    assert text == (
        "Budgets move from 2 March 2026\n"
        "Money moves to where the next unit earns more.\n"
        "\n"
        "south x search: 40.00 to 35.00 EUR a day (-5.00, -12%). It earns 0.60 there.\n"
        "north x search: 60.00 to 65.00 EUR a day (+5.00, +8%). The next unit earns 2.10 there.\n"
        "1 cell keeps its budget\n"
        "\n"
        "Expected: +1,234 EUR profit a day against the budgets before; in 9 of 10 cases between "
        "-100 and +2,500, so it may lose, too\n"
        "Total a day: 107.00 EUR\n"
        "What would take it back: new evidence that it loses profit: the loop then takes it back "
        "by itself. To take it back now: liftloop rollback\n"
        "Who does what: whoever runs the ad platforms sets the budgets of "
        "outbox/budgets-2026-03-02-d-1.csv by 2026-03-02."
    )


def test_what_waits_for_approval_names_the_two_commands() -> None:
    words = decision_message(announcement=replace(MOVE, state="awaiting_approval"), lines=[LINE])
    assert "wait for your approval" in words.text
    assert "liftloop approve d-1 or liftloop reject d-1" in words.text


@pytest.mark.parametrize("kind", ["hold", "pause"])
def test_when_nothing_moves_nobody_has_to_do_anything(kind: str) -> None:
    words = decision_message(announcement=replace(MOVE, kind=kind, gain=None), lines=[EAST])
    assert "No budget moves: all 1 cells keep theirs." in words.text
    assert "Expected: no estimate" in words.text
    assert "nobody has to do anything" in words.text


def test_no_change_is_told_as_none_and_not_as_zeros() -> None:
    still = replace(MOVE, kind="hold", gain=0.0, gain_low=0.0, gain_high=0.0)
    text = decision_message(announcement=still, lines=[EAST]).text
    assert "Expected: nothing changes, so neither does the profit\n" in text


def test_a_segment_called_channel_pings_nobody() -> None:
    evil = replace(LINE, segment="<!channel> & <https://x.y|click>", reason="<@U1>")
    words = decision_message(announcement=replace(MOVE, reason="<!here>"), lines=[evil])
    said = json.dumps(words.blocks)
    for ping in ("<!", "<@", "<http"):
        assert ping not in said
    assert "&lt;!channel&gt; &amp; &lt;" in said


def test_a_name_cannot_steer_the_terminal() -> None:
    evil = replace(LINE, segment="a\x1b[2Jb\u202ec")
    assert "\x1b" not in decision_message(announcement=MOVE, lines=[evil]).text
    assert "\u202e" not in decision_message(announcement=MOVE, lines=[evil]).text


def test_only_the_largest_moves_are_told_and_the_rest_is_counted() -> None:
    lines = [replace(LINE, segment=f"s{n:02d}", daily_budget=Decimal(60 + n)) for n in range(1, 12)]
    text = decision_message(announcement=MOVE, lines=lines).text
    assert "s11 x search" in text
    assert "s03 x search" not in text
    assert "and 3 smaller moves" in text


def test_a_new_cell_has_no_share() -> None:
    new = replace(LINE, previous_daily_budget=Decimal("0.00"))
    assert "(+65.00)." in decision_message(announcement=MOVE, lines=[new]).text


def test_a_cut_is_shown_and_leaves_no_half_escape() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("ab&amp;cd", 6) == "ab…"


def test_a_promotion_says_that_the_newest_plan_reaches_more_segments() -> None:
    text = decision_message(announcement=replace(MOVE, kind="promote"), lines=[LINE]).text
    assert text.startswith("The newest plan reaches more segments from 2 March 2026\n")


def test_a_rollouts_own_limits_replace_the_usual_sentence() -> None:
    limits = "A measured loss: an upper bound of the gain below 0 (+3,300 EUR now)."
    text = decision_message(announcement=replace(MOVE, reversal=limits), lines=[LINE]).text
    assert f"What would take it back: {limits}\n" in text
    assert "new evidence that it loses" not in text
