"""Fixtures of all tests. Nothing here starts Prefect unless a test asks for it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftloop.adapters.workspace import Workspace

# Before anything imports prefect or mlflow: neither may call home, and no test touches a home.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "liftloop-mpl"))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect API for the session, for the tests that run flows."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data sets."""
    folder = os.environ.get("LIFTLOOP_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip(
            "needs real data: set LIFTLOOP_TEST_DATA to the folder that holds hillstrom.csv.gz, "
            "company_x_display.csv.gz and exports/"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def workspace_model(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace as `liftloop init` makes it, with the registry that a first training would make,
    to copy: making one takes seconds."""
    from liftloop.adapters.initialise import init_workspace
    from liftloop.adapters.registry import create_registry

    workspace = init_workspace(tmp_path_factory.mktemp("model") / "workspace")
    create_registry(workspace)
    return workspace


@pytest.fixture
def fresh_workspace(tmp_path: Path, workspace_model: Workspace) -> Workspace:
    """A workspace of this test's own, with nothing in it yet."""
    shutil.copytree(workspace_model.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")
