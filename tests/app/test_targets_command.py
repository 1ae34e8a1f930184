"""liftloop targets: the rule in words, the promise, whom it would harm, and the list."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.cli import app
from liftloop.core.errors import Declined
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.model.train import harm_of_training, promote_once, train_once

run = CliRunner()
DAY = date(2026, 6, 15)


def users() -> pd.DataFrame:
    """Mail at 0.5: users with x_fan = 1 (half) bring 2 more, the others lose 1. One id is a
    spreadsheet's formula."""
    rng = np.random.default_rng(8)
    treated, fan = rng.random(6000) < 0.5, rng.integers(0, 2, 6000)
    return pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": ["=1+1", *(f"u{n}" for n in range(5999))],
            "segment": np.where(rng.random(6000) < 0.5, "north", "south"),
            "channel": "mail",
            "arm": np.where(treated, "treated", "control"),
            "propensity": 0.5,
            "assigned_on": pd.Timestamp("2026-05-04"),
            "cost": np.where(treated, 0.5, 0.0),
            "converted": 1,
            "conversions": 1.0,
            "revenue": 5.0 + rng.normal(size=6000) + treated * np.where(fan == 1, 2.0, -1.0),
            "x_fan": fan,
        }
    )


@pytest.fixture
def tested(fresh_workspace: Workspace) -> Workspace:
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    path = fresh_workspace.inbox / "units.parquet"
    users().to_parquet(path)
    loop = open_loop(fresh_workspace.root)
    deliver(intake_of(loop), path)
    told = promote_once(loop, train_once(loop, DAY, source="units", reason="test"))
    assert told["champion"], told["sentence"]
    return fresh_workspace


def test_the_rule_the_promise_the_harm_and_the_list(tested: Workspace, tmp_path: Path) -> None:
    place = ["--workspace", str(tested.root)]
    done = run.invoke(app, ["targets", *place])
    assert done.exit_code == 0, done.output
    assert "Reach: x_fan == 1." in done.output
    assert "of users respond negatively: reaching them costs about" in done.output
    assert "The same money at random" in done.output
    assert "north" in done.output and "south" in done.output

    done = run.invoke(app, ["targets", "--json", "--out", str(tmp_path / "reach.csv"), *place])
    (test,) = json.loads(done.output)["tests"]
    fans = int(users()["x_fan"].sum())
    assert (test["rule"], test["reached"], test["cost"]) == ("x_fan == 1", fans, fans * 0.5)
    value = test["revenue_per_user"]
    assert value["low"] <= value["mean"] <= value["high"]
    # 3,000 users with a standard deviation of 1 in two arms: a standard error of .037
    assert value["mean"] == pytest.approx(2.0, abs=4 * 0.037)
    assert test["at_random"]["revenue_per_user"]["mean"] == pytest.approx(0.5, abs=0.15)
    assert test["harm"]["shown"] and test["harm"]["share"] == pytest.approx(0.5, abs=0.03)
    assert test["harm"]["revenue_per_user"]["mean"] == pytest.approx(-1.0, abs=4 * 0.037)
    assert sum(part["reached"] for part in test["segments"]) == fans

    listed = pd.read_csv(tmp_path / "reach.csv")
    assert list(listed)[:5] == ["unit_id", "segment", "channel", "predicted_uplift", "reach"]
    assert listed["predicted_uplift"].is_monotonic_decreasing
    assert (listed["reach"] == "yes").sum() == fans and len(listed) == 6000
    assert "'=1+1" in set(listed["unit_id"])  # no spreadsheet runs it


def test_how_many_are_reached_may_be_asked(tested: Workspace, tmp_path: Path) -> None:
    place = ["--json", "--workspace", str(tested.root)]

    def reached(*asked: str) -> dict[str, Any]:
        done = run.invoke(app, ["targets", *asked, *place])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.output)["tests"][0])

    some = reached("--share", "0.3")
    assert some["reached"] == 1800 and "of (x_fan == 1), drawn at random" in str(some["rule"])
    assert reached("--budget", "100")["reached"] == 200
    most = reached("--share", "0.8")  # more than it pays for: the promise is honest about it
    assert most["revenue_per_user"]["mean"] < some["revenue_per_user"]["mean"]
    both = run.invoke(app, ["targets", "--share", "0.3", "--budget", "5", *place])
    assert both.exit_code == 2


def test_the_training_says_what_harm_there_is(tested: Workspace) -> None:
    from liftloop.adapters.ledger.records import champion_training, session

    loop = open_loop(tested.root)
    with session(loop.engine, read_only=True) as db:
        trained = champion_training(db, model_name="uplift")
    assert trained is not None
    (sentence,) = harm_of_training(loop, trained)
    assert sentence.startswith("spring/mail: 49%") and "respond negatively" in sentence


def test_without_a_test_there_is_nobody_to_name(fresh_workspace: Workspace) -> None:
    done = run.invoke(app, ["targets", "--workspace", str(fresh_workspace.root)])
    assert isinstance(done.exception, Declined) and "liftloop cycle" in str(done.exception)


def test_groups_that_are_too_small_are_neither_shown_nor_exported(
    tested: Workspace, tmp_path: Path
) -> None:
    place = ["--workspace", str(tested.root)]
    new = users().head(300).assign(segment=["east"] * 7 + ["west"] * 293)
    new.to_csv(tmp_path / "new.csv", index=False)
    options = ["--users", str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv"), *place]
    done = run.invoke(app, ["targets", *options])
    assert done.exit_code == 0, done.output
    assert "1 segment with fewer than 20 users" in " ".join(done.output.split())
    assert set(pd.read_csv(tmp_path / "out.csv")["segment"]) == {"west"}
    (test,) = json.loads(run.invoke(app, ["targets", "--json", *options]).stdout)["tests"]
    assert [part["segment"] for part in test["segments"]] == ["west"]
    assert test["segments_hidden"] == 1

    few = run.invoke(app, ["targets", "--share", "0.02", *options])
    assert few.exit_code == 1 and "Fewer than 20 users would be named" in few.output
    written = pd.read_csv(tmp_path / "out.csv")
    assert (written["reach"] == "no").all()

    text = tested.config.read_text(encoding="utf-8")
    tested.config.write_text(
        text.replace("minimum_group = 20", "minimum_group = 0"), encoding="utf-8"
    )
    done = run.invoke(app, ["targets", *options])
    assert done.exit_code == 0 and set(pd.read_csv(tmp_path / "out.csv")["segment"]) == {
        "east",
        "west",
    }
