"""What one weekly cycle costs on 50 cells with two years of daily history, and where time goes.

``uv run python benchmarks/cycle.py``: a market of 10 segments x 5 channels writes 104 weeks of
feeds into a fresh workspace's inbox. The first ``liftloop cycle`` takes them in and searches the
hyperparameters; each later one, a week of the market after the other, is the weekly cycle. Every
cycle is a process of its own, start included, bytecode compiled. Wall and CPU seconds count the
Prefect server it starts; memory is the peak of the whole tree of processes (resident, so pages that
processes share count twice). The last cycle runs once more with timers around its steps.
"""

from __future__ import annotations

import argparse
import atexit
import compileall
import importlib
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "tasks", "models", "monitoring", "liftloop")
STEPS = ("ingest", "monitor", "train", "reallocate", "rollout", "report")
HISTORY_DAYS = 104 * 7
Lines = list[tuple[str, dict[str, float]]]  # what ran, its seconds and its peak
Parts = dict[str, list[float]]  # what of it, wall and CPU seconds


# -- the watched process ---------------------------------------------------------------------------


def watch(told: Path, arguments: list[str]) -> None:
    """Be ``liftloop`` with ``arguments``, and write down how long its parts took."""
    spent: dict[str, list[float]] = {}

    @contextmanager
    def clocked(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            spent[name] = [time.perf_counter() - wall, time.process_time() - cpu]

    def timed(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with clocked(name):
                return real(*args, **kwargs)

        return run

    from liftloop.app import environment

    real_prepare = environment.prepare

    def prepare(workspace: Any, *, flows: bool = False) -> None:
        real_prepare(workspace, flows=flows)
        with clocked("imports"):
            cycle = importlib.import_module("flows.cycle")
        for step in STEPS:
            setattr(cycle, step, timed(step, getattr(cycle, step)))

    environment.prepare = prepare
    from liftloop.app.temporary_server import TemporaryServer as server

    server.wait = timed("waiting for the server", server.wait)  # type: ignore[method-assign]
    server.stop = timed("stopping the server", server.stop)  # type: ignore[method-assign]
    atexit.register(lambda: told.write_text(json.dumps(spent), encoding="utf-8"))
    sys.argv = ["liftloop", *arguments]
    runpy.run_module("liftloop.app.cli", run_name="__main__")


# -- the measuring process -------------------------------------------------------------------------


def memory_of_tree(leader: int) -> int:
    """Resident bytes of a process and all below it (Linux)."""
    waiting, found = [leader], 0
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            found += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in (process / "task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except (OSError, IndexError):
            continue  # it ended while we looked
    return found


def run(command: list[str]) -> dict[str, float]:
    """Run ``command``; its wall and CPU seconds and the peak of its tree's memory in GB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, peak = time.perf_counter(), 0
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(
        command,
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ended = threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.2):
            peak = max(peak, memory_of_tree(child.pid))

    looker = threading.Thread(target=look)
    looker.start()
    said, _ = child.communicate()
    wall = time.perf_counter() - began
    ended.set()
    looker.join()
    if child.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{said}")
    print(said, file=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "peak_gb": peak / 1e9}


def put(inbox: Path, feeds: dict[str, Any], name: str) -> None:
    """Write feeds into the inbox."""
    for feed, frame in feeds.items():
        frame.to_csv(inbox / f"{feed}-{name}.csv", index=False)


def measure(root: Path, *, weeks: int, seed: int) -> tuple[Lines, Parts]:
    """The first cycle, ``weeks`` weekly ones, and the last one's parts."""
    from liftloop.adapters.initialise import init_workspace
    from liftloop.app.demo.market import budgets_of, exported
    from liftloop.markets.hill import HillMarket

    workspace = init_workspace(root)
    market = HillMarket(seed, constants=replace(HillMarket.constants, history_days=HISTORY_DAYS))
    put(workspace.inbox, market.history(), "history")
    day: date = market.start
    liftloop = [sys.executable, "-m", "liftloop.app.cli"]
    lines: Lines = []
    budgets = market.incumbent
    told = root / "parts.json"
    for week in range(weeks + 1):
        watched = week == weeks
        arguments = ["cycle", "--workspace", str(root), "--as-of", str(day)]
        command = [*liftloop, *arguments]
        if watched:
            command = [sys.executable, __file__, "--watch", str(told), *arguments]
        name = "first, tuning" if week == 0 else f"week {week + 1}{', watched' * watched}"
        lines.append((name, run(command)))
        budgets = budgets_of(exported(workspace, day))
        put(workspace.inbox, market.step(budgets, 7), str(day))
        day += timedelta(days=7)
    return lines, json.loads(told.read_text(encoding="utf-8"))


def tables(lines: Lines, parts: Parts) -> str:
    """Both tables, as Markdown."""
    shown = ["| cycle | wall s | CPU s | peak GB |", "|---|--:|--:|--:|"]
    shown += [
        f"| {name} | {one['wall']:.1f} | {one['cpu']:.1f} | {one['peak_gb']:.2f} |"
        for name, one in lines
    ]
    whole = lines[-1][1]
    shown += ["", "| where the time goes | wall s | CPU s of the cycle's own process |"]
    shown += ["|---|--:|--:|"]
    shown += [f"| {name} | {wall:.2f} | {cpu:.2f} |" for name, (wall, cpu) in parts.items()]
    rest = whole["wall"] - sum(wall for wall, _ in parts.values())
    own = sum(cpu for _, cpu in parts.values())
    shown += [f"| the rest, and other processes' CPU | {rest:.2f} | {whole['cpu'] - own:.2f} |"]
    return "\n".join(shown)


def main() -> None:
    """Measure and print, or be the watched process."""
    if sys.argv[1:2] == ["--watch"]:
        watch(Path(sys.argv[2]), sys.argv[3:])
        return
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--weeks", type=int, default=3, help="weekly cycles after the first")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--keep", type=Path, help="make the workspace in this folder and leave it")
    said = asked.parse_args()
    for room in ROOMS:
        compileall.compile_dir(HERE / room, quiet=2)
    with tempfile.TemporaryDirectory() as folder:
        root = said.keep or Path(folder) / "workspace"
        print(tables(*measure(root, weeks=said.weeks, seed=said.seed)))


if __name__ == "__main__":
    main()
