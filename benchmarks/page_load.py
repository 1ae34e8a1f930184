"""How fast the page shows its first content: a ratio to an empty Streamlit page in the same run.

``uv run python benchmarks/page_load.py``: a workspace of 500 cells with two years of daily spend
and 104 weekly decisions of 500 budget lines each is served as ``liftloop dashboard`` serves it, and
beside it a Streamlit page of one word. Debian's chromium opens both in turn, in new tabs of one
browser: once each to warm up (modules, the page's caches, the browser's), then ``--times`` times.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import BrowserContext, sync_playwright

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import append_audit, save_policy, session
from liftloop.adapters.ledger.tables import Decision
from liftloop.core.curves.gain import Estimate, LineDetails, budget_lines
from liftloop.core.policy import Cell, Policy
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of

SEGMENTS, CHANNELS, DAYS, WEEKS = 50, 10, 730, 104
FIRST = date(2024, 1, 1)
EMPTY = 'import streamlit as st\n\nst.markdown("ready")\n'
WAIT = 120_000  # milliseconds


def workspace_of(root: Path) -> Workspace:
    """500 cells, two years of spend, 104 decisions."""
    workspace = init_workspace(root)
    loop = open_loop(root)
    rng = np.random.default_rng(1)
    cells = [Cell(f"s{s:02d}", f"c{c}") for s in range(SEGMENTS) for c in range(CHANNELS)]
    days = pd.date_range(FIRST, periods=DAYS).date
    spend = np.round(rng.uniform(20, 200, (DAYS, len(cells))), 2)
    frame = pd.DataFrame(
        {
            "date": np.repeat(days, len(cells)),
            "segment": [cell.segment for cell in cells] * DAYS,
            "channel": [cell.channel for cell in cells] * DAYS,
            "spend": spend.ravel(),
            "impressions": 1000,
            "clicks": 10,
            "conversions": 1,
            "revenue": np.round(2 * spend.ravel(), 2),
        }
    )
    path = workspace.inbox / "performance.parquet"
    frame.to_parquet(path)
    assert deliver(intake_of(loop), path).refused is None
    before = Policy.of({cell: Decimal(100) for cell in cells})
    for week in range(WEEKS):
        moved = rng.integers(-1000, 1001, len(cells))
        after = Policy.of(
            {c: Decimal(100) + Decimal(int(m)) / 100 for c, m in zip(cells, moved, strict=True)}
        )
        on = FIRST + timedelta(days=7 * week)
        _decide(loop, f"d-{week:012d}", on, before, after)
        before = after
    return workspace


def _decide(loop: Any, id: str, on: date, before: Policy, after: Policy) -> None:
    at = datetime(on.year, on.month, on.day, tzinfo=UTC)
    details = LineDetails(
        stages={},
        expected={
            c: Estimate(1.8 * float(a), 1.2 * float(a), 2.5 * float(a)) for c, a in after.budgets
        },
        reasons=dict.fromkeys(after.cells, "Up 1%: the next 1.00 here earns about 1.20."),
    )
    made = Decision(
        id=id,
        sequence=0,
        kind="move",
        as_of=on,
        effective_from=on,
        state="in_force",
        policy_version=after.version,
        previous_policy_version=before.version,
        facts="{}",
        settings_hash=loop.settings_hash,
        expected_gain=1500.0,
        gain_low=-200.0,
        gain_high=3100.0,
        reason="Money moves to where the next unit earns most.",
        created_at=at,
    )
    lines = budget_lines(
        decision_id=id, effective_from=on, policy=after, previous=before, details=details
    )
    with session(loop.engine) as db:
        for policy in (before, after):
            save_policy(db, policy=policy, origin="proposed", at=at)
        record_decision(db, decision=made, lines=lines)
        append_audit(
            db,
            AuditEvent(key=f"a-{id}", actor="liftloop", act="move", subject=id, payload={}, at=at),
        )


@contextmanager
def served(command: list[str]) -> Iterator[str]:
    """The address of a page that a command serves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", *[word.replace("PORT", str(port)) for word in command]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait()


def seconds(browser: BrowserContext, address: str, *words: str) -> list[float]:
    """Until each of these words is to be seen, in a new tab."""
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    began = time.perf_counter()
    page.goto(address)
    found = []
    for word in words:
        page.get_by_text(word).first.wait_for()
        found.append(time.perf_counter() - began)
    page.close()
    return found


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--times", type=int, default=7)
    asked.add_argument("--workspace", type=Path, help="instead of a made one")
    said = asked.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("needs chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        root = said.workspace or workspace_of(Path(folder) / "shop").root
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        ours = ["liftloop.app.cli", "dashboard", "--workspace", str(root), "--port", "PORT"]
        theirs = ["streamlit", "run", str(empty), "--server.port=PORT", "--server.headless=true"]
        with (
            served([*ours, "--headless"]) as page,
            served([*theirs, "--browser.gatherUsageStats=false"]) as plain,
            sync_playwright() as play,
        ):
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            context = browser.new_context()
            runs = []
            for number in range(said.times + 1):
                none = seconds(context, plain, "ready")
                first = seconds(context, page, "Total budget", "What the data say")
                runs.append((*none, *first))
                if number == 0:
                    print(f"cold: {none[0]:.2f} s empty, {first[0]:.2f} and {first[1]:.2f} s")
            browser.close()
    print("| | empty page | first content | all of it |\n|---|--:|--:|--:|")
    none, first, whole = (statistics.median(column) for column in zip(*runs[1:], strict=True))
    print(f"| seconds, median of {said.times} | {none:.2f} | {first:.2f} | {whole:.2f} |")
    print(f"| ratio to the empty page | 1.0 | {first / none:.1f} | {whole / none:.1f} |")


if __name__ == "__main__":
    main()
