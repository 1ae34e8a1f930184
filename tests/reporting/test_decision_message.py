from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from liftloop.core.policy import BudgetLine, Cell
from liftloop.reporting.messages.decision_message import Announcement, decision_message
from liftloop.reporting.messages.slack_blocks import Link
from liftloop.reporting.rendering import clip

LINE = BudgetLine(
    "d-1",
    "p-1",
    date(2026, 3, 2),
    "north",
    "search",
    Decimal("65.00"),
    Decimal("60.00"),
    "full",
    12.5,
    10.0,
    15.25,
    "The next unit earns 2.10 there.",
    "b-1",
)
SOUTH = replace(
    LINE,
    segment="south",
    daily_budget=Decimal("35.00"),
    previous_daily_budget=Decimal("40.00"),
    reason="It earns 0.60 there.",
)
EAST = replace(
    LINE, segment="east", daily_budget=Decimal("7.00"), previous_daily_budget=Decimal("7.00")
)
MOVE = Announcement(
    decision_id="d-1",
    kind="move",
    state="in_force",
    effective_from=date(2026, 3, 2),
    reason="Money moves to where the next unit earns more.",
    currency="EUR",
    gain=1234.4,
    gain_low=-100.2,
    gain_high=2500.0,
)


RETURNS = {Cell("north", "search"): 2.104, Cell("south", "search"): 0.6}


def test_a_move_says_what_moves_what_it_should_bring_and_the_next_step() -> None:
    told = replace(MOVE, returns=RETURNS, links=(Link("Details", "https://x.y/d.html"),))
    text = decision_message(announcement=told, lines=[EAST, SOUTH, LINE]).text
    assert text == (
        "New budgets from 2 March 2026\n"
        "+5.00 EUR a day to north search (each extra EUR returns 2.10), -5.00 from south search "
        "(0.60); 1 stays.\n"
        "Money moves to where the next unit earns more.\n"
        "Expected: +1,234 EUR profit a day (90 % interval -100 to +2,500).\n"
        "Your next step: upload outbox/budgets-2026-03-02-d-1.csv by 2 March 2026.\n"
        "Details: https://x.y/d.html"
    )


def test_a_plan_on_trial_names_the_segments_that_test_it() -> None:
    on_trial = [replace(LINE, stage="canary"), replace(SOUTH, stage="canary")]
    rest = replace(EAST, stage="incumbent")
    text = decision_message(announcement=MOVE, lines=[*on_trial, rest]).text
    assert text.startswith("Testing new budgets in north and south from 2 March 2026\n")
    many = [replace(LINE, segment=f"s{n}", stage="canary") for n in range(5)]
    text = decision_message(announcement=MOVE, lines=[*many, rest]).text
    assert text.startswith("Testing new budgets in s0, s1 and 3 more segments from")


def test_what_waits_for_approval_names_the_two_commands() -> None:
    words = decision_message(announcement=replace(MOVE, state="awaiting_approval"), lines=[LINE])
    assert "wait for your approval" in words.text
    assert "Your next step: liftloop approve d-1 or liftloop reject d-1" in words.text


def test_another_total_is_a_next_step() -> None:
    told = replace(MOVE, kind="hold", total="Decide on a total of 1,100.00 EUR a day.")
    text = decision_message(announcement=told, lines=[EAST]).text
    assert "Your next step: Decide on a total of 1,100.00 EUR a day." in text


@pytest.mark.parametrize("kind", ["hold", "pause"])
def test_when_nothing_moves_nobody_has_to_do_anything(kind: str) -> None:
    words = decision_message(announcement=replace(MOVE, kind=kind, gain=None), lines=[EAST])
    assert "All 1 budgets stay." in words.text
    assert "Expected" not in words.text
    assert "Nothing to do." in words.text


LONG = "north-east region of the country and its islands"


@pytest.mark.parametrize("state", ["in_force", "awaiting_approval", "rejected"])
@pytest.mark.parametrize("kind", ["move", "promote", "roll_back", "hold", "pause"])
def test_a_message_has_at_most_eighty_words(kind: str, state: str) -> None:
    lines = [
        replace(LINE, segment=f"{n} {LONG}", channel=LONG, daily_budget=Decimal(60 + n * s))
        for n in range(1, 40)
        for s in (1, -1)
    ]
    told = replace(
        MOVE,
        kind=kind,
        state=state,
        reason="It was decided for many reasons " * 20,
        total="Decide on a total of 1,100.00 EUR a day: liftloop approve t-1",
        returns={Cell(line.segment, line.channel): 1.0 for line in lines},
        links=(
            Link("Details", "https://x.y/d.html"),
            Link("Pause", "https://x.y", is_act=True),
            Link("Roll back", "https://x.y", is_act=True),
            Link("Why the last weeks differ", "https://x.y/m.html"),
        ),
        audit_head="f" * 64,
    )
    words = decision_message(announcement=told, lines=lines)
    assert len(words.text.split()) <= 80, words.text
    assert "more move" in words.text
    assert words.text.endswith("f" * 64)


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
    assert "+11.00 EUR a day to s11 search, +10.00 to s10 search, +9.00 to s09 search" in text
    assert "; 8 more move." in text


def test_where_money_moves_two_ways_both_are_named() -> None:
    lines = [replace(LINE, segment=f"s{n:02d}", daily_budget=Decimal(60 + n)) for n in range(5, 12)]
    text = decision_message(announcement=MOVE, lines=[*lines, SOUTH]).text
    assert "to s11 search, +10.00 to s10 search, -5.00 from south search; 5 more move." in text


def test_a_cut_is_shown_and_leaves_no_half_escape() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("ab&amp;cd", 6) == "ab…"


def test_a_promotion_says_where_the_new_budgets_are() -> None:
    promoted = replace(MOVE, kind="promote")
    text = decision_message(announcement=promoted, lines=[LINE]).text
    assert text.startswith("The new budgets are in all segments from 2 March 2026\n")
    lines = [replace(LINE, stage="canary"), replace(EAST, stage="incumbent")]
    text = decision_message(announcement=promoted, lines=lines).text
    assert text.startswith("New budgets extended to north from 2 March 2026\n")
