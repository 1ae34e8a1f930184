"""Days such as 09/01/2026, which are two days, and amounts in a unit that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile

TIKTOK = "By Day,Campaign name,Cost,Impressions,Clicks (destination)"
MICROSOFT = "Gregorian date,Campaign name,Spend,Impressions,Clicks"
LINKEDIN = "Start Date (in UTC),Campaign Name,Total Spent,Impressions,Clicks"
GOOGLE = "Day,Campaign,Cost,Impr.,Clicks"


def days_of(
    folder: Path, header: str, days: list[str], above: str = "", **options: Any
) -> list[str]:
    path = folder / "export.csv"
    rows = "".join(f"{day},A,1.00,100,1\n" for day in days)
    path.write_text(f"{above}{header}\n{rows}", encoding="utf-8")
    frame = read_delivery(path, ImportOptions(**options)).frame
    assert "_broken" not in frame
    return [f"{day:%Y-%m-%d}" for day in frame["date"]]


@pytest.mark.parametrize(
    ("header", "days", "read"),
    [
        # One day after the 12th says the order of the whole column, whoever wrote it.
        (TIKTOK, ["01/09/2026", "13/09/2026"], ["2026-09-01", "2026-09-13"]),
        (TIKTOK, ["09/01/2026", "09/13/2026"], ["2026-09-01", "2026-09-13"]),
        (MICROSOFT, ["01/09/2026", "13/09/2026"], ["2026-09-01", "2026-09-13"]),
        (GOOGLE, ["1/9/2026", "30/9/2026"], ["2026-09-01", "2026-09-30"]),
        # So do days that follow each other in one order and are months apart in the other.
        (
            TIKTOK,
            ["01/09/2026", "02/09/2026", "03/09/2026"],
            ["2026-09-01", "2026-09-02", "2026-09-03"],
        ),
        (GOOGLE, ["9/1/2026", "9/2/2026", "9/3/2026"], ["2026-09-01", "2026-09-02", "2026-09-03"]),
        # Else the platform's own way, where it writes such days.
        (MICROSOFT, ["9/1/2026"], ["2026-09-01"]),
        (LINKEDIN, ["09/01/2026", "09/02/2026"], ["2026-09-01", "2026-09-02"]),
        # The same day, month first or day first.
        (TIKTOK, ["01.09.2026"], ["2026-09-01"]),
        (TIKTOK, ["2026/09/01"], ["2026-09-01"]),
        (TIKTOK, ["1 Sep 2026"], ["2026-09-01"]),
        (MICROSOFT, ["9/1/2026 12:00:00 AM"], ["2026-09-01"]),
    ],
)
def test_the_whole_column_says_the_order_of_its_days(
    header: str, days: list[str], read: list[str], tmp_path: Path
) -> None:
    assert days_of(tmp_path, header, days) == read


@pytest.mark.parametrize(
    ("header", "days"),
    [
        (TIKTOK, ["01/09/2026"]),
        (TIKTOK, ["09/01/2026", "10/01/2026"]),
        (GOOGLE, ["1/9/2026", "2/9/2026"]),
        # The platform writes months first, and only days first would be a report by day.
        (MICROSOFT, ["01/09/2026", "02/09/2026", "03/09/2026"]),
    ],
)
def test_an_order_nothing_says_is_asked_about(header: str, days: list[str], tmp_path: Path) -> None:
    with pytest.raises(RefusedFile) as refusal:
        days_of(tmp_path, header, days)
    assert "--day-order day-first or --day-order month-first" in str(refusal.value)
    first = days_of(tmp_path, header, days, day_order="day-first")[0]
    assert first == "20{2}-{1}-{0}".format(*(part[-2:].zfill(2) for part in days[0].split("/")))


def test_the_period_above_the_table_says_the_order(tmp_path: Path) -> None:
    above = '"Report Time: 1/9/2026 - 30/9/2026"\n\n'
    assert days_of(tmp_path, MICROSOFT, ["1/9/2026"], above) == ["2026-09-01"]


SNAPCHAT = "campaign_id,date,impressions,swipes,spend\n"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("c,2026-09-01,5000,10,12.50\nc,2026-09-02,5000,10,14\n", "no whole number"),
        ("c,2026-09-01,5000,10,12\nc,2026-09-02,5000,10,14\n", "whole units already"),
    ],
)
def test_amounts_that_cannot_be_millionths_are_not_shrunk(
    rows: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "snap.csv"
    path.write_text(SNAPCHAT + rows, encoding="utf-8")
    with pytest.raises(RefusedFile, match=says):
        read_delivery(path)
    path.write_text(SNAPCHAT + "c,2026-09-01,5000,10,12500000\n", encoding="utf-8")
    assert read_delivery(path).frame["spend"].tolist() == [12.5]


def test_linkedin_by_month_is_refused(tmp_path: Path) -> None:
    above = '"Report Start: 08/01/2026, Report End: 10/31/2026"\n\n'
    with pytest.raises(RefusedFile, match=r"rows are months.*Daily"):
        days_of(tmp_path, LINKEDIN, ["08/01/2026", "09/01/2026", "10/01/2026"], above)
