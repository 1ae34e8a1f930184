"""A cell that does not spend its budget gets no raise; the rest of the plan goes on."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pandas as pd

from liftloop.adapters.ledger.decisions import proposal
from liftloop.adapters.ledger.records import policy, session
from liftloop.core.policy import Cell, Policy
from tasks.decision.reallocate import propose_once
from tasks.decision.rollout import settle_once

SLOW = Cell("north", "social")


def week(world: Any, budgets: Policy, share: float) -> None:
    """A week passes in which one cell spends only a share of what it would."""
    rows = [(c.segment, c.channel, amount) for c, amount in budgets.budgets]
    feeds = world.market.step(pd.DataFrame(rows, columns=["segment", "channel", "daily_budget"]), 7)
    spent = feeds["performance"]
    hit = (spent.segment == SLOW.segment) & (spent.channel == SLOW.channel)
    assert hit.any()
    less = spent.assign(spend=spent.spend.where(~hit, spent.spend * share))
    world.day += timedelta(days=7)
    world.take_in({**feeds, "performance": less})


def test_a_cell_that_spends_two_fifths_of_its_budget_is_held_alone(world: Any) -> None:
    world.set("\nenabled = true", "\nenabled = false")
    settled = world.cycle()
    now = world.budgets(settled["id"])
    week(world, now, 0.4)
    found = propose_once(world.loop, world.day, source="holdout")
    with session(world.loop.engine, read_only=True) as db:
        kept = proposal(db, id=found["id"])
        assert kept is not None
        planned = policy(db, version=kept.policy_version)
    words = {key: text for key, (_, _, text) in json.loads(kept.cells).items()}
    assert [key for key, text in words.items() if "gets no raise" in text] == [str(SLOW)]
    assert planned is not None and planned.as_dict()[SLOW] <= now.as_dict()[SLOW]
    assert planned.version != now.version and planned.total == now.total
    assert settle_once(world.loop, world.day, found["id"])["kind"] == "move"
