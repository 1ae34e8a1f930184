"""A what-if with another total, step, floors or caps that is approved sets them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from liftloop.adapters.audit.trail import entries, verify
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.core.access.roles import Caller, Role
from liftloop.core.errors import Declined, InfeasibleBudget, NotAllowed
from liftloop.reporting.history.audit_words import in_words, payload_of
from liftloop.settings.budget import GroupSettings
from tasks.decision.budget_terms import approved_total, planning_settings
from tasks.decision.what_if import NextPlan, what_next
from tasks.operate import acts
from tasks.operate.budget_acts import propose_next
from tasks.report.rollout_summary import last_summary
from tasks.report.situation import situation
from tests.tasks.conftest import World

CAP = 'budget.groups = [{ name = "less search", channels = ["search"], maximum = "%s" }]'


@pytest.fixture
def spending(world: World) -> World:
    """Its total is set, to what is spent."""
    world.set('#total = "100000.00"', f'total = "{world.before().total}"')
    return world


def total_of(world: World) -> Decimal:
    total = planning_settings(world.loop).budget.total
    assert total is not None
    return total


def planned(world: World, *more: str, share: str = "1.10") -> NextPlan:
    """A cycle, and the plan after it with another total."""
    world.cycle()
    total = (total_of(world) * Decimal(share)).quantize(Decimal("0.01"))
    return what_next(str(world.workspace.root), [f'budget.total = "{total}"', *more])


def waits(world: World, plan: NextPlan) -> str:
    place = str(world.workspace.root)
    said = propose_next(place, plan, source="a what-if plan (more to win)", actor="ana")
    assert "Waits for approval" in said
    with session(world.loop.engine, read_only=True) as db:
        found = decisions(db)[0]
    assert found.state == "awaiting_approval"
    return found.id


def test_an_approved_total_with_its_caps_is_in_force_and_planned_with(spending: World) -> None:
    world = spending
    place, before = str(world.workspace.root), total_of(world)
    plan = planned(world, CAP % "30000.00")
    id = waits(world, plan)
    assert total_of(world) == before
    said = acts.approve(place, id, actor="finn")
    total = plan.changed[1].total
    assert total == (before * Decimal("1.10")).quantize(Decimal("0.01"))
    assert f"From then on: total {total:,.2f} USD a day; less search at most 30,000.00." in said
    settings = planning_settings(world.loop)
    assert settings.budget.total == total
    assert settings.budget.groups[-1] == GroupSettings(
        name="less search", channels=("search",), maximum=Decimal("30000.00")
    )
    assert world.budgets(id).total == total
    # what was expected of the plan stands with the decision, and nothing counts as taken back
    with session(world.loop.engine, read_only=True) as db:
        head = decisions(db)[0]
        now = situation(db, world.loop, None, last_summary(db, world.loop.settings))
    assert head.expected_gain == pytest.approx(plan.changed[0].expected_gain, rel=1e-6)
    assert now.is_known and not now.taken_back and not now.waiting
    # the next plan is made with it, and a what-if can go back to what the file says
    again = what_next(place, [f'budget.total = "{before}"'])
    assert again.usual[1].total == total
    assert (again.changed[1].total, dict(again.terms)) == (before, {"total": str(before)})
    with session(world.loop.engine, read_only=True) as db:
        assert approved_total(db, world.loop) == total
        assert approved_total(db, replace(world.loop, at=decisions(db)[0].created_at)) is None
        assert verify(db).intact
        (entry,) = (e for e in entries(db, subject=id) if e.act == "approve")
    assert f"total {total:,.2f} a day" in in_words("approve", payload_of(entry.payload))
    # another total in the file is newer than what was approved
    world.set(f'total = "{before}"', f'total = "{before + 1}"')
    assert planning_settings(world.loop).budget.total == before + 1
    assert planning_settings(world.loop).budget.groups == settings.budget.groups


def test_a_total_is_not_approved_once_the_settings_name_another(spending: World) -> None:
    world = spending
    before = total_of(world)
    id = waits(world, planned(world))
    world.set(f'total = "{before}"', f'total = "{before + 1}"')
    with pytest.raises(Declined, match=r"total in .budget. was changed since"):
        acts.approve(str(world.workspace.root), id, actor="finn")


def test_a_larger_total_counts_against_the_limit_of_who_approves(spending: World) -> None:
    world = spending
    plan = planned(world)
    id, more = waits(world, plan), plan.changed[1].total - total_of(world)
    place = str(world.workspace.root)
    for limit, allowed in ((more - 1, False), (more * 2, True)):
        finn = Caller("finn", Role.FINANCE_APPROVER, approve_limit=limit)
        if allowed:
            assert "From then on" in acts.approve(place, id, actor="finn", caller=finn)
        else:
            with pytest.raises(NotAllowed, match="higher limit"):
                acts.approve(place, id, actor="finn", caller=finn)


def test_caps_that_leave_no_room_for_the_total_are_refused(spending: World) -> None:
    world = spending
    with pytest.raises((InfeasibleBudget, Declined)):
        planned(world, 'budget.groups = [{ name = "all", maximum = "10.00" }]')
