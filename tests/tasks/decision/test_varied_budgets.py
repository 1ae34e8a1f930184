"""Budgets varied on purpose in a workspace: recorded before the week, worded by cell, replayed, and
measured by the coins alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.decisions import budget_lines, decisions
from liftloop.adapters.ledger.records import session
from liftloop.markets.without_holdouts import SalesMarket
from liftloop.settings.workspace import Workspace
from models.lift import variation_effects
from tasks.context import Loop, open_loop
from tasks.decision.reallocate import propose_once
from tasks.decision.replay import replay
from tasks.decision.rollout import settle_once
from tasks.evidence.ingest import intake_of
from tasks.experiments.listing import listed_tests, measured_variation, varied_pairs
from tasks.model.train import promote_once, train_once
from tasks.report.evidence_sources import evidence_sources

WEEKS = 3


class QuietMarket(SalesMarket):
    """Six segments that sell little beside what their two channels bring: sales tell much."""

    constants = replace(
        SalesMarket.constants,
        segments=tuple("abcdef"),
        channels=("search", "video"),
        history_days=70,
        organic_revenue=3000.0,
        size_spread=0.3,
    )


def take_in(loop: Loop, feeds: dict[str, pd.DataFrame], name: str) -> None:
    for feed in ("performance", "sales"):
        path = loop.workspace.inbox / f"{feed}-{name}.parquet"
        feeds[feed].to_parquet(path)
        assert deliver(intake_of(loop), path).refused is None


@pytest.fixture
def cycled(fresh_workspace: Workspace) -> tuple[Loop, date]:
    """A workspace after four weekly cycles, and the day after the last week."""
    place = fresh_workspace.root / "liftloop.toml"
    asked = place.read_text(encoding="utf-8").replace("vary = 0.0", "vary = 0.2")
    assert "vary = 0.2" in asked
    place.write_text(asked, encoding="utf-8")
    market, loop = QuietMarket(1), open_loop(fresh_workspace.root)
    take_in(loop, market.history(), "history")
    day = market.start
    for week in range(WEEKS):
        trained = train_once(loop, day, source="holdout", reason="test")
        promote_once(loop, trained)
        plan = propose_once(loop, day, source="holdout")
        settle_once(loop, day, plan["id"])
        with session(loop.engine, read_only=True) as db:
            lines = budget_lines(db, decision_id=decisions(db, state="in_force")[0].id)
        budgets = pd.DataFrame(
            [(line.segment, line.channel, float(line.daily_budget)) for line in lines],
            columns=["segment", "channel", "daily_budget"],
        )
        take_in(loop, market.step(budgets, 7), str(week))
        day += timedelta(days=7)
    return loop, day


def test_what_varies_is_recorded_worded_replayed_and_measured(
    cycled: tuple[Loop, date], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, day = cycled
    with session(loop.engine, read_only=True) as db:
        made = decisions(db, state="in_force")
        lines = {d.id: budget_lines(db, decision_id=d.id) for d in made}
        pairs = varied_pairs(db, until=day)
    recorded = [d for d in made if "variation" in json.loads(d.evidence)]
    assert recorded and len(pairs) >= 8
    assert {pair.days for pair in pairs} == {7}
    for decision in recorded:
        said = {(x.segment, x.channel): x.reason for x in lines[decision.id]}
        for pair in json.loads(decision.evidence)["variation"]["pairs"]:
            up, down = (said[pair[side], pair["channel"]] for side in ("raised", "lowered"))
            assert f"above its plan to learn what {pair['channel']} earns" in up
            assert f"below its plan to learn what {pair['channel']} earns" in down
            assert pair["lowered"] in up and pair["raised"] in down
        assert "on purpose" in decision.reason
    assert replay(str(loop.workspace.root), recorded[0].id).same
    monkeypatch.setattr(variation_effects, "LEAST_PAIRS", 3)
    effects = measured_variation(loop, day)
    assert effects and {e.channel for e in effects} <= {pair.channel for pair in pairs}
    for effect in effects:
        assert effect.standard_error > 0 and effect.last < day
        assert effect.moved > 0 and set(effect.segments) <= set("abcdef")
    monkeypatch.setattr(type(loop), "today", lambda _: day)
    rows = {row["channel"]: row for row in listed_tests(str(loop.workspace.root))}
    assert set(rows) == {effect.channel for effect in effects}
    for row in rows.values():
        assert row["design"] == "coin" and row["low"] < row["incremental_revenue"] < row["high"]
    sources = evidence_sources(str(loop.workspace.root), as_of=day)
    assert {c.sources for c in sources.channels if c.channel in rows} == {("varied",)}
