"""Every template, rendered with names that try to be markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest
from jinja2 import UndefinedError
from markdown_it import MarkdownIt
from markupsafe import Markup

from liftloop.core.access.escalation import Escalation, MetRule, Trigger
from liftloop.core.curves.gain import Estimate
from liftloop.core.policy import BudgetLine, Cell
from liftloop.core.variant_tests.plan import Metric, VariantTest
from liftloop.reporting.escalation import WaitingApproval, approval_message
from liftloop.reporting.history.playbook import PlaybookEntry
from liftloop.reporting.history.realized_gains import RealizedGain
from liftloop.reporting.messages import message_parts
from liftloop.reporting.messages.decision_message import (
    Announcement,
    DecisionPlaces,
    decision_message,
)
from liftloop.reporting.messages.message_parts import compose
from liftloop.reporting.messages.moves import NetMove
from liftloop.reporting.messages.platform_differences import (
    PlatformDifference,
    difference_notice,
    outside_notice,
    waiting_notice,
)
from liftloop.reporting.messages.slack_blocks import Link, Words, escape
from liftloop.reporting.messages.weekly_message import (
    Alarm,
    LatestDecision,
    Week,
    alarm_message,
    disagreement_message,
    weekly_message,
)
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.reporting.pages.charts import CurveSamples, response_chart
from liftloop.reporting.pages.decision_page import DecisionPage, decision_page
from liftloop.reporting.pages.review_page import DecisionReview, Deviation, Review, review_page
from liftloop.reporting.rendering import TEMPLATES, markdown, render, streamlit
from liftloop.reporting.variant_tests import ended_message
from tests.doubles.slack import faults

EVIL = (
    "</title></script><script>alert(1)</script><img src=x onerror=alert(1)> \" onclick='a' & \\| | "
    "`c` *b* _i_ ~~s~~ [click](https://z.y) ![p](https://x.y/p.png) :red[x] $x$ "
    "<!channel> <@U1> <https://x.y|more> {{ 7 }} \x1b[2J\u202e\n# forged\n\n- forged\n"
)
DAY = date(2026, 3, 2)
LINE = BudgetLine(
    EVIL, EVIL, DAY, EVIL, EVIL, Decimal(5), Decimal(4), "canary", 1.0, 0.5, 2.0, EVIL, EVIL
)
LINKS = (Link(EVIL, f"https://x.y/{EVIL}"), Link(EVIL, EVIL))
VARIANT_TEST = VariantTest(
    EVIL, EVIL, (EVIL,), EVIL, (EVIL, "b"), Metric.REVENUE, 0.1, start=DAY, last=DAY
)
THING = SimpleNamespace(
    cause=SimpleNamespace(value=EVIL),
    act=SimpleNamespace(value=EVIL),
    sentence=EVIL,
    evidence={EVIL: EVIL},
)
SUMMARY = SimpleNamespace(
    filename=EVIL,
    feed=EVIL,
    received=1,
    stored=1,
    superseded=0,
    quarantined=0,
    duplicate=False,
    rules=((EVIL, 1),),
    refused=EVIL,
    held=EVIL,
)


def decision() -> str:
    moves = {"segment": [EVIL], "channel": [EVIL], "previous": [1.0], "budget": [2.0]}
    more = {"stage": [EVIL], "expected": [1.0], "low": [0.5], "high": [2.0], "reason": [EVIL]}
    table = pd.DataFrame({EVIL: [EVIL, EVIL], "b": [EVIL, None]})
    return decision_page(
        DecisionPage(
            title=EVIL,
            as_of=DAY,
            decision_id=EVIL,
            sentences=[EVIL, EVIL],
            moves=pd.DataFrame(moves | more),
            currency=EVIL,
            gain=(1.0, 0.0, 2.0),
            curves=pd.DataFrame(
                {"segment": [EVIL] * 2, "channel": [EVIL] * 2, "spend": [0.0, 1.0]}
                | {name: [0.0, 1.0] for name in ("mean", "low", "high", "current", "planned")}
            ),
            rollout_sentences=[EVIL],
            waves=table,
            measured=pd.DataFrame(
                {"days": [7], "since": [0], "gained": [1.0], "low": [0.0], "high": [2.0]}
            ),
            rollout_marks=[(1.0, EVIL)],
            guardrails=pd.DataFrame({"name": [EVIL], "verdict": [EVIL], "sentence": [EVIL]}),
            would_go_on=[EVIL],
            would_slow=[EVIL],
            would_take_back=[EVIL],
            history=[(EVIL, EVIL, EVIL)],
            quality=table,
            quality_sentence=EVIL,
            drift=EVIL,
            links=[(EVIL, "./a.html"), (EVIL, "javascript:alert(1)"), (EVIL, f"./{EVIL}")],
        )
    )


def monitor() -> str:
    column = SimpleNamespace(
        column=EVIL,
        method=EVIL,
        distance=None,
        threshold=0.1,
        note=EVIL,
        triggers=True,
        drifted=True,
    )
    return render(
        "pages/monitor_page.html.j2",
        page=SimpleNamespace(
            found=SimpleNamespace(as_of=DAY, findings=[THING]),
            drift=SimpleNamespace(summary=EVIL, columns=[column]),
            windows=EVIL,
            links=[(EVIL, "data.html")],
            notes=SimpleNamespace(waiting=EVIL, agree=[EVIL], unmeasured=[EVIL], missing=""),
            lead=[EVIL],
            noted=[EVIL],
            measured=[SimpleNamespace(of=EVIL, before=EVIL, now=EVIL, change=EVIL)],
        ),
    )


def evidently() -> str:
    own = {name: Markup("<p></p>") for name in ("before", "head", "body", "after")}
    page = SimpleNamespace(title=EVIL, sentences=[EVIL], back=EVIL, **own)
    return render("pages/evidently_page.html.j2", page=page)


def chart() -> str:
    curve = CurveSamples([0.0, 1.0], [0.0, 1.0], [0.0, 0.5], [0.0, 2.0])
    return response_chart(curve, current=0.0, planned=1.0, title=EVIL, currency=EVIL)


A_WEEK = Week(
    last=DAY,
    currency=EVIL,
    latest=LatestDecision("move", "in_force", DAY, DecisionPlaces((EVIL,), False), (1.0, 0.0, 2.0)),
    moves=[NetMove(EVIL, EVIL, Decimal(1), Decimal(2), 1.5)],
    cells=2,
    measured=EVIL,
    worth=EVIL,
    alarms=[EVIL, EVIL],
    events=[EVIL, EVIL],
    steps=[EVIL, EVIL],
    links=LINKS,
)


def alarm() -> Words:
    return alarm_message(
        Alarm(
            cause=EVIL,
            sentence=EVIL,
            since=DAY,
            pauses=True,
            cells=[(EVIL, EVIL)],
            waiting=EVIL,
            links=LINKS,
        )
    )


def announced() -> Words:
    about = Announcement(
        decision_id=EVIL,
        kind=EVIL,
        state=EVIL,
        effective_from=DAY,
        reason=EVIL,
        currency=EVIL,
        gain=1.0,
        gain_low=-1.0,
        gain_high=2.0,
        todo=EVIL,
        total=EVIL,
        links=LINKS,
        audit_head=EVIL,
    )
    return decision_message(announcement=about, lines=[LINE])


CHANGED = [PlatformDifference(Cell(EVIL, EVIL), Decimal(1), Decimal(2))]
SHOWN = {"id": EVIL, "kind": EVIL, "state": EVIL, "reason": EVIL}
CHECK = SimpleNamespace(name=EVIL, verdict=EVIL, sentence=EVIL)
LAG = SimpleNamespace(
    stream=EVIL, length=1, unread=None, pending=1, oldest_seconds=1.0, consumers=1, lost=0
)
VERDICT = {
    "as_of": DAY,
    "summary": EVIL,
    "health": EVIL,
    "findings": [{"cause": EVIL, "sentence": EVIL}],
    "noted": [EVIL],
    "consistency": [EVIL],
    "report": EVIL,
}
GAIN = Estimate(1.0, 0.5, 2.0)


def review() -> str:
    gain = RealizedGain(EVIL, DAY, DAY, GAIN, Estimate(9.0, 8.0, 9.5), "so far")
    entry = PlaybookEntry(EVIL, EVIL, EVIL, DAY, DAY, EVIL, EVIL, EVIL, EVIL)
    return review_page(
        Review(
            first=DAY,
            last=DAY,
            currency=EVIL,
            month_gain=GAIN,
            gained=EVIL,
            decisions=[DecisionReview(EVIL, DAY, EVIL, EVIL, GAIN, gain)],
            deviations=[Deviation(gain, EVIL, (entry,))],
            lessons=[entry],
            questions=[entry],
            waiting=[(EVIL, EVIL)],
            otherwise=[EVIL],
        )
    )


PAGES: dict[str, Callable[[], str]] = {
    "pages/decision_page.html.j2": decision,
    "pages/monitor_page.html.j2": monitor,
    "pages/evidently_page.html.j2": evidently,
    "pages/chart.html.j2": chart,
    "pages/review_page.html.j2": review,
    "pages/figure_page.html.j2": lambda: render(
        "pages/figure_page.html.j2", place=EVIL, figure=Markup("<p></p>")
    ),
}
MARKDOWN: dict[str, Callable[[], str]] = {
    "markdown/decision.md.j2": lambda: render(
        "markdown/decision.md.j2",
        title=EVIL,
        shown=SHOWN,
        lines=[LINE],
        total=Decimal(5),
        currency=EVIL,
    ),
    "markdown/proposal.md.j2": lambda: render(
        "markdown/proposal.md.j2",
        proposal=SimpleNamespace(
            reason=EVIL, as_of=DAY, cells=[(EVIL, EVIL, EVIL)], judged_total=EVIL
        ),
    ),
    "markdown/score_card.md.j2": lambda: render(
        "markdown/score_card.md.j2",
        trained=SimpleNamespace(model_name=EVIL, model_version=EVIL, key=EVIL, as_of=DAY),
        verdict=SimpleNamespace(sentence=EVIL, challenge=EVIL, checks=[CHECK]),
        binding=[EVIL],
    ),
    "markdown/training.md.j2": lambda: render(
        "markdown/training.md.j2", title=EVIL, sentence=EVIL, metrics={EVIL: 1.0}, harms=[EVIL]
    ),
    "markdown/monitor.md.j2": lambda: render(
        "markdown/monitor.md.j2", verdict=VERDICT, address=Markup("https://x.y/a.html")
    ),
    "markdown/deliveries.md.j2": lambda: render(
        "markdown/deliveries.md.j2",
        headline=EVIL,
        taken=[SUMMARY],
        refused=[SUMMARY],
        held=[SUMMARY],
        notes=[(EVIL, EVIL)],
        last_days={EVIL: EVIL},
    ),
    "markdown/stream_lag.md.j2": lambda: render("markdown/stream_lag.md.j2", lags=[LAG]),
    "dashboard/guardrails.streamlit.j2": lambda: render(
        "dashboard/guardrails.streamlit.j2", verdicts=[CHECK]
    ),
    "dashboard/waves.streamlit.j2": lambda: render(
        "dashboard/waves.streamlit.j2",
        rollout=SimpleNamespace(
            waves=[SimpleNamespace(segments=[EVIL, EVIL], plan=1, since=None)],
            plan_label=lambda plan: f"{plan}{EVIL}",
        ),
    ),
    "dashboard/list.streamlit.j2": lambda: render(
        "dashboard/list.streamlit.j2", title=EVIL, sentences=[EVIL]
    ),
}
MESSAGES: dict[str, Callable[[], Words]] = {
    "messages/decision.txt.j2": announced,
    "messages/week.txt.j2": lambda: weekly_message(A_WEEK),
    "messages/alarm.txt.j2": alarm,
    "messages/approval.txt.j2": lambda: approval_message(
        WaitingApproval(
            decision_id=EVIL,
            effective_from=DAY,
            due=DAY,
            asked=Escalation((MetRule(Trigger.NEW_CHANNEL, 0.0, 1.0, (EVIL,)),), within_days=3),
            outcome=OutcomeWords(EVIL),
            gain=GAIN,
            links=LINKS,
        )
    ),
    "messages/disagreement.txt.j2": lambda: disagreement_message([EVIL], links=LINKS),
    "messages/variant_test.txt.j2": lambda: ended_message(
        replace(VARIANT_TEST, name=EVIL), EVIL, step=EVIL, day=DAY, links=LINKS
    ),
    "messages/platform_changed.txt.j2": lambda: outside_notice(EVIL, EVIL, CHANGED, currency=EVIL),
    "messages/platform_differs.txt.j2": lambda: difference_notice(
        EVIL, EVIL, CHANGED, currency=EVIL
    ),
    "messages/platform_waits.txt.j2": lambda: waiting_notice(
        EVIL, EVIL, {Cell(EVIL, EVIL): EVIL}, effective=EVIL
    ),
}
PARTS = {"pages/base.html.j2", "pages/parts.html.j2", "messages/parts.txt.j2"}  # in all others


def test_every_template_is_tested() -> None:
    found = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.j2")}
    assert found == PAGES.keys() | MARKDOWN.keys() | MESSAGES.keys() | PARTS


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", PAGES)
def test_on_a_page_a_name_is_neither_tag_nor_attribute(name: str) -> None:
    text = PAGES[name]()
    tags = Tags()
    tags.feed(text)
    own = 2 if name == "pages/figure_page.html.j2" else 0
    assert [tag for tag, _ in tags.found].count("script") == own
    assert text.count("</script") == own
    assert "img" not in {tag for tag, _ in tags.found}
    for _, attributes in tags.found:
        assert not any(key.startswith("on") for key in attributes)
        assert not str(attributes.get("href", "")).startswith("javascript:")


@pytest.mark.parametrize("name", MARKDOWN)
def test_in_markdown_a_name_marks_nothing_up(name: str) -> None:
    text = MARKDOWN[name]()
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    every = [*tokens, *(child for token in tokens for child in token.children or [])]
    kinds = [token.type for token in every]
    assert not {"image", "html_inline", "html_block", "em_open", "s_open"} & set(kinds)
    links = [token.attrGet("href") for token in every if token.type == "link_open"]
    assert links == (["https://x.y/a.html"] if name == "markdown/monitor.md.j2" else [])
    words = [token.content for token in every if token.type == "text"]
    assert not any(word.strip() == "forged" for word in words)  # not on a line of its own
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    if "streamlit" in name:
        assert not re.search(r"(?<!\\)(?:\$|:red)", text)


@pytest.mark.parametrize("name", MESSAGES)
def test_slack_takes_every_message_and_nobody_is_pinged(name: str) -> None:
    words = MESSAGES[name]()
    assert faults({"text": escape(words.text)[:40_000], "blocks": list(words.blocks)}) == []
    told = json.dumps(words.blocks)
    assert "<!" not in told
    assert "<@" not in told
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", words.text)


def test_in_a_message_a_name_begins_no_line_of_its_own() -> None:
    moves = [NetMove("north\nRollout:", "search", Decimal(1), Decimal(2))]
    text = weekly_message(replace(A_WEEK, currency="EUR", moves=moves)).text
    assert "+1.00 EUR a day to north Rollout: search; 1 stays." in text


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="lags"):
        render("markdown/stream_lag.md.j2")


@pytest.mark.parametrize("escaped", [markdown, streamlit])
def test_escaped_text_reads_as_it_was(escaped: Callable[[str], str]) -> None:
    text = "a_b _c_ *d* [e](f) | `g` <h> \\ i"
    tokens = MarkdownIt("commonmark").parseInline(escaped(text))[0].children or []
    assert "".join(token.content for token in tokens) == text


def test_words_outside_of_any_part_of_a_message_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(message_parts, "render", lambda *_, **__: " Nobody would get this. ")
    with pytest.raises(ValueError, match="Nobody would get this"):
        compose("week.txt.j2")
