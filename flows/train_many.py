"""train_many: the models of many workspaces, side by side."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, unmapped
from pydantic import Field

from tasks.flow_runs import AsOf, Reason, Source, WorkspaceFolder, log, run_name
from tasks.many_workspaces import Where, runner, train_and_promote

Workspaces = Annotated[
    list[WorkspaceFolder],
    Field(min_length=1, json_schema_extra={"description": "The workspaces' folders."}),
]
Place = Annotated[
    Where,
    Field(json_schema_extra={"description": "Threads or processes of this machine, or Dask."}),
]
Workers = Annotated[
    int,
    Field(ge=1, le=256, json_schema_extra={"description": "How many train at the same time."}),
]
Scheduler = Annotated[
    str | None,
    Field(
        json_schema_extra={"description": "The Dask scheduler, tcp://host:8786; empty: made here."}
    ),
]


@flow(name="train_many", flow_run_name=run_name)
def train_many(
    workspaces: Workspaces,
    as_of: AsOf = None,
    source: Source = "holdout",
    reason: Reason = "by hand",
    where: Place = "processes",
    workers: Workers = 2,
    scheduler: Scheduler = None,
) -> list[dict[str, Any]]:
    """Train each workspace's model, examine it, and move its champion if it passes.

    ``where`` is threads or processes of this machine, or dask: the cluster at ``scheduler``, or one
    of ``workers`` processes made for this run. Every worker must see the workspaces' folders.
    Returns one training a workspace: workspace, key (None without evidence), champion, sentence.
    """
    spread = _each.with_options(task_runner=runner(where, workers=workers, scheduler=scheduler))
    found: list[dict[str, Any]] = spread(workspaces, as_of, source, reason)
    log(*(f"{one['workspace']}: {one['sentence']}" for one in found))
    return found


@flow(name="train_each", flow_run_name=run_name)
def _each(workspaces: list[str], as_of: AsOf, source: Source, reason: str) -> list[dict[str, Any]]:
    begun = train_and_promote.map(
        workspaces, unmapped(as_of), source=unmapped(source), reason=unmapped(reason)
    )
    found = list(begun.result())
    log(f"{sum(bool(one['key']) for one in found)} of {len(found)} workspaces were trained.")
    return found
