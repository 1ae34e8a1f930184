"""What a Prefect server must know of the loop: its pool, its deployments, its automations.

Everything here may be done again and again: what is there is left or updated, never doubled.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from liftloop.core.errors import ConfigurationError, OutsideServiceFailed

POOL = "liftloop"
TAG = "liftloop"  # of every deployment and of its runs
LOST_RUNS = "liftloop-lost-runs"
HEARTBEAT_SECONDS = 30
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def home() -> Path:
    """The folder that holds ``flows/`` and is the deployments' working directory."""
    import liftloop

    return Path(str(liftloop.__file__)).resolve().parents[1]


def deployments_file() -> Path:
    """``prefect.yaml``: beside the flows in a checkout, inside the package once installed."""
    import liftloop

    for place in (home(), Path(str(liftloop.__file__)).resolve().parent):
        if (place / "prefect.yaml").is_file():
            return place / "prefect.yaml"
    raise OutsideServiceFailed(
        "The deployments", "have no prefect.yaml.", fix="install LiftLoop anew."
    )


def workspace_to_deploy() -> dict[str, str]:
    """The build step of prefect.yaml: the path and the name of the workspace in LIFTLOOP_WORKSPACE.

    Raises
    ------
    ConfigurationError
        Before anything is deployed, if it is not set, or no absolute path.
    """
    place = os.environ.get("LIFTLOOP_WORKSPACE", "")
    if not Path(place).is_absolute():
        raise ConfigurationError(
            f"LIFTLOOP_WORKSPACE is {place!r}, no absolute path."
            if place
            else "LIFTLOOP_WORKSPACE is not set: nothing says whose deployments these are.",
            fix="export LIFTLOOP_WORKSPACE=/path/to/shop, or run liftloop deploy --workspace shop.",
        )
    path = Path(place).resolve()
    return {"path": str(path), "name": path.name}


def working_directory() -> dict[str, str]:
    """The pull step of prefect.yaml, run before each flow run: go where this installation has its
    ``flows/``, or to LIFTLOOP_HOME."""
    place = os.environ.get("LIFTLOOP_HOME") or str(home())
    os.chdir(place)
    return {"directory": place}


def deploy(environment: Mapping[str, str], *, name: str | None = None, pool: str = POOL) -> None:
    """Make the work pool, unless it is there, and register every deployment with its schedules and
    triggers.

    Parameters
    ----------
    name
        What all of them are called, so that several workspaces fit on one server: ``cycle/NAME``.
        None: each as its flow, as prefect.yaml has it.

    Raises
    ------
    OutsideServiceFailed
        With Prefect's own words.
    """
    if not _pool_exists(pool):
        _prefect(environment, "work-pool", "create", pool, "--type", "process")
    file = deployments_file()
    if name is None and pool == POOL:
        _prefect(environment, "deploy", "--all", "--prefect-file", str(file))
        return
    with tempfile.TemporaryDirectory() as folder:
        renamed = Path(folder) / "prefect.yaml"
        plan = _renamed(yaml.safe_load(file.read_text(encoding="utf-8")), name=name, pool=pool)
        renamed.write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
        _prefect(environment, "deploy", "--all", "--prefect-file", str(renamed))


def _renamed(plan: dict[str, Any], *, name: str | None, pool: str) -> dict[str, Any]:
    """prefect.yaml's content with deployments and automations called by the workspace."""
    for one in plan["deployments"]:
        one["work_pool"] = {**one["work_pool"], "name": pool}
        if name is not None:
            one |= {"name": name, "tags": [TAG, f"workspace:{name}"]}
        for trigger in one.get("triggers", []):
            trigger["name"] += f"-{name}" if name else ""
    return plan


def deployed_workspace(name: str) -> str | None:
    """The workspace of the deployments called ``name``; None where there are none."""
    from prefect.exceptions import ObjectNotFound

    with _client() as client:
        try:
            found = client.read_deployment_by_name(f"cycle/{name}")
        except ObjectNotFound:
            return None
    return str(found.parameters.get("workspace", ""))


def refuse_taken(name: str, workspace: Path) -> None:
    """Refuse a name that the deployments of another workspace have.

    Raises
    ------
    ConfigurationError
        With a way out.
    """
    other = deployed_workspace(name)
    if other not in (None, str(workspace.resolve())):
        raise ConfigurationError(
            f"The deployments called {name} on this server are of {other}; nothing was changed.",
            fix=f"give another name: liftloop deploy --name {shlex.quote(name + '-2')}.",
        )


def read_streams(active: bool, *, name: str = "consume") -> None:
    """Switch the schedule that reads the streams on where there are streams to read, else off."""
    with _client() as client:
        consume = client.read_deployment_by_name(f"consume/{name}")
        for schedule in consume.schedules:
            if schedule.active != active:
                client.update_deployment_schedule(consume.id, schedule.id, active=active)


def _pool_exists(pool: str) -> bool:
    """Whether the server has it: its type and its job template are its owner's."""
    from prefect.exceptions import ObjectNotFound

    with _client() as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            return False
    return True


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
    Runs of other programs on the same server are left alone: ours have a tag.
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
            match_related=ResourceSpecification(
                {"prefect.resource.role": ["tag"], "prefect.resource.id": [f"prefect.tag.{TAG}"]}
            ),
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
        for one in there[:1]:
            wanted.enabled = one.enabled  # a person may have switched it off
            client.update_automation(one.id, wanted)
        for doubled in there[1:]:
            client.delete_automation(doubled.id)
    if not there:
        wanted.create()


@lru_cache(maxsize=1)
def watch_once() -> None:
    """The build step of prefect.yaml that makes the automation for lost runs: Prefect runs it for
    each deployment, and one time is enough."""
    watch_for_lost_runs()


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
