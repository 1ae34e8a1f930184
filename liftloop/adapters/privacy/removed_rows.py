"""Rows that leave a feed's tables for good, out of every version they were ever in.

The tables are made again beside the present ones: the same versions and the same files, without
the rows. Then they take their place, and the ledger records the new hashes. A version that a
decision names can still be read; it holds fewer rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as arrow
from pyarrow import compute, parquet
from sqlalchemy import Engine, delete
from sqlmodel import col

from liftloop.adapters.facts.checks import KINDS, LOG, facts_faults, record_commits
from liftloop.adapters.facts.delta import table_path
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import FactsCommit
from liftloop.core.errors import DamagedWorkspace
from liftloop.settings.workspace import Workspace

STAGED = ".removal"  # inside facts/, so that what is made there takes its place by a rename
READY = "ready.json"

Keep = Callable[[Any], Any]  # of an Arrow table: which rows stay, a boolean array


@dataclass(frozen=True, slots=True)
class RowsRemoved:
    """What left one table: rows of its newest version, files that held such rows in any version,
    and log entries that name these files."""

    table: str
    rows: int
    files: int
    versions: int


def keep_all_but_unit(id: str) -> Keep:
    """Every row but those of one person."""

    def keep(table: Any) -> Any:
        if "unit_id" not in table.column_names:
            return arrow.repeat(arrow.scalar(True), len(table))
        return compute.fill_null(compute.not_equal(table["unit_id"], id), True)

    return keep


def keep_from(day: date) -> Keep:
    """Every row dated on or after ``day``."""
    return lambda table: compute.greater_equal(table["date"].cast(arrow.date32()), day)


def remove_rows(
    workspace: Workspace, feed: str, keep: Keep, *, engine: Engine
) -> tuple[RowsRemoved, ...]:
    """Take the rows that ``keep`` does not keep out of all versions of a feed's tables.

    To be called while :func:`~liftloop.adapters.facts.deliveries.taking_in`. Killed anywhere and
    called again, it goes on; where nothing is to be removed nothing is written.

    Raises
    ------
    DamagedWorkspace
        If the tables are not what the ledger recorded of them.
    """
    finish_swap(workspace, feed, engine=engine)
    faults = facts_faults(workspace, engine=engine, feeds=[feed], all_versions=True)
    if faults:
        raise DamagedWorkspace(f"Nothing can be removed from the facts. {faults[0].sentence}.")
    stage = workspace.facts / STAGED / feed
    shutil.rmtree(stage, ignore_errors=True)
    try:
        removed = [
            found
            for kind in KINDS
            if (found := _staged(workspace, feed, kind, stage / "made" / kind, keep))
        ]
        if any(one.files for one in removed):
            write_whole(stage / READY, json.dumps(_logs(stage / "made")).encode())
            (workspace.facts / feed).rename(stage / "before")
            (stage / "made").rename(workspace.facts / feed)
            _record(workspace, feed, engine=engine)
    except OSError:
        finish_swap(workspace, feed, engine=engine)
        raise
    shutil.rmtree(stage, ignore_errors=True)
    with suppress(OSError):
        stage.parent.rmdir()
    return tuple(one for one in removed if one.files)


def finish_swap(workspace: Workspace, feed: str, *, engine: Engine) -> None:
    """Finish, or take back, what a kill left between the making of tables and the ledger's word."""
    stage = workspace.facts / STAGED / feed
    ready, present = stage / READY, workspace.facts / feed
    if not ready.is_file():
        shutil.rmtree(stage, ignore_errors=True)
        return
    if not present.exists() and (stage / "made").exists():
        (stage / "made").rename(present)
    if not (stage / "made").exists() and _logs(present) == json.loads(ready.read_bytes()):
        _record(workspace, feed, engine=engine)
    shutil.rmtree(stage, ignore_errors=True)


def _record(workspace: Workspace, feed: str, *, engine: Engine) -> None:
    with session(engine) as opened:
        opened.connection().execute(delete(FactsCommit).where(col(FactsCommit.feed) == feed))
        record_commits(opened, workspace, feed)


def _logs(feed_folder: Path) -> dict[str, str]:
    """The hash of each log entry below a feed's folder."""
    return {
        str(path.relative_to(feed_folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(feed_folder.rglob(f"{LOG}/*.json"))
    }


def _staged(
    workspace: Workspace, feed: str, kind: str, target: Path, keep: Keep
) -> RowsRemoved | None:
    """Make one table without the rows in ``target``; files that stay as they are become links."""
    source = table_path(workspace.facts, feed, kind)
    entries = sorted((source / LOG).glob("*.json")) if source.is_dir() else []
    if not entries:
        return None
    logs = {path: _actions(path) for path in entries}
    live: set[str] = set()
    named: set[str] = set()
    for actions in logs.values():
        for action, said in actions:
            if action == "add":
                live.add(said["path"])
                named.add(said["path"])
            elif action == "remove":
                live.discard(said["path"])
    rewritten: dict[str, tuple[int, int]] = {}  # name -> size and rows of the new file
    rows = 0
    for name in sorted(named):
        place = source / unquote(name)
        table = parquet.ParquetFile(place).read()
        kept = table.filter(keep(table))
        if len(kept) == len(table):
            _linked(place, target / unquote(name))
            continue
        made = target / unquote(name)
        made.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(kept, made, compression="snappy")
        _flush(made)
        rewritten[name] = made.stat().st_size, len(kept)
        rows += len(table) - len(kept) if name in live else 0
    versions = 0
    for path, actions in logs.items():
        place = target / LOG / path.name
        if any(said.get("path") in rewritten for _, said in actions):
            versions += 1
            write_whole(place, _text(actions, rewritten))
        else:
            _linked(path, place)
    return RowsRemoved(f"{feed}/{kind}", rows, len(rewritten), versions)


def _actions(path: Path) -> list[tuple[str, dict[str, Any]]]:
    lines = (json.loads(line) for line in path.read_bytes().splitlines() if line.strip())
    return [(name, said) for line in lines for name, said in line.items()]


def _text(
    actions: list[tuple[str, dict[str, Any]]], rewritten: dict[str, tuple[int, int]]
) -> bytes:
    """A log entry that tells of the new files; their least and greatest values are left out."""
    return b"".join(
        json.dumps({name: said}, separators=(",", ":")).encode() + b"\n"
        for name, said in _retold(actions, rewritten)
    )


def _retold(
    actions: list[tuple[str, dict[str, Any]]], rewritten: dict[str, tuple[int, int]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, said in actions:
        if said.get("path") not in rewritten:
            yield name, said
            continue
        size, rows = rewritten[said["path"]]
        told = {**said, "size": size}
        if "stats" in said:
            told["stats"] = json.dumps({"numRecords": rows})
        yield name, told


def _linked(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
