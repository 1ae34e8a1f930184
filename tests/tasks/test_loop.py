"""The loop's own steps on a market with clear evidence, without Prefect: propose, settle, judge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlmodel import col, select
from typer.testing import CliRunner

from liftloop.adapters.files.outbox import read_budgets
from liftloop.adapters.ledger.decisions import budget_lines, decisions
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Message
from liftloop.app.cli import app
from liftloop.core.errors import Declined
from liftloop.core.policy import Policy
from tasks.decision.reallocate import propose_once
from tasks.operate import acts, budget_acts


def _cell(line: Any) -> Any:
    from liftloop.core.policy import Cell

    return Cell(line.segment, line.channel)


def budgets_frame(policy: Policy) -> pd.DataFrame:
    return pd.DataFrame(
        [(cell.segment, cell.channel, amount) for cell, amount in policy.budgets],
        columns=["segment", "channel", "daily_budget"],
    )


SMALL = ("\nallowance = 0.08", "\nallowance = 0.01")  # plans enter the first wave only


def test_a_plan_goes_to_the_first_wave_and_the_total_stays_exact(world: Any) -> None:
    world.set(*SMALL)
    first = world.cycle()
    assert (first["kind"], first["state"]) == ("move", "in_force")
    running = world.rollout()
    leading = set(running.waves[0])
    assert running.state.positions == (1, 0, 0)
    lines = read_budgets(next(world.workspace.outbox.glob("*.csv")))
    for line in lines:
        assert line.stage == ("canary" if line.segment in leading else "incumbent")
        if line.segment not in leading:
            assert line.daily_budget == line.previous_daily_budget
    assert {x.segment for x in lines if x.daily_budget != x.previous_daily_budget} == leading
    assert sum(x.daily_budget for x in lines) == sum(x.previous_daily_budget for x in lines)


def test_cells_of_the_first_wave_are_told_the_moves_they_make(world: Any) -> None:
    world.set(*SMALL)
    settled = world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        lines = budget_lines(db, decision_id=settled["id"])
    moved = [x for x in lines if x.stage == "canary" and x.daily_budget != x.previous_daily_budget]
    assert moved
    for line in moved:
        change = float(line.daily_budget / line.previous_daily_budget) - 1
        assert f"{'Up' if change > 0 else 'Down'} {abs(change):.0%}: " in line.reason
        assert "held to" not in line.reason or abs(change) > 0.24
    waiting = {x.reason for x in lines if x.stage == "incumbent"}
    assert waiting == {"Waits: the new plan is in the first wave."}


def test_the_same_day_and_facts_decide_once(world: Any) -> None:
    first, again = world.cycle(), world.cycle()
    assert again == {**first, "new": False}


def test_a_plan_that_loses_goes_back_to_the_budgets_before_to_the_cent(world: Any) -> None:
    last = world.cycle()
    began = world.rollout()
    assert began is not None
    for _ in range(6):
        world.live(last, world.harmed(began.following(1)))
        last = world.cycle()
        if last["kind"] == "roll_back":
            break
    assert last["kind"] == "roll_back", last["reason"]
    assert world.budgets(last["id"]) == began.reference
    assert world.rollout() is None
    with session(world.loop.engine, read_only=True) as db:
        lines = budget_lines(db, decision_id=last["id"])
    back = {x.reason for x in lines if x.daily_budget != x.previous_daily_budget}
    assert back == {"Back to the last budgets whose gain was measured."}


def test_plans_flow_from_wave_to_wave_until_all_segments_have_the_newest(world: Any) -> None:
    world.set(*SMALL)
    last = world.cycle()
    began = world.rollout()
    assert began is not None
    seen = [began.state.positions]
    for _ in range(12):
        world.live(last)
        before = world.rollout()
        last = world.cycle()
        now, budgets = world.rollout(), world.budgets(last["id"])
        assert budgets.total == began.reference.total
        assert budgets == now.current
        held, mixed = before.current.as_dict(), budgets.as_dict()
        still = {c.segment for c in held} - {c.segment for c in held if mixed[c] != held[c]}
        ahead = zip(now.waves, before.state.positions, now.state.positions, strict=True)
        assert all(set(w) <= still for w, was, then in ahead if now.state.newest == was == then)
        assert list(now.state.positions) == sorted(now.state.positions, reverse=True)
        seen.append(now.state.positions)
        if now.state.oldest == now.state.newest:
            break
    assert seen[0] == (1, 0, 0)
    assert any(first > second > last for first, second, last in seen), seen
    assert now.state.oldest == now.state.newest > 1
    stages = {x.stage for x in read_budgets(newest_file(world))}
    assert stages == {"full"}


def newest_file(world: Any) -> Path:
    written: Iterator[Path] = world.workspace.outbox.glob("*.csv")
    return max(written, key=lambda path: path.stat().st_mtime_ns)


def test_with_the_rollout_off_the_plan_reaches_all_segments_at_once(world: Any) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    settled = world.cycle()
    stages = {line.stage for line in read_budgets(next(world.workspace.outbox.glob("*.csv")))}
    assert (settled["kind"], stages) == ("move", {"full"})


@pytest.fixture
def today(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still on the world's first day."""
    monkeypatch.setenv("LIFTLOOP_NOW", f"{world.day}T06:00:00+00:00")


