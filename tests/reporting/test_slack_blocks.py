"""Whatever names and sentences hold, Slack takes the message."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.policy import BudgetLine
from liftloop.reporting.messages.decision_message import (
    Announcement,
    DecisionPlaces,
    decision_message,
    notice,
)
from liftloop.reporting.messages.moves import NetMove
from liftloop.reporting.messages.slack_blocks import Link, Words, escape
from liftloop.reporting.messages.weekly_message import (
    Alarm,
    LatestDecision,
    Week,
    alarm_message,
    disagreement_message,
    weekly_message,
)
from tests.doubles.slack import faults

hostile = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["<!channel>", "a|b>c", "&lt;", "*_~`", "\u202e\x1b[2J", "", "\n"]),
    st.builds(
        str.__mul__, st.sampled_from(["&", "<x>|", "\n*", "ab &amp; "]), st.integers(300, 1500)
    ),
)
amounts = st.decimals(min_value=0, max_value=10**9, places=2)
money = st.floats(-1e9, 1e9)
LINKS = st.lists(
    st.builds(Link, hostile, hostile | hostile.map(lambda text: f"https://x.y/{text}")), max_size=14
)
many = settings(max_examples=25, deadline=None)


def body(words: Words) -> dict[str, Any]:
    return {"text": escape(words.text)[:40_000], "blocks": list(words.blocks)}


@many
@given(name=hostile, reason=hostile, todo=hostile, links=LINKS, count=st.integers(0, 60))
def test_a_decision(name: str, reason: str, todo: str, links: list[Link], count: int) -> None:
    lines = [
        BudgetLine(
            "d-1",
            "p-1",
            date(2026, 3, 2),
            f"{name}{n}",
            name,
            Decimal(n),
            Decimal("60.00"),
            "full",
            None,
            None,
            None,
            reason,
            f"b-{n}",
        )
        for n in range(count)
    ]
    announcement = Announcement(
        decision_id=name,
        kind="move",
        state="in_force",
        effective_from=date(2026, 3, 2),
        reason=reason,
        currency="EUR",
        gain=1.0,
        gain_low=-1.0,
        gain_high=2.0,
        todo=todo,
        total=reason,
        links=tuple(links),
    )
    assert faults(body(decision_message(announcement=announcement, lines=lines))) == []


@many
@given(
    moves=st.lists(
        st.builds(NetMove, hostile, hostile, amounts, amounts, st.none() | money), max_size=20
    ),
    kind=hostile,
    segments=st.lists(hostile, max_size=9),
    texts=st.lists(hostile, max_size=30),
    words=hostile,
    links=LINKS,
)
def test_a_week(
    moves: list[NetMove],
    kind: str,
    segments: list[str],
    texts: list[str],
    words: str,
    links: list[Link],
) -> None:
    day = date(2026, 3, 8)
    places = DecisionPlaces(tuple(segments), everywhere=False)
    week = Week(
        last=day,
        currency="EUR",
        latest=LatestDecision(kind, "in_force", day, places, (1.0, -1.0, 2.0)),
        moves=moves,
        cells=len(moves),
        measured=words,
        worth=words,
        alarms=texts,
        steps=texts,
        links=links,
    )
    assert faults(body(weekly_message(week))) == []


@many
@given(
    cause=hostile,
    sentence=hostile,
    waiting=hostile,
    pauses=st.booleans(),
    links=LINKS,
    cells=st.lists(st.tuples(hostile, hostile), max_size=30),
)
def test_an_alarm(
    cause: str,
    sentence: str,
    waiting: str,
    pauses: bool,
    links: list[Link],
    cells: list[tuple[str, str]],
) -> None:
    alarm = Alarm(
        cause=cause,
        sentence=sentence,
        since=None,
        pauses=pauses,
        cells=cells,
        waiting=waiting,
        links=links,
    )
    assert faults(body(alarm_message(alarm))) == []


@many
@given(lines=st.lists(hostile, min_size=1, max_size=40), links=LINKS)
def test_feeds_that_disagree(lines: list[str], links: list[Link]) -> None:
    assert faults(body(disagreement_message(lines, links=links))) == []


def test_a_notice() -> None:
    words = notice(title="Drift " * 60, paragraphs=["a <b>", *["x" * 4000] * 60])
    assert faults(body(words)) == []
    assert "a &lt;b&gt;" in words.blocks[1]["text"]["text"]


@pytest.mark.parametrize(
    "spoiled",
    [
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}},
        {"type": "header", "text": {"type": "mrkdwn", "text": "x"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}},
        {"type": "section", "text": {"type": "mrkdwn", "text": ""}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "<!channel>"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "you & I"}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11},
        {"type": "section"},
        {"type": "context", "elements": []},
        {"type": "actions", "elements": []},
        {"type": "actions", "elements": [{"type": "button", "url": "x"}]},
        {"type": "table"},
    ],
)
def test_the_rules_find_what_slack_refuses(spoiled: dict[str, Any]) -> None:
    assert faults({"text": "t", "blocks": [spoiled]})
    assert faults({"text": "t", "blocks": [{"type": "divider"}] * 51})
    assert faults({"text": "", "blocks": []})


def test_a_link_is_a_button_where_it_is_an_address_and_a_path_where_it_is_none() -> None:
    alarm = Alarm(cause="broken feed", sentence="It is late.", since=date(2026, 3, 1), pauses=True)
    there = replace(alarm, links=[Link("Details", "https://x.y/reports/m 1.html")])
    here = replace(alarm, links=[Link("Details", "reports/m.html")])
    (button,) = alarm_message(there).blocks[-1]["elements"]
    assert (button["text"]["text"], button["url"]) == (
        "Details",
        "https://x.y/reports/m%201.html",
    )
    assert alarm_message(here).blocks[-1]["elements"][0]["text"] == "Details: reports/m.html"


def test_what_is_done_on_a_page_without_an_address_has_no_dead_button() -> None:
    acts = [Link(label, "https://x.y:8501", is_act=True) for label in ("Approve", "Reject")]
    alarm = Alarm(cause="broken feed", sentence="It is late.", since=None, pauses=True)
    words = alarm_message(replace(alarm, links=acts))
    assert [b["text"]["text"] for b in words.blocks[-1]["elements"]] == ["Approve", "Reject"]
    assert words.text.endswith("Approve, Reject: https://x.y:8501")  # one line for mail and Teams
    nowhere = alarm_message(replace(alarm, links=[replace(one, target="") for one in acts]))
    assert "Approve" not in nowhere.text
    assert all(block["type"] != "actions" for block in nowhere.blocks)


def test_an_alarm_of_every_cell_leaves_none_to_move_on() -> None:
    alarm = Alarm(
        cause="broken feed",
        sentence="It is late.",
        since=date(2026, 3, 1),
        pauses=True,
        cells=[("a", "search")],
    )
    assert "all others move on" in alarm_message(alarm).text
    assert "move on" not in alarm_message(replace(alarm, everyone=True)).text
