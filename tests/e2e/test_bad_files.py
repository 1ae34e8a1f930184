"""Bad files of every kind, end to end: refused whole, with one sentence that names file and fix.

Nothing of a refused file is stored; it lies aside with the reason beside it.
"""

from __future__ import annotations

import gzip
import io
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlmodel import select

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import facts_version
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.adapters.ledger.tables import AuditEntry, Delivery
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class File:
    """A file to deliver, and what the refusal must say (the file's name it says always)."""

    content: bytes
    says: str
    name: str = "sales.csv"
    options: dict[str, Any] = field(default_factory=dict)


def _text(*lines: str, encoding: str = "utf-8") -> bytes:
    return ("\n".join(lines) + "\n").encode(encoding)


def _parquet(**columns: Any) -> bytes:
    written = io.BytesIO()
    pd.DataFrame(columns).to_parquet(written)
    return written.getvalue()


SALES, SOLD = "date,segment,orders,revenue", "2026-03-01,a,4,90.5"
PAID = "date,segment,channel,spend,impressions,clicks,conversions,revenue"
WHOLE = _parquet(date=["2026-03-01"], segment=["a"], orders=[1.0], revenue=[2.0])
GOOGLE = "Campaign,Day,Currency code,Impr.,Clicks,Cost"
FILES = {
    "an empty file": File(b"", "empty"),
    "nothing but blanks": File(b" \n\t\r\n  ", "empty"),
    "nothing but NUL bytes": File(b"\x00" * 5000, "empty"),
    "nothing but a mark of the encoding": File(b"\xef\xbb\xbf", "header"),
    "a header alone": File(_text(SALES), "no row"),
    "a header without a line end": File(SALES.encode(), "no row"),
    "a Latin-1 file": File(_text(SALES, "2026-03-01,Köln,4,90", encoding="latin-1"), "UTF-8"),
    "UTF-16 cut in the middle": File(_text(SALES, SOLD, encoding="utf-16")[:-1], "UTF-16"),
    "a NUL byte in the text": File(_text(SALES, "2026-03-01,a\x00b,4,90"), "NUL byte"),
    "random bytes": File(bytes(range(254, 0, -1)) * 40, "not UTF-"),
    "a line of 10 MB": File(_text(SALES, "2026-03-01," + "a" * 10_000_000), "longer than"),
    "a header of 10,000 columns": File(
        _text(SALES + "".join(f",k{i}" for i in range(10_000)), SOLD), "columns"
    ),
    "a column that is missing": File(_text("date,segment,orders", "2026-03-01,a,4"), "'revenue'"),
    "a column misspelt": File(_text("date,segment,orders,revenu", SOLD), "'revenue'"),
    "a column there twice": File(
        _text(SALES + ",revenue", SOLD + ",1"), "'revenue': the column is"
    ),
    "a covariate there twice": File(_text(SALES + ",x_a,x_a", SOLD + ",1,2"), "'x_a'"),
    "a covariate no table can keep": File(_text(SALES + ",x_a b;c", SOLD + ",1"), "'x_a b;c'"),
    "covariates alike but for their case": File(
        _parquet(date=["2026-03-01"], segment=["a"], orders=[1.0], revenue=[2.0], x_a=[1], X_A=[2]),
        "'x_a'",
        name="sales.parquet",
    ),
    "no header": File(_text(SOLD, SOLD), "needs date"),
    "no feed's columns": File(_text("a,b,c", "1,2,3"), "no feed", name="things.csv"),
    "rows that none fit the header": File(_text(SALES, "1,2", "3,4"), "no row fits"),
    "days written 31/12/2026": File(_text(SALES, "31/12/2025,a,4,90"), "'date'"),
    "decimal commas throughout": File(
        _text(SALES.replace(",", ";"), "2026-03-01;a;4;90,5", "2026-03-02;a;4;91,5"),
        "decimal comma",
    ),
    "currency signs throughout": File(_text(SALES, "2026-03-01,a,4,$90"), "'revenue'"),
    "thousands separators throughout": File(_text(SALES, '2026-03-01,a,4,"1,090.00"'), "'revenue'"),
    "words for numbers throughout": File(_text(SALES, "2026-03-01,a,many,90"), "'orders'"),
    "hexadecimal throughout": File(
        _text(PAID, "2026-03-01,a,meta,1.50,0x64,3,0.5,9"), "'impressions'", "performance.csv"
    ),
    "words for instants throughout": File(
        _text("event_id,occurred_at,segment,revenue", "v1,yesterday,a,9"),
        "'occurred_at'",
        "events.csv",
    ),
    "a Parquet file cut short": File(WHOLE[:-20], "not a whole Parquet", "sales.parquet"),
    "a Parquet file with a hole": File(
        WHOLE[:8] + b"\xff" * 60 + WHOLE[68:], "Parquet", "sales.parquet"
    ),
    "a CSV called Parquet": File(_text(SALES, SOLD), "Parquet", "sales.parquet"),
    "Parquet without a row": File(
        _parquet(date=[], segment=[], orders=[], revenue=[]), "no row", "sales.parquet"
    ),
    "Parquet with lists for numbers": File(
        _parquet(date=["2026-03-01"], segment=["a"], orders=[[1, 2]], revenue=[2.0]),
        "'orders'",
        "sales.parquet",
    ),
    "gzip cut short": File(gzip.compress(_text(SALES, SOLD))[:-12], "gzip", "sales.csv.gz"),
    "gzip with rubbish behind it": File(
        gzip.compress(_text(SALES, SOLD)) + b"rubbish", "gzip", "sales.csv.gz"
    ),
    "a gzip bomb": File(gzip.compress(b"\x00" * 200_000_000, 9), "bomb", "sales.csv.gz"),
    "a zip archive": File(b"PK\x03\x04" + b"x" * 100, "zip archive", "sales.xlsx"),
    "a PDF": File(b"%PDF-1.7\n" + b"x" * 100, "PDF"),
    "an SQLite database": File(b"SQLite format 3\x00" + b"x" * 100, "SQLite"),
    "a login page": File(_text("<!DOCTYPE html><html>Sign in</html>"), "web page"),
    "JSON cut short": File(b'[{"date": "2026-03-01", "segment": "a"', "JSON", "sales.json"),
    "JSON without a record": File(b"[]", "no record", "sales.json"),
    "JSON nested a million deep": File(b"[" * 1_000_000, "nested", "sales.json"),
    "JSON of numbers": File(b"[1, 2, 3]", "date", "sales.json"),
    "a Google report without its cost": File(
        _text("Campaign,Day,Impr.,Clicks", "A,2026-03-01,10,1"),
        "google.csv",
        "google.csv",
        {"importer": "google_ads"},
    ),
    "a Google report over several days": File(
        _text("Campaign,Impr.,Clicks,Cost", "A,10,1,2.00"), "google.csv", "google.csv"
    ),
    "a Google report that is all totals": File(
        _text(GOOGLE, "Total: Account,--,USD,10,1,2.00"), "google.csv", "google.csv"
    ),
    "a Meta report of several days": File(
        _text(
            "Reporting starts,Reporting ends,Campaign name,Impressions,Link clicks,"
            "Amount spent (USD)",
            "2026-03-01,2026-03-07,A,10,1,2.00",
        ),
        "--spread",
        "meta.csv",
    ),
    "another platform's report than it is said to be": File(
        _text(GOOGLE, "A,2026-03-01,USD,10,1,2.00"), "meta", "x.csv", {"importer": "meta"}
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_is_refused_whole_with_one_sentence(
    what: str, fresh_workspace: Workspace
) -> None:
    bad = FILES[what]
    path = fresh_workspace.inbox / bad.name
    path.write_bytes(bad.content)
    summary = _deliver(fresh_workspace, path, **bad.options)
    said = summary.refused
    assert said is not None, summary
    assert said.startswith(f"Refused {bad.name}")
    assert bad.says in said
    assert " Fix: " in said
    assert "\n" not in said
    assert len(said) < 2000
    _nothing_stayed_of(fresh_workspace, path, said, bad.content)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "gone"])
