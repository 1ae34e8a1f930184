"""A new ledger made at once is the one that the migrations make."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger import fresh_ledger
from liftloop.adapters.ledger.fresh_ledger import make_ledger, script_of
from liftloop.adapters.ledger.records import is_current, open_ledger, upgrade


def contents(place: Path) -> tuple[list[Any], list[str], Any]:
    with closing(sqlite3.connect(place)) as opened:
        schema = opened.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        ).fetchall()
        rows = [line for line in opened.iterdump() if line.startswith("INSERT")]
        return schema, rows, opened.execute("PRAGMA journal_mode").fetchone()[0]


def test_it_is_what_the_migrations_make(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'migrated.db'}")
    assert make_ledger(tmp_path / "fresh.db"), (
        "a migration was added or changed: uv run python -m liftloop.adapters.ledger.fresh_ledger"
    )
    made = contents(tmp_path / "fresh.db")
    assert made == contents(tmp_path / "migrated.db")
    assert len(made[0]) > 30
    assert is_current(open_ledger(f"sqlite:///{tmp_path / 'fresh.db'}"))
    assert script_of(tmp_path / "migrated.db") == fresh_ledger.SCRIPT.read_text(encoding="utf-8")


def spoilt(script: str) -> str:
    lines = script.splitlines()
    return "\n".join([*lines[:-1], "CREATE TABLE auditentry (twice INTEGER);", lines[-1]])


@pytest.mark.parametrize(
    "change", [lambda s: s.replace("hash ", "hash 0", 1), lambda s: "", spoilt]
)
def test_without_a_script_that_is_of_these_migrations_or_works_init_migrates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    script = tmp_path / "fresh.sql"
    script.write_text(change(fresh_ledger.SCRIPT.read_text(encoding="utf-8")), encoding="utf-8")
    monkeypatch.setattr(fresh_ledger, "SCRIPT", script)
    assert not make_ledger(tmp_path / "ledger.db")
    place = init_workspace(tmp_path / "shop")
    assert is_current(open_ledger(f"sqlite:///{place.ledger}"))


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    place.write_bytes(b"no database")
    assert not make_ledger(place)
    assert place.read_bytes() == b"no database"
    assert not make_ledger(tmp_path / "no folder" / "ledger.db")


def test_of_several_that_make_it_at_once_each_finds_it_whole(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    url = f"sqlite:///{place}"

    def make(_: int) -> bool:
        if not make_ledger(place):
            upgrade(url)
        return is_current(open_ledger(url))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(8)))
    assert make_ledger(tmp_path / "fresh.db")
    assert contents(place) == contents(tmp_path / "fresh.db")
