"""What may not move is answered in one place, from pauses, holdback, health and alarms."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import Frozen, Holds, feed_health, holds, slow_cells
from liftloop.settings.schema import Settings
from monitoring.verdicts import CellHealth, HealthVerdict

DAY = date(2026, 3, 2)
CELLS = [Cell(s, c) for s in ("a", "b", "c", "d") for c in ("search", "video")]
POLICY = Policy.of(dict.fromkeys(CELLS, Decimal(100)))


def health(**late: str) -> HealthVerdict:
    """``late`` maps segment_channel to a reason."""
    cells = tuple(
        CellHealth(c, DAY, 0, 0, 1.0, late.get(f"{c.segment}_{c.channel}", "")) for c in CELLS
    )
    return HealthVerdict(DAY, cells, "", "")


def test_pauses_holdback_late_facts_and_alarms_are_one_answer() -> None:
    found = holds(
        pauses=[("a", "search", "paused by ana")],
        holdback=["b"],
        health=health(c_video="9 days late"),
        alarms=[("d", "*", "broken feed")],
        no_raise={Cell("a", "video"): 0.4},
    )
    assert found.lasting == (("a", "search", "paused by ana"), ("b", "*", "standing holdout"))
    assert found.passing == (("c", "video", "9 days late"), ("d", "*", "broken feed"))
    assert found.frozen == (*found.lasting, *found.passing)
    assert found.held(POLICY) == {
        Cell("a", "search"),
        Cell("b", "search"),
        Cell("b", "video"),
        Cell("c", "video"),
        Cell("d", "search"),
        Cell("d", "video"),
    }
    assert found.reason_of(Cell("d", "search")) == "broken feed"
    assert found.reason_of(Cell("a", "video")) == ""  # no raise, but it may move
    assert found.no_raise == {Cell("a", "video"): 0.4}


def test_nothing_held_is_nothing_held() -> None:
    assert Holds().frozen == ()
    assert Holds().held(POLICY) == frozenset()


NAMES, CHANNELS = st.sampled_from(["a", "b", "z", "*"]), st.sampled_from(["search", "tv", "*"])
PATTERNS = st.lists(st.tuples(NAMES, CHANNELS, st.sampled_from(["why", "because"])), max_size=3)


@given(PATTERNS, PATTERNS)
def test_a_cell_is_held_exactly_where_there_is_a_reason(
    lasting: list[tuple[str, str, str]], passing: list[tuple[str, str, str]]
) -> None:
    found = Holds(tuple(lasting), tuple(passing))
    held = found.held(POLICY)
    assert held == {cell for cell in CELLS if found.reason_of(cell)}
    for cell in held:
        assert any(
            s in ("*", cell.segment) and c in ("*", cell.channel) and why == found.reason_of(cell)
            for s, c, why in found.frozen
        )


def facts(until: date, *, slow: Cell | None = None) -> dict[str, pd.DataFrame]:
    """Three weeks of cells that spend all they have; ``slow`` spends two fifths of it."""
    days = pd.date_range(until - timedelta(days=21), until - timedelta(days=1))
    rows = [
        (d, c.segment, c.channel, 40.0 if c == slow else 100.0, 10, 1) for d in days for c in CELLS
    ]
    names = ["date", "segment", "channel", "spend", "impressions", "clicks"]
    performance = pd.DataFrame(rows, columns=names)
    sales = pd.DataFrame({"date": [], "segment": [], "revenue": []})
    return {"performance": performance, "holdout": performance.iloc[:0], "sales": sales}


def judged(known: dict[str, pd.DataFrame], **data: object) -> HealthVerdict:
    settings = Settings.model_validate({"data": data})
    return feed_health(settings, known, policy=POLICY, as_of=DAY, in_force_since=None)


@pytest.mark.parametrize(("lag", "held"), [(3, 0), (4, 8)])
def test_cells_are_held_when_their_facts_are_later_than_the_settings_allow(
    lag: int, held: int
) -> None:
    assert len(judged(facts(DAY - timedelta(days=lag))).paused) == held


def test_health_that_is_not_checked_holds_nothing() -> None:
    found = judged(facts(DAY - timedelta(days=40)), health_checks=False)
    assert found.paused == {}
    assert found.summary == "The health of the facts is not checked."


def test_a_cell_that_does_not_spend_what_it_has_gets_no_raise_and_is_not_held() -> None:
    one, settings = Cell("a", "search"), Settings()
    known = facts(DAY, slow=one)
    there = feed_health(
        settings, known, policy=POLICY, as_of=DAY, in_force_since=DAY - timedelta(days=21)
    )
    slow = slow_cells(settings, known, incumbent=POLICY, as_of=DAY, facts_health=there)
    assert set(slow) == {one}
    assert slow[one] == pytest.approx(0.4)
    found = holds(pauses=(), holdback=(), health=there, alarms=(), no_raise=slow)
    assert found.held(POLICY) == frozenset()


def test_what_is_held_says_so_for_cells_that_the_budgets_do_not_have_yet() -> None:
    everything: Frozen = (("*", "*", "paused by ana"),)
    assert Holds(everything).reason_of(Cell("new", "tv")) == "paused by ana"