def test_what_is_no_regular_file_is_refused(kind: str, fresh_workspace: Workspace) -> None:
    path = fresh_workspace.inbox / "sales.csv"
    secret = fresh_workspace.root / "secret.csv"
    secret.write_bytes(_text(SALES, SOLD))
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    summary = _deliver(fresh_workspace, path)
    assert summary.refused is not None
    assert summary.refused.startswith("Refused sales.csv: it ")
    assert facts_version(fresh_workspace, "sales") is None
    assert secret.read_bytes() == _text(SALES, SOLD)


@pytest.mark.parametrize(
    "name",
    [
        "sales\n;rm -rf.csv",
        "sales-=cmd|x.csv",
        "sales" + "é" * 120 + ".csv",
        "sales\u202evsc.exe.csv",
        "..sales.csv",
        "sales*?.csv",
    ],
)
def test_a_tricky_file_name_is_shown_harmless_and_keeps_its_folder(
    name: str, fresh_workspace: Workspace
) -> None:
    path = fresh_workspace.inbox / name
    path.write_bytes(b"")
    said = _deliver(fresh_workspace, path).refused
    assert said is not None
    assert said.isprintable()
    assert len(list(fresh_workspace.refused.iterdir())) == 2
    path.write_bytes(_text(SALES, SOLD))
    assert _deliver(fresh_workspace, path, feed="sales").stored == 1
    assert not list(fresh_workspace.inbox.iterdir())


def _engine(workspace: Workspace) -> Any:
    return open_ledger(f"sqlite:///{workspace.ledger}")


def _deliver(workspace: Workspace, path: Path, **options: Any) -> Any:
    summary = deliver(
        Intake(workspace, _engine(workspace), Account()),
        path,
        received_at=NOW,
        options=ImportOptions(**options),
    )
    assert summary.received == summary.stored + summary.superseded + summary.quarantined
    return summary


def _nothing_stayed_of(workspace: Workspace, path: Path, said: str, content: bytes) -> None:
    """The file lies aside with its reason; ledger and facts know nothing of it but the refusal."""
    assert not path.exists()
    aside = sorted(workspace.refused.iterdir())
    assert [one.name.endswith(".txt") for one in aside] == [False, True]
    assert aside[0].read_bytes() == content
    assert aside[1].read_text(encoding="utf-8") == said + "\n"
    assert not list(workspace.archive.iterdir())
    assert all(facts_version(workspace, feed) is None for feed in FEEDS)
    with session(_engine(workspace), read_only=True) as opened:
        assert opened.exec(select(Delivery)).all() == []
        assert [entry.act for entry in opened.exec(select(AuditEntry)).all()] == ["refuse"]
