"""apply: go on with budgets in force that do not stand on their platforms yet."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks.publish import resume_platforms


@flow(name="apply")
def apply(workspace: str) -> list[str]:
    """Set what waits: a platform that was out of reach, a budget whose day has come. With nothing
    to set it asks no platform. Returns the platforms that still wait."""
    return resume_platforms(str(Path(workspace).resolve()))
