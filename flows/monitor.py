"""monitor: compare the last weeks with the weeks before; tell the event bus of drift."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.monitor import compare_windows


@flow(name="monitor", validate_parameters=True)
def monitor(workspace: str, as_of: date | None = None) -> dict[str, Any]:
    """Write the drift report and its verdict; emit ``liftloop.drift.detected`` when there is one.

    Returns the verdict: key, drifted, summary, health, report (path inside the workspace), new.
    """
    place, day = resolve(workspace, as_of)
    return compare_windows(place, day)