@pytest.mark.usefixtures("today")
def test_a_large_plan_waits_for_a_person_and_nothing_goes_out(world: Any) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    assert list(world.workspace.outbox.glob("*.csv")) == []
    place = str(world.workspace.root)
    assert "Approved" in acts.approve(place, waiting["id"], actor="ana")
    assert len(list(world.workspace.outbox.glob("*.csv"))) == 1
    assert world.rollout().following(1)
    with pytest.raises(Declined, match="does not wait"):
        acts.approve(place, waiting["id"], actor="ana")


@pytest.mark.usefixtures("today")
def test_an_approval_that_was_killed_goes_out_when_it_is_given_again(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting, place = world.cycle(), str(world.workspace.root)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(acts, "bring_out", killed)
        with pytest.raises(KeyboardInterrupt):
            acts.approve(place, waiting["id"], actor="ana")
    assert list(world.workspace.outbox.glob("*.csv")) == []
    with pytest.raises(Declined, match="in force"):
        acts.approve(place, waiting["id"], actor="ana")
    assert len(list(world.workspace.outbox.glob("*.csv"))) == 1


def told(world: Any) -> list[str]:
    """The titles of the messages so far."""
    with session(world.loop.engine, read_only=True) as db:
        texts = db.exec(select(Message.text).order_by(col(Message.sequence))).all()
    return [text.split("\n", 1)[0] for text in texts]


@pytest.mark.usefixtures("today")
def test_what_a_person_decides_is_told_with_its_page(world: Any) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    first, place = world.cycle(), str(world.workspace.root)
    acts.approve(place, first["id"], actor="ana")
    (title,) = told(world)
    assert title.startswith(("New budgets from ", "Testing new budgets in "))
    budget_acts.roll_back(place, to=None, reason="stock ran out", actor="ana")
    with session(world.loop.engine, read_only=True) as db:
        back = decisions(db, kind="roll_back")[0]
    (_, title) = told(world)
    assert title.startswith("Budgets go back to what they were from ")
    page = next(world.workspace.reports.glob(f"decision-*-{back.id}.html"))
    assert "stock ran out" in page.read_text(encoding="utf-8")
    said = CliRunner().invoke(app, ["report", "--workspace", place]).output
    assert said.startswith(title)


def test_a_rejected_plan_leaves_the_budgets_in_force(world: Any) -> None:
    world.set("#approve_above = 0.1", "approve_above = 0.0001")
    waiting = world.cycle()
    acts.reject(str(world.workspace.root), waiting["id"], reason="sale", actor="ana")
    (title,) = told(world)
    assert "were rejected" in title
    assert list(world.workspace.outbox.glob("*.csv")) == []


def test_a_person_rolls_back_by_hand_and_the_rollout_ends(world: Any) -> None:
    world.cycle()
    began = world.rollout()
    assert began is not None
    budget_acts.roll_back(str(world.workspace.root), to=None, reason="stock", actor="ana")
    assert world.rollout() is None
    lines = read_budgets(newest_file(world))
    assert Policy.of({_cell(x): x.daily_budget for x in lines}) == began.reference


def test_cells_of_a_plan_that_is_held_are_told_what_was_planned(world: Any) -> None:
    world.set("health_checks = true", "health_checks = false")
    world.day += timedelta(days=9)
    settled = world.cycle()
    assert settled["kind"] == "hold"
    assert "The plan is held." in settled["reason"]
    with session(world.loop.engine, read_only=True) as db:
        lines = budget_lines(db, decision_id=settled["id"])
    assert all(x.daily_budget == x.previous_daily_budget for x in lines)
    told = [x.reason for x in lines if "Planned was: " in x.reason]
    assert told
    assert all(words.startswith("Unchanged. Planned was: ") for words in told)
    assert not any(x.reason.startswith(("Up", "Down")) for x in lines)


def test_where_every_cell_is_held_the_reason_is_who_holds_them(world: Any) -> None:
    acts.pause(str(world.workspace.root), segment="*", channel="*", reason="sale", actor="ana")
    settled = world.cycle()
    assert settled["kind"] == "hold"
    held = "Nothing may move: every cell is held (paused by ana (sale)). The budgets stay."
    assert held in settled["reason"]
    assert settled["reason"].startswith("Of ")  # what of the total loses comes first


def test_a_paused_channel_does_not_move(world: Any) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    place = str(world.workspace.root)
    acts.pause(place, segment="*", channel="search", reason="tracking", actor="ana")
    world.cycle()
    lines = read_budgets(next(world.workspace.outbox.glob("*.csv")))
    still = [x for x in lines if x.channel == "search"]
    assert still and all(x.daily_budget == x.previous_daily_budget for x in still)
    assert all("paused" in x.reason for x in still)
    assert "Resumed" in acts.resume(place, segment="*", channel="search", actor="ana")


def test_a_paused_channel_does_not_move_in_the_first_wave_either(world: Any) -> None:
    place = str(world.workspace.root)
    cell = sorted(world.market.incumbent.segment)[0]
    acts.pause(place, segment=cell, channel="search", reason="", actor="ana")
    world.set("\ncanary_share = 0.3", "\ncanary_share = 0.5")
    world.cycle()
    lines = read_budgets(next(world.workspace.outbox.glob("*.csv")))
    (held,) = [x for x in lines if (x.segment, x.channel) == (cell, "search")]
    assert held.daily_budget == held.previous_daily_budget
    assert held.segment in world.rollout().following(1)
    assert any(x.segment == cell and x.daily_budget != x.previous_daily_budget for x in lines)


def test_budgets_set_by_hand_are_what_the_next_cycle_starts_from(
    world: Any, tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    budgets_frame(Policy.of({_cell(r): Decimal("1000.00") for r in cells(world)})).to_csv(
        file, index=False
    )
    before = world.day - timedelta(days=1)
    budget_acts.set_budgets(str(world.workspace.root), file, start=before, actor="ana")
    world.cycle()
    newest = max(world.workspace.outbox.glob(f"budgets-{world.day}*.csv"))
    assert {x.previous_daily_budget for x in read_budgets(newest)} == {Decimal("1000.00")}


def test_budgets_set_again_after_a_kill_go_out_and_are_decided_once(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.csv"
    budgets_frame(Policy.of({_cell(r): Decimal("1000.00") for r in cells(world)})).to_csv(
        file, index=False
    )
    place, before = str(world.workspace.root), world.day - timedelta(days=1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(budget_acts, "bring_out", killed)
        with pytest.raises(KeyboardInterrupt):
            budget_acts.set_budgets(place, file, start=before, actor="ana")
    assert not list(world.workspace.outbox.glob("*.csv"))
    for start in (before, before, world.day):
        assert "in force from" in budget_acts.set_budgets(place, file, start=start, actor="ana")
    with session(world.loop.engine, read_only=True) as db:
        assert [d.effective_from for d in decisions(db)] == [before]
    assert len(list(world.workspace.outbox.glob("*.csv"))) == 1


def cells(world: Any) -> Any:
    return world.market.incumbent.itertuples()


def test_a_plan_for_a_day_already_passed_is_declined(world: Any) -> None:
    first = world.cycle()
    world.live(first)
    world.cycle()
    world.day -= timedelta(days=3)
    late = world.cycle()
    assert late["state"] == "declined"
    assert "undo the future" in late["reason"]


def test_rules_that_cannot_hold_together_are_named_and_nothing_is_written(world: Any) -> None:
    world.set("\n# Least and most a cell", '\n[[budget.limits]]\nfloor = "999999.00"\n# Least')
    settled = world.cycle()
    assert settled["state"] == "declined"
    assert list(world.workspace.outbox.iterdir()) == []
    said = propose_once(world.loop, world.day, source="holdout")
    assert said["id"] is None
    assert "floor of every cell" in said["reason"] and "Nothing was written" in said["reason"]


def test_a_report_leads_to_its_pages_by_name_and_a_day_without_one_says_so(world: Any) -> None:
    world.cycle()
    place = ["--workspace", str(world.workspace.root)]
    for kind in ("monitor", "decision", "data"):
        (world.workspace.reports / f"{kind}-{world.day}-1.html").write_text("", encoding="utf-8")
    said = CliRunner().invoke(app, ["report", *place]).output
    told = [line.split(":", 1)[0] for line in said.splitlines() if line.endswith("-1.html")]
    assert told == ["The decision", "Why the last weeks differ", "The data"]
    eve = world.day - timedelta(days=1)
    said = CliRunner().invoke(app, ["report", "--as-of", str(eve), *place]).output
    assert f"Nothing was decided for {eve}. " in said
    assert f"liftloop budgets --workspace {world.workspace.root} --decisions lists" in said
