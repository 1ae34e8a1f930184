"""What a training leaves in its run's folder: written, and read back without opening MLflow."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from liftloop.adapters.registry.mlflow_store import artifacts_folder, run_folder
from liftloop.core.errors import DamagedWorkspace
from liftloop.reporting.rendering import render
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    import lightgbm
    import pandas as pd
    import plotly.graph_objects as go

SERVED = "uplift"  # the folder of a served model's own files
UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


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
        The training's key, a tag of the run and of the version.
    as_of
        The day of the facts, which names the run with the version: "2026-02-23 v7".
    name
        The registered model: ``response`` (by holdouts) or ``uplift`` (by user-level tests).
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
        Arrays of what was predicted of users or lifts that the fit did not see, for examinations.
    served
        What the registered version is instead of ``model``, opened by its own loader.
    tests
        What became of each lift test, as plain values for the ledger.
    user_tests
        What each user-level test did to every outcome, as plain values for the ledger.
    """

    key: str
    name: str
    as_of: date | None = None
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

    @property
    def hashes(self) -> dict[str, Any]:
        """What stands for the artifacts that the loop uses later, for the audit trail."""
        served = self.served.files if self.served else {}
        return {
            "curves": hash_of_arrays(self.curves),
            "unseen": hash_of_arrays(self.unseen),
            "served": {name: hashlib.sha256(text).hexdigest() for name, text in served.items()},
        }


def hash_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Stands for named arrays, such as a training's curves, bit by bit."""
    found = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.dtype} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


NO_ARRAYS = hash_of_arrays({})


def write_artifacts(folder: Path, record: TrainingRecord, shared: Path) -> None:
    """Write all that a training leaves into ``folder``. ``shared``: beside the runs, for what the
    pages of all of them use."""
    import pandas as pd

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
    page = render(
        "pages/figure_page.html.j2",
        place=f"{path.parent.name}/{path.name}",
        figure=Markup(to_html(figure, include_plotlyjs=False, full_html=False)),
    )
    path.write_text(page, encoding="utf-8")


def _save_model(folder: Path, record: TrainingRecord) -> None:
    import mlflow.lightgbm
    import pandas as pd
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

    any_type: Any = AnyType  # without types
    signature = ModelSignature(
        inputs=Schema([ColSpec(any_type(), name) for name in served.covariates])
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


def write_artifacts_again(workspace: Workspace, *, run_id: str, record: TrainingRecord) -> None:
    """Put a training's artifacts back into its run's folder; pages kept with the run stay."""
    folder = run_folder(workspace, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="liftloop-") as made:
        write_artifacts(Path(made), record, artifacts_folder(workspace))
        shutil.copytree(made, folder, dirs_exist_ok=True)


def load_curves(
    workspace: Workspace, *, run_id: str, recorded: str | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the description a training left, without opening MLflow.

    Raises
    ------
    DamagedWorkspace
        If the run's folder holds no curves, or others than those whose hash is ``recorded``.
    """
    folder = run_folder(workspace, run_id) / "curves"
    try:
        arrays = _arrays(folder / "curves.npz")
        about = json.loads((folder / "curves.json").read_text(encoding="utf-8"))
    except UNREADABLE as error:
        raise DamagedWorkspace(
            f"The response curves of run {run_id} cannot be read ({type(error).__name__})."
        ) from None
    if recorded is not None and hash_of_arrays(arrays) != recorded:
        raise DamagedWorkspace(
            f"The response curves of run {run_id} are not those that the ledger recorded.",
            is_altered=True,
        )
    return arrays, about


def served_folder(
    workspace: Workspace, *, run_id: str, recorded: Mapping[str, str] | None = None
) -> Path:
    """Where the files of a training's served model lie (:attr:`TrainingRecord.served`).

    Raises
    ------
    DamagedWorkspace
        If a file is not the one whose hash is ``recorded``.
    """
    folder = run_folder(workspace, run_id) / "model" / "data" / SERVED
    for name, sha256 in (recorded or {}).items():
        try:
            same = hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
        except OSError:
            raise DamagedWorkspace(f"The file {name} of run {run_id}'s model is gone.") from None
        if not same:
            raise DamagedWorkspace(
                f"The file {name} of run {run_id}'s model is not the one that the ledger recorded.",
                is_altered=True,
            )
    return folder


def load_unseen(
    workspace: Workspace, *, run_id: str, recorded: str | None = None
) -> dict[str, NDArray[Any]]:
    """What a training predicted of what it did not see; empty where it kept nothing.

    Raises
    ------
    DamagedWorkspace
        If it cannot be read, or is not that whose hash is ``recorded``.
    """
    place = run_folder(workspace, run_id) / "examination" / "unseen.npz"
    try:
        found = _arrays(place) if place.exists() else {}
    except UNREADABLE as error:
        raise DamagedWorkspace(
            f"The predictions of run {run_id} cannot be read ({type(error).__name__})."
        ) from None
    if recorded is not None and hash_of_arrays(found) != recorded:
        raise DamagedWorkspace(
            f"The predictions of run {run_id} are not those that the ledger recorded.",
            is_altered=True,
        )
    return found


def _arrays(place: Path) -> dict[str, NDArray[Any]]:
    with np.load(place, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
