"""Trainings as MLflow runs and model versions, and the champion's alias."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
import pytest

from liftloop.adapters.registry import artifacts, mlflow_store, trainings
from liftloop.adapters.registry.artifacts import TrainingRecord
from liftloop.adapters.registry.mlflow_store import client, set_champion
from liftloop.adapters.registry.studies import study_storage
from liftloop.adapters.registry.trainings import log_examination, log_training
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x_recency": draw.normal(size=300),
            "c_zip": pd.Categorical(draw.choice(["rural", "urban"], 300)),
        }
    )


@pytest.fixture(scope="module")
def booster(frame: pd.DataFrame) -> lgb.Booster:
    target = frame["x_recency"] + (frame["c_zip"] == "urban")
    settings = {"num_threads": 1, "verbosity": -1}
    return lgb.train(settings, lgb.Dataset(frame, target), num_boost_round=5)


@pytest.fixture
def record(frame: pd.DataFrame, booster: lgb.Booster) -> TrainingRecord:
    return TrainingRecord(
        key="t-0001",
        name="response",
        parameters={"leaves": 15, "door": "holdout"},
        metrics={"ate[men's mail]": 0.77, "ate(men's mail)": 0.5, "qini": float("nan")},
        tags={"facts": {"holdout": {"version": 3}}},
        tables={"cells": pd.DataFrame({"cell": ["north x search"], "lift": [1.5]})},
        figures={"../qini": go.Figure(go.Scatter(y=[1, 2]))},
        model=booster,
        sample=frame.head(20),
        predictions=np.asarray(booster.predict(frame.head(20))),
        boosters={"control": booster},
        curves={"marginal": np.arange(6.0).reshape(2, 3)},
        about_curves={"cells": [["north", "search"]], "family": "michaelis-menten"},
    )


@pytest.mark.parametrize("how", ["deleted", "gone for good"])
def test_an_experiment_deleted_in_mlflows_page_is_there_again(
    fresh_workspace: Workspace, record: TrainingRecord, how: str
) -> None:
    log_training(fresh_workspace, record=record)
    opened = client(fresh_workspace)
    experiment = opened.get_experiment_by_name("liftloop").experiment_id
    opened.delete_experiment(experiment)
    if how == "gone for good":
        with sqlite3.connect(fresh_workspace.registry / "mlflow.db") as raw:
            raw.execute("UPDATE experiments SET name = 'other' WHERE name = 'liftloop'")
    version = log_training(fresh_workspace, record=renamed(record, "t-0002"))
    assert version.training_key == "t-0002"
    assert opened.get_experiment_by_name("liftloop").lifecycle_stage == "active"
    assert set_champion(fresh_workspace, "response", version.version)


def renamed(record: TrainingRecord, key: str) -> TrainingRecord:
    fields = {name: getattr(record, name) for name in TrainingRecord.__dataclass_fields__}
    return TrainingRecord(**(fields | {"key": key}))


def runs(workspace: Workspace, **more: Any) -> list[Any]:
    opened = client(workspace)
    home = opened.get_experiment_by_name("liftloop").experiment_id
    return list(opened.search_runs([home], **more))


def test_a_score_card_describes_its_run_and_its_version(fresh_workspace: Workspace) -> None:
    thin = TrainingRecord(key="t-card", name="response", curves={"m": np.ones(2)})
    made = log_training(fresh_workspace, record=thin)
    for _ in range(2):
        log_examination(
            fresh_workspace,
            run_id=made.run_id,
            numbers={"examination/passed": 1.0},
            pages={"score-card.md": "# Passed", "score-card.json": "{}"},
            at=datetime(2026, 2, 23, tzinfo=UTC),
        )
    opened = client(fresh_workspace)
    assert opened.get_model_version("response", made.version).description == "# Passed"
    assert opened.get_run(made.run_id).data.tags["mlflow.note.content"] == "# Passed"


def test_a_run_is_named_by_its_day_and_version_and_says_what_it_is(
    fresh_workspace: Workspace,
) -> None:
    for number in (1, 2):
        thin = TrainingRecord(
            key=f"t-{number}",
            name="response",
            as_of=date(2026, 2, 16) + timedelta(days=7 * (number - 1)),
            curves={"m": np.full(2, number)},
        )
        for _ in range(2):
            log_training(fresh_workspace, record=thin)
    assert {run.info.run_name for run in runs(fresh_workspace)} == {
        "2026-02-16 v1",
        "2026-02-23 v2",
    }
    notes = [run.data.tags["mlflow.note.content"] for run in runs(fresh_workspace)]
    assert all("facts as known on 2026-02-" in note for note in notes)
    assert client(fresh_workspace).get_registered_model("response").description


def test_a_training_is_a_run_with_everything_and_a_registered_version(
    fresh_workspace: Workspace, record: TrainingRecord, frame: pd.DataFrame, booster: lgb.Booster
) -> None:
    made = log_training(fresh_workspace, record=record)
    assert (made.name, made.version, made.training_key) == ("response", "1", "t-0001")
    (run,) = runs(fresh_workspace)
    assert run.info.run_name == "t-0001"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"leaves": "15", "door": "holdout"}
    assert run.data.metrics["ate_men_s mail_"] == 0.77
    assert run.data.metrics["ate_men_s mail_.2"] == 0.5
    assert run.data.tags["facts"] == '{"holdout": {"version": 3}}'
    folder = mlflow_store.run_folder(fresh_workspace, made.run_id)
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "tables/cells.csv",
        "figures/_qini.html",
        "boosters/control.txt",
        "curves/curves.npz",
        "curves/curves.json",
        "model/MLmodel",
        "model/model.lgb",
    } <= kept
    assert not any(name.endswith(".pkl") for name in kept)


def test_the_champion_opens_with_mlflow_alone(
    fresh_workspace: Workspace,
    record: TrainingRecord,
    frame: pd.DataFrame,
    booster: lgb.Booster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    made = log_training(fresh_workspace, record=record)
    mlflow_store.set_champion(fresh_workspace, name="response", version=made.version)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    try:
        mlflow.set_tracking_uri(mlflow_store.tracking_uri(fresh_workspace))
        mlflow.set_registry_uri(mlflow_store.tracking_uri(fresh_workspace))
        native = mlflow.lightgbm.load_model("models:/response@champion")
        generic = mlflow.pyfunc.load_model("models:/response@champion")
        expected = np.asarray(booster.predict(frame))
        np.testing.assert_allclose(native.predict(frame), expected)
        texts = frame.astype({"c_zip": str})[["c_zip", "x_recency"]]  # reordered, and no category
        np.testing.assert_allclose(generic.predict(texts), expected)
        assert generic.metadata.signature.inputs.input_names() == ["x_recency", "c_zip"]
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])


def test_the_same_training_is_registered_once(
    fresh_workspace: Workspace, record: TrainingRecord
) -> None:
    first = log_training(fresh_workspace, record=record)
    assert log_training(fresh_workspace, record=record) == first
    assert len(runs(fresh_workspace)) == 1


@pytest.mark.parametrize("step", ["_log_numbers", "write_artifacts", "_register"])
def test_a_training_killed_anywhere_is_done_again_and_its_half_is_put_away(
    fresh_workspace: Workspace, record: TrainingRecord, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainings, step, killed)
        log_training(fresh_workspace, record=record)
    made = log_training(fresh_workspace, record=record)
    assert made.version == "1"
    assert [run.info.run_id for run in runs(fresh_workspace)] == [made.run_id]
    (half,) = runs(fresh_workspace, run_view_type=2)  # the deleted ones
    assert half.info.status in ("KILLED", "FINISHED")


def test_the_champion_moves_and_the_one_before_is_remembered(
    fresh_workspace: Workspace, record: TrainingRecord
) -> None:
    assert mlflow_store.champion(fresh_workspace, name="response") is None
    for key in ("t-1", "t-2"):
        log_training(fresh_workspace, record=renamed(record, key))
    assert mlflow_store.set_champion(fresh_workspace, name="response", version="1")
    assert mlflow_store.previous(fresh_workspace, name="response") is None
    assert mlflow_store.set_champion(fresh_workspace, name="response", version="2")
    assert not mlflow_store.set_champion(fresh_workspace, name="response", version="2")
    now = mlflow_store.champion(fresh_workspace, name="response")
    before = mlflow_store.previous(fresh_workspace, name="response")
    assert now is not None
    assert before is not None
    assert (now.training_key, before.training_key) == ("t-2", "t-1")
    assert mlflow_store.champion(fresh_workspace, name="uplift") is None


def test_who_is_champion_already_costs_no_mlflow(
    fresh_workspace: Workspace, record: TrainingRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = log_training(fresh_workspace, record=record)
    mlflow_store.set_champion(fresh_workspace, "response", made.version)

    def unwanted(_: Workspace) -> None:
        raise AssertionError("MLflow was asked")

    monkeypatch.setattr(mlflow_store, "client", unwanted)
    assert not mlflow_store.set_champion(fresh_workspace, "response", made.version)


def test_curves_come_back_as_they_were(fresh_workspace: Workspace, record: TrainingRecord) -> None:
    made = log_training(fresh_workspace, record=record)
    arrays, about = artifacts.load_curves(fresh_workspace, run_id=made.run_id)
    np.testing.assert_array_equal(arrays["marginal"], [[0, 1, 2], [3, 4, 5]])
    assert about == {"cells": [["north", "search"]], "family": "michaelis-menten"}


def test_curves_that_hold_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds objects"):
        artifacts.write_curves(tmp_path, arrays={"names": np.array(["a", None])}, about={})


def test_curves_that_are_not_there_say_so(fresh_workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        artifacts.load_curves(fresh_workspace, run_id="0" * 32)


def test_a_training_without_a_booster_is_registered_with_its_curves(
    fresh_workspace: Workspace,
) -> None:
    thin = TrainingRecord(key="t-thin", name="response", curves={"m": np.ones(2)})
    assert log_training(fresh_workspace, record=thin).version == "1"


def test_a_workspace_may_be_moved(
    fresh_workspace: Workspace, record: TrainingRecord, tmp_path: Path
) -> None:
    made = log_training(fresh_workspace, record=record)
    moved = Workspace(fresh_workspace.root.rename(tmp_path / "elsewhere"))
    again = client(moved).get_model_version("response", made.version)
    assert again.source == (mlflow_store.run_folder(moved, made.run_id) / "model").as_uri()
    log_training(moved, record=renamed(record, "t-0002"))
    assert not fresh_workspace.root.exists()


def _create(root: str) -> None:
    mlflow_store.create_registry(Workspace(Path(root)))


@pytest.mark.slow  # each of the two imports MLflow and one builds its database
def test_two_processes_may_make_the_registry_at_once(tmp_path: Path) -> None:
    """Left alone, MLflow damages a fresh store for good when two processes open it."""
    spawn = multiprocessing.get_context("spawn")
    rivals = [spawn.Process(target=_create, args=(str(tmp_path),)) for _ in range(2)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join(120)
    assert [rival.exitcode for rival in rivals] == [0, 0]
    assert mlflow_store.champion(Workspace(tmp_path), name="response") is None


def test_a_study_goes_on_where_a_kill_stopped_it(fresh_workspace: Workspace) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def tune() -> optuna.Study:
        storage = study_storage(fresh_workspace, key="t-1")
        study = optuna.create_study(storage=storage, study_name="t-1", load_if_exists=True)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        return study

    assert len(tune().trials) == 2
    journal = fresh_workspace.registry / "studies" / "t-1.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"kill')
    assert len(tune().trials) == 4


def test_nothing_calls_home() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
