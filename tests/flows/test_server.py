"""The deployments on a real server: a file lands, and new budgets go out without a hand; several
workspaces stay apart.

Server, worker and flow runs are processes of their own; only the event bus joins them. The worker
starts in an empty folder and is told of no workspace: the deployments know theirs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], log: Path, folder: Path = ROOT
) -> Iterator[Any]:
    """A process in a group of its own, which is ended with all it started."""
    with log.open("w") as said:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdout=said,
            stderr=said,
            cwd=folder,
            start_new_session=True,
        )
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


@dataclass(frozen=True)
class Server:
    """A Prefect server, and the environment of whoever speaks to it."""

    api: str
    environment: dict[str, str]
    folder: Path

    def run(self, *command: str, workspace: Path | None = None) -> subprocess.CompletedProcess[str]:
        named = {"LIFTLOOP_WORKSPACE": str(workspace)} if workspace else {}
        return subprocess.run(
            [sys.executable, "-m", *command],
            env=self.environment | named,
            cwd=ROOT,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )

    def prefect(self, *arguments: str, workspace: Path | None = None) -> None:
        done = self.run("prefect", "--no-prompt", *arguments, workspace=workspace)
        assert done.returncode == 0, done.stdout + done.stderr

    def worker(self) -> Any:
        away = self.folder / "empty"
        away.mkdir()
        start = [*PREFECT, "worker", "start", "--pool", "liftloop", "--type", "process"]
        return running(start, self.environment, self.folder / "worker.log", away)

    def runs(self, flow: str, name: str) -> list[dict[str, Any]]:
        """The completed runs of a deployment; no run of it may have failed."""
        asked = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
        runs = ask(self.api, "/flow_runs/filter", {**asked, "limit": 20})
        assert not [r for r in runs if r["state_type"] in ("FAILED", "CRASHED")], (
            self.folder / "worker.log"
        ).read_text(encoding="utf-8")[-3000:]
        return [run for run in runs if run["state_type"] == "COMPLETED"]


@pytest.fixture
def server(tmp_path: Path, small_market: DemoMarket) -> Iterator[Server]:
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
        "LIFTLOOP_NOW": f"{small_market.start}T06:00:00+00:00",
    }
    start = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    with running(start, environment, tmp_path / "server.log"):
        until(lambda: ask(api, "/health"), 240, "the server")
        yield Server(api, environment, tmp_path)


@pytest.mark.slow  # a server, a worker, five flow runs: each loads Prefect
@pytest.mark.timeout(900)
def test_a_file_that_tells_of_a_drift_ends_in_new_budgets_without_a_hand(
    server: Server,
    shop: Workspace,
    drifted: Mapping[str, pd.DataFrame],
    write_feeds: Callable[[Path, Mapping[str, pd.DataFrame]], None],
) -> None:
    """As README says: `prefect deploy --all`, twice, with nothing but the workspace named."""
    write_feeds(shop.inbox, drifted)
    server.prefect("work-pool", "create", "liftloop", "--type", "process")
    for _ in range(2):
        server.prefect("deploy", "--all", workspace=shop.root)
    made = [one["name"] for one in ask(server.api, "/automations/filter", {})]
    assert len(made) == len(set(made)) == 6
    assert "liftloop-lost-runs" in made
    assert len(ask(server.api, "/deployments/filter", {})) == len(list(ROOT.glob("flows/[!_]*.py")))
    with server.worker():
        # New facts are told by ingest; monitor hears it, and train hears of the drift.
        server.prefect("deployment", "run", "ingest/ingest")
        until(lambda: server.runs("monitor", "monitor"), 300, "monitor, after ingest")
        (trained, *_) = until(lambda: server.runs("train", "train"), 300, "train, after the drift")
        (planned, *_) = until(lambda: server.runs("reallocate", "reallocate"), 300, "a plan")
        (settled, *_) = until(lambda: server.runs("rollout", "rollout"), 300, "a rollout")
    assert "trained anew" in trained["parameters"]["reason"], "the triage says why"
    for run in (trained, planned, settled):
        assert run["created_by"]["type"] == "AUTOMATION"
    assert list(shop.outbox.glob("budgets-*.csv")), "the plan's budgets went out without a hand"


@pytest.mark.slow  # a server, a worker, four flow runs
@pytest.mark.timeout(900)
def test_workspaces_on_one_server_stay_apart(
    server: Server,
    shop: Workspace,
    small_market: DemoMarket,
    write_feeds: Callable[[Path, Mapping[str, pd.DataFrame]], None],
    tmp_path: Path,
) -> None:
    """Also two whose folders are called alike, which share the name of their resource."""
    twin = Workspace(tmp_path / "elsewhere" / shop.root.name)
    shutil.copytree(shop.root, twin.root)
    write_feeds(shop.inbox, small_market.history())
    server.prefect("work-pool", "create", "liftloop", "--type", "process")
    refused = server.run("prefect", "--no-prompt", "deploy", "--all")
    assert refused.returncode != 0 and "LIFTLOOP_WORKSPACE is not set" in (
        refused.stdout + refused.stderr
    )
    assert ask(server.api, "/deployments/filter", {}) == [], "none with an empty workspace"

    def deploy(workspace: Workspace, *more: str) -> subprocess.CompletedProcess[str]:
        place = ("--workspace", str(workspace.root))
        return server.run("liftloop.app.cli", "deploy", *place, *more)

    for _ in range(2):
        done = deploy(shop)
        assert done.returncode == 0, done.stderr
    taken = deploy(twin)
    assert taken.returncode == 2 and "--name" in taken.stderr, taken.stderr
    assert deploy(twin, "--name", "twin").returncode == 0
    flows = sorted(path.stem for path in ROOT.glob("flows/[!_]*.py"))
    there = ask(server.api, "/deployments/filter", {})
    assert sorted(one["name"] for one in there) == sorted(["workspace", "twin"] * len(flows))
    assert {tuple(one["tags"]) for one in there} == {
        ("liftloop", "workspace:workspace"),
        ("liftloop", "workspace:twin"),
    }
    names = sorted(one["name"] for one in ask(server.api, "/automations/filter", {}))
    assert len(names) == 11 and names.count("liftloop-lost-runs") == 1, names

    (cycle,) = [
        one for one in there if one["entrypoint"].endswith(":cycle") and one["name"] == "workspace"
    ]
    with pytest.raises(urllib.error.HTTPError) as wrong:
        question = {"parameters": {"source": "holdoutt"}, "state": {"type": "SCHEDULED"}}
        ask(server.api, f"/deployments/{cycle['id']}/create_flow_run", question)
    assert b"holdoutt" in wrong.value.read()

    day, past = small_market.start, small_market.start - timedelta(days=7)
    history = small_market.history()
    write_feeds(twin.inbox, {"performance": history["performance"]})
    with server.worker():
        server.prefect("deployment", "run", "ingest/workspace")
        (watched,) = until(lambda: server.runs("monitor", "workspace"), 300, "monitor of the shop")
        server.prefect("deployment", "run", "cycle/twin", "--param", f"as_of={past}")
        (done,) = until(lambda: server.runs("cycle", "twin"), 300, "a cycle for a past day")
        time.sleep(10)  # a run that ought not to be would have begun
        runs = ask(server.api, "/flow_runs/filter", {"deployments": {"name": {"any_": ["twin"]}}})
    assert done["name"] == f"cycle {past}"
    assert [r["name"] for r in runs if (r["created_by"] or {}).get("type") == "AUTOMATION"] == []
    assert watched["name"] == f"monitor {day}"
    assert {"liftloop", "workspace:workspace"} <= set(watched["tags"])
    asked = {"logs": {"flow_run_id": {"any_": [watched["id"]]}, "level": {"ge_": 20}}}
    logged = [one["message"] for one in ask(server.api, "/logs/filter", asked)]
    assert any("the last weeks look like the weeks before" in line for line in logged), logged
