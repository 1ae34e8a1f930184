"""What a page of another origin, or one whose name was made to lead to this machine, gets of the
pages that LiftLoop serves: nothing."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftloop.settings.workspace import Workspace


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status(port: int, path: str, host: str, *, method: str = "GET", **headers: str) -> int:
    """The status of an answer to a request in which the sender says what it likes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as to:
        to.settimeout(20)
        to.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        said = to.recv(64)
    return int(said.split()[1]) if said else 0


def started(command: list[str], port: int, path: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            if status(port, path, f"127.0.0.1:{port}") == 200:
                return process
        except OSError:
            pass
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"{command[2]} does not answer")


@pytest.fixture
def reports(tmp_path: Path, free_port: int) -> Iterator[int]:
    (tmp_path / "evidently").mkdir()
    command = [sys.executable, "-m", "monitoring.evidently_ui", str(tmp_path / "evidently")]
    process = started([*command, str(free_port)], free_port, "/api/version")
    yield free_port
    process.kill()
    process.wait()


@pytest.mark.slow  # imports Evidently in a process of its own
def test_evidentlys_pages_are_for_reading_on_this_machine(reports: int) -> None:
    assert status(reports, "/api/projects", f"localhost:{reports}") == 200
    assert status(reports, "/api/projects", f"attacker.example:{reports}") == 400
    add = {"method": "POST", "Content_Length": "2", "Content_Type": "application/json"}
    assert status(reports, "/api/projects", f"localhost:{reports}", **add) in (401, 403)


UPGRADE = {
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": base64.b64encode(os.urandom(16)).decode(),
}


@pytest.fixture
def page(fresh_workspace: Workspace, free_port: int) -> Iterator[int]:
    code = (
        "import sys; from pathlib import Path; from liftloop.app.dashboard.page import launch; "
        "launch(Path(sys.argv[1]), port=int(sys.argv[2]), headless=True)"
    )
    command = [sys.executable, "-c", code, str(fresh_workspace.root), str(free_port)]
    process = started(command, free_port, "/_stcore/health")
    yield free_port
    process.terminate()
    process.wait()


@pytest.mark.slow  # starts Streamlit
def test_the_dashboard_speaks_to_pages_of_this_machine_alone(page: int) -> None:
    def asked(host: str, origin: str) -> int:
        headers = {**UPGRADE, "Connection": "Upgrade", "Origin": origin}
        return status(page, "/_stcore/stream", host, **headers)

    ours = f"localhost:{page}"
    assert asked(ours, f"http://{ours}") == 101
    assert asked(ours, "http://attacker.example") == 403
    theirs = f"attacker.example:{page}"  # its name was made to lead to 127.0.0.1
    assert asked(theirs, f"http://{theirs}") == 403


@pytest.mark.slow  # starts Streamlit
def test_nothing_can_be_uploaded_to_the_dashboard(page: int) -> None:
    ours = f"localhost:{page}"
    path = "/_stcore/upload_file/0123456789/abcdef"
    kind = {"Content_Type": "multipart/form-data; boundary=x"}
    for origin in (f"http://{ours}", "http://attacker.example"):
        for length in ("0", "3000000000"):
            more = {"Origin": origin, "Content_Length": length, **kind}
            assert status(page, path, ours, method="PUT", **more) in (400, 403, 404, 405, 413)
