"""Where a message leads to: paths in the workspace, or addresses where it is served."""

from __future__ import annotations

import os
from urllib.parse import quote

from sqlmodel import Session

from liftloop.adapters.ledger.records import training, verdicts
from liftloop.adapters.ledger.tables import Decision
from liftloop.adapters.prefect_server import server_named
from liftloop.adapters.registry.mlflow_store import run_folder
from liftloop.reporting.messages.slack_blocks import Link
from liftloop.settings.workspace import TEMPORARY_SERVER
from tasks.context import Loop
from tasks.step import in_flow_run


def link(loop: Loop, label: str, path: str) -> Link:
    """A file of the workspace, by its path inside it: where the folder is served, else a report on
    the dashboard."""
    base, dashboard = loop.settings.notify.base_url, loop.settings.notify.dashboard_url
    if base:
        return Link(label, f"{base.rstrip('/')}/{quote(path)}")
    folder, _, name = path.rpartition("/")
    if dashboard and folder == loop.workspace.reports.name:
        return Link(label, f"{dashboard.rstrip('/')}/reports?report={quote(name)}")
    return Link(label, path)


def act_links(loop: Loop, head: Decision) -> tuple[Link, ...]:
    """What a person can do about a decision, on the dashboard; nothing without its address."""
    address = loop.settings.notify.dashboard_url
    if address is None:
        return ()
    if head.state == "awaiting_approval":
        labels = ["Approve", "Reject"]
    elif head.state == "in_force" and head.kind in ("move", "promote"):
        labels = ["Pause", "Roll back"]
    else:
        labels = []
    return tuple(Link(label, address, is_act=True) for label in labels)


def decision_links(loop: Loop, db: Session, head: Decision, page: str | None) -> tuple[Link, ...]:
    """The decision's page, what a person can do, the monitor's page of its day, the training's run,
    and Prefect's."""
    found = [link(loop, "Details", page)] if page else []
    found += act_links(loop, head)
    said = next((v for v in verdicts(db, limit=20) if v.as_of == head.as_of), None)
    if said is not None and said.report:
        found.append(link(loop, "Monitor", said.report))
    trained = training(db, key=head.training_key) if head.training_key else None
    if trained is not None and trained.run_id:
        folder = run_folder(loop.workspace, trained.run_id)
        inside = folder.relative_to(loop.workspace.root.resolve()).as_posix()
        found.append(link(loop, "MLflow run", inside))
    return (*found, *prefect_link())


def prefect_link() -> tuple[Link, ...]:
    """The present run on the Prefect server; none where the server is a temporary one."""
    if not in_flow_run() or os.environ.get(TEMPORARY_SERVER) or not server_named():
        return ()
    from prefect.runtime import flow_run

    address = flow_run.ui_url
    return (Link("Prefect run", str(address)),) if address else ()
