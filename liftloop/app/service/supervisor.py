"""The service of one workspace: Prefect's server, a worker, the page, and who watches them."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from liftloop.adapters.workspace import Workspace
from liftloop.app.service import deploying, record
from liftloop.app.service.children import Child, end_all
from liftloop.core.errors import OutsideServiceFailed

LOOK_SECONDS = 1.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server, the page and the collector answer: on this machine alone. None: there is
    no such process."""

    server: int = 4200
    dashboard: int | None = 8501
    collector: int | None = None
    host: str = "127.0.0.1"

    @property
    def api(self) -> str:
        return f"http://{self.host}:{self.server}/api"

    @property
    def page(self) -> str:
        return f"http://localhost:{self.dashboard}" if self.dashboard else ""

    @property
    def door(self) -> str:
        return f"http://{self.host}:{self.collector}" if self.collector else ""


def environment(workspace: Workspace, ports: Ports) -> dict[str, str]:
    """What every process of the service sees. What the user has set stays, but for the address."""
    asked = {
        "PREFECT_HOME": str(workspace.prefect.resolve()),
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(deploying.HEARTBEAT_SECONDS),
        "PREFECT_SERVER_UI_API_URL": ports.api,
    }
    fixed = {
        "PREFECT_API_URL": ports.api,
        "LIFTLOOP_WORKSPACE": str(workspace.root.resolve()),
        "LIFTLOOP_HOME": str(deploying.home()),
    }
    return asked | os.environ | fixed


def serve(workspace: Workspace, ports: Ports, *, streams: bool, say: Say) -> None:
    """Run the service until SIGINT or SIGTERM.

    ``streams``: there are streams, which a deployment then reads all the time.

    Raises
    ------
    OutsideServiceFailed
        If a service of this workspace runs already, or a part of it will not stay up.
    """
    surroundings = environment(workspace, ports)
    os.environ.update(surroundings)
    with record.hold(workspace), _told_to_end() as told:
        children: list[Child] = []
        try:
            _bring_up(workspace, ports, children, surroundings, streams, told, say)
            while not told():
                for child in children:
                    if child.watch(time.monotonic()):
                        say(f"The {child.name} had ended; it was started again.")
                        _note(workspace, ports, children, ready=True)
                time.sleep(LOOK_SECONDS)
        finally:
            say("Ending.")
            end_all(children)
            record.forget(workspace)


def _bring_up(
    workspace: Workspace,
    ports: Ports,
    children: list[Child],
    surroundings: Mapping[str, str],
    streams: bool,
    told: Callable[[], bool],
    say: Say,
) -> None:
    def add(name: str, *command: str) -> None:
        child = Child(name, command, surroundings, workspace.root / "logs" / f"{name}.log")
        child.start()
        children.append(child)
        _note(workspace, ports, children, ready=False)

    prefect = (sys.executable, "-m", "prefect")
    if _answers(f"{ports.api}/health"):
        raise OutsideServiceFailed(
            "The server",
            f"cannot be started: another one answers at {ports.api}.",
            fix="give a free port: liftloop up --port 4300.",
        )
    say("Starting the Prefect server.")
    add("server", *prefect, "server", "start", "--host", ports.host, "--port", str(ports.server))
    _wait_for(f"{ports.api}/health", children[0], told)
    if told():
        return
    say("Registering the deployments.")
    deploying.deploy(surroundings)
    deploying.read_streams(streams)
    deploying.watch_for_lost_runs()
    for name in deploying.resume_lost_runs():
        say(f"The run {name} had been cut off; it is started again.")
    add("worker", *prefect, "worker", "start", "--pool", deploying.POOL, "--type", "process")
    ours = (sys.executable, "-m", "liftloop.app.cli")
    if ports.dashboard:
        add("dashboard", *ours, "dashboard", "--headless", "--port", str(ports.dashboard))
        _wait_for(f"{ports.page}/_stcore/health", children[-1], told)
    if ports.collector:
        add("collector", *ours, "collect", "--port", str(ports.collector))
        _wait_for(f"{ports.door}/health", children[-1], told)
    _note(workspace, ports, children, ready=True)
    doors = (("Prefect", ports.api.removesuffix("/api")), ("Page", ports.page),
             ("Collector", ports.door))  # fmt: skip
    say("Up. " + "  ".join(f"{name}: {address}" for name, address in doors if address))


def _note(workspace: Workspace, ports: Ports, children: list[Child], *, ready: bool) -> None:
    numbers = {c.name: c.process.pid for c in children if c.process is not None}
    record.write(
        workspace, record.ServiceRecord(os.getpid(), ports.api, ports.page, numbers, ready=ready)
    )


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait_for(
    address: str, child: Child, told: Callable[[], bool], *, seconds: float = 240.0
) -> None:
    end = time.monotonic() + seconds
    while not _answers(address):
        if told():
            return
        if not child.alive or time.monotonic() > end:
            raise OutsideServiceFailed(
                f"The {child.name}", "did not start.", fix=f"read {child.log}."
            )
        time.sleep(0.3)


@contextmanager
def _told_to_end() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came. Both are handled, not ignored, also when a shell started this
    program in the background: children inherit what is ignored and would never end."""
    came: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
