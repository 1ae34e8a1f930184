"""A person who is forgotten is in no byte of the workspace, and stays out."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import Engine
from sqlmodel import select

from liftloop.adapters.audit.trail import export_json, verify
from liftloop.adapters.facts import archived_deliveries
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.deliveries import deliver, taking_in
from liftloop.adapters.facts.read_facts import FactsPart, facts_version, read_facts
from liftloop.adapters.facts.readmission import readmit
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.ledger.engine import open_ledger, session
from liftloop.adapters.ledger.tables import Delivery, Message, QuarantinedRow
from liftloop.adapters.privacy import forgetting
from liftloop.adapters.privacy.forgetting import Receipt, forget_unit
from liftloop.adapters.privacy.identity import Unit, unfinished
from liftloop.core.errors import ConfigurationError, DamagedWorkspace
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
GONE, STAYS = "person-7f3a", "person-7f3b"
HEAD = (
    "experiment,unit_id,segment,channel,arm,assigned_on,converted,conversions,revenue,x_age,c_city"
)


def units(*rows: str) -> str:
    return "\n".join([HEAD, *rows]) + "\n"


def unit_row(
    unit: str, arm: str = "treated", *, revenue: float = 5.0, day: str = "2026-02-01"
) -> str:
    return f"spring,{unit},north,mail,{arm},{day},1,1,{revenue},31,Bonn"


def event(unit: str, number: int) -> str:
    return json.dumps(
        {
            "event_id": f"order-{number}",
            "occurred_at": f"2026-02-{number % 27 + 1:02d}T10:00:00Z",
            "segment": "north",
            "unit_id": unit,
            "revenue": 10 + number,
        }
    )


@dataclass
class Shop:
    """A workspace that takes files in, and forgets."""

    workspace: Workspace
    engine: Engine

    def take(self, name: str, content: str | bytes, **more: Any) -> DeliverySummary:
        path = self.workspace.inbox / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return deliver(self.intake, path, **{"received_at": NOW, **more})

    @property
    def intake(self) -> Intake:
        return Intake(self.workspace, self.engine, Account())

    def forget(self, id: str = GONE, **more: Any) -> Receipt:
        given = {"actor": "dpo", "reason": "asked to be forgotten", **more}
        return forget_unit(self.workspace, id, engine=self.engine, **given)

    def facts(self, feed: str, **more: Any) -> pd.DataFrame:
        part = FactsPart(**more)
        return read_facts(self.workspace, feed, as_of=None, timezone="UTC", part=part)

    def places_of(self, id: str) -> list[str]:
        """Every file of the workspace that holds the id, unpacked whatever it is."""
        words = (id.encode(), id.encode("utf-16-le"), id.encode("utf-32-le"))
        return [
            str(path.relative_to(self.workspace.root))
            for path in sorted(self.workspace.root.rglob("*"))
            if path.is_file() and any(word in part for part in unpacked(path) for word in words)
        ]

    def is_whole(self) -> bool:
        with session(self.engine, read_only=True) as opened:
            verdict = verify(opened)
        assert verdict.intact, verdict.problems
        return not facts_faults(self.workspace, engine=self.engine, all_versions=True)


def unpacked(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content
    if content[:4] == b"PAR1":
        for row in parquet.ParquetFile(path).read().to_pylist():
            yield repr(row).encode()
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name) for name in packed.namelist())


@pytest.fixture
def shop(fresh_workspace: Workspace) -> Shop:
    return Shop(fresh_workspace, open_ledger(f"sqlite:///{fresh_workspace.ledger.resolve()}"))


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """A person everywhere: stored, restated, in quarantine, packed, in messages, logs and pages."""
    shop.take(
        "units-1.csv",
        units(unit_row(GONE), unit_row(STAYS, "control"), unit_row("person-1", revenue=9)),
    )
    shop.take("units-2.csv", units(unit_row(GONE, revenue=8.0), unit_row("person-2")))
    shop.take("units-3.csv", units(unit_row(GONE, "neither"), unit_row(STAYS, "neither")))
    shop.take("units-4.csv.gz", gzip.compress(units(unit_row(GONE, day="2026-01-05")).encode()))
    cells = zip(HEAD.split(","), unit_row(GONE).split(","), strict=True)
    table = pa.table({name: [cell] for name, cell in cells})
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    shop.take("units-5.parquet", sink.getvalue().to_pybytes())
    shop.take("events.jsonl", "\n".join(event(u, n) for n, u in enumerate([GONE, STAYS, GONE])))
    with session(shop.engine) as opened:
        opened.add(
            Message(
                key="m",
                sequence=1,
                kind="weekly",
                text=f"{GONE} in both arms",
                blocks="[]",
                created_at=NOW,
            )
        )
    shop.workspace.logs.mkdir(exist_ok=True)
    (shop.workspace.logs / "errors.log").write_text(f"no user {GONE}\nno user {STAYS}\n")
    (shop.workspace.reports / "monitor.html").write_text(f"<p>{GONE}</p>")
    (shop.workspace.refused / "broken.csv").write_text(f"a;{GONE}")
    return shop


def test_no_byte_of_the_workspace_names_a_forgotten_person(stocked: Shop) -> None:
    assert len(stocked.places_of(GONE)) > 8
    before = stocked.places_of(STAYS)

    receipt = stocked.forget()

    assert stocked.places_of(GONE) == []
    assert stocked.is_whole()
    assert receipt.is_complete and receipt.is_searched
    assert receipt.removed["rows of units/current"] == 1
    assert receipt.removed["rows in quarantine"] == 1
    assert receipt.removed["refused files"] == 1
    assert receipt.versions["units/current"] >= 2
    assert set(stocked.facts("units")["unit_id"]) == {STAYS, "person-1", "person-2"}
    assert list(stocked.facts("events")["event_id"]) == ["order-1"]
    assert folders(stocked.places_of(STAYS)) == folders(before)


def folders(places: list[str]) -> set[str]:
    return {place.split("/")[0].removesuffix("-wal") for place in places}


def test_the_trail_has_the_receipt_and_never_the_id(stocked: Shop) -> None:
    receipt = stocked.forget()
    with session(stocked.engine, read_only=True) as opened:
        trail = json.loads(export_json(opened))["entries"]
    mine = [one for one in trail if one["subject"] == receipt.unit]
    assert [one["act"] for one in mine] == ["begin_forget", "forget"]
    assert mine[1]["payload"]["removed"] == receipt.removed
    assert GONE not in json.dumps(trail) and receipt.unit.startswith("u-")


def test_versions_of_then_can_still_be_read_and_built_again(stocked: Shop) -> None:
    version = facts_version(stocked.workspace, "units")
    then = stocked.facts("units", version=version)
    stocked.forget()
    now = stocked.facts("units", version=version)
    pd.testing.assert_frame_equal(now, then[then["unit_id"] != GONE].reset_index(drop=True))
    with taking_in(stocked.workspace):
        archived_deliveries.rebuild(stocked.workspace, "units", engine=stocked.engine, actor="x")
    again = stocked.facts("units")
    pd.testing.assert_frame_equal(again, now)
    assert stocked.places_of(GONE) == []


def test_forgetting_twice_shows_the_first_receipt(stocked: Shop) -> None:
    first = stocked.forget()
    again = stocked.forget(reason="once more")
    assert again.before == first.at and again.removed == first.removed
    with session(stocked.engine, read_only=True) as opened:
        trail = json.loads(export_json(opened))["entries"]
    assert sum(one["act"] == "forget" for one in trail) == 1


STEPS = [
    "remove_unit_from_archive",
    "remove_rows",
    "remove_unit_from_models",
    "clear_quarantine",
    "clear_ledger_texts",
    "compact_ledger",
    "clear_files",
    "_complete",
]


@pytest.mark.parametrize(
    ("step", "when"), [(STEPS[0], "before"), *((step, "after") for step in STEPS)]
)
def test_killed_anywhere_it_goes_on(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    real: Callable[..., Any] = getattr(forgetting, step)

    def killed(*args: Any, **more: Any) -> Any:
        if when == "after":
            real(*args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(forgetting, step, killed)
        with pytest.raises(KeyboardInterrupt):
            stocked.forget()
    if (step, when) != ("_complete", "after"):
        assert len(unfinished(stocked.engine)) == 1
    stocked.forget()
    assert unfinished(stocked.engine) == []
    assert stocked.places_of(GONE) == []
    assert stocked.is_whole()


@pytest.mark.parametrize("renames", [1, 2])
def test_killed_while_tables_change_places_it_goes_on(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    done = 0
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        nonlocal done
        made = real(self, target)
        done += ".removal" in f"{self}{target}"
        if done == renames:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            stocked.forget()
    stocked.forget()
    assert stocked.places_of(GONE) == []
    assert stocked.is_whole()


def test_a_later_delivery_leaves_the_person_out_and_counts_it(stocked: Shop) -> None:
    stocked.forget()
    text = units(unit_row(GONE, day="2026-02-20"), unit_row(GONE, "neither"), unit_row("person-9"))
    summary = stocked.take("units-9.csv", text)
    assert (summary.received, summary.stored, summary.quarantined) == (3, 1, 2)
    assert dict(summary.rules) == {"unit_was_forgotten": 2} and summary.waiting == 0
    assert stocked.take("units-9.csv", text).duplicate
    again = stocked.take("units-1.csv", units(unit_row(GONE), unit_row(STAYS, "control")))
    assert again.quarantined == 1
    assert stocked.places_of(GONE) == []
    assert stocked.is_whole()


def test_the_file_that_was_delivered_comes_again_without_the_person(stocked: Shop) -> None:
    stocked.forget()
    text = units(unit_row(GONE), unit_row(STAYS, "control"), unit_row("person-1", revenue=9))
    assert stocked.take("units-1.csv", text).duplicate
    assert stocked.places_of(GONE) == []


def test_mended_rows_of_the_person_stay_out(stocked: Shop, tmp_path: Path) -> None:
    stocked.forget()
    with session(stocked.engine, read_only=True) as opened:
        row = opened.exec(select(QuarantinedRow).where(QuarantinedRow.state == "open")).one()
    mend = tmp_path / "mend.csv"
    cells = unit_row(GONE, "control").split(",")
    mend.write_text(
        f"delivery_id,row_number,{HEAD}\n{row.delivery_id},{row.row_number},{','.join(cells)}\n"
    )
    (back,) = readmit(stocked.intake, mended=mend, received_at=NOW)
    assert (back.received, back.stored, back.quarantined) == (1, 0, 1)
    assert stocked.places_of(GONE) == []


def test_without_the_key_nothing_of_users_is_taken_in(stocked: Shop) -> None:
    stocked.forget()
    stocked.workspace.privacy_key.unlink()
    summary = stocked.take("units-9.csv", units(unit_row("person-9")))
    assert summary.held is not None and "privacy-key" in summary.held


def test_a_short_number_is_looked_for_in_its_column_alone(shop: Shop) -> None:
    shop.take("units.csv", units(unit_row("17"), unit_row("5", revenue=17)))
    (shop.workspace.logs).mkdir(exist_ok=True)
    (shop.workspace.logs / "errors.log").write_text("17 rows")
    receipt = shop.forget("17")
    assert not receipt.is_searched and receipt.is_complete
    assert list(shop.facts("units")["unit_id"]) == ["5"]
    assert list(shop.facts("units")["revenue"]) == [17.0]
    assert (shop.workspace.logs / "errors.log").read_text() == "17 rows"


def test_the_reason_may_not_name_the_person(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="may not name"):
        shop.forget(reason=f"ticket of {GONE}")


def test_damaged_facts_are_mended_first(stocked: Shop) -> None:
    data = next((stocked.workspace.facts / "units" / "current").rglob("*.parquet"))
    data.write_bytes(b"PAR1 nothing")
    with pytest.raises(DamagedWorkspace, match="liftloop repair"):
        stocked.forget()


def test_an_id_in_the_name_of_a_delivered_file_is_told(shop: Shop) -> None:
    shop.take(f"units-{GONE}.csv", units(unit_row(GONE)))
    receipt = shop.forget()
    assert not receipt.is_complete and any("ledger" in one for one in receipt.left)


@pytest.mark.parametrize("id", ["", "  ", "a\x00b"])
def test_what_no_feed_can_hold_is_refused(shop: Shop, id: str) -> None:
    with pytest.raises(ConfigurationError, match="unit_id"):
        Unit.named(id)


def test_the_ledger_is_whole_after_its_old_rows_are_written_over(stocked: Shop) -> None:
    stocked.forget()
    with session(stocked.engine, read_only=True) as opened:
        rows = opened.exec(select(QuarantinedRow)).all()
        names = {one.filename for one in opened.exec(select(Delivery))}
    assert {one.state for one in rows} == {"open", "forgotten"} and "units-1.csv" in names
    with closing(sqlite3.connect(stocked.workspace.ledger)) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
