"""The model registry: every training an MLflow run, every model a version, one champion.

MLflow is imported when first needed: it costs seconds, and a cycle with nothing to train needs it
not at all (:func:`load_curves` reads a run's folder). Only MLflow's client is used, never its
process-wide state, so two workspaces in one process do not meet.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from liftloop.adapters.files.whole_files import publish_made
from liftloop.adapters.locks import exclusive
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

EXPERIMENT = "liftloop"
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a model in the registry, and the run that made it."""

    name: str
    version: str
    run_id: str
    training_key: str


def tracking_uri(workspace: Workspace) -> str:
    """What to give MLflow (``mlflow ui --backend-store-uri``) to see the workspace's registry."""
    return f"sqlite:///{_database(workspace)}"


def artifacts_folder(workspace: Workspace) -> Path:
    return workspace.registry.resolve() / "artifacts"


def run_folder(workspace: Workspace, run_id: str) -> Path:
    """Where a run keeps its artifacts."""
    return artifacts_folder(workspace) / run_id / "artifacts"


def _database(workspace: Workspace) -> Path:
    return workspace.registry.resolve() / "mlflow.db"


def create_registry(workspace: Workspace) -> None:
    """Make the registry's database if there is none (2 to 6 seconds, once).

    It is built beside and renamed: processes that open a half-made MLflow database damage it for
    good, and a kill while it is made must leave nothing.
    """
    place = _database(workspace)
    if place.exists():
        return
    with exclusive(workspace.locks / "registry.lock", what="The model registry", timeout=120):
        if place.exists():
            return
        artifacts_folder(workspace).mkdir(parents=True, exist_ok=True)
        half = place.with_name("mlflow-unfinished.db")
        for stale in half.parent.glob(half.name + "*"):
            stale.unlink()
        _silence()
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        root = artifacts_folder(workspace).as_uri()
        with _without_syncing(half):
            make: Any = SqlAlchemyStore  # without types
            store = make(f"sqlite:///{half}", root)
            store.create_experiment(EXPERIMENT, artifact_location=root)
            store.engine.dispose()
        publish_made(half, place)


@contextmanager
def _without_syncing(database: Path) -> Iterator[None]:
    """Let SQLite build ``database`` without waiting for the disk after each of MLflow's hundreds
    of steps: half the time. It is flushed once, before it gets its name."""

    def relax(connection: Any, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        main = connection.execute("PRAGMA database_list").fetchone()
        if main[2] and Path(main[2]) == database:
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


def client(workspace: Workspace) -> Any:
    """An ``MlflowClient`` of the workspace's registry, which is made if it is missing."""
    create_registry(workspace)
    _follow_a_moved_workspace(workspace)
    _silence()
    from mlflow import MlflowClient

    uri = tracking_uri(workspace)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def registry_session(workspace: Workspace) -> Iterator[Any]:
    """A client held by one process at a time; MLflow's trouble becomes one plain sentence."""
    opened = client(workspace)
    from mlflow.exceptions import MlflowException

    with exclusive(workspace.locks / "registry.lock", what="The model registry", timeout=120):
        try:
            yield opened
        except MlflowException as error:
            raise OutsideServiceFailed(
                "The model registry", str(error).splitlines()[0], fix="run liftloop doctor."
            ) from error


def _silence() -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def _follow_a_moved_workspace(workspace: Workspace) -> None:
    """MLflow keeps absolute addresses; a workspace is a folder that people move and copy."""
    root = artifacts_folder(workspace).as_uri()
    with _plain_words(), closing(sqlite3.connect(_database(workspace), timeout=30)) as database:
        found = database.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        if found is None or found[0] == root:
            return
        with database:
            for table, column in (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("model_versions", "source"),
                ("model_versions", "storage_location"),
            ):
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (root, len(found[0]) + 1, len(found[0]), found[0]),
                )


def registered(opened: Any, *, name: str, training_key: str) -> RegisteredModel | None:
    """The version that the training ``training_key`` left, if it did."""
    found = opened.search_model_versions(
        f"name = '{name}' and tags.training_key = '{training_key}'", max_results=1
    )
    return _model(found[0]) if found else None


