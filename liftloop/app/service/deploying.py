"""What a Prefect server must know of the loop: its pool, its deployments, its automations.

Everything here may be done again and again: what is there is left or updated, never doubled.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from liftloop.core.errors import OutsideServiceFailed

POOL = "liftloop"
LOST_RUNS = "liftloop-lost-runs"
HEARTBEAT_SECONDS = 30
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def home() -> Path:
    """The folder that holds ``flows/`` and is the deployments' working directory."""
    import flows

    return Path(str(flows.__file__)).resolve().parents[1]


def deployments_file() -> Path:
    """``prefect.yaml``: beside the flows in a checkout, inside the package once installed."""
    import liftloop

    for place in (home(), Path(str(liftloop.__file__)).resolve().parent):
        if (place / "prefect.yaml").is_file():
            return place / "prefect.yaml"
    raise OutsideServiceFailed(
        "The deployments", "have no prefect.yaml.", fix="install LiftLoop anew."
    )


def deploy(environment: Mapping[str, str]) -> None:
    """Make the work pool and register every deployment with its schedules and triggers.

    Raises
    ------
    OutsideServiceFailed
        With Prefect's own words.
    """
    _prefect(environment, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect(environment, "deploy", "--all", "--prefect-file", str(deployments_file()))


def read_streams(active: bool) -> None:
    """Switch the schedule that reads the streams on where there are streams to read, else off."""
    with _client() as client:
        consume = client.read_deployment_by_name("consume/consume")
        for schedule in consume.schedules:
            if schedule.active != active:
                client.update_deployment_schedule(consume.id, schedule.id, active=active)


def _prefect(environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        env=dict(environment),
        cwd=home(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise OutsideServiceFailed(
            f"prefect {' '.join(arguments[:2])}",
            said[-1] if said else f"ended with {done.returncode}.",
            fix="read the server's log in the workspace's logs/ folder.",
        )


def watch_for_lost_runs() -> None:
    """An automation that marks a run as crashed whose heartbeat stopped, so that its deployment's
    one place is free again. A killed process tells nobody; its run would stay "running" for ever.
    """
    from prefect.automations import Automation
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    beat = "prefect.flow-run.heartbeat"
    wanted = Automation(
        name=LOST_RUNS,
        description="A run that no longer says it is alive has crashed.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{end}" for end in _ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=4 * HEARTBEAT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="Its process ended without a word; the next run finishes its work.",
            )
        ],
    )
    with _client() as client:
        there = client.read_automations_by_name(name=LOST_RUNS)
    if not there:
        wanted.create()


def resume_lost_runs() -> list[str]:
    """Mark the runs whose process on this machine is gone as crashed, and start each of their
    deployments again; the loop's keys see to it that nothing is done twice. Their names."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    unfinished = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
        )
    )
    started: dict[Any, str] = {}
    with _client() as client:
        for run in client.read_flow_runs(flow_run_filter=unfinished, limit=200):
            if run.work_pool_name != POOL or _lives(run.infrastructure_pid):
                continue
            words = "Its process was gone when the service started."
            client.set_flow_run_state(run.id, Crashed(message=words), force=True)
            if run.deployment_id is not None and run.deployment_id not in started:
                client.create_flow_run_from_deployment(
                    run.deployment_id, parameters=run.parameters, name=f"{run.name}-resumed"
                )
                started[run.deployment_id] = run.name
    return list(started.values())


def _lives(where: str | None) -> bool:
    """Whether the process of a run (``host:number``) lives; one elsewhere is not ours to judge."""
    if not where:
        return False
    host, _, number = where.rpartition(":")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(number), 0)
    except (OSError, ValueError):
        return False
    return True


def _client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)
