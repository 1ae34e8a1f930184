"""What the registry serves as the champion of ``uplift`` predicts uplift, in any process."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.adapters.registry.artifacts import served_folder
from liftloop.adapters.registry.mlflow_store import tracking_uri
from liftloop.settings.workspace import Workspace
from models.uplift.findings import UnitsConfig
from models.uplift.serving import from_folder, served_models, to_files
from models.uplift.train import train_units
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.model.train import promote_once, train_once

PREDICT = """
import sys
import mlflow
import pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_registry_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/uplift@champion")
model.predict(pd.read_csv(sys.argv[2])).to_csv(sys.argv[3], index=False)
try:
    model.predict(pd.read_csv(sys.argv[2]).drop(columns="x_taste"))
except Exception as error:
    print(error)
"""


def users(number: int = 3000) -> pd.DataFrame:
    """Mail that costs 0.1; users with x_taste = 1, and of the city, spend 1 more because of it."""
    rng = np.random.default_rng(4)
    taste, treated = rng.integers(0, 2, number), rng.random(number) < 0.5
    home = rng.choice(["city", "country"], number)
    gain = 1.0 * (taste == 1) + 0.5 * (home == "city")
    return pd.DataFrame(
        {
            "experiment": "may",
            "unit_id": [f"u{n}" for n in range(number)],
            "segment": "all users",
            "channel": "email",
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": pd.Timestamp("2026-05-04"),
            "cost": np.where(treated, 0.1, 0.0),
            "converted": 1,
            "conversions": 1.0,
            "revenue": 2.0 + rng.normal(size=number) * 0.5 + treated * gain,
            "x_taste": taste,
            "c_home": home,
        }
    )


@pytest.fixture
def served(fresh_workspace: Workspace) -> Workspace:
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    loop = open_loop(fresh_workspace.root)
    path = fresh_workspace.inbox / "units.parquet"
    users().to_parquet(path)
    deliver(intake_of(loop), path)
    told = promote_once(loop, train_once(loop, date(2026, 5, 20), source="units", reason="test"))
    assert told["champion"], told["sentence"]
    return fresh_workspace


def test_the_champion_predicts_uplift_in_a_fresh_process(served: Workspace, tmp_path: Path) -> None:
    frame = users().head(200)
    # a spreadsheet's columns: other order, whole numbers, more than is needed
    frame[["c_home", "unit_id", "x_taste"]].to_csv(tmp_path / "new.csv", index=False)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PREDICT,
            tracking_uri(served),
            tmp_path / "new.csv",
            tmp_path / "out.csv",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "x_taste" in done.stdout  # what is missing is named
    predicted = pd.read_csv(tmp_path / "out.csv")
    assert list(predicted) == ["may/email"]
    with session(open_loop(served.root).engine, read_only=True) as db:
        champion = champion_training(db, model_name="uplift")
    assert champion is not None and champion.run_id is not None
    own = from_folder(served_folder(served, run_id=champion.run_id)).predict(frame)
    np.testing.assert_allclose(predicted["may/email"], own["may/email"], rtol=1e-9)
    # uplift, not the outcome (about 2 to 4): 1 for taste, 0.5 for the city
    truth = 1.0 * (frame["x_taste"] == 1) + 0.5 * (frame["c_home"] == "city")
    assert np.abs(predicted["may/email"] - truth).mean() < 0.15


def test_saved_and_opened_again_it_predicts_what_the_model_said(tmp_path: Path) -> None:
    units = users(2000)
    model = train_units(units, UnitsConfig(bootstraps=20, shap_rows=50))
    kept = served_models(units, model.findings)
    for name, content in to_files(kept).items():
        (tmp_path / name).write_bytes(content)
    again = from_folder(tmp_path).predict(units)["may/email"]
    (finding,) = [one for one in model.findings if one.outcome == "revenue"]
    np.testing.assert_allclose(again, finding.predict(units), rtol=1e-12)
