"""How much processor time the everyday commands take.

``uv run python benchmarks/start_up.py``: a workspace is made, then each command runs six times, in
a process of its own, with all modules compiled; the first run is left out. ``ingest`` takes in a
file of two rows, a new one each time. With ``--workspace`` the commands that read run on that one,
such as what ``liftloop demo`` leaves: its budgets rest on curves.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ROOMS = ("flows", "liftloop", "models", "monitoring", "tasks")
SALES = "date,segment,orders,revenue\n2026-01-05,north,{n},120.50\n2026-01-06,north,{n},99.00\n"


def seconds(*words: str) -> tuple[float, float]:
    """Processor and wall seconds of one run, children included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "LIFTLOOP_"))}
    done = subprocess.run(
        [sys.executable, "-m", "liftloop.app.cli", *words],
        env=kept,
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"liftloop {' '.join(words)}: {done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def measured(times: int, words: Callable[[int], tuple[str, ...]]) -> tuple[float, float]:
    """The medians over ``times`` warm runs."""
    runs = [seconds(*words(number)) for number in range(times + 1)][1:]
    cpu, wall = zip(*runs, strict=True)
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--times", type=int, default=5)
    asked.add_argument("--workspace", type=Path, help="for doctor and budgets")
    said = asked.parse_args()
    for room in ROOMS:
        compileall.compile_dir(HERE / room, quiet=2)
    print("| command | CPU s | wall s |\n|---|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        seconds("init", "--workspace", str(root))

        def ingest(number: int) -> tuple[str, ...]:
            (root / "inbox" / "sales.csv").write_text(SALES.format(n=number), encoding="utf-8")
            return "ingest", "--workspace", str(root)

        read = str(said.workspace or root)
        commands: dict[str, Callable[[int], tuple[str, ...]]] = {
            "--help": lambda _: ("--help",),
            "init": lambda number: ("init", "--workspace", str(Path(folder) / str(number))),
            "ingest, two rows": ingest,
            "doctor": lambda _: ("doctor", "--workspace", read),
            "budgets": lambda _: ("budgets", "--workspace", read),
        }
        for name, words in commands.items():
            cpu, wall = measured(said.times, words)
            print(f"| `{name}` | {cpu:.2f} | {wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
