from __future__ import annotations

import json
from collections.abc import Hashable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.adapters.importers.tables.sums import number, spread_evenly
from liftloop.core.errors import ConfigurationError, RefusedFile

GOOGLE = "Campaign,Day,Currency code,Impr.,Clicks,Cost,Conversions,Conv. value\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(path: Path, **options: Any) -> list[dict[Hashable, Any]]:
    frame = read_delivery(path, ImportOptions(**options)).frame
    return frame.assign(date=frame["date"].dt.strftime("%Y-%m-%d")).to_dict("records")


def test_several_rows_a_day_and_campaign_are_summed_to_the_cent(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "google.csv",
        GOOGLE
        + "".join(f"A,2026-09-01,EUR,{10 + i},1,0.10,0,0\n" for i in range(3))
        + 'A,2026-09-01,EUR,"1,000",5,0.20,1.5,9\n',
    )
    assert rows_of(path) == [
        {
            "date": "2026-09-01",
            "segment": "all",
            "channel": "google_ads",
            "campaign": "A",
            "creative": "all",
            "currency": "EUR",
            "spend": 0.5,
            "impressions": 1033,
            "clicks": 8,
            "conversions": 1.5,
            "revenue": 9.0,
        }
    ]


def test_a_campaign_called_total_is_no_totals_row(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "google.csv",
        GOOGLE
        + "Total Wireless,2026-09-01,USD,10,1,2.00,0,0\n"
        + "Total: Account, --,USD,10,1,2.00,0,0\n",
    )
    assert [row["campaign"] for row in rows_of(path)] == ["Total Wireless"]


def test_a_cell_that_is_no_number_breaks_its_row_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "google.csv",
        GOOGLE + "A,2026-09-01,USD,10,1,#REF!,0,0\nB,2026-09-01,USD,10,1,1.00,0,0\n"
        "C,yesterday,USD,1,1,1,0,0\nD,2026-09-01,USD,1.5,1,1,0,0\nE,2026-09-01,USD,1,1,1e300,0,0\n",
    )
    got = read_delivery(path)
    assert got.rows_read == 5
    assert got.frame["campaign"].dropna().tolist() == ["B"]
    broken = got.frame["_broken"].dropna().tolist()
    assert ["'#REF!' is not a number" in broken[0], "'yesterday'" in broken[1]] == [True, True]
    assert "not a whole number" in broken[2]
    assert "too large" in broken[3]


def test_a_file_of_broken_rows_alone_keeps_them_all(tmp_path: Path) -> None:
    path = write(tmp_path, "google.csv", GOOGLE + "A,2026-09-01,USD,10,1,?,0,0\n")
    got = read_delivery(path)
    assert len(got.frame) == got.rows_read == 1


def test_a_file_of_totals_alone_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "google.csv", GOOGLE + "Total: Account,--,USD,10,1,2.00,0,0\n")
    with pytest.raises(RefusedFile, match="no row but totals"):
        read_delivery(path)


def test_a_campaign_in_two_currencies_on_one_day_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "google.csv",
        GOOGLE + "A,2026-09-01,USD,10,1,1,0,0\nA,2026-09-01,EUR,10,1,1,0,0\n",
    )
    with pytest.raises(RefusedFile, match="USD and in EUR"):
        read_delivery(path)


def test_a_report_without_any_day_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "google.csv", "Campaign,Impr.,Clicks,Cost\nA,10,1,2.00\n")
    with pytest.raises(RefusedFile, match="which day"):
        read_delivery(path)


def test_a_one_day_preamble_needs_no_spreading(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "google.csv",
        'Campaign report\n"July 8, 2025"\nCampaign,Impr.,Clicks,Cost\nA,10,1,2.00\n',
    )
    assert rows_of(path)[0]["date"] == "2025-07-08"


def test_segment_and_channel_are_given_by_the_person_who_delivers(tmp_path: Path) -> None:
    path = write(tmp_path, "google.csv", GOOGLE + "A,2026-09-01,USD,10,1,1,0,0\n")
    row = rows_of(path, segment="DE", channel="search")[0]
    assert (row["segment"], row["channel"]) == ("DE", "search")


def test_a_country_column_becomes_the_segment_and_says_so(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "meta.json",
        json.dumps(
            [
                {
                    "date_start": "2026-09-01",
                    "date_stop": "2026-09-01",
                    "spend": "1.50",
                    "impressions": "10",
                    "clicks": "1",
                    "country": "DE",
                }
            ]
        ),
    )
    got = read_delivery(path)
    assert got.frame["segment"].tolist() == ["DE"]
    assert "Column 'country' was taken for segment." in got.notes


