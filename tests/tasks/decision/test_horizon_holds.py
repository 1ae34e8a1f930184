"""The first week of the preview holds what a cycle on that day holds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import tasks.decision.reallocate
from liftloop.adapters.ledger.loop_value_entries import standing
from liftloop.adapters.ledger.records import add_pause, record_verdict, session
from liftloop.adapters.ledger.tables import MonitorVerdict, Pause
from liftloop.app.cli import app
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.ids import canonical
from liftloop.core.policy import Cell
from liftloop.pipeline.plan.plan_budgets import plan_budgets
from monitoring.causes.cause import Cause, Finding, Triage
from tasks.context import Loop
from tasks.decision.holds import holdback_of, holds_on
from tasks.decision.horizon import load_outlook, preview_horizon
from tasks.decision.reallocate import propose_once

SLOW, PAUSED, ALARMED = Cell("north", "social"), Cell("east", "search"), Cell("west", "social")
LATE, STANDING = "central", "islands"
CHANNELS = ("search", "social")


@pytest.fixture
def trouble(world: Any) -> Any:
    """A decided week: one cell spends two fifths of its budget, one segment tells nothing of the
    last five days, one cell is paused, one has an alarm, and one segment is to stand still."""
    world.set("\nenabled = true", "\nenabled = false")
    budgets = world.budgets(world.cycle()["id"])
    rows = [(c.segment, c.channel, amount) for c, amount in budgets.budgets]
    feeds = world.market.step(pd.DataFrame(rows, columns=["segment", "channel", "daily_budget"]), 7)
    world.day += timedelta(days=7)
    spent = feeds["performance"]
    slow = (spent.segment == SLOW.segment) & (spent.channel == SLOW.channel)
    feeds["performance"] = spent.assign(spend=spent.spend.where(~slow, spent.spend * 0.4))
    since = pd.Timestamp(world.day - timedelta(days=5))
    world.take_in(
        {
            name: frame[(frame.segment != LATE) | (pd.to_datetime(frame.date) < since)]
            for name, frame in feeds.items()
        }
    )
    finding = Finding(Cause.FEED, "unit", "It is another unit.", ("performance",), None, (ALARMED,))
    triage = canonical({"triage": Triage(world.day, finding, (finding,)).as_dict()})
    with session(world.loop.engine) as db:
        add_pause(
            db,
            pause=Pause(
                id="p",
                segment=PAUSED.segment,
                channel=PAUSED.channel,
                reason="a sale",
                actor="ann",
                since=datetime.now(UTC),
            ),
        )
        record_verdict(
            db,
            verdict=MonitorVerdict(
                key="m",
                as_of=world.day,
                drifted=True,
                summary="s",
                evidence=triage,
                created_at=datetime.now(UTC),
            ),
        )
    world.set("\nsegments = []\nshare = 0.0", f'\nsegments = ["{STANDING}"]\nshare = 0.0')
    return world


@pytest.fixture
def cycled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each cycle's plan was asked to hold."""
    seen: list[dict[str, Any]] = []

    def watched(*rest: Any, **asked: Any) -> Any:
        seen.append(asked)
        return plan_budgets(*rest, **asked)

    monkeypatch.setattr(tasks.decision.reallocate, "plan_budgets", watched)
    return seen


def preview(world: Any, *, weeks: int = 4, as_of: date | None = None) -> Any:
    return preview_horizon(str(world.workspace.root), weeks=weeks, as_of=as_of or world.day)


def drawn(world: Any) -> Any:
    """The standing holdout's segments as recorded."""
    with session(world.loop.engine, read_only=True) as db:
        known = standing(db)
    return known["segments"] if known else None


def test_the_first_week_holds_exactly_what_a_cycle_on_that_day_does(
    trouble: Any, cycled: list[dict[str, Any]]
) -> None:
    outlook = load_outlook(trouble.loop, trouble.day, days=7)
    found = preview(trouble)
    assert drawn(trouble) is None, "a preview draws nothing"
    propose_once(trouble.loop, trouble.day, source="holdout")
    (asked,) = cycled
    assert set(outlook.holds.frozen) == set(asked["frozen"])
    assert dict(outlook.holds.no_raise) == dict(asked["slow"]) and set(asked["slow"]) == {SLOW}
    assert holdback_of(trouble.loop, found.incumbent) == (STANDING,)
    assert drawn(trouble) == [STANDING]
    held = {PAUSED, ALARMED, *(Cell(s, c) for s in (LATE, STANDING) for c in CHANNELS)}
    assert set(found.lasting) | set(found.passing) == held
    before, first = found.incumbent.as_dict(), found.plan.periods[0].policy.as_dict()
    assert {cell for cell in held if first[cell] - before[cell] != 0} == set()
    assert any(first[cell] != before[cell] for cell in set(before) - held), "the rest moves"


