"""apply: go on with budgets in force that do not stand on their platforms yet."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks.publish import apply_budgets


@flow(name="apply")
def apply(workspace: str) -> list[str]:
    """Set what waits: a platform that was out of reach, a budget whose day has come. With nothing
    to set it asks no platform. Returns what still waits, a sentence for each platform."""
    return apply_budgets(str(Path(workspace).resolve()))
