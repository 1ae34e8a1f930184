"""A whole workspace as one file or folder, and back.

A backup may be taken while cycles run: what the ledger names is in it, whatever is written
meanwhile. The order sees to that: exports and pages that are there; then, while no file is taken
in, the ledger by SQLite's online backup (or ``pg_dump``) and the names of the facts' and the
archive's files, which never change; then those, and the registry, which only grow.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from liftloop.adapters import clock
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.deliveries import taking_in
from liftloop.adapters.files.whole_files import private_folder, publish_made, write_whole
from liftloop.adapters.ledger.copy import copy_ledger
from liftloop.adapters.ledger.engine import ledger_address, open_ledger, session
from liftloop.adapters.ledger.migrate import upgrade
from liftloop.adapters.ledger.records import trainings
from liftloop.adapters.registry.repair import follow_ledger, registry_problem
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed, RefusedFile
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

MANIFEST = "backup.json"
ENDINGS = (".tar", ".tar.gz", ".tgz")
FORMAT = 1
_DATABASES = ("mlflow.db",)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made, or restored. ``problems``: what is damaged in it, a sentence each."""

    place: Path
    files: int
    size: int
    audit_entries: int
    audit_head: str
    problems: tuple[str, ...] = ()


def back_up(workspace: Workspace, target: Path) -> Backup:
    """Write the workspace to ``target``: a file where its name ends in .tar, .tar.gz or .tgz, else
    a folder. It appears whole or not at all. Prefect's own history, locks and logs are left out.

    Raises
    ------
    ConfigurationError
        When the target is there already, or lies inside the workspace.
    DamagedWorkspace
        When the trail of a ledger on PostgreSQL is broken: what is left is its owner's to keep.
    OutsideServiceFailed
        When the ledger cannot be read.
    """
    _refuse_target(workspace, target)
    stage = target.with_name(f".{target.name}.part")
    shutil.rmtree(stage, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    private_folder(stage)
    try:
        _copy_workspace(workspace, stage)
        copy = Workspace(stage)
        manifest = _manifest(copy)
        write_whole(stage / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        made = _described(target, manifest)
        if _is_file(target):
            half = target.with_name(f".{target.name}.tar-part")
            with open(half, "wb", opener=_private) as file:
                _pack(stage, file, compress=not target.name.endswith(".tar"))
            publish_made(half, target)
        else:
            stage.rename(target)
        return made
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def restore(source: Path, root: Path) -> Backup:
    """Make the workspace in a backup again in ``root``, a folder that is empty or not there.

    Every file is compared with its hash of then before anything appears.

    Raises
    ------
    RefusedFile
        When ``source`` is no backup, or is damaged.
    ConfigurationError
        When there is something in ``root``, or the ledger's place already holds one.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigurationError(
            f"{root} is not empty: a backup is restored into a new folder.",
            fix="name another one with --workspace, or move that one away.",
        )
    stage = root.with_name(f".{root.resolve().name}.part")
    shutil.rmtree(stage, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    private_folder(stage)
    try:
        _unpack(source, stage)
        manifest = _checked(source, stage)
        _restore_ledger(Workspace(stage))
        (stage / MANIFEST).unlink()
        for folder in Workspace(stage).folders:
            folder.mkdir(exist_ok=True)
        if root.exists():
            root.rmdir()
        stage.rename(root)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    workspace = Workspace(root)
    url = str(load_settings(workspace).ledger_url)
    upgrade(url)
    address = ledger_address(url)
    if address.get_backend_name() == "sqlite":
        _set_journal(Path(str(address.database)), "WAL")
    engine = open_ledger(url)
    _follow_ledger(workspace, engine)
    return _described(root, manifest, problems=_problems(workspace, engine))


def _follow_ledger(workspace: Workspace, engine: Engine) -> None:
    """A backup of a cycle at work may hold the registry of before a promotion that its ledger has
    already: the ledger's model is in force."""
    with session(engine, read_only=True) as db:
        known = trainings(db)
    if known and not registry_problem(workspace, known):
        follow_ledger(workspace, known)


def _refuse_target(workspace: Workspace, target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigurationError(f"{target} is there already.", fix="name a new file or folder.")
    if target.resolve().is_relative_to(workspace.root.resolve()):
        raise ConfigurationError(
            f"{target} lies inside the workspace.", fix="name a place outside, on another disk."
        )
    if target.is_dir():
        target.rmdir()


def _is_file(target: Path) -> bool:
    return target.name.lower().endswith(ENDINGS)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# --- what goes into it ---------------------------------------------------------------------------


def _copy_workspace(workspace: Workspace, stage: Path) -> None:
    address = ledger_address(str(load_settings(workspace).ledger_url))
    grown = [*_files(workspace.outbox), *_files(workspace.reports), *_files(workspace.refused)]
    with taking_in(workspace):
        if address.get_backend_name() == "sqlite":
            _copy_database(Path(str(address.database)), stage / workspace.ledger.name)
        else:
            _copy_to_file(address, stage / workspace.ledger.name)
        fixed = [*_files(workspace.facts), *_files(workspace.archive)]
        _copy(workspace, stage, [*_files(workspace.inbox), *_settings_of(workspace)])
    databases = [workspace.registry / name for name in _DATABASES]
    for database in databases:
        if database.is_file():
            _copy_database(database, stage / database.relative_to(workspace.root))
    own = {f"{database.name}{end}" for database in databases for end in ("", "-wal", "-journal")}
    models = [path for path in _files(workspace.registry) if path.name not in own]
    _copy(workspace, stage, [*grown, *fixed, *models])


def _settings_of(workspace: Workspace) -> Iterator[Path]:
    """The files of the workspace's own folder, but for the ledger's."""
    spare = (workspace.ledger.name, workspace.prefect_password.name)
    for path in sorted(workspace.root.iterdir()):
        if path.is_file() and not path.name.startswith(spare):
            yield path


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".part")
    ]


def _copy(workspace: Workspace, stage: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        place = stage / path.relative_to(workspace.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(path, place)
        except FileNotFoundError:  # taken in, or replaced, since it was listed
            place.unlink(missing_ok=True)


def _copy_database(source: Path, target: Path) -> None:
    """One consistent state of a SQLite database, whoever writes to it meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as opened,
            closing(sqlite3.connect(target)) as copy,
        ):
            opened.backup(copy)
        _set_journal(target, "DELETE")  # one file, whole in itself
    except sqlite3.Error as error:
        raise OutsideServiceFailed(
            source.name, f"it cannot be copied ({error}).", fix="run liftloop doctor."
        ) from error


def _copy_to_file(address: URL, target: Path) -> None:
    """A ledger on PostgreSQL as a SQLite file."""
    source = open_ledger(address.render_as_string(hide_password=False))
    copy_ledger(source, f"sqlite:///{target}")
    open_ledger(f"sqlite:///{target}").dispose()
    _set_journal(target, "DELETE")


def _set_journal(place: Path, mode: str) -> None:
    with closing(sqlite3.connect(place)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")


# --- what is in it -------------------------------------------------------------------------------


def _manifest(copy: Workspace) -> dict[str, object]:
    engine = open_ledger(f"sqlite:///{copy.ledger}")
    with session(engine, read_only=True) as opened:
        verdict = verify(opened)
    problems = _problems(copy, engine)
    engine.dispose()
    files = {str(path.relative_to(copy.root)): _sha256(path) for path in _files(copy.root)}
    return {
        "format": FORMAT,
        "made_at": clock.now().isoformat(),
        "audit_entries": verdict.entries,
        "audit_head": verdict.final_hash,
        "size": sum(path.stat().st_size for path in _files(copy.root)),
        "files": files,
        "problems": problems,
    }


def _described(
    place: Path, manifest: dict[str, object], *, problems: Iterable[str] | None = None
) -> Backup:
    files, told = manifest["files"], manifest["problems"]
    assert isinstance(files, dict) and isinstance(told, list)
    return Backup(
        place,
        len(files),
        int(str(manifest["size"])),
        int(str(manifest["audit_entries"])),
        str(manifest["audit_head"]),
        tuple(map(str, told if problems is None else problems)),
    )


def _problems(workspace: Workspace, engine: Engine) -> list[str]:
    with session(engine, read_only=True) as opened:
        verdict = verify(opened)
    found = [] if verdict.intact else [f"audit trail: {verdict.problem}"]
    return found + [fault.sentence for fault in facts_faults(workspace, engine=engine)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(stage: Path, file: object, *, compress: bool) -> None:
    mode = "w|gz" if compress else "w|"
    with tarfile.open(fileobj=file, mode=mode) as packed:  # type: ignore[call-overload]
        for path in _files(stage):
            packed.add(path, arcname=str(path.relative_to(stage)), recursive=False)


def _unpack(source: Path, stage: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, stage, dirs_exist_ok=True)
        return
    try:
        with tarfile.open(source) as packed:
            packed.extractall(stage, filter="data")
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise _no_backup(source, f"it cannot be unpacked ({type(error).__name__})") from None


def _checked(source: Path, stage: Path) -> dict[str, object]:
    """The manifest, when every file is there and as it was."""
    try:
        manifest = json.loads((stage / MANIFEST).read_bytes())
        files, made_by = dict(manifest["files"]), int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _no_backup(source, f"it has no readable {MANIFEST}") from error
    if made_by > FORMAT:
        raise _no_backup(source, "a newer version of LiftLoop made it")
    for name, sha256 in files.items():
        place = stage / name
        if not place.resolve().is_relative_to(stage.resolve()):
            raise _no_backup(source, f"{name} lies outside of it")
        if not place.is_file():
            raise _no_backup(source, f"{name} is missing")
        if _sha256(place) != sha256:
            raise _no_backup(source, f"{name} was changed or damaged")
    return dict(manifest)


def _no_backup(source: Path, problem: str) -> RefusedFile:
    return RefusedFile(
        source.name, f"{problem}.", fix="take another backup that liftloop backup made."
    )


def _restore_ledger(stage: Workspace) -> None:
    """Bring the ledger to where the restored workspace's settings look for it."""
    address = ledger_address(str(load_settings(stage).ledger_url))
    copied = stage.ledger
    if address.get_backend_name() != "sqlite":
        engine = open_ledger(f"sqlite:///{copied}")
        copy_ledger(engine, address.render_as_string(hide_password=False))
        engine.dispose()
        copied.unlink()
        return
    place = Path(str(address.database))
    if place.resolve() == copied.resolve():
        return
    if place.exists():
        raise ConfigurationError(
            f"The ledger's place, {place}, already holds one.",
            fix="move it away, or set LIFTLOOP_LEDGER_URL to another place.",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(copied, place)
