from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from liftloop.adapters.files.outbox import read_budgets
from liftloop.adapters.platforms.files import FilesPlatform
from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import BudgetLine, Cell

NORTH, SOUTH = Cell("north", "search"), Cell("south", "search")


def line(cell: Cell, amount: str, key: str) -> BudgetLine:
    return BudgetLine(
        "d-1",
        "p-1",
        date(2026, 3, 2),
        cell.segment,
        cell.channel,
        Decimal(amount),
        Decimal("0.00"),
        "full",
        None,
        None,
        None,
        "r",
        key,
    )


@pytest.mark.parametrize("name", ["budgets.csv", "budgets.json", "budgets.parquet"])
def test_the_file_holds_what_is_in_force_in_the_exports_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / "platform" / name
    there = FilesPlatform(path)
    assert there.read([NORTH]) == {}
    there.set([line(NORTH, "10.10", "k-1"), line(SOUTH, "20.20", "k-2")])
    there.set([line(SOUTH, "30.30", "k-3")])
    assert there.read([NORTH, SOUTH]) == {NORTH: Decimal("10.10"), SOUTH: Decimal("30.30")}
    assert [found.idempotency_key for found in read_budgets(path)] == ["k-1", "k-3"]


def test_the_same_key_twice_does_not_touch_the_file(tmp_path: Path) -> None:
    path = tmp_path / "budgets.csv"
    there = FilesPlatform(path)
    there.set([line(NORTH, "10.10", "k-1")])
    before = (path.stat().st_mtime_ns, path.read_bytes())
    there.set([line(NORTH, "99.99", "k-1")])
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_a_file_that_is_no_export_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "budgets.csv"
    path.write_text("my,own,notes\n")
    with pytest.raises(PlatformRefused, match="no budgets export"):
        FilesPlatform(path).set([line(NORTH, "10.10", "k-1")])
    assert path.read_text() == "my,own,notes\n"


def test_a_folder_that_may_not_be_written_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file, where a folder should be")
    with pytest.raises(PlatformUnreachable):
        FilesPlatform(tmp_path / "here" / "budgets.csv").set([line(NORTH, "10.10", "k-1")])


def test_another_ending_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="xlsx"):
        FilesPlatform(Path("budgets.xlsx"))
