"""Budgets on their way to platforms, killed (SIGKILL) at every write and published again, stand as
if nothing had happened: ledger, outbox, file, table and endpoint agree, and no key was spent twice.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import open_ledger, save_policy, session
from liftloop.adapters.ledger.tables import Decision
from liftloop.core.curves.gain import budget_lines
from liftloop.core.policy import Cell, Policy
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tests.doubles.ad_server import SECRET, AdServer, ad_server
from tests.kill.dump import _files, _ledger, differences

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
DAY, AT = date(2026, 3, 2), datetime(2026, 3, 2, 6, tzinfo=UTC)
CELLS = [Cell(segment, "search") for segment in ("east", "north", "south")]
BEFORE = Policy.of({cell: Decimal("100.00") for cell in CELLS})
MOVED = Policy.of(dict(zip(CELLS, map(Decimal, ("90.10", "119.90", "90.00")), strict=True)))
BACK = BEFORE  # a rollback restores them byte for byte
SETTINGS = """
[platforms]
tries = 1
[[platforms.targets]]
name = "endpoint"
kind = "http"
url = "{url}"
secret_env = "SHOP_SECRET"
[[platforms.targets]]
name = "file"
kind = "files"
path = "outbox/in-force.csv"
[[platforms.targets]]
name = "table"
kind = "sql"
url = "sqlite:///{table}"
"""


@dataclass
class Bench:
    """A workspace with a move and then its rollback in force, and what runs publishing."""

    before: Path
    server: AdServer
    program: subprocess.Popen[str]

    def world(self) -> None:
        """The endpoint as it was before: the move stands there, but for one budget that somebody
        else changed."""
        self.server.budgets = {(c.segment, c.channel): amount for c, amount in MOVED.budgets}
        self.server.budgets["north", "search"] = Decimal("500.00")
        self.server.spent.clear()

    def publish(self, root: Path, *, kill_at: int = 0) -> tuple[int, list[str]]:
        log = root.with_name(f"{root.name}.{kill_at}.points")
        log.unlink(missing_ok=True)
        order = {
            "root": str(root),
            "log": str(log),
            "kill_at": kill_at,
            "decision": "d-back",
            "environment": {"LIFTLOOP_NOW": AT.isoformat(), "SHOP_SECRET": SECRET},
        }
        assert self.program.stdin is not None and self.program.stdout is not None
        self.program.stdin.write(json.dumps(order) + "\n")
        self.program.stdin.flush()
        status = int(self.program.stdout.readline())
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        return status, [line.split("\t", 1)[1] for line in text.splitlines()]

    def copy(self, name: str) -> Path:
        """The workspace before, in a place of its own; the table's address moves with it."""
        root = self.before.with_name(name)
        shutil.copytree(self.before, root)
        config = root / "liftloop.toml"
        config.write_text(config.read_text().replace(str(self.before), str(root)))
        self.world()
        return root

    def says(self, root: Path) -> dict[str, Any]:
        """All that ledger, outbox, file, table and endpoint say."""
        ads = _ledger(root / "ads.db") if (root / "ads.db").is_file() else {}
        return {
            **_ledger(root / "ledger.db"),
            **_files(root, "outbox"),
            **{f"table of {name}": rows for name, rows in ads.items()},
            "endpoint": sorted(self.server.budgets.items()),
        }


def decide(workspace: Workspace, id: str, after: Policy, before: Policy) -> None:
    lines = budget_lines(decision_id=id, effective_from=DAY, policy=after, previous=before)
    head = Decision(
        id=id,
        sequence=0,
        kind="move",
        as_of=DAY,
        effective_from=DAY,
        state="in_force",
        policy_version=after.version,
        previous_policy_version=before.version,
        facts="{}",
        settings_hash="s",
        expected_gain=0.0,
        gain_low=0.0,
        gain_high=0.0,
        reason="r",
        created_at=AT,
    )
    with session(open_ledger(str(load_settings(workspace).ledger_url))) as db:
        for policy in (before, after):
            save_policy(db, policy=policy, origin="proposed", at=AT)
        record_decision(db, decision=head, lines=lines)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("platforms").resolve()
    before = folder / "before"
    workspace = init_workspace(before)
    decide(workspace, "d-move", MOVED, BEFORE)
    decide(workspace, "d-back", BACK, MOVED)
    program = [sys.executable, str(HERE / "publisher.py")]
    with (
        ad_server() as server,
        subprocess.Popen(
            program,
            cwd=HERE.parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        ) as runner,
    ):
        assert runner.stdout is not None and runner.stdin is not None
        text = SETTINGS.format(url=server.url, table=before / "ads.db")
        (before / "liftloop.toml").write_text(text, encoding="utf-8")
        assert runner.stdout.readline().strip() == "ready"
        yield Bench(before, server, runner)
        runner.stdin.close()


@pytest.fixture(scope="module")
def in_peace(bench: Bench) -> tuple[list[str], dict[str, Any]]:
    """The points of a run left alone, and what it left."""
    root = bench.copy("in-peace")
    status, points = bench.publish(root)
    assert status == 0
    assert dict(bench.server.budgets) == {(c.segment, c.channel): a for c, a in BACK.budgets}
    return points, bench.says(root)


def test_every_kind_of_write_is_a_point(in_peace: tuple[list[str], dict[str, Any]]) -> None:
    points, _ = in_peace
    said = "\n".join(points)
    for kind in (
        "PUT to a platform",
        "ledger.db in _intend",
        "ledger.db in _begin",
        "ledger.db in _mark",
        "ledger.db in _finish",
        "commit to ads.db",
        "rename to outbox/.csv",
        "ledger.db in export",
    ):
        assert kind in said, kind
    assert len(points) >= 30, said


def test_killed_at_each_write_and_published_again_all_agree(
    bench: Bench, in_peace: tuple[list[str], dict[str, Any]]
) -> None:
    points, expected = in_peace
    for place, name in enumerate(points, start=1):
        root = bench.copy(f"killed-{place}")
        first, passed = bench.publish(root, kill_at=place)
        assert first == -9, name
        assert passed[-1] == name
        again, _ = bench.publish(root)
        assert again == 0, name
        assert differences(expected, bench.says(root)) == [], f"{place}: {name}"
        assert set(bench.server.spent.values()) == {1}, name
        idle, wrote = bench.publish(root)
        assert (idle, wrote) == (0, []), f"a third time it wrote, after {name}"
        shutil.rmtree(root)


def test_killed_twice_on_the_way_it_still_ends_the_same(
    bench: Bench, in_peace: tuple[list[str], dict[str, Any]]
) -> None:
    points, expected = in_peace
    for place in range(1, len(points) + 1, 3):
        root = bench.copy(f"twice-{place}")
        bench.publish(root, kill_at=place)
        bench.publish(root, kill_at=3)
        assert bench.publish(root)[0] == 0
        assert differences(expected, bench.says(root)) == [], f"{place}: {points[place - 1]}"
        shutil.rmtree(root)
