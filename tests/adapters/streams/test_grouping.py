"""However entries are grouped into batches, and however often they come: the same facts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.streams.entries import file_name, row_line
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

FIRST = 1_772_366_400_000  # 2026-03-01 12:00 UTC, in milliseconds


def entries(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """40 rows of 15 events: restated, some with an instant of their own, some broken."""
    made = []
    for at in range(40):
        name = f"{FIRST + at // 2}-{at % 2}"
        row = {
            "event_id": f"e{rng.integers(15)}",
            "occurred_at": "2026-03-01T10:00:00Z",
            "segment": "north",
            "revenue": str(at),
        }
        if rng.random() < 0.2:
            row["reported_at"] = f"2026-03-01T{rng.integers(11, 14)}:00:{at:02d}Z"
        if rng.random() < 0.1:
            del row["segment"]
        made.append((name, row_line(name, row)))
    return made


def facts_of(place: Workspace, batches: list[list[tuple[str, bytes]]]) -> pd.DataFrame:
    engine = open_ledger(str(load_settings(place).ledger_url))
    for batch in batches:
        path = place.root / file_name("events", batch[0][0], len(batch))
        path.write_bytes(b"".join(line for _, line in batch))
        summary = deliver(Intake(place, engine, Account()), path)
        assert summary.refused is None
        assert summary.received == summary.stored + summary.superseded + summary.quarantined
        path.unlink()
    return read_facts(place, "events", as_of=None, timezone="UTC")


@pytest.mark.parametrize("seed", range(3))
def test_no_grouping_changes_the_facts(
    tmp_path: Path, workspace_model: Workspace, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    all_of_them = entries(rng)
    once, often = Workspace(tmp_path / "once"), Workspace(tmp_path / "often")
    for place in (once, often):
        shutil.copytree(workspace_model.root, place.root)
    cuts = np.sort(rng.choice(np.arange(1, 40), 3, replace=False)).tolist()
    parts = [all_of_them[a:b] for a, b in zip([0, *cuts], [*cuts, 40], strict=True)]
    again = [all_of_them[5:25]]  # came back in another grouping
    shuffled = [parts[at] for at in rng.permutation(len(parts))]
    pd.testing.assert_frame_equal(facts_of(once, [all_of_them]), facts_of(often, shuffled + again))
