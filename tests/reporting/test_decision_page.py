from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from liftloop.reporting.pages.charts import (
    CurveSamples,
    GainChecks,
    compact,
    gain_chart,
    response_chart,
    ticks,
)
from liftloop.reporting.pages.decision_page import DecisionPage, decision_page
from liftloop.reporting.rendering import TEMPLATES

EVIL = '</script><script>alert(1)</script>"&'
STYLE = (TEMPLATES / "pages" / "page.css").read_text(encoding="utf-8")


def page(name: str = "north") -> DecisionPage:
    spend = np.linspace(0, 200, 9)
    curve = pd.DataFrame({"spend": spend, "mean": 300 * (1 - np.exp(-spend / 90))})
    return DecisionPage(
        title="Weekly plan",
        as_of=date(2026, 3, 30),
        decision_id="d-123",
        sentences=["Search gets more.", "Social gets less."],
        currency="EUR",
        gain=(1234.0, 200.0, 2400.0),
        moves=pd.DataFrame(
            {
                "segment": [name, name, "south"],
                "channel": ["search", "social", "search"],
                "previous": [Decimal("100.00"), Decimal("80.00"), Decimal("20.00")],
                "budget": [Decimal("125.00"), Decimal("55.00"), Decimal("20.00")],
                "stage": ["canary", "full", ""],
                "expected": [300.0, 90.0, np.nan],
                "low": [250.0, 60.0, np.nan],
                "high": [350.0, 120.0, np.nan],
                "reason": ["The next unit earns most here.", "Saturated.", "Unchanged."],
            }
        ),
        curves=curve.assign(
            segment=name,
            channel="search",
            low=curve["mean"] * 0.8,
            high=curve["mean"] * 1.2,
            current=100.0,
            planned=125.0,
        ),
        rollout_sentences=[f"{name}: plan 2.", "Of 12,000 EUR at risk 3,400 are in use."],
        waves=pd.DataFrame({"wave": [1], "segments": [name], "plan": ["plan 2"], "since": ["May"]}),
        measured=pd.DataFrame(
            {
                "days": [7, 14],
                "since": [0, 0],
                "gained": [-900.0, 1_250.0],
                "low": [-9_000.0, -2_000.0],
                "high": [7_000.0, 4_500.0],
            }
        ),
        rollout_marks=[(0, "started"), (14, f"paused by {name}")],
        guardrails=pd.DataFrame(
            {
                "name": ["revenue", f"share of {name}"],
                "verdict": ["pass", "review"],
                "sentence": ["Sales hold.", f"{name} is late."],
            }
        ),
        would_go_on=[f"{name} must report."],
        would_slow=["A plan that needs too much."],
        would_take_back=["A measured loss."],
        history=[("2 March 2026", "started", f"{name} goes first.")],
        quality=pd.DataFrame({"cell": [name], "finding": ["4 days late"]}),
        quality_sentence="One cell is paused.",
        drift="No drift.",
        links=[("Drift report", "drift.html"), ("Evil", "javascript:alert(1)")],
    )


class Tags(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = ("meta", "br", "link", "line", "polyline", "polygon", "circle", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def read(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


def test_the_page_says_what_moved_why_and_what_is_expected() -> None:
    text = decision_page(page())
    for words in (
        "Search gets more.",
        "125.00",
        "+25%",
        "The next unit earns most here.",
        "d-123",
        "Expected profit a day, EUR",
        "+1,234",
        "beyond the budgets before; 90 % interval +200 to +2,400",
        "2 of 3",
        "One cell is paused.",
        "4 days late",
        "No drift.",
        "north: plan 2.",
        "Of 12,000 EUR at risk 3,400 are in use.",
        ">paused by north<",
        ">+1,250<",
        'state review">not measurable<',
        "north is late.",
        "What moves it forward",
        "north must report.",
        "What slows it",
        "A plan that needs too much.",
        "What takes it back",
        "A measured loss.",
        "Rollout history",
        "north goes first.",
        "Budget a day, EUR",
        "Expected incremental revenue a day, EUR",
        "200.00",
        ">canary<",
    ):
        assert words in text, words
    assert read(text).seen.count("figure") == 2


def test_a_segment_called_script_is_just_an_odd_name() -> None:
    text = decision_page(page(EVIL))
    assert "script" not in read(text).seen
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_nothing_is_fetched_and_only_harmless_addresses_are_linked() -> None:
    text = decision_page(page())
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert "url(" not in text
    assert 'href="drift.html"' in text
    assert "javascript:" not in text


def test_a_page_without_curves_rollout_or_gain_leaves_those_parts_out() -> None:
    bare = replace(
        page(),
        curves=None,
        rollout_sentences=(),
        waves=None,
        measured=None,
        guardrails=None,
        would_go_on=(),
        would_slow=(),
        would_take_back=(),
        history=(),
        gain=None,
        quality=None,
        quality_sentence="",
        drift="",
        links=(),
    )
    text = decision_page(bare)
    read(text)
    assert "The rollout" not in text
    assert "Drift" not in text
    assert "What moves" in text


def test_a_page_without_any_cell_is_still_a_page() -> None:
    read(decision_page(replace(page(), moves=page().moves.iloc[:0], curves=None)))


def test_many_cells_unfold_on_demand() -> None:
    one = page().moves.iloc[:1]
    many = pd.concat([one.assign(segment=f"s{i}") for i in range(30)])
    text = decision_page(replace(page(), moves=many, guardrails=None, waves=None, history=()))
    assert "18 more cells" in text
    assert text.count("<tr>") == 30 + 2 + 2


def test_the_content_is_not_changed() -> None:
    content = page()
    copy = content.moves.copy()
    decision_page(content)
    pd.testing.assert_frame_equal(content.moves, copy)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (12.345, "12.3"),
        (1250, "1,250"),
        (12_000, "12k"),
        (3_400_000, "3.4M"),
        (-250, "-250"),
        (float("nan"), "–"),
        (999_999, "1,000k"),
    ],
)
def test_numbers_on_axes_are_short(amount: float, text: str) -> None:
    assert compact(amount) == text


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 100) == [0, 25, 50, 75, 100]
    assert ticks(-0.3, 0.3) == pytest.approx([-0.2, 0, 0.2])
    assert ticks(5, 5) == [5]


