"""One training into the registry: its run, its curves, its model version. And its curves back.

Killed anywhere, a training leaves either a registered version (found again by its key) or an
unfinished run (marked killed and deleted by the next try).
"""

from __future__ import annotations

import json
import re
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.mlflow_store import (
    EXPERIMENT,
    RegisteredModel,
    artifacts_folder,
    registered,
    registry_session,
    run_folder,
)
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import ConfigurationError

if TYPE_CHECKING:
    import lightgbm
    import plotly.graph_objects as go

_ALLOWED = re.compile(r"[^A-Za-z0-9_\-. /]")
SERVED = "uplift"  # the folder of a served model's own files
_BATCH = 100  # MLflow's limit for parameters and tags


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is served by a loader of its own instead of LightGBM's.

    Attributes
    ----------
    files
        File name -> content: all that the loader needs.
    loader
        Dotted name of the module whose ``_load_pyfunc(folder)`` opens them.
    covariates
        Columns that ``predict`` needs, of any type; others are left out.
    outputs
        Columns that it gives, each a number.
    """

    files: Mapping[str, bytes]
    loader: str
    covariates: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """All that one training leaves behind.

    Parameters
    ----------
    key
        The training's key: the run's name and the version's tag.
    name
        The registered model: ``response`` (holdout door) or ``uplift`` (units door).
    parameters, metrics, tags
        As MLflow has them; ``tags`` holds the data versions.
    tables
        Name -> frame, kept as CSV.
    figures
        Name -> Plotly figure, kept as HTML.
    model
        The LightGBM outcome model that the registered version is. None where the evidence was too
        thin for one: the version then holds the curves alone.
    sample, predictions
        A few input rows of ``model`` and its output for them: they give the signature.
    boosters
        Further boosters, kept in LightGBM's own text format.
    curves, about_curves
        The response curves' arrays, and what JSON can say about them (cells, units, family).
    unseen
        Arrays of what was foretold of users or lifts that the fit did not see, for examinations.
    served
        What the registered version is instead of ``model``, opened by its own loader.
    tests
        What became of each lift test, as plain values for the ledger.
    user_tests
        What each user-level test did to every outcome, as plain values for the ledger.
    """

    key: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, go.Figure] = field(default_factory=dict)
    model: lightgbm.Booster | None = None
    sample: pd.DataFrame | None = None
    predictions: NDArray[np.float64] | None = None
    boosters: Mapping[str, lightgbm.Booster] = field(default_factory=dict)
    curves: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    about_curves: Mapping[str, Any] = field(default_factory=dict)
    unseen: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    served: Served | None = None
    tests: Sequence[Mapping[str, Any]] = ()
    user_tests: Sequence[Mapping[str, Any]] = ()

    @property
    def has_model(self) -> bool:
        """Whether the registered version is a model, or curves alone."""
        return self.model is not None or self.served is not None


def log_training(workspace: Workspace, *, record: TrainingRecord) -> RegisteredModel:
    """Keep a training as an MLflow run and register its model, once per ``record.key``."""
    with registry_session(workspace) as opened:
        found = registered(opened, name=record.name, training_key=record.key)
        if found is not None:
            return found
        experiment = opened.get_experiment_by_name(EXPERIMENT).experiment_id
        _forget_unfinished(opened, experiment, record.key)
        run = opened.create_run(
            experiment,
            run_name=record.key,
            tags={"training_key": record.key, "model": record.name} | _texts(record.tags),
        )
        run_id = run.info.run_id
        _log_numbers(opened, run_id, record)
        with tempfile.TemporaryDirectory(prefix="liftloop-") as folder:
            _write_artifacts(Path(folder), record, artifacts_folder(workspace))
            opened.log_artifacts(run_id, folder)
        opened.set_terminated(run_id)
        return _register(opened, record, run_id, run_folder(workspace, run_id))


def log_examination(
    workspace: Workspace,
    *,
    run_id: str,
    numbers: Mapping[str, float],
    pages: Mapping[str, str],
    at: datetime,
) -> None:
    """Keep a training's score card with its run: ``numbers`` as metrics, ``pages`` (file name ->
    text) as artifacts in ``examination/``. Doing it again changes nothing."""
    from mlflow.entities import Metric

    stamp = int(at.timestamp() * 1000)
    metrics = [Metric(name, float(value), stamp, 0) for name, value in _named(numbers)]
    with registry_session(workspace) as opened:
        for start in range(0, len(metrics), 1000):
            opened.log_batch(run_id, metrics=metrics[start : start + 1000])
        for name, text in pages.items():
            opened.log_text(run_id, text, f"examination/{name}")


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


def _write_artifacts(folder: Path, record: TrainingRecord, shared: Path) -> None:
    for name, table in record.tables.items():
        path = _place(folder / "tables", name, ".csv")
        table.to_csv(path, index=not isinstance(table.index, pd.RangeIndex))
    for name, figure in record.figures.items():
        _write_figure(_place(folder / "figures", name, ".html"), figure, shared)
    for name, booster in record.boosters.items():
        booster.save_model(str(_place(folder / "boosters", name, ".txt")))
    if record.curves:
        write_curves(folder / "curves", arrays=record.curves, about=record.about_curves)
    if record.unseen:
        (folder / "examination").mkdir(exist_ok=True)
        np.savez_compressed(folder / "examination" / "unseen.npz", **record.unseen)  # type: ignore[arg-type]
    if record.served is not None:
        _save_served(folder / "model", record.served)
    elif record.model is not None:
        _save_model(folder / "model", record)


def _place(folder: Path, name: str, suffix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / (re.sub(r"[^A-Za-z0-9_\-.]", "_", name).lstrip(".")[:120] + suffix)


def _write_figure(path: Path, figure: go.Figure, shared: Path) -> None:
    """A page of some kilobytes: all figures share one plotly.js of 4.5 MB beside the runs, and no
    page asks the network. MLflow's own pages show it in a frame without neighbours: there it says
    where to open it."""
    from plotly.io import to_html
    from plotly.offline import get_plotlyjs

    script = shared / "plotly.min.js"
    if not script.exists():
        half = script.with_suffix(".unfinished")
        half.write_text(get_plotlyjs(), encoding="utf-8")
        half.replace(script)
    path.write_text(
        "<!doctype html><meta charset='utf-8'>"
        "<script src='../../../plotly.min.js'></script>"
        "<script>window.Plotly || document.write("
        "'Open this figure from the registry folder of the workspace: '"
        f" + '{path.parent.name}/{path.name}')</script>"
        + to_html(figure, include_plotlyjs=False, full_html=False),
        encoding="utf-8",
    )


def _save_model(folder: Path, record: TrainingRecord) -> None:
    import mlflow.lightgbm
    from mlflow.models import Model, infer_signature

    signature, texts = None, False
    if record.sample is not None:
        signature = infer_signature(record.sample, record.predictions)
        texts = any(isinstance(kind, pd.CategoricalDtype) for kind in record.sample.dtypes)
    mlflow.lightgbm.save_model(
        record.model,
        str(folder),
        signature=signature,
        # named here, MLflow need not load the model in a new process to find out: 0.05 s, not 3
        pip_requirements=[f"{name}=={installed(name)}" for name in ("lightgbm", "numpy", "pandas")],
    )
    if texts:  # MLflow takes a category for a string: let strings become categories again
        saved = Model.load(str(folder))
        saved.flavors["python_function"]["loader_module"] = "liftloop.adapters.serving"
        saved.save(str(folder / "MLmodel"))


def _save_served(folder: Path, served: Served) -> None:
    """A ``pyfunc`` of plain files. Its columns are named and not typed: a spreadsheet's 1 is as
    good a number as 1.0, and MLflow would refuse it."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name) for name in served.covariates])
        if served.covariates
        else None,
        outputs=Schema([ColSpec("double", name) for name in served.outputs]),
    )
    with tempfile.TemporaryDirectory(prefix="liftloop-") as made:
        data = Path(made) / SERVED
        data.mkdir()
        for name, content in served.files.items():
            (data / name).write_bytes(content)
        with warnings.catch_warnings():  # an example of the input is asked for: it would hold users
            warnings.simplefilter("ignore", UserWarning)
            mlflow.pyfunc.save_model(
                str(folder),
                loader_module=served.loader,
                data_path=str(data),
                signature=signature,
                pip_requirements=[
                    f"{name}=={installed(name)}" for name in ("lightgbm", "numpy", "pandas")
                ],
            )