def meta_row(**more: Any) -> dict[str, Any]:
    base = {
        "date_start": "2026-09-01",
        "date_stop": "2026-09-01",
        "spend": "1.50",
        "impressions": "10",
        "clicks": "1",
    }
    return {**base, **more}


def test_overlapping_purchase_types_are_never_summed(tmp_path: Path) -> None:
    actions = [
        {"action_type": "offsite_conversion.fb_pixel_purchase", "value": "7"},
        {"action_type": "purchase", "value": "8"},
        {"action_type": "omni_purchase", "value": "9"},
        {"action_type": "link_click", "value": "100"},
    ]
    values = [{"action_type": "offsite_conversion.fb_pixel_purchase", "value": "70.5"}]
    path = write(
        tmp_path,
        "meta.json",
        json.dumps({"data": [meta_row(actions=actions, action_values=values), meta_row()]}),
    )
    assert rows_of(path)[0]["conversions"] == 9
    assert rows_of(path)[0]["revenue"] == 70.5


@pytest.mark.parametrize("column", ["Region (Matched)", "Region (User location)"])
def test_googles_regions_are_segments(tmp_path: Path, column: str) -> None:
    text = f"{column},{GOOGLE}" + "".join(
        f"{region},A,2026-09-01,USD,10,1,2.00,0,0\n" for region in ("Bayern", "Hessen")
    )
    got = read_delivery(write(tmp_path, "google.csv", text), ImportOptions())
    assert sorted(got.frame["segment"]) == ["Bayern", "Hessen"]


def test_google_api_pages_with_nested_objects_are_read(tmp_path: Path) -> None:
    page = {
        "results": [
            {
                "campaign": {"resourceName": "customers/1/campaigns/2", "name": "Brand"},
                "metrics": {"clicks": "4", "costMicros": "1500000", "impressions": "10"},
                "segments": {"date": "2026-09-01"},
            }
        ]
    }
    other = {"results": [{**page["results"][0], "segments": {"date": "2026-09-02"}}]}
    path = write(tmp_path, "stream.json", json.dumps([page, other]))
    rows = rows_of(path)
    assert [(r["date"], r["spend"], r["clicks"]) for r in rows] == [
        ("2026-09-01", 1.5, 4),
        ("2026-09-02", 1.5, 4),
    ]
    assert {r["campaign"] for r in rows} == {"Brand"}


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", "2026-09-02"), ("America/Los_Angeles", "2026-09-01")]
)
def test_an_hour_with_an_offset_falls_on_the_accounts_day(
    zone: str, day: str, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        "snap.csv",
        "campaign_id,date,impressions,swipes,spend\nc,2026-09-02T02:00:00.000+00:00,10,1,2500000\n",
    )
    row = rows_of(path, timezone=zone)[0]
    assert (row["date"], row["spend"]) == (day, 2.5)


LINKEDIN = (
    "Campaign Performance Report (in UTC)\n"
    '"Report Start: 09/01/2026, Report End: 09/30/2026"\n\n'
    "Start Date (in UTC),Campaign Name,Total Spent,Impressions,Clicks,Currency\n"
)


def test_a_linkedin_report_not_by_day_is_seen_by_its_single_start_date(tmp_path: Path) -> None:
    path = write(tmp_path, "linkedin.csv", LINKEDIN + "09/01/2026,A,30.00,300,3,USD\n")
    with pytest.raises(RefusedFile, match="2026-09-01 to 2026-09-30"):
        read_delivery(path)
    assert len(rows_of(path, spread=True)) == 30


def test_meta_results_count_only_when_they_are_purchases(tmp_path: Path) -> None:
    head = "Reporting starts,Reporting ends,Campaign name,Results,Result indicator,Impressions,"
    path = write(
        tmp_path,
        "meta.csv",
        head + "Link clicks,Amount spent (EUR)\n"
        "2026-09-01,2026-09-01,A,12,actions:offsite_conversion.fb_pixel_purchase,10,1,2\n"
        "2026-09-01,2026-09-01,B,99,actions:link_click,10,1,2\n"
        "2026-09-01,2026-09-01,,111,,20,2,4\n",
    )
    rows = rows_of(path)
    assert [(r["campaign"], r["conversions"], r["currency"]) for r in rows] == [
        ("A", 12.0, "EUR"),
        ("B", 0.0, "EUR"),
    ]


