from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from liftloop.adapters.prefect_password import stored_password
from liftloop.app.service import deploying, record
from liftloop.app.service.supervisor import DEATHS, Child, end_all
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
DIES = (sys.executable, "-c", "print('no room'); raise SystemExit(3)")


def until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


def child(tmp_path: Path, command: tuple[str, ...]) -> Child:
    return Child("worker", command, os.environ, tmp_path / "logs" / "worker.log")


def test_a_child_that_was_killed_is_started_again_after_a_pause(tmp_path: Path) -> None:
    one = child(tmp_path, SLEEPS)
    one.start()
    assert one.process is not None
    first = one.process.pid
    assert not one.watch(0.0)
    os.kill(first, signal.SIGKILL)
    until(lambda: not one.alive)
    assert not one.watch(100.0), "the pause comes first"
    assert one.watch(101.0)
    assert one.process.pid != first
    end_all([one], grace=5)
    assert not one.alive


def test_a_child_that_dies_time_and_again_is_given_up_with_words(tmp_path: Path) -> None:
    one = child(tmp_path, DIES)
    one.start()
    with pytest.raises(OutsideServiceFailed, match=f"died {DEATHS} times") as told:
        for second in range(0, 1000, 10):
            until(lambda: not one.alive)
            one.watch(float(second))
    assert "worker.log" in str(told.value)
    assert "no room" in one.log.read_text()


def test_deaths_far_apart_are_no_reason_to_give_up(tmp_path: Path) -> None:
    one = child(tmp_path, DIES)
    one.start()
    for day in range(3 * DEATHS):
        until(lambda: not one.alive)
        one.watch(day * 86_400.0)
        one.watch(day * 86_400.0 + 60)
    assert len(one.deaths) == 1


def test_only_a_living_supervisor_counts_as_running(fresh_workspace: Workspace) -> None:
    said = record.ServiceRecord(os.getpid(), "http://127.0.0.1:4200/api", "", {}, ready=True)
    assert record.running(fresh_workspace) is None
    with record.hold(fresh_workspace):
        record.write(fresh_workspace, said)
        assert record.running(fresh_workspace) == said
    assert record.running(fresh_workspace) is None, "it died: its record deceives nobody"
    with record.hold(fresh_workspace), pytest.raises(OutsideServiceFailed):
        record.hold(fresh_workspace).__enter__()


