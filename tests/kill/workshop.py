"""What the kill tests work with: a small workspace in mid-life, and runs that may be killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from liftloop.adapters.files.outbox import read_budgets
from liftloop.adapters.initialise import default_configuration, init_workspace
from liftloop.app.demo.market import budgets_of
from liftloop.markets.families import DemoMarket

HARNESS = Path(__file__).with_name("harness.py")
# The second cycle falls into a new quarter, so that it searches hyperparameters anew.
FIRST, SECOND = date(2026, 3, 30), date(2026, 4, 6)
SETTINGS = {
    r"tuning_trials = \d+": "tuning_trials = 5",
    r"tuning_seconds = [\d.]+": "tuning_seconds = 600.0",  # a time budget would be chance
    r"threads = \d+": "threads = 1",
    r"draws = \d+": "draws = 50",
    r"#slack_webhook.*": "",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: status (-9: killed), what it said, and the points it passed."""

    status: int
    said: str
    points: tuple[str, ...]


def small_market() -> DemoMarket:
    """3 segments x 2 channels, ten weeks of history."""
    return DemoMarket(
        1,
        constants=replace(
            DemoMarket.constants,
            segments=("north", "south", "east"),
            channels=("search", "social"),
            total_daily_budget=Decimal("9000.00"),
            history_days=70,
            start=FIRST,
        ),
    )


def make_workspace(root: Path) -> None:
    """A fresh workspace with settings that leave nothing to chance."""
    root.mkdir(parents=True)
    text = default_configuration()
    for pattern, words in SETTINGS.items():
        text, times = re.subn(rf"(?m)^{pattern}$", words, text)
        assert times == 1, pattern
    (root / "liftloop.toml").write_text(text, encoding="utf-8")
    init_workspace(root)


def put_history(root: Path, market: DemoMarket) -> None:
    """The feeds of the days before the first cycle, into the inbox."""
    for feed, frame in market.history().items():
        frame.to_csv(root / "inbox" / f"{feed}-history.csv", index=False)


def put_week(root: Path, market: DemoMarket) -> None:
    """The week after the first cycle, with a restated day and a broken row."""
    files = sorted((root / "outbox").glob(f"budgets-{FIRST}-*.csv"))
    before = market.history()["performance"]
    week = market.step(budgets_of(read_budgets(files[-1])), 7)
    restated = before[before["date"] == before["date"].max()].copy()
    restated["revenue"] = restated["revenue"] * 1.01
    restated["date"] = FIRST - timedelta(days=1)
    if "reported_at" in restated:
        restated["reported_at"] = f"{FIRST + timedelta(days=2)}T00:00:00Z"
    for feed, frame in week.items():
        frame.to_csv(root / "inbox" / f"{feed}-week.csv", index=False)
    broken = restated.copy()
    broken.loc[broken.index[0], "spend"] = -1.0
    broken.to_csv(root / "inbox" / "performance-again.csv", index=False)


class Runner:
    """Runs ``liftloop`` commands, each in a process of its own (see ``harness.py``), with the
    Prefect server at ``api``, or without one."""

    def __init__(self, api: str | None) -> None:
        self.program = subprocess.Popen(
            [sys.executable, str(HARNESS)],
            env=_environment(api),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def cycle(self, root: Path, *, day: date = SECOND, kill_at: int = 0) -> Ended:
        """One cycle on the workspace in ``root``, killed at its ``kill_at``-th point."""
        return self.run("cycle", root, day=day, kill_at=kill_at)

    def run(self, command: str, root: Path, *, day: date, kill_at: int = 0) -> Ended:
        """One command, as :meth:`cycle`."""
        log, out = (root.with_name(f"{root.name}.{kill_at}.{kind}") for kind in ("points", "out"))
        log.unlink(missing_ok=True)
        order = {
            "arguments": [command, "--workspace", str(root)],
            "root": str(root),
            "log": str(log),
            "out": str(out),
            "kill_at": kill_at,
            "environment": {"LIFTLOOP_NOW": f"{day}T06:00:00+00:00"},  # the clock stands still
        }
        assert self.program.stdin is not None
        self.program.stdin.write(json.dumps(order) + "\n")
        self.program.stdin.flush()
        status = int(self._answer())
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        names = tuple(line.split("\t", 1)[1] for line in lines)
        return Ended(status, out.read_text(encoding="utf-8"), names)

    def close(self) -> None:
        assert self.program.stdin is not None
        self.program.stdin.close()
        self.program.wait(timeout=60)

    def _answer(self) -> str:
        assert self.program.stdout is not None
        return self.program.stdout.readline().strip()


def _environment(api: str | None) -> dict[str, str]:
    own = ("PREFECT_HOME", "PREFECT_API_URL")
    return {
        **{name: value for name, value in os.environ.items() if name not in own},
        **({"PREFECT_API_URL": api} if api else {}),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(HARNESS.parents[2]),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _end_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A server for all runs, so that each costs only itself; yields its API's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    settings: Mapping[str, str] = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": api,
    }
    program = [sys.executable, "-m", "prefect", "server", "start"]
    with (home.parent / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*program, "--host", "127.0.0.1", "--port", str(port), "--no-ui", "--no-services"],
            env=dict(settings),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_for(f"{api}/health", server)
            yield api
        finally:
            _end_group(server.pid)
            server.wait(timeout=30)


def _wait_for(address: str, server: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError("Prefect's server did not start; see server.log beside its home.")
