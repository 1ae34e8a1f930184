"""monitor: compare the last weeks with those before, say why they differ, tell the event bus."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.flow_runs import Alone, AsOf, WorkspaceFolder, run_name
from tasks.monitor.monitor import monitor as compare_with_weeks_before


@flow(name="monitor", flow_run_name=run_name)
def monitor(workspace: WorkspaceFolder, as_of: AsOf = None, alone: Alone = True) -> dict[str, Any]:
    """Write the reports and the verdict of the triage.

    Emits ``liftloop.drift.detected`` where a training is asked for, ``liftloop.feed.broken`` and
    ``liftloop.feed.recovered``; each trouble is told once while it stands.

    ``alone``: no cycle goes on from here, so that other deployments hear of it; not where ``as_of``
    is a past day.

    Returns the verdict: key, as_of, drifted (it asks for something), summary, cause, act, findings,
    noted, told, health, report (path inside the workspace), new.
    """
    return compare_with_weeks_before(workspace, as_of, alone=alone)
