"""Files that no reader understands: each is refused with its reason, and stops no other."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from liftloop.adapters.facts import deliveries
from liftloop.adapters.facts.deliveries import deliver, options_here, refusal_to_come
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
GOOD = "date,segment,orders,revenue\n2026-03-01,a,1,10\n"


def take(workspace: Workspace, path: Path) -> DeliverySummary:
    engine = open_ledger(str(load_settings(workspace).ledger_url))
    return deliver(Intake(workspace, engine, Account()), path, received_at=NOW)


def sales(**columns: Any) -> pa.Table:
    found: dict[str, Any] = {
        "date": pa.array([20_000], pa.int32()).cast(pa.date32()),
        "segment": pa.array(["a"]),
        "orders": pa.array([1], pa.int64()),
        "revenue": pa.array([1.0]),
    }
    return pa.table({**found, **columns})


def days(number: int) -> pa.Array:
    return pa.array([number], pa.int32()).cast(pa.date32())


BEYOND: dict[str, pa.Table] = {
    "a day after all": sales(date=days(2_147_483_647)),
    "a day before all": sales(date=days(-2_147_483_648)),
    "the year 10000": sales(date=days(2_932_897)),
    "milliseconds beyond": sales(date=pa.array([2**62], pa.timestamp("ms"))),
    "seconds beyond": sales(date=pa.array([2**60], pa.timestamp("s"))),
    "nanoseconds before": sales(date=pa.array([-(2**62)], pa.timestamp("ns"))),
    "an instant beyond": sales(reported_at=pa.array([2**62], pa.timestamp("us", "UTC"))),
    "a duration": sales(date=pa.array([1], pa.duration("s"))),
    "bytes": sales(segment=pa.array([b"\xff\xfe"])),
    "a list": sales(segment=pa.array([["a"]])),
    "a map": sales(orders=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))),
    "a decimal of 38 digits": sales(revenue=pa.array([10**37], pa.decimal256(40, 0))),
    "a count of 64 bits": sales(orders=pa.array([2**64 - 1], pa.uint64())),
    "no number": sales(revenue=pa.array([float("nan")])),
    "infinity": sales(revenue=pa.array([float("inf")])),
    "the largest": sales(revenue=pa.array([1.7e308])),
    "an interval": sales(date=pa.array([(1, 2, 3)], pa.month_day_nano_interval())),
    "a zone of none": sales(reported_at=pa.array([0], pa.timestamp("us", "Mars/Base"))),
    "nothing": sales(date=pa.nulls(1)),
    "no rows": sales().slice(0, 0),
}


@pytest.mark.parametrize("name", BEYOND)
def test_values_that_cannot_be_stop_no_other_file(fresh_workspace: Workspace, name: str) -> None:
    """Refused or in quarantine, and the doctor foretells a refusal as it will be."""
    path = fresh_workspace.inbox / "sales-odd.parquet"
    try:
        parquet.write_table(BEYOND[name], path)
    except pa.ArrowException:
        pytest.skip("Parquet has no such value")
    foreseen = refusal_to_come(
        path, account=Account(), options=options_here(fresh_workspace, Account(), ImportOptions())
    )
    said = take(fresh_workspace, path)
    assert not path.exists()
    if said.refused is None:
        assert said.received == said.stored + said.superseded + said.quarantined
        assert foreseen is None
    else:
        assert "Fix:" in said.refused and "\n" not in said.refused
        assert list(fresh_workspace.refused.glob("*sales-odd.parquet.txt"))
        assert foreseen is not None
    good = fresh_workspace.inbox / "sales.csv"
    good.write_text(GOOD, encoding="utf-8")
    assert take(fresh_workspace, good).stored == 1


def test_an_importer_that_fails_refuses_its_file_alone(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(GOOD, encoding="utf-8")

    def fails(error: Exception) -> Callable[..., Any]:
        def read(*args: Any, **more: Any) -> Any:
            raise error

        return read

    for error in (RecursionError("too deep"), OverflowError("x\ny"), KeyError("k"), OSError("x")):
        with monkeypatch.context() as patched:
            patched.setattr(deliveries, "read_copy", fails(error))
            said = take(fresh_workspace, path)
        assert said.refused and type(error).__name__ in said.refused
        path.write_text(GOOD, encoding="utf-8")
    # what is no fault of the file's is raised, and the file stays
    full = OSError(28, "No space left on device")
    for fault in (OutsideServiceFailed("The ledger", "gone.", fix="start it."), full):
        with monkeypatch.context() as patched:
            patched.setattr(deliveries, "read_copy", fails(fault))
            with pytest.raises(type(fault)):
                take(fresh_workspace, path)
        assert path.exists()
    assert take(fresh_workspace, path).stored == 1


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(fresh_workspace: Workspace) -> None:
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(GOOD, encoding="utf-8")
    path.chmod(0)
    assert take(fresh_workspace, path).refused
