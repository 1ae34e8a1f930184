"""A midnight is the name of a day; an hour is an instant of the account's day."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.adapters.importers.tables.days import are_labels
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.validate import sift

ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo")
SNAP = "campaign_id,start_time,end_time,impressions,swipes,spend"
FEED = "date,segment,channel,spend,impressions,clicks,conversions,revenue"


def days(folder: Path, head: str, *lines: str, zone: str = "UTC") -> list[str]:
    path = folder / "x.csv"
    path.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    frame = read_delivery(path, ImportOptions(timezone=zone)).frame
    found: list[str] = frame["date"].dt.strftime("%Y-%m-%d").tolist()
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "cells",
    [
        ("2026-09-01T00:00:00.000+02:00", "2026-09-02T00:00:00.000+02:00"),
        ("2026-09-01T00:00:00-07:00", "2026-09-02T00:00:00-07:00"),
        ("2026-09-01T00:00:00Z", "2026-09-02T00:00:00Z"),
        ("2026-09-01T00:00:00.000Z", "2026-09-02T00:00:00.000Z"),
        ("2026-09-01 00:00:00 UTC", "2026-09-02 00:00:00 UTC"),
        ("2026-09-01 00:00:00", "2026-09-02 00:00:00"),
        ("2026-09-01T00:00:00+0530", "2026-09-02T00:00:00+0530"),
    ],
)
def test_an_offset_midnight_is_the_day_it_is_written_as(
    cells: tuple[str, ...], zone: str, tmp_path: Path
) -> None:
    lines = [f"c,{cell},,100,1,2500000" for cell in cells]
    assert days(tmp_path, SNAP, *lines, zone=zone) == ["2026-09-01", "2026-09-02"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_change_of_clocks_keeps_days_days(zone: str, tmp_path: Path) -> None:
    cells = ("2026-10-24T00:00:00+02:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")
    lines = [f"c,{cell},,100,1,2500000" for cell in cells]
    assert days(tmp_path, SNAP, *lines, zone=zone) == ["2026-10-24", "2026-10-25", "2026-10-26"]
    # In Chile clocks go forward at midnight: the day begins at one.
    cells = ("2026-09-05T00:00:00-04:00", "2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00")
    lines = [f"c,{cell},,100,1,2500000" for cell in cells]
    assert days(tmp_path, SNAP, *lines, zone=zone) == ["2026-09-05", "2026-09-06", "2026-09-07"]


def test_hours_fall_on_the_accounts_day(tmp_path: Path) -> None:
    lines = [f"c,2026-09-02T{hour:02d}:00:00.000+00:00,,100,1,2500000" for hour in (0, 2, 12)]
    assert days(tmp_path, SNAP, *lines, zone="America/Los_Angeles") == ["2026-09-01", "2026-09-02"]
    hour = "c,2026-09-02T00:00:00Z,2026-09-02T01:00:00Z,100,1,2500000"  # ends an hour later
    assert days(tmp_path, SNAP, hour, zone="America/Los_Angeles") == ["2026-09-01"]
    day = "c,2026-09-02T00:00:00Z,2026-09-03T00:00:00Z,100,1,2500000"
    assert days(tmp_path, SNAP, day, zone="America/Los_Angeles") == ["2026-09-02"]


def test_days_cut_in_another_time_zone_are_refused(tmp_path: Path) -> None:
    lines = [f"c,2026-09-0{day}T22:00:00Z,,100,1,2500000" for day in (1, 2, 3)]
    with pytest.raises(RefusedFile, match=r"account\.timezone"):
        days(tmp_path, SNAP, *lines, zone="UTC")
    berlin = days(tmp_path, SNAP, *lines, zone="Europe/Berlin")
    assert berlin == ["2026-09-02", "2026-09-03", "2026-09-04"]


def test_an_end_at_the_next_midnight_ends_the_day_before(tmp_path: Path) -> None:
    head = "date_start,date_stop,spend,impressions,clicks"
    line = "2026-09-01T00:00:00+02:00,2026-09-02T00:00:00+02:00,5.00,100,1"
    assert days(tmp_path, head, line) == ["2026-09-01"]


@pytest.mark.parametrize("offset", ["+02:00", "-07:00", "Z", ""])
def test_a_feeds_midnights_are_days(offset: str, tmp_path: Path) -> None:
    lines = [f"2026-09-0{d}T00:00:00{offset},DE,meta,1.50,100,3,0.5,9" for d in (1, 2)]
    assert days(tmp_path, FEED, *lines) == ["2026-09-01", "2026-09-02"]


def test_a_broken_day_beside_midnights_breaks_its_row_alone(tmp_path: Path) -> None:
    lines = [f"2026-09-{d:02d}T00:00:00+02:00,DE,meta,1.50,100,3,0.5,9" for d in range(1, 21)]
    path = tmp_path / "performance.csv"
    path.write_text("\n".join((FEED, *lines, lines[0].replace("2026-09-01T", "someday"))) + "\n")
    sifted = sift(
        "performance",
        read_delivery(path).frame,
        account=Account(),
        received_at=datetime(2026, 12, 1, tzinfo=UTC),
    )
    assert (len(sifted.accepted), len(sifted.rejected)) == (20, 1)
    assert str(sifted.accepted["date"].min().date()) == "2026-09-01"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles"])
def test_parquet_midnights_are_days(zone: str, tmp_path: Path) -> None:
    stamps = pd.to_datetime(["2026-09-01", "2026-09-02"]).tz_localize(zone)
    frame = pd.DataFrame(
        {
            "campaign_id": ["c", "c"],
            "start_time": stamps,
            "spend": [2_500_000, 1],
            "swipes": [1, 1],
            "impressions": [5, 5],
        }
    )
    path = tmp_path / "snap.parquet"
    frame.to_parquet(path)
    got = read_delivery(path).frame["date"].dt.strftime("%Y-%m-%d").tolist()
    assert got == ["2026-09-01", "2026-09-02"]
    feed = pd.DataFrame(
        {
            "date": stamps,
            **{c: ["a", "b"] for c in ("segment", "channel")},
            **{c: [1, 2] for c in FEED.split(",")[3:]},
        }
    )
    feed.to_parquet(tmp_path / "performance.parquet")
    got = read_delivery(tmp_path / "performance.parquet").frame["date"]
    assert got.dt.strftime("%Y-%m-%d").tolist() == ["2026-09-01", "2026-09-02"]


def test_json_midnights_are_days(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "campaign_id": "c",
            "start_time": f"2026-09-0{d}T00:00:00.000-07:00",
            "spend": 2_500_000,
            "swipes": 1,
            "impressions": 9,
        }
        for d in (1, 2)
    ]
    path = tmp_path / "snap.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    got = read_delivery(path, ImportOptions(timezone="Asia/Tokyo")).frame["date"]
    assert got.dt.strftime("%Y-%m-%d").tolist() == ["2026-09-01", "2026-09-02"]


def test_only_midnights_are_labels() -> None:
    assert are_labels(["2026-09-01T00:00:00+02:00", "2026-09-02"])
    assert not are_labels(["2026-09-01", "2026-09-02"])
    assert not are_labels(["2026-09-01T00:00:00+02:00", "2026-09-01T01:00:00+02:00"])
    assert not are_labels(["2026-09-01T13:00:00"])
