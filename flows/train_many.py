"""train_many: the models of many workspaces, side by side."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow, unmapped

from tasks.many import Where, runner, train_and_crown


@flow(name="train_many")
def train_many(
    workspaces: list[str],
    as_of: date | None = None,
    door: str = "holdout",
    reason: str = "by hand",
    where: Where = "processes",
    workers: int = 2,
    scheduler: str | None = None,
) -> list[dict[str, Any]]:
    """Train each workspace's model, examine it, and move its champion if it passes.

    ``where`` is threads or processes of this machine, or dask: the cluster at ``scheduler``, or one
    of ``workers`` processes made for this run. Every worker must see the workspaces' folders.
    Returns one training a workspace: workspace, key (None without evidence), champion, sentence.
    """
    spread = _each.with_options(task_runner=runner(where, workers=workers, scheduler=scheduler))
    found: list[dict[str, Any]] = spread(workspaces, as_of, door, reason)
    return found


@flow(name="train_each")
def _each(
    workspaces: list[str], as_of: date | None, door: str, reason: str
) -> list[dict[str, Any]]:
    begun = train_and_crown.map(
        workspaces, unmapped(as_of), door=unmapped(door), reason=unmapped(reason)
    )
    return list(begun.result())