def test_one_check_alone_shows_its_bounds_as_a_line() -> None:
    chart = gain_chart(GainChecks([7], [0], [0.0], [-500.0], [500.0]), title="One")
    assert chart.count('class="curve"') == 2


def test_where_counting_starts_anew_the_line_is_broken() -> None:
    chart = gain_chart(
        GainChecks(
            days=[7, 14, 21, 28],
            since=[0, 0, 14, 14],
            gained=[100.0, 900.0, 50.0, 80.0],
            low=[-400.0, 100.0, -300.0, -200.0],
            high=[600.0, 1_700.0, 400.0, 360.0],
        ),
        title="Gain",
    )
    assert chart.count('class="curve"') == chart.count('class="band"') == 2
    assert ">+80<" in chart


def still() -> DecisionPage:
    moves = page().moves
    return replace(
        page(), measured=None, gain=(0.0, 0.0, 0.0), moves=moves.assign(budget=moves["previous"])
    )


def test_a_hold_says_that_nothing_moves_instead_of_gains_and_changes_of_zero() -> None:
    text = decision_page(still())
    read(text)
    assert "<p>Nothing moves: every cell keeps its budget.</p>" in text
    assert "Expected profit a day" not in text
    assert "Before, EUR" not in text
    assert "+0%" not in text
    assert ">80.00<" in text
    assert "Nothing moves" not in decision_page(page())


def test_a_cell_that_stays_is_said_to_stay_and_a_small_move_is_no_zero() -> None:
    moves = page().moves.assign(
        budget=np.array([Decimal("100.20"), Decimal("79.99"), Decimal("20.00")])
    )
    text = decision_page(replace(page(), moves=moves, measured=None))
    for words in (">+0.2%<", ">under 0.1%<", ">stays<"):
        assert words in text, words
    assert "+0%" not in text


def test_estimates_are_whole_and_money_has_its_unit() -> None:
    moves = page().moves.assign(expected=12_812.4, low=11_234.4, high=14_321.7)
    text = decision_page(replace(page(), moves=moves))
    assert ">12,812 <small>11,234 to 14,322</small>" in text
    assert "12.8k" not in text
    assert "decision d-123 · money in EUR" in text
    assert "measured gain, EUR, with bounds valid at every check" in text
    assert ">spend a day, EUR<" in text
    assert ">incremental revenue a day, EUR<" in text


def test_without_a_currency_no_unit_is_said() -> None:
    text = decision_page(replace(page(), currency=""))
    assert "money in" not in text
    assert "measured gain, with bounds" in text
    assert ">spend a day<" in text


def test_no_column_is_without_a_name() -> None:
    for content in (page(), still()):
        assert not re.findall(r"<th[^>]*></th>", decision_page(content))


def test_on_a_narrow_screen_every_number_carries_its_columns_name() -> None:
    text = decision_page(page())
    assert text.count('<div class="wide"><table class="stack') == text.count("<table") == 5
    assert 'data-of="Before, EUR"' in text
    assert 'data-of="Expected revenue a day, EUR"' in text
    assert 'data-of="finding"' in text
    assert text.count('<div class="narrow"><svg viewBox="0 0 340 ') == 1
    assert text.count('<div class="broad"><svg viewBox="0 0 680 ') == 1


def test_in_print_the_folded_unfolds_keys_keep_their_colour_and_figures_stay_whole() -> None:
    paper = STYLE[STYLE.index("@media print") :]
    assert "details::details-content { content-visibility:visible" in paper
    assert "print-color-adjust:exact" in paper
    assert re.search(r"figure, tr[^}]*break-inside:avoid", paper)
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE


def test_the_last_number_of_an_axis_is_not_cut() -> None:
    chart = response_chart(
        CurveSamples([0, 4000], mean=[0, 10], low=[0, 8], high=[0, 12]),
        current=0,
        planned=4000,
        title="A",
    )
    at = re.search(r'class="tick mid" x="([\d.]+)" y="[\d.]+">4,000<', chart)
    assert at is not None
    assert float(at.group(1)) + 2.5 * 5.5 <= 320


def test_words_of_stages_that_came_soon_after_each_other_do_not_run_together() -> None:
    chart = gain_chart(
        GainChecks(days=[20], since=[0], gained=[0.0], low=[-0.5], high=[0.5]),
        title="One",
        narrow=True,
        marks=[(19, "all segments"), (0, "shadow"), (1, "canary"), (2, "ramp")],
    )
    found = re.findall(r'class="tick" x="([\d.]+)" y="([\d.]+)">(\w[\w ]+)<', chart)
    at = {word: (float(x), float(y)) for x, y, word in found}
    assert at["shadow"][1] != at["canary"][1] != at["ramp"][1]
    assert at["all segments"][0] + 5.5 * len("all segments") <= 340
