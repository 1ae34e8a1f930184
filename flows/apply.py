"""apply: go on with budgets in force that do not stand on their platforms yet."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks.flow_runs import WorkspaceFolder, log, run_name
from tasks.operate.publish import apply_budgets


@flow(name="apply", flow_run_name=run_name)
def apply(workspace: WorkspaceFolder) -> list[str]:
    """Set what waits: a platform that was out of reach, a budget whose day has come. With nothing
    to set it asks no platform. Returns what still waits, a sentence for each platform."""
    waiting: list[str] = apply_budgets(str(Path(workspace).resolve()))
    log(*waiting or ["Nothing waits to be set on a platform."])
    return waiting
