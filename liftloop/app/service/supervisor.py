"""The service of one workspace: Prefect's server, a worker and the page, watched, started again
when they die, ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from liftloop.adapters import prefect_password
from liftloop.adapters.files.whole_files import private_folder
from liftloop.app.service import deploying, record
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

LOOK_SECONDS = 1.0
Say = Callable[[str], None]
DEATHS, WITHIN = 5, 120.0  # so many deaths in so many seconds: it will not mend by itself
LONGEST_PAUSE = 30.0
GRACE = 15.0


@dataclass(slots=True)
class Child:
    """One process kept alive. ``log`` gets what it says."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)
    next_start: float = 0.0

    def start(self) -> None:
        """Start it in a session of its own: a Ctrl-C at the terminal is for the supervisor, which
        ends its children in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                # safe here: the supervisor has one thread
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def watch(self, now: float) -> bool:
        """Start it again if it died and its pause is over; whether it was started now.

        Raises
        ------
        OutsideServiceFailed
            If it died time and again.
        """
        if self.alive:
            return False
        if self.process is not None:
            self.process = None
            self.deaths = [at for at in self.deaths if now - at < WITHIN] + [now]
            if len(self.deaths) >= DEATHS:
                raise OutsideServiceFailed(
                    f"The {self.name}",
                    f"died {len(self.deaths)} times in {WITHIN:.0f} s.",
                    fix=f"read {self.log}, mend the cause, then liftloop up.",
                )
            self.next_start = now + min(2.0 ** (len(self.deaths) - 1), LONGEST_PAUSE)
        if now < self.next_start:
            return False
        self.start()
        return True

    def ask_to_end(self) -> None:
        """Prefect's programs end in order on SIGINT; on SIGTERM a worker waits for a second one."""
        if self.process is not None and self.alive:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End what is left of it, with the processes it started in its session."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """In the new process: ask the kernel for SIGINT when the supervisor dies, so that a killed one
    leaves no server behind that holds the port. Other systems have no such call."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def end_all(children: Sequence[Child], *, grace: float = GRACE) -> None:
    """End the last one started first, each with time to finish."""
    for child in reversed(children):
        child.ask_to_end()
        end = time.monotonic() + grace
        while child.alive and time.monotonic() < end:
            time.sleep(0.1)
        child.kill()


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server, the page and the collector answer: on this machine alone. None: there is
    no such process."""

    server: int = 4200
    dashboard: int | None = 8501
    collector: int | None = None
    host: str = "127.0.0.1"
    own_password: bool = False  # the server has the user's, not the workspace's

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
    """What every process of the service sees. What the user has set stays, but for the address.

    The server always has a password: the user's own (PREFECT_SERVER_API_AUTH_STRING), else the
    workspace's. A page of another origin may not ask it anything.
    """
    pages = [f"http://{name}:{ports.server}" for name in dict.fromkeys((ports.host, "localhost"))]
    asked = {
        prefect_password.ORIGINS: ",".join(pages),
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
    password = prefect_password.own_password() or prefect_password.prefect_password(workspace)
    return asked | os.environ | fixed | prefect_password.as_environment(password)


@dataclass
class Service:
    """The processes of one workspace's service. ``told``: whether they are told to end."""

    workspace: Workspace
    ports: Ports
    surroundings: Mapping[str, str]
    told: Callable[[], bool]
    say: Say
    children: list[Child] = field(default_factory=list)

    def add(self, name: str, *command: str) -> None:
        """Start a process, and watch it from now on."""
        log = self.workspace.logs / f"{name}.log"
        child = Child(name, command, self.surroundings, log)
        child.start()
        self.children.append(child)
        self.note(ready=False)

    def wait_for(self, address: str) -> None:
        """Until the process that was started last answers, or all are told to end."""
        _wait_for(address, self.children[-1], self.told)

    def note(self, *, ready: bool) -> None:
        """Record the processes where the other commands look for them."""
        numbers = {c.name: c.process.pid for c in self.children if c.process is not None}
        ports = self.ports
        found = record.ServiceRecord(
            os.getpid(),
            ports.api,
            ports.page,
            numbers,
            ready=ready,
            own_password=ports.own_password,
        )
        record.write(self.workspace, found)


def serve(workspace: Workspace, ports: Ports, *, streams: bool, say: Say) -> None:
    """Run the service until SIGINT or SIGTERM.

    ``streams``: there are streams, which a deployment then reads all the time.

    Raises
    ------
    OutsideServiceFailed
        If a service of this workspace runs already, or a part of it will not stay up.
    """
    ports = replace(ports, own_password=prefect_password.own_password() is not None)
    surroundings = environment(workspace, ports)
    os.environ.update(surroundings)
    for folder in (workspace.prefect, workspace.logs):
        private_folder(folder)
    with record.hold(workspace), _told_to_end() as told:
        service = Service(workspace, ports, surroundings, told, say)
        try:
            _bring_up(service, streams)
            while not told():
                for child in service.children:
                    if child.watch(time.monotonic()):
                        say(f"The {child.name} had ended; it was started again.")
                        service.note(ready=True)
                time.sleep(LOOK_SECONDS)
        finally:
            say("Ending.")
            end_all(service.children)
            record.forget(workspace)


def _bring_up(service: Service, streams: bool) -> None:
    ports, add, say = service.ports, service.add, service.say
    prefect = (sys.executable, "-m", "prefect")
    if _answers(f"{ports.api}/health"):
        raise OutsideServiceFailed(
            "The server",
            f"cannot be started: another one answers at {ports.api}.",
            fix="give a free port: liftloop up --port 4300.",
        )
    say("Starting the Prefect server.")
    add("server", *prefect, "server", "start", "--host", ports.host, "--port", str(ports.server))
    service.wait_for(f"{ports.api}/health")
    if service.told():
        return
    say("Registering the deployments.")
    deploying.deploy(service.surroundings)
    deploying.read_streams(streams)
    deploying.watch_for_lost_runs()
    for name in deploying.resume_lost_runs():
        say(f"The run {name} had been cut off; it is started again.")
    add("worker", *prefect, "worker", "start", "--pool", deploying.POOL, "--type", "process")
    ours = (sys.executable, "-m", "liftloop.app.cli")
    if ports.dashboard:
        add("dashboard", *ours, "dashboard", "--headless", "--port", str(ports.dashboard))
        service.wait_for(f"{ports.page}/_stcore/health")
    if ports.collector:
        add("collector", *ours, "collect", "--port", str(ports.collector))
        service.wait_for(f"{ports.door}/health")
    doors = (
        ("Prefect", ports.api.removesuffix("/api")),
        ("Page", ports.page),
        ("Collector", ports.door),
    )
    say("Up. " + "  ".join(f"{name}: {address}" for name, address in doors if address))
    if not ports.own_password:
        password = service.workspace.prefect_password
        say(f"Prefect asks for a password: paste the line in {password}.")
    service.note(ready=True)


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
