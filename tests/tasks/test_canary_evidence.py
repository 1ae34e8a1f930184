"""A rollout's evidence from the facts."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest
from tasks.canary_evidence import seen

from liftloop.adapters.settings import Settings
from liftloop.core.evidence import CanaryEvidence
from liftloop.markets.hill import HillMarket


@pytest.fixture(scope="module")
def market() -> tuple[date, dict[str, pd.DataFrame]]:
    world = HillMarket(3)
    feeds = [world.history(), world.step(world.incumbent, 21)]
    return world.start, {name: pd.concat([f[name] for f in feeds]) for name in feeds[0]}


def found(
    start: date, facts: dict[str, pd.DataFrame], *, as_of: date, baseline: float | None = None
) -> CanaryEvidence:
    names = sorted(facts["sales"].segment.unique())
    return seen(
        Settings(), facts, exposed=dict.fromkeys(names[:3], start), control=names[3:],
        started_on=start, as_of=as_of, baseline=baseline,
    )  # fmt: skip


def test_every_settled_day_is_a_look_and_nothing_later_is_known(
    market: tuple[date, dict[str, pd.DataFrame]],
) -> None:
    start, facts = market
    early = found(start, facts, as_of=start + timedelta(days=14), baseline=30_000.0)
    assert early.problem == ""
    assert [look.day for look in early.looks] == [start + timedelta(days=k) for k in range(3, 11)]
    assert early.at_stake == pytest.approx(14 * 30_000.0)
    known = {
        name: rows[pd.to_datetime(rows["date"]) < pd.Timestamp(start + timedelta(days=14))]
        for name, rows in facts.items()
    }
    assert found(start, known, as_of=start + timedelta(days=14), baseline=30_000.0) == early


def test_what_was_planned_does_not_change_as_days_pass(
    market: tuple[date, dict[str, pd.DataFrame]],
) -> None:
    start, facts = market
    plans = [
        found(start, facts, as_of=start + timedelta(days=days), baseline=30_000.0).plan
        for days in (10, 21)
    ]
    assert plans[0] is not None and plans[1] is not None
    assert plans[0].information == pytest.approx(plans[1].information, rel=0.02)


def test_an_empty_ledger_of_facts_cannot_be_judged() -> None:
    start = date(2026, 3, 2)
    facts = {
        "holdout": pd.DataFrame(columns=["date", "segment", "channel", "arm", "users"]),
        "performance": pd.DataFrame({"date": pd.Series(dtype="datetime64[us]"), "segment": [],
                                     "channel": [], "spend": []}),
        "sales": pd.DataFrame(columns=["date", "segment", "revenue"]),
    }  # fmt: skip
    none = seen(
        Settings(), facts, exposed={"a": start}, control=["b"], started_on=start,
        as_of=start + timedelta(days=20), baseline=None,
    )  # fmt: skip
    assert none.looks == () and none.problem
