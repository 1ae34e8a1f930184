"""The ingest flow: the inbox in order, refusals that stop nothing, a page a person can read."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from prefect import flow

from flows.ingest import ingest
from liftloop.adapters.ledger import upgrade
from liftloop.adapters.quality import quality_summary
from liftloop.adapters.summaries import DeliverySummary
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from tasks import ingest as tasks_ingest
from tasks.ingest import find_files, take_in

HEAD = "date,segment,orders,revenue\n"


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "shop")
    for folder in workspace.folders:
        folder.mkdir(parents=True)
    workspace.config.write_text("", encoding="utf-8")
    upgrade(f"sqlite:///{workspace.ledger}")
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
def test_one_refused_file_stops_no_other(shop: Workspace) -> None:
    (shop.inbox / "a.csv").write_text("", encoding="utf-8")
    (shop.inbox / "sales.csv").write_text(HEAD + "2026-03-01,a,1,10\n", encoding="utf-8")
    told: list[tuple[int, int]] = []
    refused, stored = ingest(str(shop.root), progress=lambda *steps: told.append(steps))
    assert refused.refused
    assert (stored.received, stored.stored) == (1, 1)
    assert told == [(1, 2), (2, 2)]
    assert ingest(str(shop.root)) == []


@pytest.mark.usefixtures("prefect_server")
def test_a_database_that_is_away_for_a_moment_is_tried_again(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, away = tasks_ingest.deliver, [1]

    def deliver(*args: object, **kwargs: object) -> DeliverySummary:
        if away:
            away.pop()
            raise OutsideServiceFailed("The ledger", "it is away.", fix="wait.")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks_ingest, "deliver", deliver)
    path = shop.inbox / "sales.csv"
    path.write_text(HEAD + "2026-03-01,a,1,10\n", encoding="utf-8")

    @flow
    def one() -> DeliverySummary:
        return take_in.with_options(retry_delay_seconds=0)(str(shop.root), str(path), None)

    assert one().stored == 1
    assert away == []


def test_the_page_tells_what_came_in_and_cannot_be_marked_up_from_outside() -> None:
    page = quality_summary(
        [
            DeliverySummary(
                "a|b.csv", "d-1", "sales", "contract", 5, 5, 3, 1, 1,
                rules=(("orders_not_negative", 1),), notes=("Assumed <b>.",),
            ),
            DeliverySummary("again.csv", "d-2", "sales", received=9, stored=9, duplicate=True),
            DeliverySummary("bad.csv", refused="Refused bad.csv: [click](http://x)."),
        ],
        {"sales": date(2026, 3, 1)},
    )  # fmt: skip
    assert "5 rows in 1 new file, 1 file taken in before (nothing changed), 1 file refused." in page
    assert "| a\\|b.csv | sales | 5 | 3 | 1 | 1 | orders_not_negative (1) |" in page
    assert "\\[click\\]" in page
    assert "\\<b\\>" in page
    assert "| sales | 2026-03-01 |" in page
