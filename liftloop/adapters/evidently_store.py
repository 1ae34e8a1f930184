"""Evidently's workspace inside ours: snapshots kept once, to be looked at with ``liftloop monitor
ui``, and the link from a model's run to the page that watches it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from liftloop.adapters.locks import exclusive
from liftloop.adapters.mlflow_store import registry_session
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import OutsideServiceFailed

PROJECT = uuid5(NAMESPACE_URL, "liftloop/monitor")


def evidently_folder(workspace: Workspace) -> Path:
    """What to give ``evidently ui --workspace``."""
    return workspace.root / "reports" / "evidently"


def snapshot_id(verdict: str, name: str) -> UUID:
    """The same for the same verdict: kept again, a snapshot overwrites itself."""
    return uuid5(PROJECT, f"{verdict}/{name}")


def keep_snapshots(
    workspace: Workspace, *, verdict: str, snapshots: Mapping[str, Any], as_of: date
) -> None:
    """Put Evidently's snapshots into the workspace's project, which is made if it is missing; they
    carry the day they are about, so that the dashboard runs over these days."""
    from evidently.ui.workspace import Workspace as EvidentlyWorkspace

    folder = evidently_folder(workspace)
    with exclusive(workspace.locks / "evidently.lock", what="The report store", timeout=120):
        folder.mkdir(parents=True, exist_ok=True)
        store = EvidentlyWorkspace.create(str(folder))
        if store.get_project(PROJECT) is None:
            _make_project(store)
        for name, snapshot in snapshots.items():
            model = snapshot.to_snapshot_model()
            model.timestamp = datetime.combine(as_of, time())
            store.state.write_snapshot(PROJECT, snapshot_id(verdict, name), model)


def _make_project(store: Any) -> None:
    from evidently.sdk.models import DashboardPanelPlot, PanelMetric, ProjectModel

    words = "What LiftLoop's monitor compared: the data, the features, the forecast."
    project = store.add_project(ProjectModel(id=PROJECT, name="LiftLoop", description=words))
    panels = (
        ("Measured over foretold", "monitoring.evidently_slope.CalibrationSlope"),
        ("Drift of columns (distance)", "ValueDrift"),
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
