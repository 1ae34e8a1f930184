"""The deployments on a real server: a file lands, and new budgets go out without a hand.

Server, worker and flow runs are processes of their own; only the event bus joins them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.workspace import Workspace
from liftloop.markets.demo_market import DemoMarket

ROOT = Path(__file__).resolve().parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


@contextmanager
def running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[Any]:
    """A process in a group of its own, which is ended with all it started."""
    with log.open("w") as said:
        process = subprocess.Popen(
            command, env=dict(environment), stdout=said, stderr=said, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def ask(api: str, path: str, question: dict[str, Any] | None = None) -> Any:
    """What the API answers."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(
        f"{api}{path}", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first truthy answer of ``found``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


@pytest.mark.slow  # a server, a worker, five flow runs: each loads Prefect
@pytest.mark.timeout(900)
def test_a_file_that_tells_of_a_drift_ends_in_new_budgets_without_a_hand(
    shop: Workspace,
    small_market: DemoMarket,
    drifted: Mapping[str, pd.DataFrame],
    write_feeds: Callable[[Path, Mapping[str, pd.DataFrame]], None],
    tmp_path: Path,
) -> None:
    write_feeds(shop.inbox, drifted)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    outside = ("PREFECT_", "LIFTLOOP_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(outside)},
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "LIFTLOOP_WORKSPACE": str(shop.root),
        "LIFTLOOP_HOME": str(ROOT),
        "LIFTLOOP_NOW": f"{small_market.start}T06:00:00+00:00",
    }
    server = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    worker = [*PREFECT, "worker", "start", "--pool", "liftloop", "--type", "process"]

    def prefect(*arguments: str) -> None:
        done = subprocess.run(
            [*PREFECT, "--no-prompt", *arguments], env=environment, cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def completed(name: str) -> list[dict[str, Any]]:
        runs = ask(
            api, "/flow_runs/filter", {"deployments": {"name": {"any_": [name]}}, "limit": 20}
        )
        assert not [r for r in runs if r["state_type"] in ("FAILED", "CRASHED")], (
            tmp_path / "worker.log"
        ).read_text(encoding="utf-8")[-3000:]
        return [run for run in runs if run["state_type"] == "COMPLETED"]

    with running(server, environment, tmp_path / "server.log"):
        until(lambda: ask(api, "/health"), 240, "the server")
        prefect("work-pool", "create", "liftloop", "--type", "process")
        prefect("deploy", "--all")
        prefect("deploy", "--all")
        assert len(ask(api, "/automations/filter", {})) == 4
        assert len(ask(api, "/deployments/filter", {})) == len(list(ROOT.glob("flows/[!_]*.py")))
        with running(worker, environment, tmp_path / "worker.log"):
            # New facts are told by ingest; monitor hears it, and train hears of the drift.
            prefect("deployment", "run", "ingest/ingest")
            until(lambda: completed("monitor"), 300, "monitor, after ingest")
            (trained, *_) = until(lambda: completed("train"), 300, "train, after the drift")
            (planned, *_) = until(lambda: completed("reallocate"), 300, "a plan, after training")
            (settled, *_) = until(lambda: completed("rollout"), 300, "a rollout, after the plan")
    assert "trained anew" in trained["parameters"]["reason"], "the triage says why"
    for run in (trained, planned, settled):
        assert run["created_by"]["type"] == "AUTOMATION"
    assert list(shop.outbox.glob("budgets-*.csv")), "the plan's budgets went out without a hand"
