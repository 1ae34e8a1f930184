"""One training into the registry: its run, its artifacts, its model version.

Killed anywhere, a training leaves either a registered version (found again by its key) or an
unfinished run (marked killed and deleted by the next try).
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from liftloop.adapters.registry.artifacts import TrainingRecord, write_artifacts
from liftloop.adapters.registry.mlflow_store import (
    EXPERIMENT,
    RegisteredModel,
    artifacts_folder,
    registered,
    registry_session,
    run_folder,
)
from liftloop.settings.workspace import Workspace

_ALLOWED = re.compile(r"[^A-Za-z0-9_\-. /]")
_BATCH = 100  # MLflow's limit for parameters and tags
NOTE = "mlflow.note.content"  # what MLflow's page shows as a run's description
ABOUT = {
    "response": "What each segment and channel brings a day for its daily spend.",
    "uplift": "Who responds to ads, and what reaching more users brings.",
}


def experiment_of(opened: Any, artifacts: Path) -> str:
    """The experiment that trainings are runs of: restored where somebody deleted it in MLflow's
    page, made where it is gone for good."""
    found = opened.get_experiment_by_name(EXPERIMENT)
    if found is None:
        return str(opened.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri()))
    if found.lifecycle_stage == "deleted":
        opened.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def log_training(workspace: Workspace, *, record: TrainingRecord) -> RegisteredModel:
    """Keep a training as an MLflow run and register its model, once per ``record.key``."""
    with registry_session(workspace) as opened:
        found = registered(opened, name=record.name, training_key=record.key)
        if found is not None:
            _name_run(opened, record, found)
            return found
        experiment = experiment_of(opened, artifacts_folder(workspace))
        _forget_unfinished(opened, experiment, record.key)
        run = opened.create_run(
            experiment,
            run_name=record.key,
            tags={
                "training_key": record.key,
                "model": record.name,
                NOTE: f"{ABOUT.get(record.name, record.name)} By the facts as known on "
                f"{record.as_of}, in the versions that the parameters data/… name.",
            }
            | _texts(record.tags),
        )
        run_id = run.info.run_id
        _log_numbers(opened, run_id, record)
        with tempfile.TemporaryDirectory(prefix="liftloop-") as folder:
            write_artifacts(Path(folder), record, artifacts_folder(workspace))
            opened.log_artifacts(run_id, folder)
        opened.set_terminated(run_id)
        made = _register(opened, record, run_id, run_folder(workspace, run_id))
        _name_run(opened, record, made)
        return made


def log_examination(
    workspace: Workspace,
    *,
    run_id: str,
    numbers: Mapping[str, float],
    pages: Mapping[str, str],
    at: datetime,
) -> None:
    """Keep a training's score card with its run: ``numbers`` as metrics, ``pages`` (file name ->
    text) as artifacts in ``examination/``; what is Markdown describes the run and its version, too.
    Doing it again changes nothing."""
    from mlflow.entities import Metric

    stamp = int(at.timestamp() * 1000)
    metrics = [Metric(name, float(value), stamp, 0) for name, value in _named(numbers)]
    with registry_session(workspace) as opened:
        for start in range(0, len(metrics), 1000):
            opened.log_batch(run_id, metrics=metrics[start : start + 1000])
        for name, text in pages.items():
            opened.log_text(run_id, text, f"examination/{name}")
            if name.endswith(".md"):
                opened.set_tag(run_id, NOTE, text)
                for version in opened.search_model_versions(f"run_id = '{run_id}'"):
                    opened.update_model_version(version.name, version.version, description=text)


def _name_run(opened: Any, record: TrainingRecord, made: RegisteredModel) -> None:
    """Name a run by its day and the version that it became; doing it again changes nothing."""
    if record.as_of is not None:
        opened.update_run(made.run_id, name=f"{record.as_of} v{made.version}")


def _forget_unfinished(opened: Any, experiment: str, key: str) -> None:
    """A run of this key without a registered version was killed: mark it so, and delete it."""
    for run in opened.search_runs([experiment], f"tags.training_key = '{key}'"):
        if run.info.status == "RUNNING":
            opened.set_terminated(run.info.run_id, "KILLED")
        opened.delete_run(run.info.run_id)


def _log_numbers(opened: Any, run_id: str, record: TrainingRecord) -> None:
    from mlflow.entities import Metric, Param

    at = int(time.time() * 1000)  # when it was logged: MLflow's own bookkeeping
    metrics = [Metric(name, float(value), at, 0) for name, value in _named(record.metrics)]
    for start in range(0, len(metrics), 1000):
        opened.log_batch(run_id, metrics=metrics[start : start + 1000])
    parameters = [Param(name, str(value)[:6000]) for name, value in _named(record.parameters)]
    for start in range(0, len(parameters), _BATCH):
        opened.log_batch(run_id, params=parameters[start : start + _BATCH])


def _named(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Names as MLflow allows them. Two that become one are told apart by a number."""
    taken: dict[str, int] = {}
    for name, value in values.items():
        if value is None:
            continue
        plain = _ALLOWED.sub("_", name)[:240]
        taken[plain] = taken.get(plain, 0) + 1
        yield (plain if taken[plain] == 1 else f"{plain}.{taken[plain]}"), value


def _texts(tags: Mapping[str, Any]) -> dict[str, str]:
    return {
        _ALLOWED.sub("_", name): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in tags.items()
    }


def _register(opened: Any, record: TrainingRecord, run_id: str, folder: Path) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    try:
        opened.create_registered_model(record.name, description=ABOUT.get(record.name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = opened.create_model_version(
        record.name,
        source=(folder / "model" if record.has_model else folder).as_uri(),
        run_id=run_id,
        tags={"training_key": record.key},
    )
    return RegisteredModel(record.name, str(made.version), run_id, record.key)
