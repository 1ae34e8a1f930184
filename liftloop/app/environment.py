"""What must be set before Prefect, MLflow or matplotlib are imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liftloop.adapters.workspace import Workspace

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # DO_NOT_TRACK alone stops neither
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_WAIT_POLICY": "PASSIVE",  # two spinning threads on a busy machine cost tenfold
    "PREFECT_LOGGING_LEVEL": "WARNING",
}


def prepare(workspace: Workspace | None) -> None:
    """Set the environment for this process and its children. What the user has set stays.

    Without a Prefect server of the user's own, Prefect keeps its database in the workspace.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "liftloop-mpl"))
    if workspace is None or _has_prefect_of_its_own():
        return
    workspace.prefect.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(workspace.prefect.resolve())
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


def _has_prefect_of_its_own() -> bool:
    named = any(os.environ.get(name) for name in ("PREFECT_API_URL", "PREFECT_HOME"))
    return named or (Path.home() / ".prefect" / "profiles.toml").exists()


@contextmanager
def flow_settings() -> Iterator[None]:
    """Around flows run in this process: no heartbeat thread, whose join costs a second a flow."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