def test_later_weeks_hold_what_lasts_and_let_go_what_is_mended(trouble: Any) -> None:
    found = preview(trouble)
    budgets = [found.incumbent.as_dict(), *(p.policy.as_dict() for p in found.plan.periods)]
    for cell in (PAUSED, *(Cell(STANDING, channel) for channel in CHANNELS)):
        assert {week[cell] for week in budgets} == {budgets[0][cell]}
    for cell in (ALARMED, *(Cell(LATE, channel) for channel in CHANNELS)):
        assert budgets[1][cell] == budgets[0][cell] != budgets[2][cell]
    assert all(later[SLOW] <= earlier[SLOW] for earlier, later in pairwise(budgets))
    assert {p.policy.total for p in found.plan.periods} == {found.incumbent.total}


def test_a_slow_cell_that_would_rise_does_not(
    trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all cells, the one that would rise most is slow."""
    free = preview(trouble, weeks=2)
    before, then = free.incumbent.as_dict(), free.plan.periods[0].policy.as_dict()
    rising = max(before, key=lambda cell: then[cell] - before[cell])
    assert then[rising] > before[rising]
    monkeypatch.setattr("tasks.decision.holds.slow_cells", lambda *_, **__: {rising: 0.5})
    held = preview(trouble, weeks=2)
    path = [before[rising], *(p.policy.as_dict()[rising] for p in held.plan.periods)]
    assert all(later <= earlier for earlier, later in pairwise(path))


def test_the_words_and_the_json_say_which_cells_are_held_and_why(trouble: Any) -> None:
    place = ["budgets", "--weeks", "2", "--workspace", str(trouble.workspace.root)]
    said = CliRunner().invoke(app, place, env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    words = " ".join(said.output.split())
    assert "Held in every period: east x search (paused by ann (a sale))" in words
    assert "islands x search, islands x social (standing holdout)" in words
    assert "Held in the first period, and expected to be mended then: central x search" in words
    assert "performance is 5 days late" in words
    assert "west x social (It is another unit.)" in words
    assert "No raise in any period, for they do not spend their budget: north x social (" in words
    shown = json.loads(CliRunner().invoke(app, [*place, "--json"]).output)
    assert len(shown["held"]) == 3
    weeks = [
        {(b["segment"], b["channel"]): b["held"] for b in p["budgets"]} for p in shown["periods"]
    ]
    assert (
        weeks[0]["west", "social"] == "It is another unit." and weeks[1]["west", "social"] is None
    )
    assert weeks[0]["islands", "search"] == weeks[1]["islands", "search"] == "standing holdout"
    assert "no raise" in weeks[1]["north", "social"]
    assert weeks[0]["south", "search"] is None


def test_a_floor_that_a_slow_cell_cannot_reach_is_the_conflict_a_cycle_names(trouble: Any) -> None:
    floor = preview(trouble).incumbent.as_dict()[SLOW] + 1
    with trouble.workspace.config.open("a", encoding="utf-8") as config:
        config.write(
            f'\n[[budget.limits]]\nsegment = "{SLOW.segment}"\nchannel = "{SLOW.channel}"\n'
            f'floor = "{floor}"\n'
        )
    told = propose_once(trouble.loop, trouble.day, source="holdout")
    assert told["id"] is None and "get no raise" in told["reason"]
    with pytest.raises(InfeasibleBudget) as refused:
        preview(trouble)
    assert str(refused.value).replace("period 1: ", "") == told["reason"]


def test_a_week_that_has_not_come_is_judged_by_what_is_known_today(
    trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = trouble.day
    monkeypatch.setattr(Loop, "today", lambda _: today)
    ahead = load_outlook(trouble.loop, today + timedelta(days=7), days=7)
    now = holds_on(trouble.loop, today, ahead.incumbent, source="holdout")
    assert ahead.holds == now
    assert {segment for segment, *_ in ahead.holds.passing} == {LATE, ALARMED.segment}