def _model(version: Any) -> RegisteredModel:
    return RegisteredModel(
        version.name, str(version.version), version.run_id, version.tags.get("training_key", "")
    )


def champion(workspace: Workspace, *, name: str) -> RegisteredModel | None:
    """The version the ``champion`` alias names, or None."""
    with registry_session(workspace) as opened:
        return _aliased(opened, name, CHAMPION)


def check_database(workspace: Workspace) -> None:
    """Look into the registry's database without MLflow.

    Raises
    ------
    OutsideServiceFailed
        When it cannot be read, or holds no registry.
    """
    with _plain_words(), closing(sqlite3.connect(_database(workspace), timeout=30)) as database:
        database.execute("SELECT count(*) FROM registered_model_aliases").fetchone()


@contextmanager
def _plain_words() -> Iterator[None]:
    """Turn SQLite's trouble with the registry's file into one sentence with a way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutsideServiceFailed(
            "The model registry",
            f"its database is damaged ({error}).",
            fix="run liftloop repair.",
        ) from error


def champion_version(workspace: Workspace, *, name: str) -> str | None:
    """The version the ``champion`` alias names, or None; MLflow is not imported for it."""
    return _alias_in_database(workspace, name, CHAMPION)


def previous(workspace: Workspace, *, name: str) -> RegisteredModel | None:
    """The champion before this one: what a rollback of the model goes back to."""
    with registry_session(workspace) as opened:
        return _aliased(opened, name, PREVIOUS)


def _aliased(opened: Any, name: str, alias: str) -> RegisteredModel | None:
    if not opened.search_registered_models(f"name = '{name}'", max_results=1):
        return None
    aliases = opened.get_registered_model(name).aliases
    if alias not in aliases:
        return None
    return _model(opened.get_model_version(name, aliases[alias]))


def set_champion(
    workspace: Workspace, name: str, version: str, *, previous: str | None = None
) -> bool:
    """Point ``champion`` at ``version``, ``previous`` at the champion before it (or at the version
    given), and ``challenger`` at nothing.

    ``previous`` moves first: killed in between, nothing is lost, and doing it again ends the same.
    Returns False when all is so already; MLflow is then not even imported.
    """
    now = _alias_in_database(workspace, name, CHAMPION)
    wanted: dict[str, str | None] = {CHAMPION: version, CHALLENGER: None}
    if previous is not None or (now is not None and now != version):
        wanted = {PREVIOUS: previous or now, **wanted}
    return _point(workspace, name, wanted)


def set_challenger(workspace: Workspace, name: str, version: str | None) -> bool:
    """Point ``challenger`` at the version that is examined; None: at nothing."""
    return _point(workspace, name, {CHALLENGER: version})


def _point(workspace: Workspace, name: str, wanted: Mapping[str, str | None]) -> bool:
    """Move aliases, in order; whether any had to move."""
    if all(_alias_in_database(workspace, name, a) == version for a, version in wanted.items()):
        return False
    with registry_session(workspace) as opened:
        now = opened.get_registered_model(name).aliases
        for alias, version in wanted.items():
            if version is not None and str(now.get(alias)) != version:
                opened.set_registered_model_alias(name, alias, version)
            elif version is None and alias in now:
                opened.delete_registered_model_alias(name, alias)
        return any(now.get(alias) != version for alias, version in wanted.items())


def _alias_in_database(workspace: Workspace, name: str, alias: str) -> str | None:
    """The version an alias names, read without MLflow; None where that does not work out."""
    place = _database(workspace)
    if not place.exists():
        return None
    try:
        with closing(sqlite3.connect(place, timeout=30)) as database:
            found = database.execute(
                "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?",
                (name, alias),
            ).fetchone()
    except sqlite3.Error:  # MLflow may arrange its tables otherwise one day: then ask MLflow
        return None
    return str(found[0]) if found else None
