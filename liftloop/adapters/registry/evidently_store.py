"""Evidently's workspace inside ours: snapshots kept once, to be looked at with ``liftloop monitor
ui``, and the link from a model's run to the page that watches it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from liftloop.adapters.locks import exclusive
from liftloop.adapters.registry.mlflow_store import registry_session
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

DAMAGED = "evidently-damaged"  # beside the store: what of it could not be read
PROJECT = uuid5(NAMESPACE_URL, "liftloop/monitor")


def evidently_folder(workspace: Workspace) -> Path:
    """What to give ``evidently ui --workspace``."""
    return workspace.root / "reports" / "evidently"


def snapshot_id(verdict: str, name: str) -> UUID:
    """The same for the same verdict: kept again, a snapshot overwrites itself."""
    return uuid5(PROJECT, f"{verdict}/{name}")


def damaged_snapshots(workspace: Workspace) -> list[Path]:
    """Files of the store that cannot be read. Evidently reads all whenever it opens the store, and
    one that is damaged would keep it closed for good."""
    found = []
    for path in sorted(evidently_folder(workspace).rglob("*.json")):
        try:
            json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            found.append(path)
    return found


def put_damaged_aside(workspace: Workspace) -> list[Path]:
    """Move files of the store that cannot be read out of it; where they were. What described the
    project is made again when the next snapshot is kept."""
    damaged = damaged_snapshots(workspace)
    for path in damaged:
        place = workspace.reports / DAMAGED / path.relative_to(evidently_folder(workspace))
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    return damaged


def keep_snapshots(
    workspace: Workspace, *, verdict: str, snapshots: Mapping[str, Any], as_of: date
) -> None:
    """Put Evidently's snapshots into the workspace's project, which is made if it is missing; they
    carry the day they are about, so that the dashboard runs over these days.

    Opening the store reads every snapshot that was ever kept, three a week: it is opened to make
    the project alone, once files that a full disk left unreadable are put aside.
    """
    from evidently.ui.storage.local.base import LocalState

    folder = evidently_folder(workspace)
    with exclusive(workspace.locks / "evidently.lock", what="The report store", timeout=120):
        folder.mkdir(parents=True, exist_ok=True)
        files = LocalState(str(folder))
        try:
            files.read_project(PROJECT)
            files.read_dashboard(PROJECT)
        except (OSError, ValueError):  # not there yet, or damaged
            put_damaged_aside(workspace)
            _make_project(folder)
        for name, snapshot in snapshots.items():
            model = snapshot.to_snapshot_model()
            model.timestamp = datetime.combine(as_of, time())
            files.write_snapshot(PROJECT, snapshot_id(verdict, name), model)


def _make_project(folder: Path) -> None:
    from evidently.sdk.models import DashboardPanelPlot, PanelMetric, ProjectModel
    from evidently.ui.workspace import Workspace as EvidentlyWorkspace

    store = EvidentlyWorkspace.create(str(folder))

    words = "What LiftLoop's monitor compared: the data, the features, the forecast."
    project = store.add_project(ProjectModel(id=PROJECT, name="LiftLoop", description=words))
    panels = (
        ("Measured over predicted", "monitoring.evidently_slope.CalibrationSlope"),
        ("Weighted error of the forecast (wMAPE)", "monitoring.evidently_forecast.WeightedError"),
        ("90 % intervals that held", "monitoring.evidently_forecast.IntervalCoverage"),
        ("Drift of columns (distance)", "ValueDrift"),
        ("Largest drift in a channel or segment", "monitoring.evidently_forecast.GroupDrift"),
        ("Mean absolute error of the forecast", "MAE"),
        ("Rows", "RowCount"),
    )
    for title, metric in panels:
        project.dashboard.add_panel(
            DashboardPanelPlot(
                title=title,
                subtitle=None,
                size="half",
                values=[PanelMetric(legend="{{name}}{{column}}", metric=metric)],
                plot_params={"plot_type": "line"},
            )
        )
    project.save()


def link_report(workspace: Workspace, *, run_id: str, verdict: str, report: str) -> str:
    """Tag a model's run with the page of the monitor's latest look at it.

    Returns
    -------
    str
        "" or, where the registry cannot be written, what went wrong: a missing link is told and
        stops nothing.
    """
    try:
        with registry_session(workspace) as opened:
            opened.set_tag(run_id, "monitor_verdict", verdict)
            opened.set_tag(run_id, "monitor_report", report)
    except OutsideServiceFailed as trouble:
        return str(trouble)
    return ""
