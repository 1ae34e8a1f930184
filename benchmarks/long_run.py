"""A year of weekly cycles in one ``liftloop up``: what a cycle takes in week 5 and in week 52.

    uv run python -m benchmarks.long_run [--weeks 52] [--market demo|small]

The clock is accelerated: as soon as a cycle is through, the market spends its budgets for a week,
the week's feeds land in the inbox and the deployment ``cycle`` is run as of the next Monday. Of
each run the processor time and the peak memory of its process are taken (the median of three weeks
is shown), and the memory of the server and the worker, which live all the year. Ends with 1
where the last weeks take more than 1.3 times the fifth.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from liftloop.adapters.initialise import init_workspace
from liftloop.app.demo.market import CYCLE_DAYS, _put, budgets_of, exported
from liftloop.app.environment import prepare
from liftloop.app.service import record
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace

LIMIT, EARLY = 1.3, 5
SMALL = replace(
    DemoMarket.constants,
    segments=("north", "south", "east", "west"),
    channels=("search", "social"),
    total_daily_budget=Decimal("12000.00"),
    history_days=84,
)


@dataclass(frozen=True)
class Week:
    """Seconds of processor time and megabytes at the peak of a cycle's process; megabytes of the
    processes that live on."""

    seconds: float
    memory: float
    server: float
    worker: float


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--weeks", type=int, default=52)
    asked.add_argument("--market", choices=("demo", "small"), default="small")
    given = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="long-run-"))
    try:
        weeks = live(folder / "workspace", given.weeks, small=given.market == "small")
    except AssertionError as failure:
        sys.exit(f"{failure} See {folder}/workspace/logs.")
    shutil.rmtree(folder, ignore_errors=True)
    worse = False
    print(f"\n{'':24}{f'week {EARLY}':>10}{f'week {given.weeks}':>10}{'ratio':>8}")
    for name in ("seconds", "memory", "server", "worker"):
        early, late = (
            median(getattr(w, name) for w in weeks[end - 3 : end])
            for end in (EARLY + 1, len(weeks))
        )
        worse |= late > LIMIT * early
        print(f"{name:24}{early:10.1f}{late:10.1f}{late / early:8.2f}")
    sys.exit(worse)


def live(root: Path, weeks: int, *, small: bool) -> list[Week]:
    """Run the year in a new workspace."""
    market = DemoMarket(1, constants=SMALL if small else DemoMarket.constants)
    workspace = init_workspace(root)
    if small:
        text = workspace.config.read_text(encoding="utf-8")
        for old, new in (
            ("tuning_trials = 20", "tuning_trials = 2"),
            ("draws = 200", "draws = 50"),
        ):
            text = text.replace(old, new)
        workspace.config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "liftloop.app.cli"]
    place = ["--workspace", str(workspace.root)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    subprocess.run(
        [*command, "up", "--detach", "--no-dashboard", "--port", port, *place], check=True
    )
    try:
        prepare(workspace)
        _put(workspace, market.history(), name="history")
        budgets, found = market.incumbent, []
        for week in range(weeks):
            day = market.start + timedelta(days=CYCLE_DAYS * week)
            found.append(_cycle(workspace, day))
            lines = exported(workspace, day)
            budgets = budgets_of(lines) if lines else budgets
            _put(workspace, market.step(budgets, CYCLE_DAYS), name=str(day))
            print(f"{week + 1:3} {day} {found[-1]}", flush=True)
        return found
    finally:
        subprocess.run([*command, "down", *place], check=False)


def _cycle(workspace: Workspace, day: Any) -> Week:
    """Run the deployment as of a day, and watch its process."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments import run_deployment

    service = record.running(workspace)
    assert service is not None, "the service has ended: read its logs"
    run = run_deployment("cycle/cycle", parameters={"as_of": str(day)}, timeout=0)
    assert isinstance(run, FlowRun)
    seconds = memory = 0.0
    with get_client(sync_client=True) as client:
        while not (run.state and run.state.is_final()):
            if run.infrastructure_pid:
                spent, peak = _of(int(str(run.infrastructure_pid).rpartition(":")[2]))
                seconds, memory = max(seconds, spent), max(memory, peak)
            time.sleep(0.5)
            run = client.read_flow_run(run.id)
    assert run.state.is_completed(), f"{day}: {run.state.message}"
    alive = (_of(service.processes[name])[1] for name in ("server", "worker"))
    return Week(seconds, memory, *alive)


def _of(number: int) -> tuple[float, float]:
    """Processor seconds and peak megabytes of a process, 0 where it has ended."""
    try:
        process = psutil.Process(number)
        times = process.cpu_times()
        status = Path(f"/proc/{number}/status").read_text(encoding="ascii")
    except (psutil.Error, OSError):
        return 0.0, 0.0
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    spent = times.user + times.system + times.children_user + times.children_system
    return spent, int(peak) / 1024


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    main()
