from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftloop.adapters.platforms.protocol import PlatformUnreachable
from liftloop.adapters.platforms.sql import SqlPlatform
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


def platform(url: str, *, table: str = "budgets") -> SqlPlatform:
    return SqlPlatform(url, table=table, timeout=2.0)


def test_what_is_set_is_read_back_to_the_cent(ledger_url: str) -> None:
    there = platform(ledger_url)
    assert there.read([NORTH]) == {}
    there.set([line(NORTH, "9007199254740993.07", "k-1"), line(SOUTH, "0.00", "k-2")])
    again = platform(ledger_url)
    assert again.read([NORTH, SOUTH]) == {
        NORTH: Decimal("9007199254740993.07"),
        SOUTH: Decimal("0.00"),
    }
    assert again.read([SOUTH]) == {SOUTH: Decimal("0.00")}


def test_the_same_key_twice_changes_nothing_even_with_another_amount(ledger_url: str) -> None:
    there = platform(ledger_url)
    there.set([line(NORTH, "10.00", "k-1")])
    there.set([line(NORTH, "20.00", "k-1")])
    assert there.read([NORTH]) == {NORTH: Decimal("10.00")}
    there.set([line(NORTH, "20.00", "k-2")])
    there.set([line(NORTH, "10.00", "k-1")])  # an old request that comes late
    assert there.read([NORTH]) == {NORTH: Decimal("20.00")}


@given(st.lists(st.sampled_from(["k-1", "k-2", "k-3"]), max_size=12))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_key_is_applied_once_in_whatever_order_it_comes(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str]
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('sql') / 'ads.db'}"
    there = platform(url)
    there.read([])
    for n, key in enumerate(keys):
        there.set([line(NORTH, f"{n}.00", key)])
    with sa.create_engine(url).connect() as connection:
        rows = connection.execute(sa.text("SELECT idempotency_key, daily_cents FROM budgets_keys"))
        applied = dict(row._tuple() for row in rows)
    assert applied == {key: keys.index(key) * 100 for key in set(keys)}
    firsts = [n for n, key in enumerate(keys) if key not in keys[:n]]
    assert there.read([NORTH]).get(NORTH) == (Decimal(firsts[-1]) if firsts else None)


def test_a_decision_is_written_whole_or_not_at_all(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = platform(ledger_url)
    there.set([line(NORTH, "10.00", "k-1"), line(SOUTH, "20.00", "k-2")])
    upsert = SqlPlatform._upsert

    def breaks(self: SqlPlatform, connection: sa.Connection, what: BudgetLine) -> None:
        if what.segment == "south":
            raise sa.exc.OperationalError("", {}, Exception("gone"))
        upsert(self, connection, what)

    monkeypatch.setattr(SqlPlatform, "_upsert", breaks)
    with pytest.raises(PlatformUnreachable):
        there.set([line(NORTH, "15.00", "k-3"), line(SOUTH, "15.00", "k-4")])
    assert there.read([NORTH, SOUTH]) == {NORTH: Decimal("10.00"), SOUTH: Decimal("20.00")}
    monkeypatch.undo()
    there.set([line(NORTH, "15.00", "k-3"), line(SOUTH, "15.00", "k-4")])
    assert there.read([NORTH, SOUTH]) == {NORTH: Decimal("15.00"), SOUTH: Decimal("15.00")}


def test_rows_of_other_programs_are_left_alone(ledger_url: str) -> None:
    there = platform(ledger_url)
    there.set([line(SOUTH, "20.00", "k-1")])
    there.set([line(NORTH, "10.00", "k-2")])
    assert there.read([SOUTH]) == {SOUTH: Decimal("20.00")}


def test_a_database_out_of_reach_is_told_without_its_password() -> None:
    away = platform("postgresql+psycopg://ann:hunter2@127.0.0.1:1/ads")
    with pytest.raises(PlatformUnreachable) as told:
        away.read([NORTH])
    assert "hunter2" not in str(told.value)
    assert "ann" not in str(told.value)


def test_a_locked_database_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ads.db'}"
    SqlPlatform(url, table="budgets", timeout=1.0).read([])
    with sa.create_engine(url).connect() as holder:
        holder.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(PlatformUnreachable):
            SqlPlatform(url, table="budgets", timeout=0.1).set([line(NORTH, "1.00", "k")])


@pytest.mark.parametrize("url", ["nonsense", "oracle9://x", "http://example.com"])
def test_an_address_that_is_no_databases_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no database address"):
        platform(url)


def test_a_lock_on_postgresql_is_waited_for_no_longer_than_told(postgres_url: str) -> None:
    there = SqlPlatform(postgres_url, table="budgets", timeout=0.2)
    there.set([line(NORTH, "1.00", "k-1")])
    with there.engine.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE budgets IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(PlatformUnreachable):
            there.set([line(NORTH, "2.00", "k-2")])
    assert there.read([NORTH]) == {NORTH: Decimal("1.00")}
