"""Taking files in: counts, duplicates, refusals, crashes at every step, quarantine and back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from liftloop.adapters.facts import deliveries, recording, storing
from liftloop.adapters.facts.archived_deliveries import finish_pending
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.quarantine import discard_rows, export_rows, open_counts, open_rows
from liftloop.adapters.facts.read_facts import content_hash, facts_version, read_facts
from liftloop.adapters.facts.readmission import readmit
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.files.archive import options_key, waiting_files
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import AuditEntry, Delivery, QuarantinedRow
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account, Rate
from liftloop.settings.workspace import Workspace

PLAIN = Account()
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HEAD = "date,segment,orders,revenue\n"


@dataclass
class Shop:
    """A workspace, its ledger, and an inbox to put text into."""

    workspace: Workspace
    engine: Engine
    account: Account = PLAIN

    def put(self, name: str, text: str) -> Path:
        path = self.workspace.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def take(self, path: Path, **more: Any) -> DeliverySummary:
        return deliver(self.intake, path, **{"received_at": NOW, **more})

    @property
    def intake(self) -> Intake:
        return Intake(self.workspace, self.engine, self.account)

    def facts(self, feed: str = "sales") -> pd.DataFrame:
        return read_facts(self.workspace, feed, as_of=None, timezone="UTC")

    def rows(self, table: Any) -> list[dict[str, Any]]:
        with session(self.engine, read_only=True) as opened:
            return [row.model_dump() for row in opened.exec(select(table)).all()]

    def everything(self) -> dict[str, Any]:
        """All that must be equal whether or not a crash came in between."""
        version = facts_version(self.workspace, "sales")
        files = self.workspace.root.rglob("*")
        return {
            "deliveries": self.rows(Delivery),
            "quarantine": self.rows(QuarantinedRow),
            "audit": self.rows(AuditEntry),
            "facts": content_hash(self.facts()),
            "version": version and version.as_dict(),
            "files": sorted(
                str(path.relative_to(self.workspace.root))
                for path in files
                if path.is_file() and "facts" not in path.parts and "ledger" not in path.name
            ),
        }


@pytest.fixture
def open_shop(tmp_path: Path, sqlite_model: Path) -> Callable[[str], Shop]:
    import shutil

    from liftloop.adapters.ledger.records import open_ledger

    def make(name: str) -> Shop:
        workspace = Workspace(tmp_path / name)
        for folder in workspace.folders:
            folder.mkdir(parents=True)
        shutil.copy(sqlite_model, workspace.ledger)
        return Shop(workspace, open_ledger(f"sqlite:///{workspace.ledger}"))

    return make


@pytest.fixture
def shop(open_shop: Callable[[str], Shop]) -> Shop:
    return open_shop("shop")


MIXED = HEAD + "2026-03-01,a,1,10\n2026-03-01,a,2,20\n2026-03-02,b,-1,5\n2026-03-03,c,1,7,8\n"


def test_every_row_received_ends_in_exactly_one_place(shop: Shop) -> None:
    taken = shop.take(shop.put("sales.csv", MIXED))
    assert (taken.received, taken.stored, taken.superseded, taken.quarantined) == (4, 1, 1, 2)
    assert dict(taken.rules) == {"broken_row": 1, "orders_not_negative": 1}
    assert shop.facts()["revenue"].tolist() == [20.0]
    assert taken.sentence == (
        "sales.csv: 4 sales rows, 1 stored, 1 superseded, 2 in quarantine "
        "(broken_row 1, orders_not_negative 1)."
    )
    assert waiting_files(shop.workspace.inbox) == []
    (kept,) = shop.rows(Delivery)
    assert (kept["state"], kept["facts_version"]) == ("stored", 1)
    copies = shop.workspace.archive / kept["sha256"] / "sales.csv"
    assert copies.read_text(encoding="utf-8") == MIXED


def test_the_same_file_again_changes_nothing(shop: Shop) -> None:
    first = shop.take(shop.put("sales.csv", MIXED))
    before = shop.everything()
    again = shop.take(shop.put("sales/other_name.csv", MIXED), received_at=NOW + timedelta(days=1))
    assert again.duplicate
    assert (again.delivery_id, again.stored) == (first.delivery_id, first.stored)
    after = shop.everything()
    after["files"] = [name for name in after["files"] if "other_name" not in name]
    assert after == before


def test_an_old_file_does_not_undo_what_came_since(shop: Shop) -> None:
    old = HEAD + "2026-03-01,a,1,10\n"
    shop.take(shop.put("sales.csv", old))
    shop.take(shop.put("sales.csv", HEAD + "2026-03-01,a,1,12\n"))
    assert shop.take(shop.put("sales.csv", old)).duplicate
    assert shop.facts()["revenue"].tolist() == [12.0]


def test_deliveries_never_share_an_instant(shop: Shop) -> None:
    for revenue in (1, 2, 3):
        shop.take(shop.put("sales.csv", HEAD + f"2026-03-01,a,1,{revenue}\n"))
    assert shop.facts()["revenue"].tolist() == [3.0]
    assert len({row["received_at"] for row in shop.rows(Delivery)}) == 3


def test_a_refused_file_is_put_aside_with_the_reason(shop: Shop) -> None:
    refused = shop.take(shop.put("sales.csv", "date,segment,orders,revenue\n2026-03-01,a,1,x\n"))
    assert refused.refused is not None
    assert "column 'revenue'" in refused.refused
    assert "sales.csv" in refused.refused
    reasons = sorted(path.name for path in shop.workspace.refused.iterdir())
    assert len(reasons) == 2
    assert shop.rows(Delivery) == []
    assert [entry["act"] for entry in shop.rows(AuditEntry)] == ["refuse"]
    assert list(shop.workspace.archive.rglob("*.csv")) == []


def test_a_file_outside_the_inbox_is_left_where_it_is(shop: Shop, tmp_path: Path) -> None:
    mine = tmp_path / "sales.csv"
    mine.write_text(HEAD + "2026-03-01,a,1,10\n", encoding="utf-8")
    bad = tmp_path / "bad.csv"
    bad.write_text("", encoding="utf-8")
    assert shop.take(mine).stored == 1
    assert shop.take(bad).refused
    assert mine.exists()
    assert bad.exists()


def test_a_link_is_refused_and_what_it_points_to_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(HEAD + "2026-03-01,a,1,10\n", encoding="utf-8")
    link = shop.workspace.inbox / "sales.csv"
    link.symlink_to(secret)
    assert shop.take(link).refused
    assert secret.exists()
    assert not link.is_symlink()


def test_the_folder_in_the_inbox_names_the_feed(shop: Shop) -> None:
    assert shop.take(shop.put("sales/march.csv", HEAD + "2026-03-01,a,1,10\n")).feed == "sales"


class Crash(BaseException):
    """The process is gone."""


def _crash_before(step: Any) -> Any:
    def gone(*args: Any, **kwargs: Any) -> Any:
        raise Crash

    return gone


def _crash_after(step: Any) -> Any:
    def gone(*args: Any, **kwargs: Any) -> Any:
        step(*args, **kwargs)
        raise Crash

    return gone


STEPS = [
    (deliveries, "archive_file"),
    (deliveries, "save_reading"),
    (deliveries, "store_delivery"),
    (recording, "store"),
    (storing, "_commit_history"),
    (storing, "_commit_current"),
    (recording, "mark_stored"),
]
FIRST = HEAD + "2026-02-27,a,1,1\n2026-03-01,a,1,10\n2026-03-01,b,1,10\n"


@pytest.mark.parametrize("crash", [_crash_before, _crash_after])
@pytest.mark.parametrize("step", range(len(STEPS)))
@pytest.mark.parametrize("another_first", [False, True])
def test_a_crash_at_any_step_ends_like_no_crash(
    open_shop: Callable[[str], Shop],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    crash: Any,
    another_first: bool,
) -> None:
    ends = []
    for name in ("whole", "crashed"):
        shop = open_shop(name)
        shop.take(shop.put("sales.csv", FIRST))
        path = shop.put("sales.csv", MIXED)
        if name == "crashed":
            with monkeypatch.context() as patched:
                owner, attribute = STEPS[step]
                patched.setattr(owner, attribute, crash(getattr(owner, attribute)))
                with pytest.raises(Crash):
                    shop.take(path)
        if another_first and shop.rows(Delivery)[-1]["state"] == "pending":
            shop.account = Account(timezone="Asia/Tokyo")  # even the configuration may have changed
            late = shop.put("a/sales.csv", HEAD + "2026-03-01,a,5,50\n")
            assert shop.take(late).stored == 1
            assert shop.facts()["revenue"].tolist() == [1.0, 50.0, 10.0]
            return
        if path.exists():
            assert not shop.take(path).refused
        finish_pending(shop.workspace, engine=shop.engine)
        ends.append(shop.everything())
    assert ends[0] == ends[1]


def test_an_exported_row_is_mended_and_comes_back(shop: Shop, tmp_path: Path) -> None:
    shop.take(shop.put("sales.csv", MIXED))
    export = tmp_path / "mend.csv"
    assert export_rows(shop.engine, export) == 2
    cells = pd.read_csv(export, dtype=str, keep_default_na=False)
    assert cells["rules"].tolist() == ["orders_not_negative", "broken_row"]
    cells.loc[0, "orders"] = "1"
    cells.to_csv(export, index=False)
    (back,) = readmit(shop.intake, mended=export, received_at=NOW)
    assert (back.received, back.stored, back.superseded, back.quarantined) == (1, 1, 0, 0)
    assert shop.facts()["segment"].tolist() == ["a", "b"]
    assert open_counts(shop.engine) == {"sales": {"broken_row": 1}}
    again = readmit(shop.intake, mended=export, received_at=NOW)
    assert again == []
    states = {row["row_number"]: row["state"] for row in shop.rows(QuarantinedRow)}
    assert states == {3: "readmitted", 4: "open"}


def test_a_row_comes_back_when_a_rate_is_added_but_hides_nothing_newer(shop: Shop) -> None:
    names = "date,segment,channel,spend,impressions,clicks,conversions,revenue,currency\n"
    rows = "2026-03-01,a,search,10,100,1,1,20,EUR\n2026-03-02,a,search,10,100,1,1,20,EUR\n"
    shop.take(shop.put("performance.csv", names + rows))
    shop.take(shop.put("performance.csv", names + "2026-03-02,a,search,99,100,1,1,20,USD\n"))
    assert readmit(shop.intake) == []
    richer = Account(rates=(Rate("EUR", Decimal("1.1")),))
    (back,) = readmit(Intake(shop.workspace, shop.engine, richer))
    assert (back.received, back.stored, back.superseded) == (2, 1, 1)
    assert shop.facts("performance")["spend"].tolist() == pytest.approx([11.0, 99.0])
    assert open_rows(shop.engine).empty


def test_a_readmission_cut_short_is_finished(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.take(shop.put("sales.csv", HEAD + "2026-03-11,a,1,10\n"))
    later = NOW + timedelta(days=3)
    with monkeypatch.context() as patched:
        patched.setattr(recording, "store", _crash_before(None))
        with pytest.raises(Crash):
            readmit(shop.intake, received_at=later)
    assert shop.facts().empty
    finish_pending(shop.workspace, engine=shop.engine)
    assert shop.facts()["revenue"].tolist() == [10.0]
    assert shop.facts()["reported_at"].tolist() == [pd.Timestamp(NOW)]


def test_an_export_is_safe_to_open_and_comes_back_as_it_was(shop: Shop, tmp_path: Path) -> None:
    rows = "2026-03-01,=cmd(),-1,-5\n2026-03-01,'quoted,-1,5\n2026-03-01,'=x,-1,5\n"
    rows += '2026-03-01,"a\r=cmd()",-1,5\n'
    shop.take(shop.put("sales.csv", HEAD + rows))
    export = tmp_path / "mend.csv"
    export_rows(shop.engine, export)
    text = export.read_bytes().decode()
    assert '"a\r=cmd()"' in text, "not a row of its own"
    for said in ('"\'=cmd()"', '"\'quoted"', "\"''=x\""):
        assert said in text
    cells = pd.read_csv(export, dtype=str, keep_default_na=False)
    assert cells["revenue"].astype(float).tolist() == [-5, 5, 5, 5]
    cells["orders"] = "1"
    cells.to_csv(export, index=False, quoting=csv.QUOTE_ALL)
    readmit(shop.intake, mended=export)
    assert set(shop.facts()["segment"]) == {"=cmd()", "'quoted", "'=x"}


def test_a_file_that_is_no_export_is_refused(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "mend.csv"
    for text in ("a,b\n1,2\n", "delivery_id,row_number,revenue\nnone,1,5\n", ""):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RefusedFile):
            readmit(shop.intake, mended=path)


def test_discarded_rows_are_closed_and_audited(shop: Shop) -> None:
    taken = shop.take(shop.put("sales.csv", MIXED))
    rows = [(str(taken.delivery_id), 3), (str(taken.delivery_id), 3), ("unknown", 1)]
    assert discard_rows(shop.engine, rows, actor="ann", at=NOW) == 1
    assert len(open_rows(shop.engine)) == 1
    last = shop.rows(AuditEntry)[-1]
    assert (last["act"], last["actor"]) == ("discard", "ann")
    assert json.loads(last["payload"]) == {"rows": [[taken.delivery_id, 3]]}


def test_progress_is_told_to_the_end(shop: Shop) -> None:
    told: list[tuple[int, int]] = []
    path = shop.put("sales.csv", MIXED)
    shop.take(path, progress=lambda done, steps: told.append((done, steps)))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


@pytest.mark.real
def test_real_exports_add_up(shop: Shop, real_data: Path) -> None:
    for path in waiting_files(real_data / "exports"):
        if path.suffix not in (".csv", ".json"):
            continue
        taken = shop.take(path, options=ImportOptions(spread=True))
        assert taken.refused is None, taken.refused
        assert taken.received == taken.stored + taken.superseded + taken.quarantined


def test_options_that_came_later_leave_the_names_of_deliveries_as_they_were() -> None:
    assert options_key(ImportOptions()) == {
        "mapping": None,
        "spread": False,
        "segment": "all",
        "channel": None,
        "plugins": [],
    }
    assert options_key(ImportOptions(where=("level=ad",)))["where"] == ["level=ad"]