def _register(opened: Any, record: TrainingRecord, run_id: str, folder: Path) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    try:
        opened.create_registered_model(record.name)
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


def write_curves(
    folder: Path, *, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]
) -> None:
    """Curves as ``curves.npz`` (numbers alone, nothing pickled) and ``curves.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"curves[{name!r}] holds objects; give numbers, and names in `about`")
    np.savez_compressed(folder / "curves.npz", **plain)  # type: ignore[arg-type]
    (folder / "curves.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def load_curves(
    workspace: Workspace, *, run_id: str
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the description a training left, without opening MLflow.

    Raises
    ------
    ConfigurationError
        If the run's folder holds no curves.
    """
    folder = run_folder(workspace, run_id) / "curves"
    try:
        with np.load(folder / "curves.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads((folder / "curves.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the response curves of run {run_id} cannot be read ({type(error).__name__}).",
            fix="restore the registry folder of the workspace from a backup.",
        ) from None
    return arrays, about


def served_folder(workspace: Workspace, *, run_id: str) -> Path:
    """Where the files of a training's served model lie (:attr:`TrainingRecord.served`)."""
    return run_folder(workspace, run_id) / "model" / "data" / SERVED


def load_unseen(workspace: Workspace, *, run_id: str) -> dict[str, NDArray[Any]]:
    """What a training foretold of what it did not see; empty where it kept nothing."""
    place = run_folder(workspace, run_id) / "examination" / "unseen.npz"
    if not place.exists():
        return {}
    with np.load(place, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
