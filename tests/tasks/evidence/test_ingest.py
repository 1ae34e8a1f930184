"""The ingest flow: the inbox in order, refusals that stop nothing, a page a person can read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.ingest import ingest as ingest_flow
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.summaries import DeliverySummary, quality_summary
from liftloop.adapters.ledger.records import upgrade
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.evidence import ingest as tasks_ingest
from tasks.evidence.ingest import find_files, ingest, progress, take_in

HEAD = "date,segment,orders,revenue\n"


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "shop")
    for folder in workspace.folders:
        folder.mkdir(parents=True)
    workspace.config.write_text("", encoding="utf-8")
    upgrade(str(load_settings(workspace).ledger_url))
    return workspace


def test_the_inbox_is_read_in_order_and_unfinished_files_wait(shop: Workspace) -> None:
    (shop.inbox / "b").mkdir()
    for name in ("z.csv", "b/a.csv", ".hidden.csv", "big.csv.part", "x.tmp"):
        (shop.inbox / name).write_text("x", encoding="utf-8")
    names = [Path(path).name for path in find_files.fn(str(shop.root), None)]
    assert names == ["a.csv", "z.csv"]
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_files.fn(str(shop.root), [str(shop.root / "nowhere")])


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("take_all_in", [ingest_flow, ingest], ids=["flow", "plain"])
def test_one_refused_file_stops_no_other(shop: Workspace, take_all_in: Any) -> None:
    (shop.inbox / "a.csv").write_text("", encoding="utf-8")
    (shop.inbox / "sales.csv").write_text(HEAD + "2026-03-01,a,1,10\n", encoding="utf-8")
    told: list[tuple[int, int]] = []
    before = progress.set(lambda *steps: told.append(steps))
    refused, stored = take_all_in(str(shop.root))
    progress.reset(before)
    assert refused.refused
    assert (stored.received, stored.stored) == (1, 1)
    assert told == [(1, 2), (2, 2)]
    assert take_all_in(str(shop.root)) == []


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("recorded", [True, False], ids=["flow", "plain"])
def test_a_database_that_is_away_for_a_moment_is_tried_again(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    away = [1]

    def delivered(*args: Any, **kwargs: Any) -> DeliverySummary:
        if away:
            away.pop()
            raise OutsideServiceFailed("The ledger", "it is away.", fix="wait.")
        return deliver(*args, **kwargs)

    monkeypatch.setattr(tasks_ingest, "deliver", delivered)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    path = shop.inbox / "sales.csv"
    path.write_text(HEAD + "2026-03-01,a,1,10\n", encoding="utf-8")

    def one() -> DeliverySummary:
        again = take_in.task.with_options(retry_delay_seconds=0) if recorded else take_in
        return again(str(shop.root), str(path), None)

    assert (flow(one) if recorded else one)().stored == 1
    assert away == []


def test_the_page_tells_what_came_in_and_cannot_be_marked_up_from_outside() -> None:
    page = quality_summary(
        [
            DeliverySummary(
                "a|b.csv",
                "d-1",
                "sales",
                "contract",
                5,
                5,
                3,
                1,
                1,
                rules=(("orders_not_negative", 1),),
                notes=("Assumed <b>.",),
            ),
            DeliverySummary("again.csv", "d-2", "sales", received=9, stored=9, duplicate=True),
            DeliverySummary("bad.csv", refused="Refused bad.csv: [click](http://x)."),
        ],
        {"sales": date(2026, 3, 1)},
    )
    assert "5 rows in 1 new file, 1 file taken in before (nothing changed), 1 file refused." in page
    assert "| a\\|b.csv | sales | 5 | 3 | 1 | 1 | orders_not_negative (1) |" in page
    assert "\\[click\\]" in page
    assert "\\<b\\>" in page
    assert "| sales | 2026-03-01 |" in page
