"""The report store: what a full disk left of it keeps nobody out."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from liftloop.adapters.registry.evidently_store import (
    DAMAGED,
    damaged_snapshots,
    evidently_folder,
    keep_snapshots,
    put_damaged_aside,
)
from liftloop.settings.workspace import Workspace


@pytest.mark.parametrize("left", ["half", "nothing", "no text"])
@pytest.mark.parametrize("name", ["metadata.json", "dashboard.json", "snapshot"])
def test_a_damaged_file_does_not_close_the_store(
    tmp_path: Path, name: str, left: str, snapshot: object
) -> None:
    workspace = Workspace(tmp_path)
    keep_snapshots(workspace, verdict="m-1", snapshots={"data": snapshot}, as_of=date(2026, 3, 2))
    pattern = "snapshots/*.json" if name == "snapshot" else name
    (path,) = evidently_folder(workspace).rglob(pattern)
    content = path.read_bytes()
    path.write_bytes(
        {"half": content[: len(content) // 2], "nothing": b"", "no text": b"\xff\xfe\x00"}[left]
    )
    assert damaged_snapshots(workspace) == [path]
    keep_snapshots(workspace, verdict="m-2", snapshots={"data": snapshot}, as_of=date(2026, 3, 9))
    put_damaged_aside(workspace)
    assert damaged_snapshots(workspace) == []
    assert [found.name for found in (workspace.reports / DAMAGED).rglob("*.json")] == [path.name]
    kept = evidently_folder(workspace).rglob("snapshots/*.json")
    assert len([json.loads(one.read_bytes()) for one in kept]) == (1 if name == "snapshot" else 2)
    from evidently.ui.workspace import Workspace as EvidentlyWorkspace

    assert EvidentlyWorkspace.create(str(evidently_folder(workspace))).list_projects()


@pytest.fixture(scope="module")
def snapshot() -> object:
    from evidently import Report
    from evidently.metrics import RowCount

    return Report([RowCount()]).run(pd.DataFrame({"a": [1.0, 2.0]}), None)
