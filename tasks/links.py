"""Where a message leads to: paths in the workspace, or addresses where it is served."""

from __future__ import annotations

import os
from urllib.parse import quote

from prefect.runtime import flow_run
from sqlmodel import Session

from liftloop.adapters.ledger import training, verdicts
from liftloop.adapters.mlflow_store import run_folder
from liftloop.adapters.tables import Decision
from liftloop.adapters.workspace import TEMPORARY_SERVER
from liftloop.core.blocks import Link
from tasks.context import Loop


def link(loop: Loop, label: str, path: str) -> Link:
    """A file of the workspace, by its path inside it."""
    base = loop.settings.notify.base_url
    return Link(label, f"{base.rstrip('/')}/{quote(path)}" if base else path)


def decision_links(loop: Loop, db: Session, head: Decision, page: str | None) -> tuple[Link, ...]:
    """The decision's page, the monitor's of its day, the training's run, and Prefect's."""
    found = [link(loop, "Page", page)] if page else []
    said = next((v for v in verdicts(db, limit=20) if v.as_of == head.as_of), None)
    if said is not None and said.report:
        found.append(link(loop, "Why the last weeks differ", said.report))
    trained = training(db, key=head.training_key) if head.training_key else None
    if trained is not None and trained.run_id:
        folder = run_folder(loop.workspace, trained.run_id)
        inside = folder.relative_to(loop.workspace.root.resolve()).as_posix()
        found.append(link(loop, "MLflow run", inside))
    return (*found, *prefect_link())


def prefect_link() -> tuple[Link, ...]:
    """The present run on the Prefect server; none where the server is a temporary one."""
    lasting = os.environ.get("PREFECT_API_URL") and not os.environ.get(TEMPORARY_SERVER)
    address = flow_run.ui_url if lasting else None
    return (Link("Prefect run", str(address)),) if address else ()