def test_the_copyright_line_of_a_microsoft_report_is_no_row(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "ms.csv",
        '"Report Name: x"\n"Report Time: 9/1/2026"\n\n'
        "Gregorian date,Campaign name,Impressions,Clicks,Spend\n9/1/2026,A,10,1,2.00\n\n"
        '"©2026 Microsoft Corporation. All rights reserved. "\n',
    )
    got = read_delivery(path)
    assert (got.rows_read, len(got.frame), "_broken" in got.frame) == (1, 1, False)


def test_two_files_with_rows_of_one_report_sum_to_the_same_as_its_parts(tmp_path: Path) -> None:
    lines = [f"A,2026-09-0{d},USD,{n},1,0.1{d},0,0\n" for d in range(1, 10) for n in (10, 20)]
    whole = read_delivery(write(tmp_path, "g.csv", GOOGLE + "".join(lines)))
    assert whole.frame["spend"].tolist() == [round(2 * (0.1 + d / 100), 2) for d in range(1, 10)]


PLUGIN = """
from liftloop.adapters.importers import Importer, register

register(
    Importer(
        name="quora",
        channel="quora",
        signatures=(frozenset({"quora ad", "spend"}),),
        columns={
            "campaign": ("campaign",),
            "spend": ("spend",),
            "impressions": ("paid impressions",),
            "clicks": ("outbound clicks",),
        },
        day=("date",),
        day_formats=("%d.%m.%Y",),
    )
)
"""
QUORA = "Date,Campaign,Quora ad,Spend,Paid impressions,Outbound clicks\n31.08.2026,A,p,1.25,10,1\n"


def test_a_user_adds_an_importer_in_a_file_of_their_own(tmp_path: Path) -> None:
    plugin, path = write(tmp_path, "mine.py", PLUGIN), write(tmp_path, "pins.csv", QUORA)
    row = rows_of(path, plugins=(plugin,))[0]
    assert (row["date"], row["channel"], row["spend"]) == ("2026-08-31", "quora", 1.25)
    with pytest.raises(RefusedFile):  # known for the reads that name the file, no others
        read_delivery(path)


@pytest.mark.parametrize("text", ["raise RuntimeError('no')", "x = 1", "def ("])
def test_a_plugin_that_does_not_work_is_named(text: str, tmp_path: Path) -> None:
    plugin, path = write(tmp_path, "mine.py", text), write(tmp_path, "pins.csv", QUORA)
    with pytest.raises(ConfigurationError, match=r"mine\.py"):
        read_delivery(path, ImportOptions(plugins=(plugin,)))


def test_a_header_two_importers_know_is_refused_until_one_is_named(tmp_path: Path) -> None:
    twin = PLUGIN.replace('name="quora"', 'name="pins2"')
    plugins = (write(tmp_path, "a.py", PLUGIN), write(tmp_path, "b.py", twin))
    path = write(tmp_path, "pins.csv", QUORA)
    with pytest.raises(RefusedFile, match="--importer"):
        read_delivery(path, ImportOptions(plugins=plugins))
    got = read_delivery(path, ImportOptions(plugins=plugins, importer="pins2"))
    assert got.importer == "pins2"


def test_an_unknown_importer_or_feed_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "pins.csv", QUORA)
    with pytest.raises(ConfigurationError, match="no importer 'x'"):
        read_delivery(path, ImportOptions(importer="x"))
    with pytest.raises(ConfigurationError, match="no feed 'x'"):
        read_delivery(path, ImportOptions(feed="x"))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 400))
def test_spreading_keeps_totals_exact_and_clicks_below_impressions(
    a: int, b: int, days: int
) -> None:
    clicks, impressions = sorted((a, b))
    one = Decimal(1)
    c, i = (spread_evenly(Decimal(n), days, unit=one) for n in (clicks, impressions))
    assert (sum(c), sum(i)) == (clicks, impressions)
    assert all(x <= y for x, y in zip(c, i, strict=True))
    assert max(i) - min(i) <= 1


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2), st.integers(1, 400))
def test_spreading_money_is_exact_to_the_cent(total: Decimal, days: int) -> None:
    parts = spread_evenly(total, days, unit=Decimal("0.01"))
    assert sum(parts) == total
    assert max(parts) - min(parts) <= Decimal("0.01")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("144.", "144"),
        ("1,234.50", "1234.50"),
        ("1,20,000", "120000"),
        ("$5", "5"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("-2", "-2"),
    ],
)
def test_numbers_are_read_as_reports_write_them(text: str, value: str) -> None:
    assert number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "1,23", "12,5", "1e400", "nan", "inf", "0x10", "1_000", "--"])
def test_what_is_no_number_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a number|too large"):
        number(text)