def liftloop(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    outside = ("PREFECT_", "LIFTLOOP_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
    environment["LIFTLOOP_COLLECTOR_TOKEN"] = "a-token-of-this-test-alone"
    return subprocess.run(
        [sys.executable, "-m", "liftloop.app.cli", *arguments, "--workspace", str(workspace.root)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def ask(workspace: Workspace, path: str) -> Any:
    """What the server of ``up`` answers to somebody who has the password."""
    known = record.running(workspace)
    assert known is not None
    password = base64.b64encode(str(stored_password(workspace)).encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {password}"}
    request = urllib.request.Request(f"{known.api}{path}", data=b"{}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


RUNS = "/flow_runs/filter"
SHELL = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch owned"}}]}
FOREIGN = {"Origin": "http://attacker.example", "Content-Type": "application/json"}


def without_a_password(api: str) -> None:
    """Each thing that anybody could have the worker do, by hand or from a page elsewhere."""
    flow = {"flow_id": str(uuid4()), "work_pool_name": deploying.POOL}
    with httpx.Client(base_url=api, headers=FOREIGN, timeout=20) as anybody:
        refused = {
            path: anybody.request(method, path, json=body).status_code
            for method, path, body in (
                ("POST", "/flows/", {"name": "theirs"}),
                ("POST", "/deployments/", {"name": "theirs", **flow, **SHELL}),
                ("POST", f"/deployments/{uuid4()}/create_flow_run", {}),
                ("POST", "/flow_runs/", flow),
                ("POST", "/automations/", {"name": "theirs"}),
                ("POST", "/events", [{"event": "liftloop.drift.detected"}]),
                ("PATCH", f"/work_pools/{deploying.POOL}", {"base_job_template": {}}),
                ("POST", "/deployments/filter", {}),
                ("POST", "/block_documents/filter", {}),
                ("GET", "/admin/settings", None),
            )
        }
        assert set(refused.values()) == {401}, refused
        wrong = {"Authorization": f"Basic {base64.b64encode(b'liftloop:guessed').decode()}"}
        assert anybody.post("/flows/filter", json={}, headers=wrong).status_code == 401
        wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "a"}
        for answer in (anybody.options("/flows/", headers=wish), anybody.get("/health")):
            assert "access-control-allow-origin" not in answer.headers
        assert anybody.options("/flows/", headers=wish).status_code == 400
        server = urlsplit(api)
        for path in ("/events/in", "/events/out", "/logs/out"):
            key = base64.b64encode(os.urandom(16)).decode()
            upgrade = {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key,
            }
            assert anybody.get(path, headers=upgrade).status_code == 403, path
    others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), server.port)}
    for address in others - {"127.0.0.1", "127.0.1.1", "::1"}:
        with pytest.raises(OSError):
            socket.create_connection((str(address), int(server.port or 0)), timeout=2).close()


def open_to_others(folder: Path) -> list[str]:
    """What of a folder others may read, by way of the folders they may enter."""
    found = []
    for path in folder.iterdir():
        mode = path.stat().st_mode
        if path.is_dir() and mode & 0o011:
            found += open_to_others(path)
        elif path.is_file() and mode & 0o044:
            found.append(path.name)
    return found


def test_down_without_a_service_says_so(fresh_workspace: Workspace) -> None:
    ended = liftloop(fresh_workspace, "down")
    assert (ended.returncode, ended.stdout) == (0, "No service of this workspace runs.\n")


@pytest.mark.slow  # starts a Prefect server, a worker and the page, twice
@pytest.mark.timeout(900)
def test_up_keeps_its_processes_running_and_down_ends_them(
    fresh_workspace: Workspace,
) -> None:
    port, page, door = _free_port(), _free_port(), _free_port()
    places = ("--port", str(port), "--dashboard-port", str(page), "--collector-port", str(door))
    try:
        started = liftloop(fresh_workspace, "up", "--detach", *places)
        assert started.returncode == 0, started.stderr
        known = record.running(fresh_workspace)
        assert known is not None and known.ready
        assert set(known.processes) == {"server", "worker", "dashboard", "collector"}
        without_a_password(known.api)
        assert str(stored_password(fresh_workspace)) not in started.stdout
        assert fresh_workspace.prefect_password.name in started.stdout
        names = {d["name"] for d in ask(fresh_workspace, "/deployments/filter")}
        assert {"ingest", "monitor", "train", "reallocate", "rollout", "report", "cycle"} <= names
        automations = len(ask(fresh_workspace, "/automations/filter"))
        ran = liftloop(fresh_workspace, "monitor", "--json")  # a command uses the server of up
        assert ran.returncode == 0, ran.stderr
        assert any(run["state_type"] == "COMPLETED" for run in ask(fresh_workspace, RUNS))
        deployed = {d["name"]: d["id"] for d in ask(fresh_workspace, "/deployments/filter")}
        asked = ask(fresh_workspace, f"/deployments/{deployed['ingest']}/create_flow_run")["id"]

        def ended() -> str | None:  # the worker has the password, and so has the run it starts
            runs = {run["id"]: run["state_type"] for run in ask(fresh_workspace, RUNS)}
            return runs[asked] if runs[asked] in ("COMPLETED", "FAILED", "CRASHED") else None

        assert until(ended, 300) == "COMPLETED"
        closed = {"liftloop.toml", "prefect-password", "prefect.db", "server.log", "worker.log"}
        assert not closed & set(open_to_others(fresh_workspace.root))

        again = liftloop(fresh_workspace, "up", "--detach", *places)
        assert again.returncode == 1 and "runs already" in again.stderr

        os.kill(known.processes["worker"], signal.SIGKILL)
        until(lambda: _worker(fresh_workspace) not in (None, known.processes["worker"]), 60)

        os.kill(known.supervisor, signal.SIGKILL)  # nobody is left to end the others
        until(lambda: record.running(fresh_workspace) is None, 30)
        until(lambda: not _port_answers(known.api), 60)
        back = liftloop(fresh_workspace, "up", "--detach", *places)
        assert back.returncode == 0, back.stderr
        assert len(ask(fresh_workspace, "/automations/filter")) == automations, "none is doubled"
    finally:
        down = liftloop(fresh_workspace, "down")
    assert (down.returncode, down.stdout) == (0, "Ended.\n")
    assert record.running(fresh_workspace) is None
    assert not _port_answers(known.api)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _worker(workspace: Workspace) -> int | None:
    known = record.running(workspace)
    return known.processes.get("worker") if known else None


def _port_answers(api: str) -> bool:
    try:
        urllib.request.urlopen(f"{api}/health", timeout=5).close()
    except OSError:
        return False
    return True
