"""Views of the facts: read once for what was known, and safe from whoever changes a frame."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.ledger.records import upgrade
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks import context
from tasks.context import Loop, open_loop, view
from tasks.evidence.ingest import intake_of

DAY = date(2026, 3, 10)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    workspace = Workspace(tmp_path / "shop")
    for folder in workspace.folders:
        folder.mkdir(parents=True)
    workspace.config.write_text("", encoding="utf-8")
    upgrade(str(load_settings(workspace).ledger_url))
    return open_loop(workspace.root)


def put(loop: Loop, name: str, rows: str) -> None:
    path = loop.workspace.inbox / name
    path.write_text("date,segment,orders,revenue\n" + rows, encoding="utf-8")
    assert deliver(intake_of(loop), path).refused is None


def test_a_feed_is_read_once_until_new_facts_come(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(workspace: Workspace, feed: str, **asked: Any) -> pd.DataFrame:
        read.append(feed)
        return read_facts(workspace, feed, **asked)

    monkeypatch.setattr(context, "read_facts", reading)
    put(loop, "sales-1.csv", "2026-03-01,a,1,10\n")
    first = view(loop, DAY, ["sales"])
    again = view(loop, DAY, ["sales"])
    assert read == ["sales"]
    assert first.fingerprint == again.fingerprint
    put(loop, "sales-2.csv", "2026-03-02,a,2,20\n")
    later = view(loop, DAY, ["sales"])
    assert read == ["sales", "sales"]
    assert len(later["sales"]) == 2
    assert later.fingerprint != first.fingerprint
    view(loop, date(2026, 3, 2), ["sales"])
    assert len(read) == 3


def test_a_frame_that_is_changed_changes_no_other_view(loop: Loop) -> None:
    put(loop, "sales.csv", "2026-03-01,a,1,10\n")
    frame = view(loop, DAY, ["sales"])["sales"]
    frame["revenue"] = 0.0
    frame.loc[frame.index[0], "orders"] = 99
    untouched = view(loop, DAY, ["sales"])["sales"]
    assert untouched["revenue"].tolist() == [10.0]
    assert untouched["orders"].tolist() == [1]


def test_a_feed_that_never_came_has_no_version_and_no_rows(loop: Loop) -> None:
    known = view(loop, DAY, ["units"])
    assert known["units"].empty
    assert known.facts["units"]["version"] is None
