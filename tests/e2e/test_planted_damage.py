"""Damage beside the ledger, planted on a sound workspace: the doctor finds each and is silent on
what is sound, no decision rests on it, and `liftloop repair` mends it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow import parquet
from typer.testing import CliRunner

from liftloop.adapters.backup import back_up, restore
from liftloop.adapters.doctor.diagnosis import diagnose
from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.read_facts import content_hash, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary, quality_summary
from liftloop.adapters.ledger.records import champion_training, open_ledger, session
from liftloop.adapters.registry.evidently_store import evidently_folder
from liftloop.adapters.registry.mlflow_store import champion, run_folder
from liftloop.app.cli import app
from liftloop.core.errors import DamagedWorkspace
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.reallocate import propose_once
from tasks.evidence.repair import ATTENTION, repair
from tasks.model.curves import load_model_curves
from tasks.model.train import train_once
from tasks.report.notify import announce_once
from tests.tasks.conftest import World

FEEDS = ("performance", "holdout", "sales")


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "LIFTLOOP_LEDGER_URL", "LIFTLOOP_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Sound:
    """A workspace after two cycles; ``early`` is a copy from before the second."""

    workspace: Workspace
    early: Workspace
    world: World


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace) -> Sound:
    root = tmp_path_factory.mktemp("sound")
    shutil.copytree(workspace_model.root, root / "shop")
    world = World(Workspace(root / "shop"))
    world.set("\ntuning_trials = 20", "\ntuning_trials = 2")
    world.take_in(world.market.history())
    settled = world.cycle()
    announce_once(world.loop, settled["id"], None)
    shutil.copytree(root / "shop", root / "early")
    world.live(settled)
    later = world.market.history()["sales"].tail(3).assign(orders=1)
    world.take_in({"sales": later})  # restates: the rows before them are history
    announce_once(world.loop, world.cycle()["id"], None)
    store = evidently_folder(world.workspace) / "project" / "snapshots"
    store.mkdir(parents=True)
    (store / "one.json").write_text('{"name": "a snapshot"}')
    return Sound(world.workspace, Workspace(root / "early"), world)


@pytest.fixture
def shop(tmp_path: Path, made: Sound) -> Workspace:
    shutil.copytree(made.workspace.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def trouble(workspace: Workspace) -> list[DoctorFinding]:
    return [found for found in diagnose(workspace) if found.ok is False]


def facts_of(workspace: Workspace) -> dict[str, str]:
    return {
        feed: content_hash(read_facts(workspace, feed, as_of=None, timezone="UTC"))
        for feed in FEEDS
    }


def take(workspace: Workspace, path: Path) -> DeliverySummary:
    settings = load_settings(workspace)
    return deliver(
        Intake(workspace, open_ledger(str(settings.ledger_url)), account_of(settings.account)), path
    )


# --- plantings -----------------------------------------------------------------------------------


def entry(workspace: Workspace, version: int, feed: str = "holdout", kind: str = "current") -> Path:
    entries = sorted((workspace.facts / feed / kind / "_delta_log").glob("*.json"))
    return entries[version]


def data_file(workspace: Workspace, feed: str = "performance", kind: str = "current") -> Path:
    return max(
        (workspace.facts / feed / kind).rglob("*.parquet"), key=lambda path: path.stat().st_size
    )


def flip(path: Path) -> None:
    """Change bytes in the middle: the file keeps its size."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    path.write_bytes(content)


