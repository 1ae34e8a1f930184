"""A week whose spend is reported late: trained with the budgets set, judged by facts alone, and
told in the decision."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from liftloop.adapters.ledger.decisions import decision
from liftloop.adapters.ledger.records import session, training
from liftloop.adapters.ledger.tables import AuditEntry
from liftloop.core.policy import Policy
from models.evaluation.data_splits import Specification, gather_evidence
from models.lift.holdout_lifts import weekly_lifts
from models.lift.imputation import with_imputed_spend
from tasks.context import view
from tasks.decision.reallocate import propose_once
from tasks.decision.rollout import settle_once
from tasks.evidence.health import budgets_over_time
from tasks.model.evaluate import evidence_of, kind_of
from tasks.model.learning import HOLDOUT_FEEDS
from tasks.model.train import promote_once, train_once

LATE = "central"  # the segment whose spend of the last days is not reported
DAYS = 5


@pytest.fixture
def late(world: Any) -> Any:
    """A decided week, of which one segment's performance lacks its last days."""
    world.set("\nenabled = true", "\nenabled = false")
    world.began = world.cycle()
    budgets: Policy = world.budgets(world.began["id"])
    rows = [(c.segment, c.channel, amount) for c, amount in budgets.budgets]
    feeds = world.market.step(pd.DataFrame(rows, columns=["segment", "channel", "daily_budget"]), 7)
    world.day += timedelta(days=7)
    spent = feeds["performance"]
    since = pd.Timestamp(world.day - timedelta(days=DAYS))
    lost = (spent.segment == LATE) & (pd.to_datetime(spent.date) >= since)
    assert lost.sum() == 2 * DAYS
    world.take_in({**feeds, "performance": spent[~lost]})
    return world


def lacking(world: Any) -> list[str]:
    """The days that stand in: those that the other feeds tell of already."""
    eve = world.day - timedelta(days=1)
    return [str(eve - timedelta(days=n)) for n in range(DAYS - 1, 0, -1)]


def test_what_stands_in_for_spend_trains_and_never_judges(late: Any) -> None:
    loop, day = late.loop, late.day
    told = train_once(loop, day, source="holdout", reason="test")
    assert "budgets set stand in for spend that is not reported yet: 2 cells" in told["sentence"]
    with session(loop.engine, read_only=True) as db:
        made = training(db, key=told["key"])
    assert made is not None
    (entry,) = json.loads(made.examination)["defaults"]
    assert entry["days"] == lacking(late) and entry["used_by"] == f"training {made.key}"
    assert entry["cells"] == [[LATE, "search"], [LATE, "social"]]
    judging = evidence_of(loop, day, kind_of(loop, made))
    weeks = {name: np.bincount(judging.cell)[i] for i, name in enumerate(judging.cells)}
    others = {n for cell, n in weeks.items() if cell.segment != LATE}
    assert len(others) == 1
    assert {n for cell, n in weeks.items() if cell.segment == LATE} == {others.pop() - 1}
    assert promote_once(loop, told)["sentence"]
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=told["key"])
    assert trained is not None
    kept = json.loads(trained.examination)
    assert kept["defaults"] == [entry] and kept["checks"], "examined, and still told"


def test_no_lift_that_judges_rests_on_a_guess_however_wrong(late: Any) -> None:
    """With a hundredfold budget another figure stands in; each lift that judges, and the spend it
    is held against, is the same."""
    facts = view(late.loop, late.day, HOLDOUT_FEEDS)
    budgets = budgets_over_time(late.loop, late.day)
    kind = Specification(fade_per_day=0.007, claims=False)
    lifts = []
    for factor in (1, 100):
        day, told = budgets[-1]
        other = Policy.of({c: b * factor if c.segment == LATE else b for c, b in told.budgets})
        filled = with_imputed_spend(
            facts["performance"],
            budgets=[*budgets[:-1], (day, other)],
            until=late.day - timedelta(days=2),
            most_days=10,
        )
        assert filled.days
        found = gather_evidence(
            {**facts.frames, "performance": filled.performance},
            as_of=late.day,
            specification=kind,
            guessed=filled.days,
        )
        whole = weekly_lifts(
            holdout=facts["holdout"], performance=filled.performance, as_of=late.day
        )
        assert len(whole) == len(found.lift) + 2
        spent = [
            found.spend[first : last + 1, cell].mean() * found.size[cell]
            for cell, first, last in zip(found.cell, found.first, found.last, strict=True)
        ]
        lifts.append(np.column_stack([spent, found.lift * found.size[found.cell]]))
    np.testing.assert_allclose(lifts[0], lifts[1], rtol=1e-9)


def test_a_decision_names_the_cells_and_days_that_were_defaults(late: Any) -> None:
    loop, day = late.loop, late.day
    promote_once(loop, train_once(loop, day, source="holdout", reason="test"))
    found = propose_once(loop, day, source="holdout")
    settled = settle_once(loop, day, found["id"])
    with session(loop.engine, read_only=True) as db:
        kept = decision(db, id=settled["id"])
        first = decision(db, id=late.began["id"])
        entries = db.exec(select(AuditEntry).where(AuditEntry.subject == settled["id"])).all()
    assert kept is not None and first is not None
    assert "defaults" not in json.loads(first.evidence)
    said = json.loads(kept.evidence)["defaults"]
    plan = next(entry for entry in said if entry["used_by"] == "the plan")
    assert plan["feed"] == "performance"
    assert plan["stands_in"] == "the budgets set stand in for its spend"
    assert plan["cells"] == [[LATE, "search"], [LATE, "social"]]
    assert [date.fromisoformat(d) for d in plan["days"]][-1] == day - timedelta(days=1)
    assert any('"defaults"' in entry.payload for entry in entries)


def test_a_plan_made_with_defaults_is_another_one_than_that_made_with_the_facts(late: Any) -> None:
    loop, day = late.loop, late.day
    with_default = propose_once(loop, day, source="holdout")
    late.set("\nmax_lag_days = 3", "\nmax_lag_days = 6")
    assert propose_once(late.loop, day, source="holdout")["id"] != with_default["id"]
