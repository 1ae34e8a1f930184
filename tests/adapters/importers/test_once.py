"""Within one file, money is counted once: rows that are there twice, synced again, totals beside
their parts, one spend under two views."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.core.errors import ConfigurationError, RefusedFile

GOOGLE = "Campaign,Day,Currency code,Impr.,Clicks,Cost,Conversions,Conv. value"
META = (
    "Reporting starts,Reporting ends,Campaign name,Amount spent (EUR),Impressions,Link clicks,"
    "Purchases"
)
API = "date_start,date_stop,campaign_id,campaign_name,ad_id,ad_name,spend,impressions,clicks"
FEED = "date,segment,channel,campaign,creative,spend,impressions,clicks,conversions,revenue"


def read(folder: Path, head: str, *lines: str, name: str = "x.csv", **options: Any) -> Imported:
    path = folder / name
    path.write_text("\n".join((head, *lines)) + "\n", encoding="utf-8")
    return read_delivery(path, ImportOptions(**options))


def spend(got: Imported) -> Decimal:
    return sum((Decimal(str(value)) for value in got.frame["spend"]), Decimal(0))


def note(got: Imported, words: str) -> str:
    return next((text for text in got.notes if words in text), "")


# -- a row twice -----------------------------------------------------------------------------------


def test_a_row_equal_to_another_in_every_column_is_counted_once_and_named(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,100,5,12.50,1,20"
    got = read(tmp_path, GOOGLE, line, line, "B,2026-09-01,EUR,100,5,12.50,1,20")
    assert spend(got) == 25
    assert got.rows_read == 3
    assert "1 row is equal to another" in note(got, "equal to another")
    assert "12.50 spend" in note(got, "equal to another")


def test_a_row_of_an_api_twice_is_one_row(tmp_path: Path) -> None:
    row = {
        "campaign": {"id": "1", "name": "Brand"},
        "segments": {"date": "2026-09-01"},
        "metrics": {"costMicros": "12500000", "clicks": "4", "impressions": "10"},
    }
    path = tmp_path / "page.json"
    path.write_text(json.dumps({"results": [row, row]}), encoding="utf-8")
    assert spend(read_delivery(path)) == Decimal("12.5")


def test_rows_that_only_a_list_of_actions_tells_apart_are_two(tmp_path: Path) -> None:
    base = {
        "date_start": "2026-09-01",
        "date_stop": "2026-09-01",
        "impressions": "10",
        "clicks": "1",
        "spend": "1.50",
    }
    rows = [
        {**base, "actions": [{"action_type": "purchase", "value": "9"}]},
        {**base, "actions": []},
    ]
    path = tmp_path / "meta.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert spend(read_delivery(path)) == 3


@pytest.mark.parametrize(
    "column",
    [
        "Hour",
        "Device",
        "Network (with search partners)",
        "Age",
        "Country",
        "Keyword",
        "Match type",
        "Placement",
    ],
)
def test_equal_parts_of_a_day_are_added(column: str, tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,100,5,12.50,1,20"
    got = read(tmp_path, f"{GOOGLE},{column}", f"{line},1", f"{line},2", f"{line},3")
    assert spend(got) == Decimal("37.5")


# -- synced again ----------------------------------------------------------------------------------

SYNCS = {
    "Airbyte": ("_airbyte_raw_id,_airbyte_extracted_at", "{n},2026-09-0{n}T04:00:00.123Z"),
    "Airbyte of old": ("_airbyte_ab_id,_airbyte_emitted_at", "{n},2026-09-0{n} 04:00:00"),
    "Fivetran": ("_fivetran_id,_fivetran_synced", "same,2026-09-0{n} 04:00:00"),
    "Stitch": ("_sdc_sequence,_sdc_table_version", "16936{n}00000000,1"),
    "Singer": (
        "_sdc_batched_at,_sdc_extracted_at",
        "2026-09-0{n}T04:00:00Z,2026-09-0{n}T04:00:00Z",
    ),
    "dlt": ("_dlt_id,_dlt_load_id", "a{n},169{n}561234.123"),
    "Hevo": ("__hevo_id,__hevo__ingested_at", "same,169{n}561234123"),
    "Daton": ("_daton_batch_id,_daton_batch_runtime", "{n},169{n}561234123"),
    "Portable": ("_portable_key,_portable_extracted", "k,2026-09-0{n}T04:00:00Z"),
}


@pytest.mark.parametrize("tool", SYNCS)
def test_the_latest_sync_of_a_row_counts(tool: str, tmp_path: Path) -> None:
    columns, cells = SYNCS[tool]
    row = "2026-09-01,2026-09-01,1,{name},11,Ad,{spend},1000,10,"
    got = read(
        tmp_path,
        f"{API},{columns}",
        row.format(name="Old name", spend=100) + cells.format(n=1),
        row.format(name="New name", spend=104) + cells.format(n=3),
        row.format(name="Old name", spend=103) + cells.format(n=2),
    )
    assert spend(got) == 104
    assert "2 rows are an earlier sync" in note(got, "sync")
    assert "203.00 spend" in note(got, "sync")
    assert got.frame["campaign"].tolist() == ["New name"]


def test_rows_a_tool_marks_as_deleted_go(tmp_path: Path) -> None:
    row = "2026-09-01,2026-09-01,1,A,{ad},Ad,{spend},1000,10,2026-09-0{day} 00:00:00,{gone}"
    got = read(
        tmp_path,
        f"{API},_fivetran_synced,_fivetran_deleted",
        row.format(ad=11, spend=50, day=1, gone="false"),
        row.format(ad=11, spend=50, day=2, gone="true"),
        row.format(ad=12, spend=30, day=1, gone="false"),
    )
    assert spend(got) == 30
    assert "marked deleted" in note(got, "deleted")


def test_syncs_of_one_instant_that_differ_are_asked_about(tmp_path: Path) -> None:
    row = "2026-09-01,2026-09-01,1,A,11,Ad,{spend},1000,10,2026-09-01T00:00:00Z"
    with pytest.raises(RefusedFile, match="cannot be told"):
        read(tmp_path, f"{API},_airbyte_extracted_at", row.format(spend=5), row.format(spend=7))


def test_rows_of_one_sync_keep_their_devices(tmp_path: Path) -> None:
    head = f"{API},device,_airbyte_extracted_at"
    row = "2026-09-01,2026-09-01,1,A,11,Ad,{spend},1000,10,{device},2026-09-0{day}T00:00:00Z"
    got = read(
        tmp_path,
        head,
        row.format(spend=5, device="MOBILE", day=1),
        row.format(spend=7, device="DESKTOP", day=1),
        row.format(spend=6, device="MOBILE", day=2),
        row.format(spend=7, device="DESKTOP", day=2),
    )
    assert spend(got) == 13


def test_the_latest_sync_of_a_feeds_row_counts(tmp_path: Path) -> None:
    head = f"{FEED},_airbyte_extracted_at,_airbyte_raw_id"
    row = "2026-09-01,DE,meta,A,all,{spend},1000,10,1,9,2026-09-0{day}T00:00:00Z,{day}"
    got = read(tmp_path, head, *[row.format(spend=s, day=d) for s, d in ((104, 3), (100, 1))])
    assert (spend(got), got.rows_read) == (Decimal(104), 2)
    assert "earlier sync" in note(got, "sync")


# -- one spend under two views ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "column", ["Attribution setting", "Attribution window", "Conversion action", "Goal name", "Tag"]
)
def test_one_spend_under_two_views_is_asked_about(column: str, tmp_path: Path) -> None:
    line = "2026-09-01,2026-09-01,A,{spend},100,5,{n},{view}"
    lines = [
        line.format(spend=s, n=n, view=view)
        for s in ("30.00", "41.20")
        for n, view in ((4, "7-day click"), (2, "1-day click"))
    ]
    lines = [text.replace("2026-09-01", f"2026-09-0{1 + i // 2}") for i, text in enumerate(lines)]
    with pytest.raises(RefusedFile) as refused:
        read(tmp_path, f"{META},{column}", *lines)
    assert refused.value.column == column.lower()
    assert f'--where "{column.lower()}=7-day click"' in refused.value.fix
    got = read(tmp_path, f"{META},{column}", *lines, where=(f"{column}=7-day click",))
    assert spend(got) == Decimal("71.20")
    assert got.frame["conversions"].sum() == 8
    assert "2 of 4 rows" in note(got, "--where")
    both = read(tmp_path, f"{META},{column}", *lines, parts=(column.lower(),))
    assert spend(both) == Decimal("142.40")


def test_ad_sets_of_several_attribution_settings_are_added(tmp_path: Path) -> None:
    line = "2026-09-01,2026-09-01,A,{spend},{shown},5,1,{view}"
    got = read(
        tmp_path,
        f"{META},Attribution setting",
        line.format(spend="30.00", shown=100, view="7-day click"),
        line.format(spend="12.00", shown=50, view="1-day click"),
    )
    assert spend(got) == 42


def test_two_conversion_counts_of_one_spend_are_asked_about(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,1000,50,123.45,{n},{value}"
    with pytest.raises(RefusedFile, match="one spend"):
        read(tmp_path, GOOGLE, line.format(n=9, value=200), line.format(n=4, value=90))


# -- totals beside their parts ---------------------------------------------------------------------

ADS = (
    "Reporting starts,Reporting ends,Campaign name,Ad set name,Ad name,Amount spent (EUR),"
    "Impressions,Link clicks"
)


def ads(*rows: tuple[str, str, str, str]) -> list[str]:
    return [
        f"2026-09-01,2026-09-01,{campaign},{adset},{ad},{spent},{int(float(spent) * 10)},1"
        for campaign, adset, ad, spent in rows
    ]


def test_a_campaigns_row_beside_its_ads_is_their_total(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        ADS,
        *ads(
            ("A", "", "", "30.00"),
            ("A", "S", "", "30.00"),
            ("A", "S", "one", "10.00"),
            ("A", "S", "two", "20.00"),
            ("B", "", "", "7.00"),
        ),
    )
    assert spend(got) == 37
    assert "Totals rows left out: 2" in note(got, "Totals rows")
    assert "60.00 spend" in note(got, "Totals rows")


@pytest.mark.parametrize("word", ["", "all", "All", "Total", "--"])
def test_a_total_over_a_breakdown_is_left_out(word: str, tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,{shown},5,{spent},1,20,{country}"
    got = read(
        tmp_path,
        f"{GOOGLE},Device",
        line.format(shown=30, spent="30.00", country=word),
        line.format(shown=10, spent="10.00", country="Mobile"),
        line.format(shown=20, spent="20.00", country="Desktop"),
    )
    assert spend(got) == 30


def test_a_blank_that_is_no_sum_is_an_unknown_part(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,{shown},5,{spent},1,20,{country}"
    got = read(
        tmp_path,
        f"{GOOGLE},Country/Territory",
        line.format(shown=30, spent="30.00", country="Germany"),
        line.format(shown=20, spent="20.00", country="France"),
        line.format(shown=4, spent="4.00", country=""),
    )
    assert spend(got) == 54
    assert "counted as a part of its own (4.00 spend)" in note(got, "part of its own")


def test_a_total_over_named_and_unknown_parts_is_left_out(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,{shown},5,{spent},1,20,{country}"
    got = read(
        tmp_path,
        f"{GOOGLE},Device",
        line.format(shown=54, spent="54.00", country="Total"),
        line.format(shown=30, spent="30.00", country="Mobile"),
        line.format(shown=20, spent="20.00", country="Desktop"),
        line.format(shown=4, spent="4.00", country=""),
    )
    assert spend(got) == 54


@pytest.mark.parametrize("spent", ["35.00", "29.00"])
def test_a_campaigns_row_that_is_not_the_sum_of_its_ads_is_asked_about(
    spent: str, tmp_path: Path
) -> None:
    lines = ads(("A", "S", "", spent), ("A", "S", "one", "10.00"), ("A", "S", "two", "20.00"))
    with pytest.raises(RefusedFile) as refused:
        read(tmp_path, ADS, *lines)
    assert refused.value.column == "ad name"
    assert '--where "ad name!="' in refused.value.fix
    assert spend(read(tmp_path, ADS, *lines, where=("ad name!=",))) == 30
    assert spend(read(tmp_path, ADS, *lines, where=("ad name=",))) == Decimal(spent)
    assert spend(read(tmp_path, ADS, *lines, parts=("ad name",))) == 30 + Decimal(spent)


def test_one_spend_broken_down_by_device_and_again_by_country_is_counted_once(
    tmp_path: Path,
) -> None:
    line = "A,2026-09-01,EUR,10,5,{spent},1,20,{device},{country}"
    got = read(
        tmp_path,
        f"{GOOGLE},Device,Country/Territory",
        line.format(spent="10.00", device="Mobile", country=""),
        line.format(spent="20.00", device="Desktop", country=""),
        line.format(spent="12.00", device="", country="Germany"),
        line.format(spent="13.00", device="", country="France"),
        line.format(spent="5.00", device="", country="Spain"),
    )
    assert spend(got) == 30


def test_a_row_over_a_period_beside_its_days_is_their_total(tmp_path: Path) -> None:
    line = "2026-09-0{a},2026-09-0{b},A,{spent},{shown},1,1"
    lines = [line.format(a=a, b=b, spent=s, shown=s * 10) for a, b, s in ((1, 1, 10), (2, 2, 20))]
    total = line.format(a=1, b=2, spent=30, shown=300)
    got = read(tmp_path, META, *lines, total)
    assert spend(got) == 30
    assert "sum of its days" in note(got, "period")
    assert spend(read(tmp_path, META, *lines, total, spread=True)) == 30
    with pytest.raises(RefusedFile, match="not their sum"):
        read(tmp_path, META, *lines, total.replace(",30,", ",31,"), spread=True)


def test_two_breakdowns_of_one_campaign_that_do_not_agree_are_asked_about(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,10,5,{spent},1,20,{device},{country}"
    with pytest.raises(RefusedFile, match="cannot be told"):
        read(
            tmp_path,
            f"{GOOGLE},Device,Country/Territory",
            line.format(spent="10.00", device="Mobile", country=""),
            line.format(spent="20.00", device="Desktop", country=""),
            line.format(spent="25.00", device="", country="Germany"),
        )


def test_an_ad_called_all_seasons_is_an_ad(tmp_path: Path) -> None:
    lines = ads(("A", "S", "All seasons", "30.00"), ("A", "S", "one", "30.00"))
    assert spend(read(tmp_path, ADS, *lines)) == 60


@pytest.mark.parametrize("whole", ["all", ""])
def test_a_feeds_campaign_beside_its_creatives_is_their_total(whole: str, tmp_path: Path) -> None:
    row = "2026-09-01,DE,meta,A,{creative},{spent},{shown},1,1,9"
    got = read(
        tmp_path,
        FEED,
        row.format(creative=whole, spent="30.00", shown=300),
        row.format(creative="one", spent="10.00", shown=100),
        row.format(creative="two", spent="20.00", shown=200),
    )
    assert spend(got) == 30
    assert "Totals rows left out: 1" in note(got, "Totals rows")


def test_a_feeds_segment_all_beside_its_segments_is_their_total(tmp_path: Path) -> None:
    row = "2026-09-0{day},{segment},meta,A,all,{spent},{shown},1,1,9"
    parts = [
        row.format(day=day, segment=segment, spent=spent, shown=spent * 10)
        for day in (1, 2)
        for segment, spent in (("all", 30), ("DE", 10), ("FR", 20))
    ]
    assert spend(read(tmp_path, FEED, *parts)) == 60
    other = row.format(day=1, segment="all", spent=99, shown=990)
    with pytest.raises(RefusedFile, match="'segment'"):
        read(tmp_path, FEED, other, *parts[1:])


def test_rows_of_a_feed_told_apart_by_a_column_it_has_not_are_refused(tmp_path: Path) -> None:
    row = "2026-09-01,DE,meta,A,all,{spent},1000,1,1,9,{device}"
    lines = [row.format(spent=10, device="mobile"), row.format(spent=20, device="desktop")]
    with pytest.raises(RefusedFile) as refused:
        read(tmp_path, f"{FEED},device", *lines)
    assert refused.value.column == "device"
    got = read(tmp_path, f"{FEED},device", lines[0], lines[1].replace("DE", "FR"))
    assert spend(got) == 30


MAP = """
feed = "performance"
aggregate = true
[rename]
day = "date"
geo = "segment"
cost = "spend"
shown = "impressions"
[constants]
channel = "display"
clicks = 0
conversions = 0
revenue = 0
"""


def test_a_mapped_table_counts_a_row_once_but_every_event(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAP, encoding="utf-8")
    lines = ["2026-09-01,DE,12.50,100"] * 2 + ["2026-09-01,DE,3.00,20"]
    got = read(tmp_path, "day,geo,cost,shown", *lines, mapping=tmp_path / "m.toml")
    assert spend(got) == Decimal("15.5")
    assert note(got, "equal to another")
    events = ["2026-09-01,DE,0.25,1"] * 4
    got = read(tmp_path, "day,geo,cost,shown", *events, mapping=tmp_path / "m.toml")
    assert spend(got) == 1


# -- what a row is ---------------------------------------------------------------------------------


def test_two_ad_sets_with_one_ad_name_and_two_accounts_stay_apart(tmp_path: Path) -> None:
    head = f"Account name,{ADS}"
    lines = [
        f"{account},2026-09-01,2026-09-01,A,{adset},Picture,{spent},100,1"
        for account, adset, spent in (("one", "S", 5), ("one", "T", 7), ("two", "S", 11))
    ]
    got = read(tmp_path, head, *lines)
    assert got.frame["spend"].tolist() == [5, 7, 11]
    assert got.frame["account"].tolist() == ["one", "one", "two"]
    assert got.frame["adset_id"].tolist() == ["name:S", "name:T", "name:S"]


def test_the_account_is_given_where_an_export_has_none(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,100,5,12.50,1,20"
    assert read(tmp_path, GOOGLE, line, account="shop").frame["account"].tolist() == ["shop"]
    row = "2026-09-01,DE,meta,A,all,1,1000,1,1,9"
    assert read(tmp_path, FEED, row, account="shop").frame["account"].tolist() == ["shop"]


def test_a_campaign_renamed_within_a_file_is_one_campaign(tmp_path: Path) -> None:
    head = API + ",hourly_stats_aggregated_by_advertiser_time_zone"
    row = "2026-09-01,2026-09-01,1,{name},11,Ad,{spend},1000,10,{hour}"
    got = read(
        tmp_path,
        head,
        row.format(name="Old", spend=5, hour="00:00:00 - 00:59:59"),
        row.format(name="New", spend=6, hour="01:00:00 - 01:59:59"),
    )
    assert got.frame[["campaign", "campaign_id", "spend"]].to_numpy().tolist() == [["New", "1", 11]]


def test_a_condition_that_is_none_or_that_no_row_meets_is_named(tmp_path: Path) -> None:
    line = "A,2026-09-01,EUR,100,5,12.50,1,20"
    with pytest.raises(ConfigurationError, match="no condition"):
        read(tmp_path, GOOGLE, line, where=("Campaign",))
    with pytest.raises(RefusedFile, match="no row meets"):
        read(tmp_path, GOOGLE, line, where=("Campaign=B",))
    with pytest.raises(RefusedFile, match="names the column"):
        read(tmp_path, GOOGLE, line, where=("Kampagne=B",))
