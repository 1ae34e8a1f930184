"""Sales of 0 for weeks are told where people look, and teach nothing."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.backtest.known import empty_feed
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.evidence.ingest import intake_of, note_arms
from tasks.evidence.sales_gaps import sales_of
from tasks.model.learning import learn_from_holdout

DAYS = 70


def feeds(broken: bool) -> dict[str, pd.DataFrame]:
    """Two segments whose sales follow one channel's spend; ``broken``: one sells nothing for two
    weeks in which its spend goes on."""
    rng = np.random.default_rng(2)
    days = pd.date_range("2026-01-05", periods=DAYS)
    spend, sales = [], []
    for segment, size in (("uk", 1.0), ("de", 0.6), ("fr", 0.5)):
        money = size * 100 * np.repeat(np.exp(rng.normal(0, 0.3, DAYS // 7)), 7)
        sold = size * 900 * np.exp(rng.normal(0, 0.05, DAYS)) + 2 * money
        if broken and segment == "uk":
            sold[30:44] = 0.0
        spend.append(
            pd.DataFrame(
                {
                    "date": days,
                    "segment": segment,
                    "channel": "search",
                    "spend": money.round(2),
                    "impressions": 1000,
                    "clicks": 100,
                    "conversions": 5.0,
                    "revenue": (2 * money).round(2),
                }
            )
        )
        sales.append(
            pd.DataFrame(
                {
                    "date": days,
                    "segment": segment,
                    "orders": 10.0,
                    "revenue": sold.round(2),
                }
            )
        )
    return {"performance": pd.concat(spend), "sales": pd.concat(sales)}


def test_it_is_said_at_ingest_by_the_doctor_and_in_the_decision(
    fresh_workspace: Workspace,
) -> None:
    loop = open_loop(fresh_workspace.root)
    taken = []
    for name, frame in feeds(broken=True).items():
        path = fresh_workspace.inbox / f"{name}.csv"
        frame.to_csv(path, index=False)
        taken.append(deliver(intake_of(loop), path))
    noted = note_arms(str(fresh_workspace.root), taken)
    words = "Sales are 0 in uk from 2026-02-04 to 2026-02-17"
    assert words in " ".join(noted[1].notes) and words not in " ".join(noted[0].notes)
    (finding,) = sales_of(fresh_workspace)
    assert words in finding.detail and "again" in finding.fix
    day = date(2026, 1, 5) + timedelta(days=DAYS + 1)
    assert words in propose_once(loop, day, source="holdout")["reason"]


def test_what_is_learned_is_what_is_learned_without_these_days(
    fresh_workspace: Workspace,
) -> None:
    loop = open_loop(fresh_workspace.root)
    day = date(2026, 1, 5) + timedelta(days=DAYS)
    empty = {name: empty_feed(name) for name in ("holdout", "experiments", "units")}
    broken = feeds(broken=True)
    without = broken["sales"][broken["sales"]["revenue"] > 0]

    def returns(sales: pd.DataFrame) -> float:
        model = learn_from_holdout(loop.settings, {**broken, **empty, "sales": sales}, as_of=day)
        curves = model.curves
        spend = np.full(len(curves.cells), 50.0)
        return float(curves.draw_revenue(spend).sum(axis=1).mean())

    assert returns(broken["sales"]) == returns(without)
