"""How fast a million performance rows come in, beside Pandera alone and a raw Delta merge.

``uv run python benchmarks/ingest.py``: a table of five million rows (500 days), then one delivery
of a million (100 days, half of them restated) is read, validated, merged and committed, ledger and
archive included. Beside it, in the same run and each in a process of its own: Pandera's validation
of the same typed frame, and a plain ``DeltaTable.merge`` of the same rows with the batch's dates in
its predicate, on a table of our layout and on one without partitions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.facts.recording import Intake

FIRST = date(2024, 9, 1)
CELLS = {"segment": 20, "channel": 5, "campaign": 10, "creative": 10}
BATCH_DAYS = 100
PARTS = (
    "pandera",
    "merge, our layout",
    "merge, no partitions",
    "ingest CSV",
    "ingest Parquet",
    "ingest CSV, all new",
    "ingest CSV, all restated",
)


def rows(first: date, days: int, *, seed: int) -> pd.DataFrame:
    """``days`` days of performance rows: one for each segment, channel, campaign and creative."""
    rng = np.random.default_rng(seed)
    names = pd.MultiIndex.from_product(
        [[f"{kind}-{at}" for at in range(many)] for kind, many in CELLS.items()], names=list(CELLS)
    ).to_frame(index=False)
    frame = pd.concat([names] * days, ignore_index=True)
    moments = pd.date_range(first, periods=days).as_unit("us")
    frame.insert(0, "date", np.repeat(moments.to_numpy(), len(names)))
    many = len(frame)
    impressions = rng.integers(100, 10_000, many)
    return frame.assign(
        spend=rng.gamma(2, 20, many).round(2),
        impressions=impressions,
        clicks=(impressions * rng.uniform(0, 0.1, many)).astype("int64"),
        conversions=rng.poisson(2, many).astype(float),
        revenue=rng.gamma(2, 60, many).round(2),
    )


def start_of(part: str, days: int) -> date:
    """The first day of the batch: half restated, or all new, or all restated."""
    ahead = {"ingest CSV, all new": 0, "ingest CSV, all restated": BATCH_DAYS}
    return FIRST + timedelta(days=days - ahead.get(part, BATCH_DAYS // 2))


def prepare(root: Path, days: int) -> None:
    """The workspace with the stored table, and a copy of the table without partitions."""
    from deltalake import DeltaTable, write_deltalake

    from liftloop.adapters.facts.delta import MONTH, as_batch
    from liftloop.adapters.facts.storing import plan, store
    from liftloop.adapters.ledger.records import upgrade
    from liftloop.core.feeds.context import Account
    from liftloop.core.feeds.declared import FEEDS
    from liftloop.core.feeds.validate import sift
    from liftloop.settings.workspace import Workspace

    workspace = Workspace(root / "workspace")
    for folder in workspace.folders:
        folder.mkdir(parents=True)
    at = datetime(2026, 6, 1, tzinfo=UTC)
    for start in range(0, days, BATCH_DAYS):
        frame = rows(FIRST + timedelta(days=start), BATCH_DAYS, seed=start)
        accepted = sift("performance", frame, account=Account(), received_at=at).accepted
        name = f"before-{start}"
        batch = as_batch(FEEDS["performance"], accepted, delivery=name, received_at=at)
        store(workspace, plan(workspace, "performance", batch), delivery=name)
    upgrade(f"sqlite:///{workspace.ledger}")
    stored = DeltaTable(workspace.facts / "performance" / "current").to_pyarrow_table()
    write_deltalake(root / "plain", stored.drop([MONTH]).sort_by("date"))


def typed_batch(part: str, days: int) -> pd.DataFrame:
    from liftloop.core.feeds.context import Account
    from liftloop.core.feeds.validate import sift

    frame = rows(start_of(part, days), BATCH_DAYS, seed=1)
    return sift("performance", frame, account=Account(), received_at=datetime.now(UTC)).accepted


def run(part: str, root: Path, days: int) -> dict[str, Any]:
    """Measure one part; wall and CPU seconds, and the peak of the process's memory."""
    work = _ready(part, root, days)
    os.sync()  # or the disk would still be busy with our preparations
    before = _peak()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "part": part,
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak_gb": _peak(),
        "before_gb": before,
    }


def _ready(part: str, root: Path, days: int) -> Callable[[], object]:
    if part == "pandera":
        from liftloop.core.feeds.models import Performance

        frame = typed_batch(part, days)
        Performance.validate(frame.head(100), lazy=True)
        return lambda: Performance.validate(frame, lazy=True)
    if part.startswith("merge"):
        return _merge(part, root, days)
    return _ingest(part, root, days)


