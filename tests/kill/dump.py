"""All that a workspace says, in a form that can be compared: ledger, facts, outbox, registry."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from deltalake import DeltaTable

# MLflow invents a run's id; all else is ours, and the clock stands still in these tests, so that
# even instants and the hashes over them must agree.
# How often a platform was tried is more where one try was killed, truly.
INVENTED = {("training", "run_id"), ("platformwrite", "attempts")}
# Delta Lake invents the names of data files, and writes the time into its log.
INVENTED |= {("factscommit", "log_sha256"), ("factscommit", "files")}
# A message links MLflow's run and Prefect's, whose names are invented as well; its commands name
# the folder the workspace lay in.
LINKED = re.compile(
    r"flow-runs/flow-run/[0-9a-f-]{36}|artifacts/[0-9a-f]{32}|--workspace [^\s\"'<&\\\\]+"
)


def dump(root: Path) -> dict[str, Any]:
    """Place -> content, for each table, Delta table and file of the workspace in ``root``."""
    return {
        **_ledger(root / "ledger.db"),
        **_facts(root / "facts"),
        **_files(root, "outbox"),
        **_files(root, "archive"),
        **_files(root, "inbox"),
        **_files(root, "refused"),
        **_registry(root / "registry"),
    }


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What ``found`` has otherwise, a sentence each."""
    words = []
    for place in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(place), found.get(place)
        if wanted == got:
            continue
        if isinstance(wanted, list) and isinstance(got, list):
            lost = [row for row in wanted if row not in got][:3]
            new = [row for row in got if row not in wanted][:3]
            words.append(f"{place}: {len(wanted)} rows, found {len(got)}; {lost} became {new}")
        else:
            words.append(f"{place}: {wanted!r} became {got!r}")
    return words


def _ledger(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    with closing(sqlite3.connect(path)) as ledger:
        tables = ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = [row[1] for row in ledger.execute(f"PRAGMA table_info({table})")]
            kept = [f'"{name}"' for name in columns if (table, name) not in INVENTED]
            rows = ledger.execute(f"SELECT {', '.join(kept)} FROM {table}").fetchall()
            told = [tuple(_comparable(value) for value in row) for row in rows]
            found[f"ledger {table}"] = sorted(told, key=repr)
    return found


def _facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for log in sorted(folder.glob("*/*/_delta_log")):
        table = DeltaTable(log.parent)
        content = table.to_pyarrow_dataset().to_table()
        names = sorted(content.column_names)
        rows = zip(*(content[name].to_pylist() for name in names), strict=True)
        place = f"facts {log.parent.relative_to(folder)}"
        found[place] = sorted((tuple(row) for row in rows), key=repr)
        found[f"{place}, columns"] = names
        found[f"{place}, version"] = table.version()
    return found


def _files(root: Path, room: str) -> dict[str, str]:
    """Hidden files too: a half-written one that nobody clears away would be seen here."""
    return {
        str(path.relative_to(root)): hashlib.sha256(_content(path)).hexdigest()
        for path in sorted((root / room).rglob("*"))
        if path.is_file()
    }


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.parent.name in ("messages", "reports"):
        return str(_comparable(content.decode())).encode()
    return content


def _comparable(value: Any) -> Any:
    return LINKED.sub("a run", value) if isinstance(value, str) else value


def _registry(folder: Path) -> dict[str, Any]:
    """Which training each version and each alias stands for, and the champion's curves; nothing
    before the first training."""
    if not (folder / "mlflow.db").exists():
        return {}
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        versions = database.execute(
            "SELECT v.name, v.version, t.value, v.run_id FROM model_versions v JOIN "
            "model_version_tags t ON t.name = v.name AND t.version = v.version "
            "AND t.key = 'training_key' ORDER BY 1, 2"
        ).fetchall()
        aliases = database.execute(
            "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2"
        ).fetchall()
        finished = database.execute(
            "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active' AND status != 'FINISHED'"
        ).fetchone()
    curves = {}
    for name, version, _, run in versions:
        with np.load(folder / "artifacts" / run / "artifacts" / "curves" / "curves.npz") as stored:
            arrays = {array: stored[array].tobytes() for array in stored.files}
        content = hashlib.sha256(repr(sorted(arrays.items())).encode()).hexdigest()
        curves[f"registry curves of {name} {version}"] = content
    return {
        "registry versions": [row[:3] for row in versions],
        "registry aliases": aliases,
        "registry runs left open": finished[0],
        **curves,
    }
