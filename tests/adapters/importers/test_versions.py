"""One thing reported more than once in a file: the latest counts where the file says which that is;
else it is asked about, never added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile

API = "date_start,date_stop,campaign_id,campaign_name,ad_id,ad_name,spend,impressions,clicks"
AD = "2026-09-01,2026-09-01,1,Brand,11,Ad,{spend},{shown},9"
GOOGLE = "Campaign,Day,Cost,Impr.,Clicks"
FEED = "date,segment,channel,campaign,spend,impressions,clicks,conversions,revenue"
MAP = """
feed = "performance"
aggregate = true
[rename]
when = "date"
geo = "segment"
camp = "campaign"
money = "spend"
shown = "impressions"
clicked = "clicks"
bought = "conversions"
worth = "revenue"
[constants]
channel = "meta"
"""
TABLE = "when,geo,camp,money,shown,clicked,bought,worth"


def read(folder: Path, head: str, *lines: str, name: str = "x.csv", **options: Any) -> Imported:
    path = folder / name
    path.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    return read_delivery(path, ImportOptions(**options))


def mapped(folder: Path, head: str, *lines: str, **options: Any) -> Imported:
    (folder / "mine.toml").write_text(options.pop("text", MAP), encoding="utf-8")
    return read(folder, head, *lines, mapping=folder / "mine.toml", **options)


def total(got: Imported, column: str = "spend") -> float:
    return round(float(got.frame[column].sum()), 2)


@pytest.mark.parametrize(
    "column",
    [
        "loaded_at",
        "etl_loaded_at",
        "ingestion_time",
        "synced_at",
        "export_date",
        "pulled_at",
        "snapshot_date",
        "_row_inserted_timestamp",
        "_sling_loaded_at",
        "_PEERDB_SYNCED_AT",
        "received_at",
        "dt_updated",
        "_PARTITIONTIME",
        "dbt_valid_from",
        "date_pulled",
    ],
)
def test_columns_people_name_themselves_say_which_load_is_the_latest(
    column: str, tmp_path: Path
) -> None:
    rows = [
        f"{AD.format(spend=104, shown=101)},2026-09-04",
        f"{AD.format(spend=100, shown=100)},2026-09-02",
        f"{AD.format(spend=104, shown=101)},2026-09-03",
    ]
    got = read(tmp_path, f"{API},{column}", *rows)
    assert total(got) == 104
    rows = [
        "2026-09-01,all,meta,C,104,100,5,1,20,2026-09-03T00:00:00Z",
        "2026-09-01,all,meta,C,100,100,5,1,20,2026-09-02T00:00:00Z",
    ]
    assert total(read(tmp_path, f"{FEED},{column}", *rows, name="performance.csv")) == 104


def test_a_column_of_loads_does_not_hide_that_rows_are_parts(tmp_path: Path) -> None:
    rows = [
        f"2026-09-01,all,meta,C,{cost},100,5,1,20,{device},2026-09-02"
        for cost, device in ((10, "mobile"), (20, "desktop"))
    ]
    with pytest.raises(RefusedFile, match="device"):
        read(tmp_path, f"{FEED},device,loaded_at", *rows, name="performance.csv")


@pytest.mark.parametrize("operation", ["__op", "_change_type"])
def test_a_row_a_database_deleted_goes(operation: str, tmp_path: Path) -> None:
    gone = {"__op": "d", "_change_type": "delete"}[operation]
    got = read(
        tmp_path,
        f"{API},{operation},loaded_at",
        f"{AD.format(spend=100, shown=100)},c,2026-09-02",
        f"{AD.format(spend=100, shown=100)},{gone},2026-09-03",
        "2026-09-01,2026-09-01,1,Brand,12,Ad,7,100,9,c,2026-09-02",
    )
    assert total(got) == 7


@pytest.mark.parametrize("column", ["updated_time", "id", "uuid", "Unnamed: 0"])
def test_two_rows_of_one_id_and_day_are_asked_about(column: str, tmp_path: Path) -> None:
    rows = (f"{AD.format(spend=100, shown=100)},3", f"{AD.format(spend=104, shown=101)},4")
    head = f"{API},{column}"
    with pytest.raises(RefusedFile) as error:
        read(tmp_path, head, *rows)
    assert "100.00 and 104.00 spend" in str(error.value)
    assert '--parts "spend"' in error.value.fix
    assert total(read(tmp_path, head, *rows, parts=("spend",))) == 204


def test_a_campaign_that_was_renamed_between_two_reports_is_asked_about(tmp_path: Path) -> None:
    head = "segments.date,campaign.id,campaign.name,metrics.cost_micros,metrics.impressions"
    with pytest.raises(RefusedFile, match="reported more than once"):
        read(tmp_path, head, "2026-09-01,1,Old,12500000,100", "2026-09-01,1,New,12500000,100")


def test_a_day_reported_again_without_ids_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="reported more than once"):
        read(
            tmp_path,
            GOOGLE,
            "A,2026-09-01,100,1000,50",
            "A,2026-09-01,104,1030,52",
            "A,2026-09-02,90,900,40",
        )


def test_two_campaigns_of_one_name_are_added(tmp_path: Path) -> None:
    got = read(tmp_path, GOOGLE, "A,2026-09-01,100,1000,50", "A,2026-09-01,40,700,52")
    assert total(got) == 140


def test_hours_devices_and_keywords_of_one_id_are_added(tmp_path: Path) -> None:
    for column in ("device_platform", "hourly_stats_aggregated_by_advertiser_time_zone", "keyword"):
        got = read(
            tmp_path,
            f"{API},{column}",
            *(f"{AD.format(spend=10 + n, shown=90)},{n}" for n in range(3)),
        )
        assert total(got) == 33


@pytest.mark.parametrize("column", ["Publisher URL", "Targeting value", "Landing page"])
def test_words_that_tell_parts_apart_are_no_description(column: str, tmp_path: Path) -> None:
    head = f"Campaign ID,{GOOGLE},{column}"
    got = read(tmp_path, head, "1,A,2026-09-01,5,100,5,a.com", "1,A,2026-09-01,5.1,101,5,b.com")
    assert total(got) == 10.1


def test_one_spend_by_two_targeting_types_is_asked_about(tmp_path: Path) -> None:
    head = "Date,Campaign ID,Targeting type,Targeting value,Spend in account currency,Impressions"
    rows = [
        f"2026-09-01,1,{kind},{value},{cost},{shown}"
        for kind, value, cost, shown in (
            ("GENDER", "female", 5, 100),
            ("GENDER", "male", 5.1, 101),
            ("APPTYPE", "iphone", 7, 150),
            ("APPTYPE", "web", 3.1, 51),
        )
    ]
    with pytest.raises(RefusedFile, match=r"one spend of 10\.10"):
        read(tmp_path, head, *rows)
    assert total(read(tmp_path, head, *rows, where=("Targeting type=GENDER",))) == 10.1


def test_a_row_beside_parts_without_money_is_the_money(tmp_path: Path) -> None:
    head = f"{GOOGLE},Conversion device"
    got = read(tmp_path, head, "A,2026-09-01,5,100,5,", "A,2026-09-01,0,0,0,iPhone")
    assert total(got) == 5


def test_purchases_by_device_are_added(tmp_path: Path) -> None:
    actions = [
        {"action_type": "purchase", "action_device": device, "value": value}
        for device, value in (("iphone", "2"), ("desktop", "3"))
    ]
    path = tmp_path / "meta.json"
    row = {
        "date_start": "2026-09-01",
        "date_stop": "2026-09-01",
        "spend": "1.50",
        "impressions": "10",
        "clicks": "1",
        "actions": actions,
    }
    path.write_text(json.dumps([row]), encoding="utf-8")
    assert total(read_delivery(path), "conversions") == 5


def test_a_total_says_so_in_whatever_column_and_its_amount_is_named(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        f"Keyword,{GOOGLE}",
        "shoes,A,2026-09-01,3,100,5",
        "boots,A,2026-09-01,4,100,5",
        "Total: Keywords,--,--,7,200,10",
    )
    assert total(got) == 7
    assert "_broken" not in got.frame
    assert any("left out: 1 (7.00 spend)" in note for note in got.notes)


def test_dollars_in_a_row_of_euros_are_no_euros(tmp_path: Path) -> None:
    rows = ("A,2026-09-01,$12.50,100,5", "B,2026-09-01,US$12.50,100,5")
    got = read(tmp_path, GOOGLE, *rows, currency="EUR")
    assert got.frame["_broken"].notna().sum() == 1  # the other one is a row of USD
    assert got.frame["currency"].dropna().tolist() == ["USD"]
    assert total(read(tmp_path, GOOGLE, rows[0], currency="USD")) == 12.5


def test_one_row_of_a_foreign_day_is_refused(tmp_path: Path) -> None:
    head = "start_time,end_time,id,spend,impressions,swipes"
    row = "2026-08-31T22:00:00Z,2026-09-01T22:00:00Z,1,12500000,100,5"
    with pytest.raises(RefusedFile, match="another time zone"):
        read(tmp_path, head, row, timezone="UTC")
    assert total(read(tmp_path, head, row, timezone="Europe/Berlin")) == 12.5


# -- sales and mapped tables -----------------------------------------------------------------------


@pytest.mark.parametrize("column", ["device", "product", "source"])
def test_sales_that_would_replace_each_other_are_refused(column: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match=r"61\.00 revenue"):
        read(
            tmp_path,
            f"date,segment,orders,revenue,{column}",
            "2026-09-01,all,2,30,a",
            "2026-09-01,all,2,31,b",
            name="sales.csv",
        )


def test_sales_of_all_beside_those_of_each_segment_count_once(tmp_path: Path) -> None:
    head, parts = "date,segment,orders,revenue", ("2026-09-01,DE,2,30", "2026-09-01,FR,1,20")
    got = read(tmp_path, head, *parts, "2026-09-01,all,3,50", name="sales.csv")
    assert total(got, "revenue") == 50
    with pytest.raises(RefusedFile, match="not their sum"):
        read(tmp_path, head, *parts, "2026-09-01,all,4,70", name="sales.csv")


def test_a_mapped_table_is_counted_once_as_a_report_is(tmp_path: Path) -> None:
    row = "2026-09-01,DE,C,{},{},5,1,20"
    syncs = [f"{row.format(100 + 4 * (n > 2), 100)},2026-09-0{n}" for n in (2, 3, 4)]
    got = mapped(tmp_path, f"{TABLE},_airbyte_extracted_at", *syncs)
    assert total(got) == 104
    devices = ("2026-09-01,DE,C,60,60,3,1,20,mobile", "2026-09-01,DE,C,40,40,2,0,0,desktop")
    got = mapped(tmp_path, f"{TABLE},device", f"{row.format(100, 100)},", *devices)
    assert total(got) == 100
    both = [f"{row.format(100, 100)},{view}" for view in ("7d", "1d")]
    with pytest.raises(RefusedFile, match="attribution"):
        mapped(tmp_path, f"{TABLE},attribution", *both)
    assert total(mapped(tmp_path, f"{TABLE},attribution", *both, parts=("attribution",))) == 200
    with pytest.raises(RefusedFile, match="replace each other"):
        mapped(
            tmp_path,
            f"{TABLE},device",
            f"{row.format(10, 90)},a",
            f"{row.format(20, 90)},b",
            text=MAP.replace("true", "false"),
        )


@pytest.mark.parametrize("broken", ["9,9,1,20", "9,5,1,-20", "9,5,--,20", "9,5,1,"])
def test_a_mapped_row_whose_attribution_breaks_a_rule_keeps_its_spend(
    broken: str, tmp_path: Path
) -> None:
    shown, clicked, *others = broken.split(",")
    clicked = "12" if clicked == "9" else clicked
    bad = ",".join(("2026-09-01,DE,C,60", shown, clicked, *others))
    got = mapped(tmp_path, TABLE, bad, "2026-09-01,DE,C,61,60,3,1,20")
    assert total(got) == 121
    assert got.frame[["clicks", "conversions", "revenue"]].isna().to_numpy().sum() == 1
    assert any("it is missing there" in note for note in got.notes)
