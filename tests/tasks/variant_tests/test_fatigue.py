"""Creatives that tire are told from those that share a season, from the exports to the table."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.cli import app
from liftloop.core.variant_tests.fatigue import Finding
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.variant_tests.fatigue import tired_creatives

END = date(2026, 3, 1)
DAYS = 60


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Three creatives in two segments fall with the season, ``tired`` with its exposure too."""
    rng = np.random.default_rng(8)
    found = []
    for at in range(DAYS):
        day = END - timedelta(days=DAYS - at)
        season = 1.0 - 0.4 * at / DAYS
        for segment in ("north", "south"):
            for creative in ("steady", "tired", "fresh"):
                shown = int(20_000 * rng.uniform(0.8, 1.2))
                own = np.exp(-0.9 * at / DAYS) if creative == "tired" else 1.0
                sold = float(rng.poisson(shown * 0.03 * season * own))
                found.append(
                    (day, segment, creative, shown * 0.004, shown, shown // 20, sold, sold * 30)
                )
    columns = [
        *("date", "segment", "creative", "spend"),
        *("impressions", "clicks", "conversions", "revenue"),
    ]
    frame = pd.DataFrame(found, columns=columns)
    frame["date"] = pd.to_datetime(frame["date"])
    return frame.assign(channel="social", campaign="spring", currency="USD")


@pytest.fixture
def shop(
    fresh_workspace: Workspace, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    monkeypatch.setenv("LIFTLOOP_NOW", f"{END}T08:00:00+00:00")
    path = fresh_workspace.inbox / "performance.parquet"
    rows.to_parquet(path)
    deliver(intake_of(open_loop(fresh_workspace.root)), path)
    return fresh_workspace


def test_the_creative_that_falls_with_its_own_exposure_is_told_from_its_siblings(
    shop: Workspace,
) -> None:
    found = tired_creatives(open_loop(shop.root), as_of=END, days=90, refresh_cost=200.0)
    by_name = {one.found.creative: one for one in found}
    assert found[0].found.creative == "tired" and found[0].found.finding is Finding.FALLING
    assert by_name["steady"].found.finding is Finding.STEADY
    tired = by_name["tired"]
    assert tired.found.fall_observed == pytest.approx(1 - np.exp(-0.9), abs=0.1)
    assert tired.refresh is not None and tired.refresh.in_days < 1
    assert tired.cap is not None and tired.cap.profit_gained > 0
    assert by_name["steady"].refresh is None


def test_the_command_names_what_to_do(shop: Workspace) -> None:
    asked = ["tests", "fatigue", "--refresh-cost", "200", "--workspace", str(shop.root)]
    said = CliRunner().invoke(app, asked, env={"COLUMNS": "200"}).output
    assert "falls with its own exposure" in said and "pays now" in said
    (first, *_) = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert first["creative"] == "tired" and first["tires"] and first["cap_per_person"] is None


def test_a_channel_with_one_creative_has_nothing_to_compare(fresh_workspace: Workspace) -> None:
    asked = ["tests", "fatigue", "--workspace", str(fresh_workspace.root)]
    assert "No channel has two creatives" in CliRunner().invoke(app, asked).output
