"""liftloop forget: a person leaves a workspace that learned from users, and the loop goes on."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.privacy.identity import removed_since
from liftloop.adapters.registry.model_checks import model_faults
from liftloop.app.cli import app
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.replay import ReplayCheck, _without_evidence
from tasks.evidence.ingest import intake_of
from tasks.model.train import promote_once, train_once

run = CliRunner()
DAY = date(2026, 6, 15)
GONE = "customer-0007"


def users(count: int = 1200) -> pd.DataFrame:
    """Mail at 0.5: every user who gets it brings 2 more."""
    rng = np.random.default_rng(8)
    treated = rng.random(count) < 0.5
    return pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": [f"customer-{n:04d}" for n in range(count)],
            "segment": "north",
            "channel": "mail",
            "arm": np.where(treated, "treated", "control"),
            "propensity": 0.5,
            "assigned_on": pd.Timestamp("2026-05-04"),
            "cost": np.where(treated, 0.5, 0.0),
            "converted": 1,
            "conversions": 1.0,
            "revenue": 5.0 + rng.normal(size=count) + 2.0 * treated,
            "x_fan": rng.integers(0, 2, count),
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
    assert promote_once(loop, train_once(loop, DAY, source="units", reason="test"))["champion"]
    return fresh_workspace


def naming(root: Path, id: str) -> list[str]:
    """The files that hold the id, NumPy's archives unpacked."""
    words = (id.encode(), id.encode("utf-32-le"))
    found = []
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        parts = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                parts += [packed.read(name) for name in packed.namelist()]
        if path.suffix == ".parquet":
            parts.append(pd.read_parquet(path).to_csv().encode())
        if any(word in part for part in parts for word in words):
            found.append(str(path.relative_to(root)))
    return found


def test_a_user_leaves_facts_and_predictions_and_the_model_serves_on(tested: Workspace) -> None:
    place = ["--workspace", str(tested.root)]
    assert any("unseen.npz" in name for name in naming(tested.root, GONE))
    began = datetime.now(UTC) - timedelta(minutes=5)

    done = run.invoke(app, ["forget", "-", "--by", "dpo", "--json", *place], input=f"{GONE}\n")

    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert receipt["complete"] and receipt["removed"]["kept predictions"] == 1
    assert naming(tested.root, GONE) == []
    loop = open_loop(tested.root)
    assert model_faults(tested, engine=loop.engine) == []
    told = run.invoke(app, ["targets", "--json", *place])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["tests"][0]["users"] == 1199
    trail = run.invoke(app, ["audit", "verify", *place])
    assert trail.exit_code == 0, trail.output
    said = removed_since(loop.engine, began)
    assert "units (1 row)" in said and removed_since(loop.engine, datetime.now(UTC)) == ""

    again = run.invoke(app, ["forget", GONE, *place])
    assert again.exit_code == 0 and "removed before" in again.output


def test_a_replay_says_which_evidence_was_removed() -> None:
    checks = [
        ReplayCheck("audit trail", "different", "Changed."),
        ReplayCheck("model", "same", "The curves of then."),
        ReplayCheck("decision", "different", "2 of its figures differ."),
    ]
    trail, model, decision = _without_evidence(checks, "Evidence was removed: units.")
    assert (trail.verdict, model.verdict, decision.verdict) == (
        "different",
        "same",
        "cannot be told",
    )
    assert decision.sentence == "Evidence was removed: units. 2 of its figures differ."
    assert _without_evidence(checks, "") == tuple(checks)


def test_retention_tells_what_it_removed(tested: Workspace) -> None:
    place = ["--workspace", str(tested.root)]
    done = run.invoke(app, ["retention", *place])
    assert done.exit_code == 0 and "Nothing is older" in done.output
    text = tested.config.read_text(encoding="utf-8")
    section = "\n[privacy.retention]\nunits = 28\n\n\n[audit]\n"
    tested.config.write_text(text.replace("\n[audit]\n", section), encoding="utf-8")
    done = run.invoke(app, ["retention", "--json", *place])
    assert done.exit_code == 0, done.output
    (expired,) = json.loads(done.stdout)
    assert expired["feed"] == "units" and expired["removed"]["rows of units/current"] == 1200