def halve(*paths: Path) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_rows(path: Path) -> None:
    """Another file of the same columns: a third of the rows is gone."""
    table = parquet.read_table(path)
    parquet.write_table(table.slice(0, len(table) * 2 // 3), path)


def foreign_commit(workspace: Workspace) -> None:
    last = entry(workspace, -1)
    added = [json.loads(line) for line in entry(workspace, 0).read_text().splitlines()]
    gone = next(
        line["add"]
        for place in sorted(last.parent.glob("*.json"))
        for line in map(json.loads, place.read_text().splitlines())
        if "add" in line
    )
    assert added
    remove = {"path": gone["path"], "deletionTimestamp": 1, "dataChange": True}
    place = last.with_name(f"{int(last.stem) + 1:020}.json")
    place.write_text(json.dumps({"remove": remove}) + "\n")


def false_checkpoint(workspace: Workspace) -> None:
    """A checkpoint that is read instead of the log, and has lost a data file."""
    table = workspace.facts / "performance" / "current"
    DeltaTable(str(table)).create_checkpoint()
    (path,) = (table / "_delta_log").glob("*.checkpoint.parquet")
    rows = parquet.read_table(path)
    adds = [n for n, add in enumerate(rows["add"].to_pylist()) if add]
    parquet.write_table(rows.take([n for n in range(len(rows)) if n != adds[0]]), path)


def champions_folder(workspace: Workspace) -> Path:
    with session(open_ledger(str(load_settings(workspace).ledger_url)), read_only=True) as db:
        found = champion_training(db, model_name="response")
    assert found is not None
    return run_folder(workspace, str(found.run_id))


def twenty_times(path: Path) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays = {name: a * 20 if a.dtype.kind == "f" else a for name, a in arrays.items()}
    np.savez_compressed(path, **arrays)


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount != 0, statement


def impossible_day(workspace: Workspace) -> None:
    rows = {
        "date": pa.array([2147483647], pa.int32()).cast(pa.date32()),
        "segment": ["north"],
        "orders": pa.array([1], pa.int64()),
        "revenue": pa.array([1.0]),
    }
    parquet.write_table(pa.table(rows), workspace.inbox / "sales-impossible.parquet")


def older(workspace: Workspace, made: Sound, name: str) -> None:
    place, source = workspace.root / name, made.early.root / name
    if source.is_dir():
        shutil.rmtree(place)
        shutil.copytree(source, place)
        return
    for end in ("", "-wal", "-shm"):
        beside = place.with_name(place.name + end)
        beside.unlink(missing_ok=True)
        if source.with_name(source.name + end).exists():
            shutil.copy(source.with_name(source.name + end), beside)


Plant = Callable[[Workspace, Sound], Any]
LEDGER = "ledger.db"

# what is planted -> how, and what the doctor says of it
FACTS: dict[str, tuple[Plant, str]] = {
    "log entry emptied": (lambda w, m: entry(w, 1).write_text(""), "log entry 1 is empty"),
    "log entry of history emptied": (
        lambda w, m: entry(w, 0, "sales", "history").write_text(""),
        "sales/history: log entry 0",
    ),
    "log entry removed": (lambda w, m: entry(w, 1).unlink(), "log entry 1 is missing"),
    "last log entry removed": (lambda w, m: entry(w, -1).unlink(), "an older copy, or its last"),
    "log entry is no JSON": (lambda w, m: entry(w, 1).write_text('{"add"'), "is not JSON"),
    "log entry edited": (
        lambda w, m: entry(w, 1).write_text(entry(w, 1).read_text().replace("numRecords", "x")),
        "log entry 1 is not the one that was recorded",
    ),
    "entry of another program": (lambda w, m: foreign_commit(w), "written by another program"),
    "data file gone": (lambda w, m: data_file(w).unlink(), "is missing"),
    "data file halved": (lambda w, m: halve(data_file(w)), "another size than the log says"),
    "data file flipped": (lambda w, m: flip(data_file(w)), "not the one that was recorded"),
    "data file of history gone": (
        lambda w, m: data_file(w, "sales", "history").unlink(),
        "sales/history: data file",
    ),
    "data file with fewer rows": (lambda w, m: other_rows(data_file(w)), "another size"),
    "older copy of the facts": (lambda w, m: older(w, m, "facts"), "an older copy"),
    "older copy of one feed": (lambda w, m: older(w, m, "facts/sales"), "sales/current"),
    "no facts": (lambda w, m: shutil.rmtree(w.facts), "the table is gone"),
    "delivery gone from the ledger": (
        lambda w, m: sql(
            w.root / LEDGER,
            "DELETE FROM delivery WHERE feed = 'sales' AND "
            "received_at = (SELECT max(received_at) FROM delivery "
            "WHERE feed = 'sales')",
        ),
        "which the ledger does not know",
    ),
    "checkpoint of another state": (
        lambda w, m: false_checkpoint(w),
        "its checkpoint is not what its log says",
    ),
    "no table": (lambda w, m: shutil.rmtree(w.facts / "sales" / "current"), "the table is gone"),
    "no log": (lambda w, m: shutil.rmtree(entry(w, 0).parent), "the table is gone"),
}
MODELS: dict[str, tuple[Plant, str]] = {
    "curves altered": (
        lambda w, m: twenty_times(champions_folder(w) / "curves" / "curves.npz"),
        "not those that the ledger recorded",
    ),
    "curves gone": (
        lambda w, m: (champions_folder(w) / "curves" / "curves.npz").unlink(),
        "cannot be read",
    ),
    "curves halved": (
        lambda w, m: halve(champions_folder(w) / "curves" / "curves.npz"),
        "cannot be read",
    ),
    "curves.json is no JSON": (
        lambda w, m: (champions_folder(w) / "curves" / "curves.json").write_text("{"),
        "cannot be",
    ),
    "run gone": (lambda w, m: shutil.rmtree(champions_folder(w)), "cannot be read"),
    "registry's database gone": (
        lambda w, m: (w.registry / "mlflow.db").unlink(),
        "it has no database",
    ),
    "registry's database is none": (
        lambda w, m: (w.registry / "mlflow.db").write_bytes(b"x" * 5000),
        "database is damaged",
    ),
    "registry's champion moved": (
        lambda w, m: sql(
            w.registry / "mlflow.db",
            "UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'",
        ),
        "the registry's champion of response is version 1",
    ),
    "registry's version deleted": (
        lambda w, m: sql(w.registry / "mlflow.db", "DELETE FROM model_versions WHERE version = 2"),
        "response version 2 is not in its database",
    ),
}
REPORTS: dict[str, tuple[Plant, str]] = {
    "outbox file is no JSON": (
        lambda w, m: [path.write_text("{") for path in w.outbox.glob("budgets*.json")],
        "cannot be read",
    ),
    "outbox file halved": (
        lambda w, m: halve(*w.outbox.glob("budgets*.parquet")),
        "cannot be read",
    ),
    "snapshot halved": (
        lambda w, m: halve(next(evidently_folder(w).rglob("*.json"))),
        "Evidently cannot read 1",
    ),
    "snapshot emptied": (
        lambda w, m: next(evidently_folder(w).rglob("*.json")).write_text(""),
        "Evidently cannot",
    ),
    "study is no JSON": (
        lambda w, m: next(w.registry.glob("studies/*.journal")).write_text("{x\n{}\n"),
        "the study",
    ),
}
# what no repair can undo: a person has to look, or a backup to be restored
RECORDS: dict[str, tuple[Plant, str]] = {
    "archived copy gone": (
        lambda w, m: next(w.archive.glob("*/sales*")).unlink(),
        "the archived copy of sales",
    ),
    "archived copy changed": (
        lambda w, m: flip(next(w.archive.glob("*/holdout*"))),
        "was changed",
    ),
    "archived reading gone": (
        lambda w, m: next(w.archive.glob("*/d-*.json")).unlink(),
        "the archived copy of",
    ),
    "archived reading is no JSON": (
        lambda w, m: next(w.archive.glob("*/d-*.json")).write_text("{"),
        "was read cannot be read",
    ),
    "trail emptied": (lambda w, m: sql(w.root / LEDGER, "DELETE FROM auditentry"), "audit"),
    "trail shortened": (
        lambda w, m: sql(w.root / LEDGER, "DELETE FROM auditentry WHERE sequence > 5"),
        "audit",
    ),
    "amounts of a decision changed": (
        lambda w, m: sql(w.root / LEDGER, "UPDATE decisionline SET daily_cents = daily_cents + 1"),
        "amounts",
    ),
    "amounts of a policy changed": (
        lambda w, m: sql(w.root / LEDGER, "UPDATE policybudget SET daily_cents = daily_cents + 1"),
        "",
    ),
    "entry edited": (
        lambda w, m: sql(w.root / LEDGER, "UPDATE auditentry SET actor = 'me' WHERE sequence = 3"),
        "edited after it was written",
    ),
    "ledger halved": (lambda w, m: halve(w.root / LEDGER), ""),
    "older copy of the ledger": (lambda w, m: older(w, m, LEDGER), "newer than the ledger"),
    "outbox file edited": (
        lambda w, m: [
            path.write_text(path.read_text().replace("search", "other"))
            for path in w.outbox.glob("budgets*.csv")
        ],
        "differs from the ledger",
    ),
}
ALL = {**FACTS, **MODELS, **REPORTS, **RECORDS}


@pytest.mark.parametrize("name", ALL)
def test_the_doctor_finds_it(shop: Workspace, made: Sound, name: str) -> None:
    plant, words = ALL[name]
    plant(shop, made)
    found = trouble(shop)
    assert [one for one in found if words in f"{one.check}: {one.detail}"], found
    assert all(one.fix for one in found)


def test_the_doctor_names_a_file_that_will_be_refused(shop: Workspace) -> None:
    impossible_day(shop)
    (one,) = [found for found in diagnose(shop) if found.check == "inbox"]
    assert "sales-impossible.parquet will be refused" in one.detail
    assert one.fix


@pytest.mark.parametrize("name", [*FACTS, *MODELS, *REPORTS])
def test_repair_mends_it(shop: Workspace, made: Sound, name: str) -> None:
    before = facts_of(shop)
    (FACTS | MODELS | REPORTS)[name][0](shop, made)
    said = repair(str(shop.root), actor="ana")
    assert said and not [sentence for sentence in said if sentence.startswith(ATTENTION)], said
    assert trouble(shop) == []
    assert facts_of(shop) == before
    assert repair(str(shop.root), actor="ana") == []  # again is a no-op
    loop = open_loop(shop.root)
    with session(loop.engine, read_only=True) as db:
        trained = champion_training(db, model_name="response")
    assert trained is not None
    load_model_curves(loop, trained)
    there = champion(shop, name="response")
    assert there is not None and there.version == trained.model_version


@pytest.mark.parametrize("name", FACTS)
def test_no_decision_rests_on_damaged_facts(shop: Workspace, made: Sound, name: str) -> None:
    FACTS[name][0](shop, made)
    loop = open_loop(shop.root)
    if "of history" in name and "emptied" not in name:
        return  # read by replays alone
    steps: tuple[Callable[[], object], ...] = (
        lambda: train_once(loop, made.world.day, source="holdout", reason="test"),
        lambda: propose_once(loop, made.world.day, source="holdout"),
    )
    for step in steps:
        with pytest.raises(DamagedWorkspace) as stopped:
            step()
        assert "liftloop repair" in stopped.value.fix


def test_no_plan_rests_on_altered_curves(shop: Workspace, made: Sound) -> None:
    plan, loop = MODELS["curves altered"][0], open_loop(shop.root)
    plan(shop, made)
    with session(loop.engine, read_only=True) as db:
        trained = champion_training(db, model_name="response")
    assert trained is not None
    with pytest.raises(DamagedWorkspace, match="not those that the ledger recorded"):
        load_model_curves(loop, trained)


def test_a_lost_champion_is_learned_again_by_the_next_cycle(shop: Workspace, made: Sound) -> None:
    loop = open_loop(shop.root)
    MODELS["run gone"][0](shop, made)
    said = train_once(loop, made.world.day, source="holdout", reason="test")
    assert "was learned again" in said["sentence"]
    assert "the curves are those of then" in said["sentence"]
    assert trouble(shop) == []


def test_a_file_that_is_delivered_again_heals(shop: Workspace, tmp_path: Path) -> None:
    """The copy in the archive is lost, and with it the facts cannot be built again."""
    before = facts_of(shop)
    copy = next(shop.archive.glob("*/sales*"))
    shutil.move(copy, tmp_path / copy.name)
    entry(shop, 1, "sales").write_text("")
    (said,) = repair(str(shop.root), actor="ana")
    assert said.startswith(ATTENTION)
    assert copy.name in said
    again = take(shop, tmp_path / copy.name)
    assert "built again" in again.sentence
    assert (trouble(shop), facts_of(shop)) == ([], before)
    assert "nothing changed" in take(shop, tmp_path / copy.name).sentence


def test_new_files_wait_while_their_feed_is_damaged(shop: Workspace) -> None:
    entry(shop, 1, "sales").write_text("")
    waiting = shop.inbox / "sales-new.csv"
    waiting.write_text("date,segment,orders,revenue\n2026-01-04,north,3,90\n")
    said = take(shop, waiting)
    assert said.refused is None
    assert said.held is not None
    assert said.sentence == said.held
    assert said.held.startswith("sales-new.csv waits in its place and was not taken in.")
    assert "liftloop repair" in said.held
    assert waiting.exists()
    assert list(shop.refused.iterdir()) == []
    page = quality_summary([said], {})
    assert "0 rows in 0 new files, 1 file waiting." in page
    assert "Refused" not in page
    repair(str(shop.root), actor="ana")
    taken = take(shop, waiting)
    assert (taken.held, taken.stored) == (None, 1)
    assert trouble(shop) == []


def test_an_older_ledger_is_reconciled_from_the_archive(shop: Workspace, made: Sound) -> None:
    before = facts_of(shop)
    older(shop, made, LEDGER)
    assert [one for one in trouble(shop) if "newer than the ledger" in one.detail]
    said = repair(str(shop.root), actor="ana")
    assert [one for one in said if one.startswith("Taken in again")], said
    assert (trouble(shop), facts_of(shop)) == ([], before)
    assert repair(str(shop.root), actor="ana") == []


def test_decisions_go_on_while_files_are_taken_in(shop: Workspace) -> None:
    """A delivery between the look at the tables and that at the ledger is no damage."""

    def work() -> None:
        for day in range(10, 28):
            path = shop.inbox / f"sales-{day}.csv"
            path.write_text(f"date,segment,orders,revenue\n2026-01-{day},north,3,90\n")
            take(shop, path)

    worker = Thread(target=work)
    worker.start()
    looks = 0
    while worker.is_alive():
        assert open_loop(shop.root).pinned().versions
        looks += 1
    worker.join()
    assert looks > 5
    assert trouble(shop) == []


def test_a_repair_that_is_killed_is_done_by_the_next(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liftloop.adapters.facts import archived_deliveries as module

    class Killed(BaseException):
        pass

    before = facts_of(shop)
    for name in ("_store_again", "_swap", "record_commits"):
        entry(shop, 1, "sales").write_text("")
        act = getattr(module, name)

        def killed(*args: Any, act: Any = act, **more: Any) -> None:
            act(*args, **more)
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(module, name, killed)
            with pytest.raises(Killed):
                repair(str(shop.root), actor="ana")
        repair(str(shop.root), actor="ana")
        assert (trouble(shop), facts_of(shop)) == ([], before)


def test_the_commands_say_what_they_did(shop: Workspace) -> None:
    run = CliRunner()
    entry(shop, 1, "sales").write_text("")
    said = run.invoke(app, ["repair", "--workspace", str(shop.root)])
    assert said.exit_code == 0
    assert "sales: built again from" in said.output
    said = run.invoke(app, ["repair", "--workspace", str(shop.root)])
    assert "Nothing is damaged" in said.output
    next(shop.archive.glob("*/sales*")).unlink()
    entry(shop, 1, "sales").write_text("")
    said = run.invoke(app, ["repair", "--workspace", str(shop.root)])
    assert said.exit_code == 2
    assert "liftloop ingest" in said.output


# --- sound ones ----------------------------------------------------------------------------------


def sound_ones() -> Iterator[tuple[str, Callable[[Sound, Path], Workspace]]]:
    def copied(made: Sound, folder: Path) -> Workspace:
        shutil.copytree(made.workspace.root, folder / "elsewhere" / "moved")
        return Workspace(folder / "elsewhere" / "moved")

    def backed_up(made: Sound, folder: Path) -> Workspace:
        back_up(made.workspace, folder / "backup.tar.gz")
        restore(folder / "backup.tar.gz", folder / "restored")
        return Workspace(folder / "restored")

    def mended(made: Sound, folder: Path) -> Workspace:
        workspace = copied(made, folder)
        path = folder / "sales-broken.csv"
        path.write_text("date,segment,orders,revenue\n2026-01-04,north,-3,90\n")
        assert take(workspace, path).quarantined == 1
        return workspace

    def summed_up(made: Sound, folder: Path) -> Workspace:
        workspace = copied(made, folder)
        for log in workspace.facts.glob("*/*/_delta_log"):
            DeltaTable(str(log.parent)).create_checkpoint()
        return workspace

    def older_records(made: Sound, folder: Path) -> Workspace:
        """Facts stored before commits were recorded."""
        workspace = copied(made, folder)
        sql(workspace.ledger, "DELETE FROM factscommit")
        return workspace

    yield "after one cycle", lambda made, folder: made.early
    yield "after two cycles", lambda made, folder: made.workspace
    yield "moved", copied
    yield "restored", backed_up
    yield "with checkpoints", summed_up
    yield "with rows in quarantine", mended
    yield "of an earlier version", older_records


def test_backups_made_during_a_cycle_are_sound(
    shop: Workspace, made: Sound, tmp_path: Path
) -> None:
    """Whatever of the cycle is in it: the next one finishes what it began."""
    world = World(shop)
    world.day = made.world.day + timedelta(days=7)
    feeds = {name: made.world.market.history()[name].tail(40) for name in ("holdout", "sales")}
    failed: list[BaseException] = []

    def work() -> None:
        try:
            world.take_in(feeds)
            announce_once(world.loop, world.cycle()["id"], None)
        except BaseException as error:
            failed.append(error)

    worker = Thread(target=work)
    worker.start()
    backups: list[Path] = []
    while worker.is_alive():
        backups.append(tmp_path / f"backup-{len(backups)}.tar")
        assert back_up(shop, backups[-1]).problems == ()
    worker.join()
    assert failed == []
    assert len(backups) > 1
    for number, backup in enumerate(backups):
        assert restore(backup, tmp_path / f"again-{number}").problems == ()
        assert trouble(Workspace(tmp_path / f"again-{number}")) == []


@pytest.mark.parametrize(("name", "make"), sound_ones())
def test_the_doctor_is_silent(
    made: Sound, tmp_path: Path, name: str, make: Callable[[Sound, Path], Workspace]
) -> None:
    assert trouble(make(made, tmp_path)) == []


def test_facts_of_an_earlier_version_are_checked_too(shop: Workspace, made: Sound) -> None:
    """They have no record: gaps, lost deliveries and other files are seen all the same."""
    sql(shop.ledger, "DELETE FROM factscommit")
    whole = shop.facts.with_name("whole")
    shutil.copytree(shop.facts, whole)
    for name in (
        "log entry emptied",
        "log entry removed",
        "last log entry removed",
        "entry of another program",
        "data file gone",
        "data file halved",
        "data file with fewer rows",
        "older copy of the facts",
        "no table",
    ):
        FACTS[name][0](shop, made)
        with pytest.raises(DamagedWorkspace):
            open_loop(shop.root).pinned()
        shutil.rmtree(shop.facts)
        shutil.copytree(whole, shop.facts)
    assert open_loop(shop.root).pinned().versions


def test_a_day_that_cannot_be_stops_no_other_file(shop: Workspace) -> None:
    impossible_day(shop)
    good = shop.inbox / "sales-z.csv"
    good.write_text("date,segment,orders,revenue\n2026-01-04,north,3,90\n")
    bad = take(shop, shop.inbox / "sales-impossible.parquet")
    assert bad.refused and "Fix:" in bad.refused
    assert list(shop.refused.glob("*impossible.parquet"))
    assert take(shop, good).refused is None
