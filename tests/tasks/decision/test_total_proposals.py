"""Another total is proposed, approved or rejected by a person, and remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger.records import session
from liftloop.app.cli import app
from liftloop.core.curves.gain import Estimate
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.ids import canonical
from liftloop.pipeline.plan.total import JudgedTotal
from liftloop.settings.schema import Settings
from tasks.context import Loop
from tasks.decision.budget_terms import approved_total
from tasks.decision.replay import replay
from tasks.decision.total_proposals import (
    Offer,
    judged_from,
    judged_record,
    offer_total,
    offers,
    open_offer,
)
from tasks.operate import acts
from tasks.report.notify import announce_once


def asking(world: Any, more: str = "") -> None:
    world.set('\ntotal_is = "fixed"', f'\ntotal_is = "proposal"{more}')


def waiting(world: Any) -> Offer | None:
    with session(world.loop.engine, read_only=True) as db:
        return open_offer(db)


def approved(world: Any) -> Decimal | None:
    with session(world.loop.engine, read_only=True) as db:
        return approved_total(db, world.loop)


def test_the_total_is_kept_and_another_one_waits_for_a_person(world: Any) -> None:
    asking(world)
    before = world.before()
    settled = world.cycle()
    assert world.budgets(settled["id"]).total == before.total
    offer = waiting(world)
    assert offer is not None and offer.proposal.now == before.total
    said = announce_once(world.loop, settled["id"], None)["text"]
    assert f"liftloop approve {offer.id} or liftloop reject {offer.id}" in said
    place = str(world.workspace.root)
    shown = CliRunner().invoke(app, ["budgets", "--workspace", place])
    assert shown.exit_code == 0
    assert f"liftloop approve --workspace {place} {offer.id}" in shown.output
    assert approved(world) is None


def test_an_approved_total_is_planned_with_from_the_next_cycle_on_and_replays(world: Any) -> None:
    asking(world)
    first = world.cycle()
    offer = waiting(world)
    assert offer is not None
    place = str(world.workspace.root)
    said = acts.approve(place, offer.id, actor="ana")
    assert f"{offer.proposal.to:,.2f} USD a day" in said
    assert waiting(world) is None and approved(world) == offer.proposal.to
    with pytest.raises(Declined, match="it is approved"):
        acts.approve(place, offer.id, actor="ana")
    world.live(first)
    for _ in range(2):  # with a rollout the new total comes segment by segment
        second = world.cycle()
        world.live(second)
    now = world.budgets(second["id"]).total
    up = offer.proposal.to > offer.proposal.now
    assert (now > offer.proposal.now) == up and now != offer.proposal.now
    found = replay(place, second["id"])
    assert found.same, found.sentence
    with session(world.loop.engine, read_only=True) as db:
        assert verify(db).intact
    # the first decision was made without it, and still is
    assert replay(place, first["id"]).same


def test_a_rejected_total_is_not_proposed_again_for_eight_weeks(world: Any) -> None:
    asking(world)
    world.cycle()
    offer = waiting(world)
    assert offer is not None
    place = str(world.workspace.root)
    said = acts.reject(place, offer.id, reason="no cash", actor="ana")
    assert "8 weeks" in said
    loop, other = world.loop, offer.proposal
    for days, asked in ((7, False), (49, False), (63, True)):
        with session(loop.engine) as db:
            day = offer.as_of.fromordinal(offer.as_of.toordinal() + days)
            offer_total(db, loop, day, other)
            found = open_offer(db)
            assert (found is not None) == asked, days
    # the other way, or much farther, is another question
    with session(loop.engine) as db:
        nearer = replace(other, to=other.now + (other.to - other.now) / 4)
        offer_total(db, loop, offer.as_of, nearer)
        newest = open_offer(db)
        assert newest is not None and newest.proposal.to == nearer.to


def test_a_newer_proposal_takes_the_place_of_the_one_that_waits_or_withdraws_it(
    world: Any,
) -> None:
    asking(world)
    world.cycle()
    first = waiting(world)
    assert first is not None
    loop, place = world.loop, str(world.workspace.root)
    with session(loop.engine) as db:  # the same a week later keeps its number
        offer_total(db, loop, first.as_of, first.proposal)
        assert open_offer(db) == first
        farther = replace(first.proposal, to=first.proposal.to + first.proposal.now / 5)
        offer_total(db, loop, first.as_of, farther)
    second = waiting(world)
    assert second is not None and second.id != first.id
    with pytest.raises(Declined, match=second.id):
        acts.approve(place, first.id, actor="ana")
    with session(loop.engine) as db:
        offer_total(db, loop, first.as_of, None)
        assert open_offer(db) is None
        assert [o.state for o in offers(db)] == ["superseded", "withdrawn"]
    with pytest.raises(UnknownName, match="liftloop budgets names"):
        acts.reject(place, "total-000000000000", reason="", actor="ana")


def test_a_total_that_the_rules_of_today_forbid_is_not_approved(world: Any) -> None:
    asking(world)
    world.cycle()
    offer = waiting(world)
    assert offer is not None
    cap = "[[budget.limits]]\ncap = " + '"10.00"\n'
    config = world.workspace.config
    config.write_text(f"{config.read_text(encoding='utf-8')}\n{cap}", encoding="utf-8")
    with pytest.raises(Declined, match="cap of every cell"):
        acts.approve(str(world.workspace.root), offer.id, actor="ana")
    assert approved(world) is None


def test_a_total_that_somebody_changes_in_the_settings_wins(world: Any) -> None:
    asking(world)
    world.cycle()
    offer = waiting(world)
    assert offer is not None
    acts.approve(str(world.workspace.root), offer.id, actor="ana")
    assert approved(world) == offer.proposal.to
    world.set("\n[budget]\n", '\n[budget]\ntotal = "50000.00"\n')
    assert approved(world) is None


def test_the_settings_of_earlier_versions_keep_their_hash(world: Any) -> None:
    plain = world.loop
    assert "total_is" not in plain.deciding_settings()["budget"]
    other = plain.settings.budget.model_copy(update={"total_is": "proposal"})
    asked: Settings = plain.settings.model_copy(update={"budget": other})
    assert Loop(plain.workspace, asked).settings_hash != plain.settings_hash


def test_what_is_kept_of_a_judged_total_is_read_again() -> None:
    found = JudgedTotal(Decimal("100.00"), Decimal("80.00"), 0.5, Estimate(3.0, -1.0, 7.0))
    assert judged_from(json.loads(canonical(judged_record(found, Settings())))) == found
