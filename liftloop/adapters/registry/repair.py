"""Making the model registry's database again, from what the ledger knows of its versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from liftloop.adapters import clock
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.locks import exclusive
from liftloop.adapters.registry.mlflow_store import (
    champion_version,
    check_database,
    create_registry,
    run_folder,
    set_champion,
)
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

DELETED = "Deleted_Internal"  # what MLflow leaves of a version that was deleted


def registry_problem(workspace: Workspace, known: Sequence[Training]) -> str:
    """What is wrong with the registry's database, given the trainings of the ledger; "" where
    nothing is."""
    registered = [one for one in known if one.model_version]
    if not registered:
        return ""
    if not (workspace.registry / "mlflow.db").is_file():
        return "it has no database, yet models were trained"
    try:
        check_database(workspace)
        there = _versions(workspace)
    except OutsideServiceFailed as error:
        return error.problem.removesuffix(".")
    except sqlite3.Error as error:
        return f"its database is damaged ({error})"
    lost = [one for one in registered if (one.model_name, str(one.model_version)) not in there]
    if lost:
        return f"{lost[0].model_name} version {lost[0].model_version} is not in its database"
    return ""


def alias_problem(workspace: Workspace, known: Sequence[Training]) -> str:
    """Which model is in force by the registry and not by the ledger; "" where both agree."""
    for one in known:
        if one.state == "champion":
            there = champion_version(workspace, name=one.model_name)
            if there != str(one.model_version):
                return (
                    f"the registry's champion of {one.model_name} is version {there}, the "
                    f"ledger's is version {one.model_version}"
                )
    return ""


def repair_registry(workspace: Workspace, known: Sequence[Training]) -> list[str]:
    """Bring the registry in line with the ledger: versions that its database lacks are registered
    again under their numbers, and its champion is the ledger's. A database that cannot be read is
    put aside. What was done, a sentence each; again is a no-op."""
    said = []
    if problem := registry_problem(workspace, known):
        said.append(_register_again(workspace, known, problem))
    if problem := follow_ledger(workspace, known):
        said.append(f"Model registry: {problem}; the ledger's is in force.")
    return said


def follow_ledger(workspace: Workspace, known: Sequence[Training]) -> str:
    """Make the ledger's champions the registry's; what differed, as of :func:`alias_problem`."""
    problem = alias_problem(workspace, known)
    if problem:
        for one in known:
            if one.state == "champion":
                set_champion(workspace, one.model_name, str(one.model_version))
    return problem


def _register_again(workspace: Workspace, known: Sequence[Training], problem: str) -> str:
    place = workspace.registry / "mlflow.db"
    aside = ""
    if place.exists() and not _is_readable(place):
        aside = f"mlflow-damaged-{clock.now():%Y%m%dT%H%M%S}.db"
        place.rename(place.with_name(aside))
    registered = [one for one in known if one.model_version and one.run_id]
    create_registry(workspace)
    with (
        exclusive(workspace.locks / "registry.lock", what="The model registry", timeout=120),
        closing(sqlite3.connect(workspace.registry / "mlflow.db", timeout=30)) as database,
        database,
    ):
        for one in registered:
            _register(database, workspace, one)
    words = f"Model registry: {problem}; {len(registered)} versions are registered"
    return f"{words}; the damaged file is {aside}." if aside else f"{words}."


def _register(database: sqlite3.Connection, workspace: Workspace, one: Training) -> None:
    """Register a training's version under its number, which MLflow itself would not give again."""
    name, version = one.model_name, int(str(one.model_version))
    folder = run_folder(workspace, str(one.run_id))
    source = (folder / "model" if (folder / "model").exists() else folder).as_uri()
    at = int(one.created_at.timestamp() * 1000)
    database.execute(
        "INSERT OR IGNORE INTO registered_models (name, creation_time, last_updated_time) "
        "VALUES (?, ?, ?)",
        (name, at, at),
    )
    database.execute(
        "INSERT OR REPLACE INTO model_versions (name, version, creation_time, last_updated_time, "
        "current_stage, source, storage_location, run_id, status) "
        "VALUES (?, ?, ?, ?, 'None', ?, ?, ?, 'READY')",
        (name, version, at, at, source, source, one.run_id),
    )
    database.execute(
        "INSERT OR REPLACE INTO model_version_tags (key, value, name, version) "
        "VALUES ('training_key', ?, ?, ?)",
        (one.key, name, version),
    )


def _is_readable(place: Path) -> bool:
    try:
        with closing(sqlite3.connect(place)) as database:
            checked = database.execute("PRAGMA quick_check").fetchone()
            database.execute("SELECT count(*) FROM registered_model_aliases").fetchone()
    except sqlite3.Error:
        return False
    return bool(checked) and checked[0] == "ok"


def _versions(workspace: Workspace) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(workspace.registry / "mlflow.db", timeout=30)) as database:
        rows = database.execute(
            "SELECT name, version FROM model_versions WHERE current_stage != ?", (DELETED,)
        ).fetchall()
    return {(str(name), str(version)) for name, version in rows}