def _merge(part: str, root: Path, days: int) -> Callable[[], object]:
    from deltalake import DeltaTable

    from liftloop.adapters.facts.delta import MONTH, as_batch
    from liftloop.core.feeds.declared import FEEDS

    source = as_batch(
        FEEDS["performance"],
        typed_batch(part, days),
        delivery="raw",
        received_at=datetime.now(UTC),
    )
    ours = root / "workspace" / "facts" / "performance" / "current"
    table = root / "merged"
    shutil.copytree(ours if part.endswith("layout") else root / "plain", table)
    if not part.endswith("layout"):
        source = source.drop([MONTH])
    dates = ", ".join(f"DATE '{day}'" for day in sorted(set(source["date"].to_pylist())))
    keys = " AND ".join(f"target.{name} = source.{name}" for name in FEEDS["performance"].key)
    merger = (
        DeltaTable(table)
        .merge(
            source,
            predicate=f"{keys} AND target.date IN ({dates})",
            source_alias="source",
            target_alias="target",
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
    )
    return merger.execute


def _ingest(part: str, root: Path, days: int) -> Callable[[], object]:
    from liftloop.adapters.facts.deliveries import deliver
    from liftloop.adapters.ledger.records import open_ledger
    from liftloop.core.feeds.context import Account
    from liftloop.settings.workspace import Workspace

    place = Workspace(root / "delivered")
    shutil.copytree(root / "workspace", place.root)
    ending = "parquet" if part.endswith("Parquet") else "csv"
    path = place.inbox / f"performance.{ending}"
    write = [sys.executable, __file__, "--write", str(path), "--part", part, "--days", str(days)]
    subprocess.run(write, check=True)  # another process, so that our peak is the ingest's alone
    engine = open_ledger(f"sqlite:///{place.ledger}")

    def work() -> None:
        summary = deliver(Intake(place, engine, Account()), path)
        assert summary.stored == 10_000 * BATCH_DAYS, summary

    return work


def _peak() -> float:
    """The most memory this process held since its start, in GB (Linux; a child's own alone)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1e6
    return float("nan")


def medians(part: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over a part's runs."""
    runs = [one for one in found if one["part"] == part]
    figures = ("seconds", "cpu", "peak_gb")
    return {"part": part, **{f: statistics.median(one[f] for one in runs) for f in figures}}


def table(found: list[dict[str, Any]]) -> str:
    """Rows a second, beside the slower of Pandera and the merge (on our own layout)."""
    many = 10_000 * BATCH_DAYS
    slower = max((one for one in found if one["part"] in PARTS[:2]), key=lambda one: one["seconds"])
    lines = [
        "| part | seconds | CPU s | rows/s | of the slower | peak GB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        same_batch = "all" not in one["part"]  # the merges had the half restated batch
        share = f"{slower['seconds'] / one['seconds']:.2f}" if same_batch else "-"
        lines.append(
            f"| {one['part']} | {one['seconds']:.2f} | {one['cpu']:.2f} "
            f"| {many / one['seconds']:,.0f} | {share} | {one['peak_gb']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--days", type=int, default=500, help="days stored, 10,000 rows each")
    asked.add_argument("--part", choices=PARTS)
    asked.add_argument("--repeat", type=int, default=3, help="runs of each part: medians are shown")
    asked.add_argument("--root", type=Path)
    asked.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    asked.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    said = asked.parse_args()
    if said.write is not None:
        frame = rows(start_of(said.part, said.days), BATCH_DAYS, seed=1)
        if said.write.suffix == ".parquet":
            frame.to_parquet(said.write, index=False)
        else:
            frame.to_csv(said.write, index=False)
        return
    if said.prepare:
        prepare(said.root, said.days)
        return
    if said.root is not None:
        print(json.dumps(run(said.part, said.root, said.days)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root, found = Path(folder), []
        made = [sys.executable, __file__, "--prepare", "--root", folder, "--days", str(said.days)]
        subprocess.run(made, check=True)
        for part in [said.part] * said.repeat if said.part else PARTS * said.repeat:
            again = [sys.executable, __file__, "--part", part, "--root", folder]
            told = subprocess.run(
                [*again, "--days", str(said.days)], check=True, capture_output=True, text=True
            )
            found.append(json.loads(told.stdout.splitlines()[-1]))
            print(found[-1], file=sys.stderr)
            for left in ("merged", "delivered"):
                shutil.rmtree(root / left, ignore_errors=True)
    if not said.part:
        print(table([medians(part, found) for part in PARTS]))


if __name__ == "__main__":
    main()
