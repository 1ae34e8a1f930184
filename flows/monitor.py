"""monitor: compare the last weeks with those before, say why they differ, tell the event bus."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.monitor import compare_windows
from tasks.notify import deliver_messages


@flow(name="monitor", validate_parameters=True)
def monitor(workspace: str, as_of: date | None = None) -> dict[str, Any]:
    """Write the reports and the verdict of the triage.

    Emits ``liftloop.drift.detected`` where a training is asked for, ``liftloop.feed.broken`` and
    ``liftloop.feed.recovered``; each trouble is told once while it stands.

    Returns the verdict: key, as_of, drifted (it asks for something), summary, cause, act, findings,
    noted, told, health, report (path inside the workspace), new.
    """
    place, day = resolve(workspace, as_of)
    verdict = compare_windows(place, day)
    if verdict["new"]:
        deliver_messages(place)
    return verdict
