"""Many workspaces side by side: where their trainings run, and one training whole."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from prefect import task
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from liftloop.core.errors import ConfigurationError, LiftLoopError
from tasks.context import open_loop, resolve
from tasks.model.train import promote_once, train_once

Where = Literal["threads", "processes", "dask"]


@task(name="train and promote")
def train_and_promote(
    workspace: str, as_of: date | None, *, source: str, reason: str
) -> dict[str, Any]:
    """One workspace's training, evaluated and promoted; what went wrong in one stops no other."""
    place, day = resolve(workspace, as_of)
    loop = open_loop(place)
    try:
        training = promote_once(loop, train_once(loop, day, source=source, reason=reason))
    except LiftLoopError as error:
        return {"workspace": place, "key": None, "champion": False, "sentence": str(error)}
    return {"workspace": place, **training}


def runner(where: Where, *, workers: int, scheduler: str | None) -> TaskRunner[Any]:
    """The task runner of a kind: threads or processes of this machine, or a Dask cluster (one made
    here for the run without a ``scheduler``'s address).

    Raises
    ------
    ConfigurationError
        If Dask is asked for and not installed.
    """
    if where == "threads":
        return ThreadPoolTaskRunner(max_workers=workers)
    if where == "processes":
        return ProcessPoolTaskRunner(max_workers=workers)
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise ConfigurationError(
            "Dask is not installed.", fix="pip install 'liftloop[dask]' here and on each worker."
        ) from None
    if scheduler:
        return DaskTaskRunner(address=scheduler)
    return DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})
