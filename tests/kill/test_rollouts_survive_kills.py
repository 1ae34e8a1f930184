"""A step of a rollout (a plan enters, the waves move up), a take-back by a failing guardrail, the
start after its cool-down and a rollback by hand, each killed (SIGKILL) at every write and run
again, end as if nothing had happened: ledger, outbox, pages, file, table and endpoint agree, and no
key was spent twice.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.files.outbox import read_budgets
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.core.rollout.effective_policy import Running
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.decision.rollout import look_once
from tasks.decision.running_rollout import running_rollout
from tasks.model.train import promote_once, train_once
from tasks.operate.publish import publish
from tasks.report.notify import announce_once
from tests.doubles.ad_server import SECRET, AdServer, ad_server
from tests.kill.dump import _files, _ledger, differences

HERE = Path(__file__).parent
_spec = spec_from_file_location("rollout_world", HERE.parent / "tasks" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_worlds = module_from_spec(_spec)
sys.modules[_spec.name] = _worlds
_spec.loader.exec_module(_worlds)

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1200)]

SETTINGS = """
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
url_env = "SHOP_DATABASE"
"""
SCENES = ("step", "take-back", "start", "by hand")
Amounts = dict[tuple[str, str], Decimal]


def environment(root: Path, day: date) -> dict[str, str]:
    """The clock stands still, so that even instants agree."""
    return {
        "LIFTLOOP_NOW": f"{day}T06:00:00+00:00",
        "SHOP_SECRET": SECRET,
        "SHOP_DATABASE": f"sqlite:///{root / 'ads.db'}",
    }


@dataclass(frozen=True, slots=True)
class Scene:
    """A workspace just before something happens on ``day``, and what the endpoint has then."""

    name: str
    act: str
    before: Path
    day: date
    endpoint: Amounts


@dataclass(frozen=True, slots=True)
class Bench:
    """The scenes, and what runs them."""

    scenes: dict[str, Scene]
    began: Running
    server: AdServer
    program: subprocess.Popen[str]

    def copy(self, scene: Scene, name: str) -> Path:
        self.server.budgets = dict(scene.endpoint)
        self.server.spent.clear()
        return Path(shutil.copytree(scene.before, scene.before.with_name(f"{scene.name}-{name}")))

    def run(self, scene: Scene, root: Path, *, kill_at: int = 0) -> tuple[int, list[str]]:
        """The status it ended with, and the points it passed."""
        log = root.with_name(f"{root.name}.points")
        log.unlink(missing_ok=True)
        order = {
            "root": str(root),
            "log": str(log),
            "kill_at": kill_at,
            "act": scene.act,
            "day": str(scene.day),
            "environment": environment(root, scene.day),
        }
        assert self.program.stdin is not None and self.program.stdout is not None
        self.program.stdin.write(json.dumps(order) + "\n")
        self.program.stdin.flush()
        status = int(self.program.stdout.readline())
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        return status, [line.split("\t", 1)[1] for line in text.splitlines()]

    def says(self, root: Path) -> dict[str, Any]:
        """All that ledger, outbox, pages, file, table and endpoint say."""
        return {
            **_ledger(root / "ledger.db"),
            **_files(root, "outbox"),
            **_files(root, "reports"),
            **{f"table of {name}": rows for name, rows in _ledger(root / "ads.db").items()},
            "endpoint": sorted(self.server.budgets.items()),
        }


class Stage:
    """A world whose clock and platforms are its own, brought to what a scene begins with."""

    def __init__(self, world: Any, server: AdServer, patched: pytest.MonkeyPatch) -> None:
        self.world, self.server, self.patched = world, server, patched

    def look_around(self) -> None:
        for name, value in environment(self.world.workspace.root, self.world.day).items():
            self.patched.setenv(name, value)

    def tell(self, settled: dict[str, Any]) -> None:
        publish(self.world.loop, settled["id"])
        announce_once(self.world.loop, settled["id"], None)

    def live(self, settled: dict[str, Any], *, harmed: bool = False) -> None:
        running = self.world.rollout()
        spoil = self.world.harmed(running.following(running.state.newest)) if harmed else None
        self.world.live(settled, spoil)
        self.look_around()

    def plan(self) -> None:
        loop, day = self.world.loop, self.world.day
        promote_once(loop, train_once(loop, day, source="holdout", reason="test"))
        assert propose_once(loop, day, source="holdout")["new"]

    def scene(self, name: str, act: str) -> Scene:
        """As it is now."""
        root = self.world.workspace.root
        before = Path(shutil.copytree(root, root.with_name(f"{name} before")))
        return Scene(name, act, before, self.world.day, dict(self.server.budgets))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    root = tmp_path_factory.mktemp("rollouts").resolve() / "gaining"
    world = _worlds.World(init_workspace(root))
    world.set("\ntuning_trials = 20", "\ntuning_trials = 0")
    world.set("\ntries = 3", "\ntries = 1")
    world.set("\nallowance = 0.08", "\nallowance = 0.01")  # at first in the first wave only
    world.set("\ncooldown_days = 28", "\ncooldown_days = 7")
    world.take_in(world.market.history())
    program = [sys.executable, str(HERE / "roller.py")]
    with (
        ad_server() as server,
        pytest.MonkeyPatch.context() as patched,
        subprocess.Popen(
            program,
            cwd=HERE.parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        ) as runner,
    ):
        gaining = Stage(world, server, patched)
        gaining.look_around()
        with world.workspace.config.open("a", encoding="utf-8") as config:
            config.write(SETTINGS.format(url=server.url))
        first = world.cycle()
        gaining.tell(first)
        began = world.rollout()
        assert began is not None
        other = _worlds.World(Workspace(Path(shutil.copytree(root, root.with_name("losing")))))
        other.market.history()
        other.set("\nallowance = 0.01", "\nallowance = 0.08")  # so that it may begin again
        gaining.live(first)
        by_hand = gaining.scene("by hand", "hand")
        gaining.plan()
        step = gaining.scene("step", "day")
        losing = Stage(other, server, patched)
        losing.live(first, harmed=True)
        back = losing.scene("take-back", "day")
        gone = look_once(other.loop, other.day)
        assert gone is not None and gone["kind"] == "roll_back", gone
        losing.tell(gone)
        losing.live(gone)
        losing.plan()
        start = losing.scene("start", "day")
        assert runner.stdout is not None and runner.stdin is not None
        assert runner.stdout.readline().strip() == "ready"
        yield Bench({x.name: x for x in (step, back, start, by_hand)}, began, server, runner)
        runner.stdin.close()


@dataclass(frozen=True, slots=True)
class Peace:
    """The points of a run left alone, and what it left."""

    points: list[str]
    says: dict[str, Any]
    budgets: Amounts
    positions: tuple[int, ...] | None  # of the waves, where a stream is under way


@pytest.fixture(scope="module")
def in_peace(bench: Bench) -> dict[str, Peace]:
    found = {}
    for name, scene in bench.scenes.items():
        root = bench.copy(scene, "in-peace")
        status, points = bench.run(scene, root)
        assert status == 0
        assert platforms_of(bench, root) == [in_force(root)] * 3
        with session(open_loop(root).engine, read_only=True) as db:
            running = running_rollout(db)
        positions = running.state.positions if running else None
        found[name] = Peace(points, bench.says(root), in_force(root), positions)
    for scene in bench.scenes.values():  # only now, so that these runs judged by themselves
        if scene.act == "day":
            assert bench.run(replace(scene, act="warm"), bench.copy(scene, "warm")) == (0, [])
    return found


def in_force(root: Path) -> Amounts:
    with session(open_loop(root).engine, read_only=True) as db:
        head = decisions(db, state="in_force")[0]
    return amounts(next((root / "outbox").glob(f"budgets-*-{head.id}.csv")))


def amounts(path: Path) -> Amounts:
    return {(line.segment, line.channel): line.daily_budget for line in read_budgets(path)}


def platforms_of(bench: Bench, root: Path) -> list[Amounts]:
    """What stands on the endpoint, in the file and in the table."""
    with closing(sqlite3.connect(root / "ads.db")) as ads:
        rows = ads.execute("SELECT segment, channel, daily_cents FROM liftloop_budgets").fetchall()
    table = {(segment, channel): Decimal(cents) / 100 for segment, channel, cents in rows}
    return [dict(bench.server.budgets), amounts(root / "outbox" / "in-force.csv"), table]


def test_there_are_many_points_and_of_every_kind(in_peace: dict[str, Peace]) -> None:
    for name, peace in in_peace.items():
        said = "\n".join(peace.points)
        kinds = [
            "ledger.db in record",
            "rename to outbox/.csv",
            "ledger.db in export",
            "PUT to a platform",
            "ledger.db in _mark",
            "commit to ads.db",
        ]
        if name != "by hand":
            kinds += ["rename to reports/.html", "ledger.db in announce_once"]
        assert [kind for kind in kinds if kind not in said] == [], name
        assert len(peace.points) >= 30, said


def moved(before: Amounts, after: Amounts) -> set[str]:
    """The segments whose budgets differ."""
    return {cell[0] for cell in before if before[cell] != after[cell]}


def test_each_scene_is_what_it_says(bench: Bench, in_peace: dict[str, Peace]) -> None:
    """That the platforms have the same as the ledger was held when the runs were made."""
    began = bench.began
    reference = {(cell.segment, cell.channel): amount for cell, amount in began.reference.budgets}
    assert in_peace["take-back"].budgets == reference == in_peace["by hand"].budgets
    first = bench.scenes["step"].endpoint
    assert moved(reference, first) == set(began.waves[0])
    assert moved(reference, in_peace["step"].budgets) > set(began.waves[0])
    assert in_peace["step"].positions == (2, 1, 0)
    assert bench.scenes["start"].endpoint == reference
    start = in_peace["start"]
    assert moved(reference, start.budgets) and start.positions and start.positions[0] == 1
    assert [in_peace[name].positions for name in ("take-back", "by hand")] == [None, None]


@pytest.mark.parametrize("name", SCENES)
def test_killed_at_each_write_and_run_again_all_agree(
    bench: Bench, in_peace: dict[str, Peace], name: str
) -> None:
    scene, peace = bench.scenes[name], in_peace[name]
    wrong: list[str] = []
    for place, point in enumerate(peace.points, start=1):
        root = bench.copy(scene, f"killed-{place}")
        killed, passed = bench.run(scene, root, kill_at=place)
        assert (killed, passed[-1]) == (-9, point)
        again, _ = bench.run(scene, root)
        found = differences(peace.says, bench.says(root)) if again == 0 else [f"status {again}"]
        if any(times > 1 for times in bench.server.spent.values()):
            found.append(f"keys spent twice: {bench.server.spent}")
        if place % 4 == 1:  # where all agrees, a third run starts from the same each time
            idle, wrote = bench.run(scene, root)
            if (idle, wrote) != (0, []):
                found.append(f"a third run: {idle}, {wrote}")
        wrong += [f"{place} {point}: {words}" for words in found]
        shutil.rmtree(root)
    assert wrong == []
