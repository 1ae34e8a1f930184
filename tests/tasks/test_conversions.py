"""A workspace that counts conversions: feeds without revenue, with a value each and without one."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.app.cli import app
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop, view
from tasks.decision.reallocate import propose_once
from tasks.evidence.ingest import take_in
from tasks.model.curves import curves_of
from tasks.model.train import promote_once, train_once

run = CliRunner()
FIRST, DAYS = date(2026, 5, 4), 98
LAST = FIRST + timedelta(days=DAYS + 1)


def feeds() -> dict[str, pd.DataFrame]:
    """Four segments, two channels, one of which brings conversions at a third of the cost."""
    rng = np.random.default_rng(1)
    days = pd.date_range(FIRST, periods=DAYS)
    spend, sales = [], []
    for segment, size in (("north", 1.0), ("south", 0.8), ("east", 0.6), ("west", 0.5)):
        orders = size * 400 * np.exp(rng.normal(0, 0.05, DAYS))
        for channel, rate in (("search", 0.06), ("social", 0.02)):
            money = size * 500 * np.repeat(np.exp(rng.normal(0, 0.2, DAYS // 7)), 7)
            orders += rate * money
            spend.append(
                pd.DataFrame(
                    {
                        "date": days,
                        "segment": segment,
                        "channel": channel,
                        "spend": money.round(2),
                        "impressions": 10_000,
                        "clicks": 300,
                        "conversions": (1.3 * rate * money).round(1),
                    }
                )
            )
        sales.append(pd.DataFrame({"date": days, "segment": segment, "orders": orders.round()}))
    return {"performance": pd.concat(spend), "sales": pd.concat(sales)}


def counting(workspace: Workspace, setting: str) -> None:
    text = workspace.config.read_text(encoding="utf-8")
    text = text.replace('unit = "revenue"', f'unit = "conversions"\n{setting}', 1)
    workspace.config.write_text(text, encoding="utf-8")


def deliver_all(workspace: Workspace) -> list[str | None]:
    refused = []
    for name, frame in feeds().items():
        path = workspace.inbox / f"{name}.csv"
        frame.to_csv(path, index=False)
        refused.append(take_in(str(workspace.root), str(path), None).refused)
    return refused


def test_without_the_setting_a_feed_needs_its_revenue(fresh_workspace: Workspace) -> None:
    refused = deliver_all(fresh_workspace)
    assert all(one is not None and "needs revenue" in one for one in refused)


@pytest.mark.parametrize("setting", ["value = 40.0", "usual_cost = 25.0"])
def test_curves_and_plans_are_of_conversions(fresh_workspace: Workspace, setting: str) -> None:
    counting(fresh_workspace, setting)
    worth, valued = float(setting.split(" = ")[1]), setting.startswith("value")
    assert deliver_all(fresh_workspace) == [None, None]
    loop = open_loop(fresh_workspace.root)
    facts = view(loop, LAST, ["sales", "performance"])
    sold = facts["sales"]
    assert (sold["revenue"] == worth * sold["orders"]).all()
    trained = train_once(loop, LAST, source="holdout", reason="test")
    promote_once(loop, trained)
    curves = curves_of(loop, trained["key"])
    assert curves is not None
    spend = np.full(len(curves.cells), 300.0)
    channel = np.array([cell.channel for cell in curves.cells])
    rate = curves.draw_revenue(spend).mean(axis=0) / spend / worth
    # never tested, so a wide prior; but in conversions, and search well above social
    assert 0.01 < rate[channel == "search"].mean() < 0.12
    assert rate[channel == "search"].mean() > 1.5 * rate[channel == "social"].mean()
    reason = propose_once(loop, LAST, source="holdout")["reason"]
    place = ["--as-of", str(LAST), "--workspace", str(fresh_workspace.root)]
    table = run.invoke(app, ["sources", *place], env={"COLUMNS": "120"}).output
    if not valued:
        assert "conversions a day (9 times in 10" in reason and "profit" not in reason
        assert "cost per" in table and "iROAS" not in table
    else:
        assert "USD profit a day" in reason and "iROAS" in table
    suggested = json.loads(run.invoke(app, ["experiments", "suggest", "--json", *place]).output)
    effect = suggested["tests"][0]["expected_effect"] / (1.0 if valued else worth)
    said = f"{effect:+,.0f} USD" if valued else f"{effect:+,.{1 if abs(effect) < 100 else 0}f} conv"
    assert f"The expected effect of {said}" in suggested["sentence"]
    shown = json.loads(run.invoke(app, ["sources", "--json", *place]).output)
    assert {row["channel"] for row in shown["channels"]} == {"search", "social"}


def test_the_value_is_part_of_what_a_training_rests_on(fresh_workspace: Workspace) -> None:
    counting(fresh_workspace, "value = 40.0")
    deliver_all(fresh_workspace)
    loop = open_loop(fresh_workspace.root)
    before = view(loop, LAST, ["sales"]).fingerprint
    text = fresh_workspace.config.read_text(encoding="utf-8").replace(
        "value = 40.0", "value = 50.0"
    )
    fresh_workspace.config.write_text(text, encoding="utf-8")
    assert view(open_loop(fresh_workspace.root), LAST, ["sales"]).fingerprint != before


def test_without_a_value_the_total_is_fixed(fresh_workspace: Workspace) -> None:
    counting(fresh_workspace, "usual_cost = 25.0")
    text = fresh_workspace.config.read_text(encoding="utf-8")
    text = text.replace('total_is = "fixed"', 'total_is = "proposal"', 1)
    fresh_workspace.config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="what a conversion is worth is not known"):
        open_loop(fresh_workspace.root)


@pytest.mark.parametrize("setting", ["", "value = 40.0\nusual_cost = 25.0"])
def test_conversions_have_one_scale(fresh_workspace: Workspace, setting: str) -> None:
    counting(fresh_workspace, setting)
    with pytest.raises(ConfigurationError, match="conversions need either value"):
        open_loop(fresh_workspace.root)
