"""What must be set before Prefect, MLflow or matplotlib are imported."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from liftloop.adapters.files.whole_files import private_folder
from liftloop.adapters.prefect_password import CLIENT, own_password, stored_password
from liftloop.adapters.prefect_server import server_named
from liftloop.app.service import record
from liftloop.app.temporary_server import TemporaryServer
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace

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
    if "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = str(plotting_folder(workspace))
    if workspace is None or _has_prefect_of_its_own():
        return
    private_folder(workspace.prefect)
    os.environ["PREFECT_HOME"] = str(workspace.prefect.resolve())
    service = record.running(workspace)
    if service is not None and service.ready:
        os.environ["PREFECT_API_URL"] = service.api
        _let_in(workspace, service)
        return
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    if flows:
        # Modules make millions of objects that stay; looking for garbage in them takes a second.
        gc.set_threshold(100_000, 20, 100)
    if flows and "prefect" not in sys.modules and not _servers:
        _servers.append(TemporaryServer())


def plotting_folder(workspace: Workspace | None = None) -> Path:
    """Matplotlib's folder: its settings are read from there, so nobody else may write in it. In the
    user's cache, else in the workspace, else a new one that is gone at the end."""
    for parent in (_cache(), workspace.prefect if workspace else None):
        if parent is None:
            continue
        with suppress(OSError):  # it may not be written
            folder = parent / "matplotlib"
            private_folder(folder)
            if is_own(folder):
                return folder
    made = Path(tempfile.mkdtemp(prefix="liftloop-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _cache() -> Path | None:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftloop"
    except RuntimeError:  # no home
        return None


def is_own(folder: Path) -> bool:
    """Whether a folder is this user's, no link to another one, and writable by nobody else."""
    if os.name != "posix":
        return folder.is_dir()
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & 0o077
        and os.access(folder, os.W_OK)
    )


def _let_in(workspace: Workspace, service: record.ServiceRecord) -> None:
    """Give Prefect's client the password that the server of ``liftloop up`` asks for."""
    if service.own_password:
        if own_password() is None:
            raise ConfigurationError(
                "The service of this workspace was started with a password of your own.",
                fix=f"set {CLIENT} here, too.",
            )
        os.environ.setdefault(CLIENT, str(own_password()))
    elif password := stored_password(workspace):
        os.environ[CLIENT] = password


def _has_prefect_of_its_own() -> bool:
    at_home = os.environ.get("PREFECT_HOME") or (Path.home() / ".prefect/profiles.toml").exists()
    return bool(at_home) or server_named()


_RUN_LOGS = ("prefect.flow_runs", "prefect.task_runs")


@contextmanager
def flow_settings() -> Iterator[None]:
    """Around flows run in this process: no heartbeat thread, whose join costs a second a flow, and
    no traceback of what the command itself says in a sentence. Without Prefect imported by now,
    nothing."""
    if "prefect" not in sys.modules:
        yield
        return
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

    An error reaches the command line as one sentence (a defect's traceback a log file) and stays in
    the run's state; Prefect would log it as well, with a traceback, once for the task and once for
    the flow. That a task failed reaches whoever called it as the exception.
    """
    if record.exc_info:
        return False
    ended = str(record.msg).startswith("Finished in state Failed(")
    return not (ended and record.name == "prefect.task_runs")
