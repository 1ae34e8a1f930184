"""What each channel's estimate rests on, from a workspace without holdouts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.cli import app
from liftloop.core.curves.saturating import untested_cells
from liftloop.markets.without_holdouts import SalesMarket
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.evidence.ingest import intake_of
from tasks.model.curves import curves_of
from tasks.model.train import promote_once, train_once
from tasks.report.evidence_sources import _untested_words, sources_of_channels

run = CliRunner()


class ShopMarket(SalesMarket):
    """Four segments, two channels, ten weeks, no holdout."""

    constants = replace(
        SalesMarket.constants,
        segments=("north", "south", "east", "west"),
        channels=("search", "social"),
        history_days=70,
    )


@pytest.fixture
def shop(fresh_workspace: Workspace) -> tuple[Workspace, ShopMarket]:
    market = ShopMarket(1)
    loop = open_loop(fresh_workspace.root)
    for name in ("performance", "sales"):
        path = fresh_workspace.inbox / f"{name}.parquet"
        market.history()[name].to_parquet(path)
        assert deliver(intake_of(loop), path).refused is None
    return fresh_workspace, market


def test_sales_and_claims_alone_put_a_model_in_force_that_says_it_was_never_tested(
    shop: tuple[Workspace, ShopMarket],
) -> None:
    workspace, market = shop
    loop = open_loop(workspace.root)
    place = ["--workspace", str(workspace.root)]
    before = run.invoke(app, ["sources", "--as-of", str(market.start), "--json", *place])
    assert before.exit_code == 0, before.output
    assert [c["sources"] for c in json.loads(before.output)["channels"]] == [["none"], ["none"]]
    trained = train_once(loop, market.start, source="holdout", reason="test")
    said = promote_once(loop, trained)
    assert "nothing in it was tested" in str(said)
    curves = curves_of(loop, trained["key"])
    assert curves is not None and len(untested_cells(curves)) == 8
    plan = propose_once(loop, market.start, source="holdout")
    assert "No test says what search, social earn" in json.dumps(plan)
    shown = run.invoke(app, ["sources", "--as-of", str(market.start), "--json", *place])
    known = json.loads(shown.output)
    assert "None of the 2 channels was ever tested." in known["sentence"]
    assert "power of" in known["sentence"]
    for channel in known["channels"]:
        assert channel["sources"] == ["sales"]
        assert channel["low"] < channel["iroas"] < channel["high"]
        assert channel["next_test"]["start"] > str(market.start - timedelta(days=1))


def test_each_kind_of_evidence_is_named() -> None:
    one = pd.DataFrame({"segment": ["a"], "channel": ["search"]})
    facts = {"holdout": one, "experiments": one.assign(channel="tv"), "units": one.iloc[:0]}
    named = sources_of_channels(facts, channels=["tv", "search", "radio"], estimated=True)
    assert named == {"radio": ("sales",), "search": ("holdout",), "tv": ("experiments",)}
    both = facts | {"units": one}
    assert sources_of_channels(both, channels=["search", "radio"], estimated=False) == {
        "radio": ("none",),
        "search": ("holdout", "units"),
    }


def test_the_table_fits_a_terminal_of_80_columns_and_the_tests_stand_below(
    shop: tuple[Workspace, ShopMarket],
) -> None:
    workspace, market = shop
    asked = ["sources", "--as-of", str(market.start), "--workspace", str(workspace.root)]
    shown = run.invoke(app, asked, env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    table = shown.output.split("The test that would tell most")[0].splitlines()
    assert any("channel" in line and "rests on" in line for line in table)  # columns, no blocks
    assert max(map(len, table)) <= 80
    assert "for " in shown.output.split("The test that would tell most")[1]


def test_one_channel_is_no_one_of_one() -> None:
    assert _untested_words(1, 1, 1.0, "search") == "search was never tested."
    assert _untested_words(1, 3, 0.2, "search").startswith("1 of 3 channels (20% of the spend) was")
