"""What must be set before Prefect, MLflow or matplotlib are imported."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liftloop.adapters.workspace import Workspace
from liftloop.app.service import record
from liftloop.app.temporary_server import TemporaryServer
from liftloop.core.errors import LiftLoopError

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # DO_NOT_TRACK alone stops neither
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OPENBLAS_NUM_THREADS": "1",  # the matrices are small: threads only wait for each other
    "OMP_WAIT_POLICY": "PASSIVE",  # two spinning threads on a busy machine cost tenfold
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
_servers: list[TemporaryServer] = []  # at most one; it ends with the process


def prepare(workspace: Workspace | None, *, flows: bool = False) -> None:
    """Set the environment for this process and its children. What the user has set stays.

    Without a Prefect server of the user's own, and without a service of the workspace
    (``liftloop up``), Prefect keeps its database in the workspace; with ``flows`` a server is
    started for this process, unless Prefect is imported already. :func:`flow_settings` waits for
    it.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "liftloop-mpl"))
    if workspace is None or _has_prefect_of_its_own():
        return
    workspace.prefect.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(workspace.prefect.resolve())
    service = record.running(workspace)
    if service is not None and service.ready:
        os.environ["PREFECT_API_URL"] = service.api
        return
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    if flows:
        # Modules make millions of objects that stay; looking for garbage in them takes a second.
        gc.set_threshold(100_000, 20, 100)
    if flows and "prefect" not in sys.modules and not _servers:
        _servers.append(TemporaryServer())


def _has_prefect_of_its_own() -> bool:
    named = any(os.environ.get(name) for name in ("PREFECT_API_URL", "PREFECT_HOME"))
    return named or (Path.home() / ".prefect" / "profiles.toml").exists()


_RUN_LOGS = ("prefect.flow_runs", "prefect.task_runs")


@contextmanager
def flow_settings() -> Iterator[None]:
    """Around flows run in this process: no heartbeat thread, whose join costs a second a flow, and
    no traceback of what the command itself says in a sentence."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    changed: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if _servers:  # enter after the flow's modules are imported: they load while the server starts
        changed[PREFECT_API_URL] = _servers[0].wait()

    # At the end of the program Prefect's worker warns that it still sends a few events; it waits.
    logging.getLogger("EventsWorker").addFilter(_is_no_wait)
    loggers = [logging.getLogger(name) for name in _RUN_LOGS]
    for logger in loggers:
        logger.addFilter(is_news)
    try:
        with temporary_settings(changed):
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_news)


def _is_no_wait(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Still processing items")


def is_news(record: logging.LogRecord) -> bool:
    """Whether a run's log record says what nothing else does.

    An error of ours reaches the command line as one sentence and stays in the run's state; Prefect
    would log it as well, with a traceback, once for the task and once for the flow. That a task
    failed reaches whoever called it as the exception.
    """
    if record.exc_info and isinstance(record.exc_info[1], LiftLoopError):
        return False
    ended = str(record.msg).startswith("Finished in state Failed(")
    return not (ended and record.name == "prefect.task_runs")
