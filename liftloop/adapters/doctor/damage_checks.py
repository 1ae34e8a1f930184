"""What the doctor finds damaged beside the ledger, and what the next cycle would stumble over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.facts.archived_deliveries import copy_problem
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.deliveries import options_here, refusal_to_come
from liftloop.adapters.files.archive import waiting_files
from liftloop.adapters.files.outbox import as_json, budgets_files, read_budgets
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.decisions import budget_lines, decisions
from liftloop.adapters.ledger.engine import ledger_address, session
from liftloop.adapters.ledger.records import trainings
from liftloop.adapters.ledger.tables import Delivery
from liftloop.adapters.registry.evidently_store import damaged_snapshots
from liftloop.adapters.registry.model_checks import model_faults
from liftloop.adapters.registry.repair import alias_problem, registry_problem
from liftloop.adapters.registry.studies import damaged_studies
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace

Found = tuple[str, bool | None, str, str]  # as the doctor's findings: check, ok, detail, fix
REPAIR = "run: liftloop repair"
LARGE = 50 * 1024**2  # bytes of a file that takes a while to read
SHOWN = 5  # so many of one kind are named


def doctor_on_damage(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    """Everything beside the ledger that is not what the ledger recorded of it, or that the next
    cycle could not read."""
    for looked_at in (_ledger_file, _facts, _archive, _models, _registry, _outbox, _reports):
        yield from looked_at(workspace, engine)


def _ledger_file(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    address = ledger_address(engine.url.render_as_string(hide_password=False))
    if address.get_backend_name() != "sqlite":
        return
    problem = sqlite_problem(Path(str(address.database)))
    if problem:
        fix = "restore a backup into a new folder: liftloop restore"
        yield "ledger", False, f"its file is damaged ({problem})", fix


def sqlite_problem(place: Path) -> str:
    """What SQLite finds wrong with a database file; "" where nothing is."""
    try:
        with closing(sqlite3.connect(place, timeout=30)) as database:
            found = [str(row[0]) for row in database.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ["ok"] else " ".join(found[:1])


def _facts(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    faults = facts_faults(workspace, engine=engine, all_versions=True)
    for fault in faults[:SHOWN]:
        yield "facts", False, fault.sentence, REPAIR
    if len(faults) > SHOWN:
        yield "facts", False, f"{len(faults) - SHOWN} more of this kind", REPAIR


def _archive(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    with session(engine, read_only=True) as opened:
        deliveries = opened.exec(select(Delivery).order_by(col(Delivery.received_at))).all()
    lost = [problem for one in deliveries if (problem := copy_problem(workspace, one))]
    for problem in lost[:SHOWN]:
        yield "archive", False, problem, "deliver the file again, or restore archive from a backup"
    if len(lost) > SHOWN:
        yield "archive", False, f"{len(lost) - SHOWN} more copies", "restore archive from a backup"


def _models(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    for fault in model_faults(workspace, engine=engine)[:SHOWN]:
        yield "models", False, fault.sentence.removesuffix("."), REPAIR


def _registry(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    with session(engine, read_only=True) as opened:
        known = trainings(opened)
    problem = registry_problem(workspace, known)
    if not problem and (workspace.registry / "mlflow.db").is_file():
        damage = sqlite_problem(workspace.registry / "mlflow.db")
        problem = f"its database is damaged ({damage})" if damage else ""
    problem = problem or alias_problem(workspace, known)
    if problem:
        yield "model registry", False, problem, REPAIR
    for path in damaged_studies(workspace):
        yield "tuning", False, f"the study {path.name} cannot be read", REPAIR


def _outbox(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    """The export of the budgets in force says what the ledger says."""
    with session(engine, read_only=True) as opened:
        last = next(iter(decisions(opened, state="in_force")), None)
        lines = budget_lines(opened, decision_id=last.id) if last else []
    if last is None or not lines:
        return
    files = budgets_files(workspace, effective_from=last.effective_from, decision_id=last.id)
    for path in filter(Path.exists, files):
        try:
            same = as_json(read_budgets(path)) == as_json(lines)
        except RefusedFile:
            yield "outbox", False, f"{path.name} cannot be read", REPAIR
            continue
        if not same:
            words = f"{path.name} differs from the ledger: it was edited"
            yield "outbox", False, words, f"move it away, then {REPAIR}"


def refusals_to_come(
    workspace: Workspace, *, account: Account, options: ImportOptions
) -> Iterator[RefusedFile]:
    """Which of the files in the inbox would be refused; very large ones are not tried."""
    waiting = [path for path in waiting_files(workspace.inbox) if _is_small(path)]
    if not waiting:
        return
    wanted = options_here(workspace, account, options)
    for path in waiting:
        found = refusal_to_come(path, account=account, options=wanted)
        if found is not None:
            yield found


def _is_small(path: Path) -> bool:
    try:
        return path.stat().st_size <= LARGE
    except OSError:  # a link to nowhere: that is told by who reads it
        return True


def _reports(workspace: Workspace, engine: Engine) -> Iterator[Found]:
    damaged = damaged_snapshots(workspace)
    if damaged:
        names = ", ".join(path.name for path in damaged[:SHOWN])
        yield (
            "reports",
            False,
            f"Evidently cannot read {len(damaged)} of its files: {names}",
            REPAIR,
        )
