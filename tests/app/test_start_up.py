"""What a command needs not, it does not import: imports are most of the time a command takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from liftloop.app.cli import app
from liftloop.settings.workspace import Workspace

CODE = """
import os, sys
from liftloop.app.cli import main
try:
    main()
except SystemExit as end:
    assert end.code in (None, 0, 1), end.code  # 1: declined
print("imported:", *sorted({name for name in os.environ["HEAVY"].split() if name in sys.modules}),
      "server" * ("PREFECT_API_URL" in os.environ), file=sys.stderr)
"""
SERVICES = "evidently mlflow prefect redis httpx uvicorn streamlit dask alembic.command"
MODELS = "lightgbm optuna shap sklearn matplotlib plotly scipy.stats scipy.sparse scipy.optimize"
TABLES = "pandas pandera sqlalchemy numpy pyarrow deltalake"
NOW = "2026-01-05T06:00:00+00:00"
SALES = "date,segment,orders,revenue\n2026-01-19,north,3,120.50\n2026-01-20,north,4,99.00\n"


def imported(*words: str, heavy: str = f"{SERVICES} {MODELS}") -> list[str]:
    """Which of the heavy modules a command imports, and whether it starts a server."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "LIFTLOOP_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        env={**kept, "HEAVY": heavy, "LIFTLOOP_NOW": NOW},
        text=True,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.rpartition("imported:")[2].split()


def test_help_needs_no_library_of_tables() -> None:
    assert imported("--help", heavy=f"{SERVICES} {MODELS} {TABLES} pydantic") == []


def test_init_makes_the_ledger_and_needs_no_more(tmp_path: Path) -> None:
    place = str(tmp_path / "shop")
    heavy = f"{SERVICES} {MODELS} {TABLES} sqlmodel"
    assert imported("init", "--workspace", place, heavy=heavy) == []
    again = imported("init", "--workspace", place, heavy=heavy)
    assert again == ["sqlalchemy", "sqlmodel"]  # whose ledger may be of an earlier version


@pytest.mark.parametrize(
    "words",
    [
        "ingest",
        "budgets",
        "budgets --decisions",
        "rollouts",
        "report",
        "audit verify",
        "quarantine list",
        "names",
        "pause --channel social",
        "approve d-three",
        "reject d-three",
    ],
)
def test_commands_need_no_service_and_no_model_library(
    words: str, busy_workspace: Workspace
) -> None:
    (busy_workspace.inbox / "sales.csv").write_text(SALES, encoding="utf-8")
    assert imported(*words.split(), "--workspace", str(busy_workspace.root)) == []


def test_doctor_needs_no_service(empty_workspace: Workspace) -> None:
    heavy = f"{SERVICES} lightgbm optuna shap sklearn matplotlib plotly scipy.stats"
    assert imported("doctor", "--workspace", str(empty_workspace.root), heavy=heavy) == []


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("command", ["ingest", "monitor"])
def test_a_server_that_is_named_records_the_run(command: str, busy_workspace: Workspace) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    def runs() -> int:
        named = FlowFilter(name=FlowFilterName(any_=[command]))
        with get_client(sync_client=True) as client:
            return len(client.read_flow_runs(flow_filter=named))

    before = runs()
    done = CliRunner().invoke(app, [command, "--workspace", str(busy_workspace.root)])
    assert done.exit_code == 0, done.output
    assert runs() == before + 1
