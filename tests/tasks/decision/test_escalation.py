"""A plan that meets a rule waits for the role that the rule names, and is withdrawn after its
day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger.decisions import decision
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Message
from liftloop.core.access.escalation import Trigger
from liftloop.core.access.roles import Caller, Role
from liftloop.core.errors import ConfigurationError, Declined, NotAllowed
from liftloop.core.policy import Cell
from liftloop.settings.approval import ApprovalRule
from liftloop.settings.schema import parse_settings
from tasks.decision.escalation import escalation_of_decision
from tasks.open_work import review_waiting_once
from tasks.operate import acts, budget_acts
from tasks.report.notify import announce_once

FINANCE = 'decides = "finance-approver"\ntell = ["analyst"]\nwithin_days = 3\n'


def rule(world: Any, on: str, more: str = "") -> None:
    path = world.workspace.config
    text = path.read_text(encoding="utf-8")
    path.write_text(f'{text}\n[[approval.rules]]\non = "{on}"\n{more}', encoding="utf-8")


def messages(world: Any) -> list[str]:
    with session(world.loop.engine, read_only=True) as db:
        return list(db.exec(select(Message.text).order_by(col(Message.sequence))))


def met(world: Any, id: str) -> set[Trigger]:
    with session(world.loop.engine, read_only=True) as db:
        found = decision(db, id=id)
    assert found is not None
    return {one.trigger for one in escalation_of_decision(found).met}


@pytest.fixture
def clock(world: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LIFTLOOP_NOW", f"{world.day}T06:00:00+00:00")
    yield


@pytest.mark.usefixtures("clock")
def test_only_the_role_that_the_rule_names_approves(world: Any) -> None:
    rule(world, "size", f"limit = 0.0001\n{FINANCE}")
    waiting = world.cycle()
    assert waiting["state"] == "awaiting_approval"
    announce_once(world.loop, waiting["id"], None)
    (told,) = messages(world)
    due = world.day + timedelta(days=3)
    assert f"Needs you: Finance approver by {due.day} {due:%B %Y}, because" in told
    assert "of the money moves (limit 0.0%)" in told and "Copy: analyst" in told
    assert len(told.split()) <= 80
    place = str(world.workspace.root)
    with pytest.raises(NotAllowed, match="finance approver decides, because"):
        acts.approve(place, waiting["id"], actor="mia", caller=Caller("mia", Role.MARKETER))
    assert world.rollout() is None
    acts.approve(place, waiting["id"], actor="finn", caller=Caller("finn", Role.FINANCE_APPROVER))
    assert world.rollout() is not None


@pytest.mark.usefixtures("clock")
def test_what_nobody_decides_is_told_once_more_and_then_withdrawn(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule(world, "size", f"limit = 0.0001\n{FINANCE}")
    rule(world, "risk", "limit = 0.0\nwithin_days = 9\n")
    waiting, day = world.cycle(), world.day
    assert met(world, waiting["id"]) == {Trigger.SIZE, Trigger.RISK}
    assert review_waiting_once(world.loop, day + timedelta(days=1)) == []
    assert messages(world) == []
    for _ in range(2):
        assert review_waiting_once(world.loop, day + timedelta(days=2)) == []
    (reminder,) = messages(world)
    assert reminder.startswith("Reminder: ") and "Finance approver by" in reminder
    monkeypatch.setenv("LIFTLOOP_NOW", f"{day + timedelta(days=4)}T06:00:00+00:00")
    with pytest.raises(Declined, match="waited longer than 3 days"):
        acts.approve(str(world.workspace.root), waiting["id"], actor="ana")
    assert review_waiting_once(world.loop, day + timedelta(days=4)) == [waiting["id"]]
    _, withdrawn = messages(world)
    assert "were withdrawn" in withdrawn and "The current budgets stay." in withdrawn
    assert world.rollout() is None and not list(world.workspace.outbox.glob("*.csv"))
    with session(world.loop.engine, read_only=True) as db:
        assert verify(db).intact


def budgets_file(folder: Path, budgets: Mapping[Cell, Decimal]) -> Path:
    rows = "\n".join(f"{c.segment},{c.channel},{amount}" for c, amount in budgets.items())
    file = folder / f"budgets-{len(list(folder.glob('budgets-*')))}.csv"
    file.write_text(f"segment,channel,daily_budget\n{rows}\n", encoding="utf-8")
    return file


@pytest.mark.usefixtures("clock")
def test_budgets_set_by_hand_wait_where_a_channel_gets_money_that_had_none(
    world: Any, tmp_path: Path
) -> None:
    rule(world, "new_channel", FINANCE)
    world.set("max_step = 0.25", "max_step = 1.0")
    world.set("total_change = 0.5", "total_change = 1.0")
    before = world.before().as_dict()
    none = {c: Decimal(0) if c.channel == "social" else a for c, a in before.items()}
    some = {c: Decimal(20) if c.channel == "social" else a - 20 for c, a in none.items()}
    place, day = str(world.workspace.root), world.day + timedelta(days=1)
    first = budgets_file(tmp_path, none)
    assert budget_acts.set_budgets(place, first, start=day, actor="ana").startswith("Set:")
    second, day = budgets_file(tmp_path, some), day + timedelta(days=1)
    said = budget_acts.set_budgets(place, second, start=day, actor="ana")
    assert "because social had no money before" in said and "liftloop approve" in said


@pytest.mark.usefixtures("clock")
def test_of_a_move_and_its_opposite_the_one_that_loses_is_asked_for(
    world: Any, tmp_path: Path
) -> None:
    rule(world, "low_confidence", f"limit = 0.5\n{FINANCE}")
    before = world.before().as_dict()  # first set as they are
    one, other = sorted(before)[:2]
    said = []
    for days, sign in enumerate((0, 1, -1), start=1):
        moved = {**before, one: before[one] + sign * 50, other: before[other] - sign * 50}
        said.append(
            budget_acts.set_budgets(
                str(world.workspace.root),
                budgets_file(tmp_path, moved),
                start=world.day + timedelta(days=days),
                actor="ana",
            )
        )
        if said[-1].startswith("Set"):
            before = moved
    assert sum("probability (limit 50%)" in words for words in said) == 1


def test_a_plan_of_all_segments_is_looked_at_without_a_rollout(world: Any) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    rule(world, "risk", "limit = 0.0\n")
    rule(world, "model_rolled_back")
    rule(world, "performance")
    rule(world, "widens")
    rule(world, "new_channel")
    waiting = world.cycle()
    assert met(world, waiting["id"]) == {Trigger.RISK}


def test_a_rule_names_a_role_that_may_approve_and_a_limit_that_can_be_meant() -> None:
    def rules(*given: dict[str, object]) -> tuple[ApprovalRule, ...]:
        values = {"approval": {"rules": list(given)}}
        return parse_settings(values, source="test").approval.rules

    assert [one.limit for one in rules({"on": "size"}, {"on": "model_rolled_back"})] == [0.2, 28]
    bad: list[dict[str, object]] = [
        {"on": "size", "decides": "analyst"},
        {"on": "size", "limit": 20},
        {"on": "x"},
    ]
    for wrong in bad:
        with pytest.raises(ConfigurationError):
            rules(wrong)
