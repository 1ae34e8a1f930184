"""Reports downloaded by hand from the platforms' own pages, and the same from their APIs: made up
here, written as each platform writes them, and summed by hand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile

# day, campaign, campaign id, ad set, ad set id, ad, ad id, spend, impressions, clicks, purchases,
# value. Two ad sets have an ad of one name, and all days read as month/day or day/month.
FACTS = [
    (date(2026, 9, 1), "Brand", "c1", "Women", "g1", "Video", "a1", "1234.5", 50000, 310, 4, "410"),
    (date(2026, 9, 1), "Brand", "c1", "Men", "g2", "Video", "a2", "20.25", 900, 12, 1, "59.90"),
    (date(2026, 9, 2), "Brand", "c1", "Men", "g2", "Video", "a2", "19.75", 880, 9, 0, "0"),
    (date(2026, 9, 2), "Total Wireless", "c2", "All", "g3", "Card", "a3", "7.10", 400, 3, 0, "0"),
]
KEYS = (
    "day",
    "campaign",
    "campaign_id",
    "group",
    "group_id",
    "ad",
    "ad_id",
    "spend",
    "impressions",
    "clicks",
    "purchases",
    "value",
)
SPEND = Decimal("1281.60")
BY_DAY = {"2026-09-01": Decimal("1254.75"), "2026-09-02": Decimal("26.85")}


@dataclass(frozen=True)
class Layout:
    """How one platform writes the facts: the columns, how a day looks, what stands around."""

    importer: str
    channel: str
    columns: dict[str, str]
    day: str = "%Y-%m-%d"
    above: str = ""
    total: dict[str, str] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    units: dict[str, Callable[[Any], str]] = field(default_factory=dict)
    below: str = ""

    def text(self) -> str:
        """The file."""
        out = io.StringIO()
        header = [*self.columns.values(), *self.more]
        rows = csv.DictWriter(out, header, restval="--", lineterminator="\n")
        rows.writeheader()
        for fact in FACTS:
            rows.writerow(self.row(fact))
        if self.total:
            sums = {self.columns["spend"]: str(SPEND), self.columns["impressions"]: "52180"}
            rows.writerow({**sums, **self.total})
        return self.above + out.getvalue() + self.below

    def row(self, fact: tuple[Any, ...]) -> dict[str, str]:
        """One fact as the platform writes it."""
        cells = dict(zip(KEYS, fact, strict=True))
        cells["day"] = cells["day"].strftime(self.day)
        shown = {
            name: self.units[key](cells[key]) if key in self.units else str(cells[key])
            for key, name in self.columns.items()
        }
        return {**shown, **self.more}


def _columns(names: str) -> dict[str, str]:
    return {key: name.strip() for key, name in zip(KEYS, names.split("|"), strict=True)}


def _micros(amount: Any) -> str:
    return str(int(Decimal(amount) * 1_000_000))


def _thousands(amount: Any) -> str:
    return f"{Decimal(amount):,.2f}"


LAYOUTS = {
    "tiktok by hand": Layout(
        "tiktok",
        "tiktok",
        _columns(
            "By Day|Campaign name|Campaign ID|Ad group name|Ad group ID|Ad name|Ad ID|Cost|"
            "Impressions|Clicks (destination)|Conversions|Total purchase value"
        ),
        total={"By Day": "-", "Campaign name": "Total of 4 results"},
        more={"Currency": "EUR", "CTR (destination)": "0.62%"},
    ),
    "tiktok by hand, by date": Layout(
        "tiktok",
        "tiktok",
        _columns(
            "Date|Campaign name|Campaign ID|Ad group name|Ad group ID|Ad name|Ad ID|"
            "Cost (EUR)|Impressions|Clicks (all)|Conversions|Total purchase value (EUR)"
        ),
        total={"Date": "Total of 1,204 results"},
    ),
    "snapchat by hand": Layout(
        "snapchat_ads_manager",
        "snapchat",
        _columns(
            "Start Time|Campaign Name|Campaign ID|Ad Set Name|Ad Set ID|Ad Name|Ad ID|"
            "Amount Spent|Paid Impressions|Swipe Ups|Purchases|Purchases Value"
        ),
        total={"Start Time": "Total"},
        more={"End Time": "", "Currency": "EUR"},
    ),
    "snapchat by hand, with clicks": Layout(
        "snapchat_ads_manager",
        "snapchat",
        _columns(
            "Day|Campaign Name|Campaign ID|Ad Set Name|Ad Set ID|Ad Name|Ad ID|"
            "Amount Spent (EUR)|Paid Impressions|Clicks|Purchases|Purchases Value"
        ),
    ),
    "pinterest by hand": Layout(
        "pinterest",
        "pinterest",
        _columns(
            "Date|Campaign name|Campaign ID|Ad group name|Ad group ID|Ad name|Ad ID|"
            "Spend in account currency|Impressions|Outbound clicks|"
            "Total conversions (Checkout)|Total order value (Checkout)"
        ),
        more={"Currency": "EUR", "Cost per result": "[1.23]"},
    ),
    "pinterest api": Layout(
        "pinterest",
        "pinterest",
        _columns(
            "DATE|CAMPAIGN_NAME|CAMPAIGN_ID|AD_GROUP_NAME|AD_GROUP_ID|AD_NAME|AD_ID|"
            "SPEND_IN_MICRO_DOLLAR|TOTAL_IMPRESSION|TOTAL_CLICKTHROUGH|TOTAL_CHECKOUT|"
            "TOTAL_CHECKOUT_VALUE_IN_MICRO_DOLLAR"
        ),
        units={"spend": _micros, "value": _micros},
    ),
    "pinterest api in units": Layout(
        "pinterest",
        "pinterest",
        _columns(
            "date|campaign_name|campaign_id|ad_group_name|ad_group_id|ad_name|ad_id|"
            "spend_in_dollar|impression_1|clickthrough_1|total_checkout|"
            "total_checkout_value_in_micro_dollar"
        ),
        units={"value": _micros},
    ),
    "reddit by hand": Layout(
        "reddit",
        "reddit",
        _columns(
            "Date|Campaign Name|Campaign Id|Ad Group Name|AD_GROUP Id|Ad Name|Ad Id|"
            "Amount Spent (EUR)|Impressions|Clicks|Purchases|Purchase Value"
        ),
        units={"spend": _thousands},
        total={"Date": "Total"},
        more={"eCPM (EUR)": "4.10"},
    ),
    "reddit api": Layout(
        "reddit_api",
        "reddit",
        _columns(
            "DATE|CAMPAIGN_NAME|CAMPAIGN_ID|AD_GROUP_NAME|AD_GROUP_ID|AD_NAME|AD_ID|SPEND|"
            "IMPRESSIONS|CLICKS|CONVERSION_PURCHASE_CLICKS|CONVERSION_PURCHASE_TOTAL_VALUE"
        ),
        units={"spend": _micros, "value": lambda v: str(int(Decimal(v) * 100))},
        more={"CONVERSION_PURCHASE_VIEWS": "0"},
    ),
    "linkedin by hand": Layout(
        "linkedin",
        "linkedin",
        _columns(
            "Start Date (in UTC)|Campaign Name|Campaign ID|Ad Set Name|Ad Set ID|Ad Name|"
            "Ad ID|Total Spent|Impressions|Clicks|Conversions|Total Conversion Value"
        ),
        day="%m/%d/%Y",
        above="Ad Performance Report (in UTC)\n"
        '"Report Start: 09/01/2026, Report End: 09/02/2026"\n\n',
        total={"Start Date (in UTC)": "Total"},
        more={"Currency": "EUR", "Account Name": "Shop"},
    ),
    "microsoft by hand": Layout(
        "microsoft_ads",
        "microsoft_ads",
        _columns(
            "Gregorian date|Campaign name|Campaign ID|Ad group|Ad group ID|Ad title|Ad ID|"
            "Spend|Impr.|Clicks|Conv.|Revenue"
        ),
        day="%m/%d/%Y",
        above='"Report Name: Ads"\n"Report Time: 9/1/2026 - 9/2/2026"\n\n',
        total={"Gregorian date": "Overall total - 4 ads"},
        more={"Currency code": "EUR", "Account number": "X1"},
        below='\n"©2026 Microsoft Corporation. All rights reserved. "\n',
    ),
    "microsoft grid": Layout(
        "microsoft_ads",
        "microsoft_ads",
        _columns(
            "Day|Campaign|Campaign ID|Ad group|Ad group ID|Ad title|Ad ID|Spend|Impr.|Clicks|"
            "Conv.|Revenue"
        ),
        units={"spend": _thousands},
        total={"Day": "Filtered total"},
    ),
}


def write(folder: Path, text: str, name: str = "export.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def exact(column: Any) -> Decimal:
    return sum((Decimal(str(value)) for value in column), Decimal(0))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_report_is_read_to_the_cent(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    got = read_delivery(write(tmp_path, layout.text()))
    frame = got.frame
    assert (got.feed, got.importer, got.rows_read) == ("performance", layout.importer, len(FACTS))
    assert "_broken" not in frame
    assert set(frame["channel"]) == {layout.channel}
    days = frame["date"].dt.strftime("%Y-%m-%d")
    assert {day: exact(frame.loc[days == day, "spend"]) for day in set(days)} == BY_DAY
    assert int(frame["impressions"].sum()) == sum(fact[8] for fact in FACTS)
    assert int(frame["clicks"].sum()) == sum(fact[9] for fact in FACTS)
    assert exact(frame["conversions"]) == sum(fact[10] for fact in FACTS)
    assert exact(frame["revenue"]) == Decimal("469.90")
    assert set(frame["campaign"]) == {"Brand", "Total Wireless"}
    if "EUR" in layout.text():
        assert set(frame["currency"]) == {"EUR"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_ids_of_a_report_say_what_a_row_is(name: str, tmp_path: Path) -> None:
    frame = read_delivery(write(tmp_path, LAYOUTS[name].text())).frame
    assert set(frame["campaign_id"]) == {"c1", "c2"}
    assert set(frame["adset_id"]) == {"g1", "g2", "g3"}
    assert set(frame["ad_id"]) == {"a1", "a2", "a3"}


@pytest.mark.parametrize("name", [name for name in LAYOUTS if "api" not in name])
def test_an_ad_set_without_an_id_goes_by_its_name(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    ids = ("campaign_id", "group_id", "ad_id")
    columns = {key: name for key, name in layout.columns.items() if key not in ids}
    named = Layout(
        layout.importer,
        layout.channel,
        columns,
        layout.day,
        layout.above,
        layout.total,
        layout.more,
        layout.units,
        layout.below,
    )
    frame = read_delivery(write(tmp_path, named.text())).frame
    assert set(frame["adset_id"]) == {"name:Women", "name:Men", "name:All"}
    assert exact(frame["spend"]) == SPEND


@pytest.mark.parametrize("name", [name for name in LAYOUTS if "linkedin" not in name])
def test_a_report_that_is_not_by_day_is_refused_with_the_way_to_have_it(
    name: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[name]
    day = layout.columns["day"]
    text = layout.text().replace(f"{day},", "Objective,", 1)
    with pytest.raises(RefusedFile) as refusal:
        read_delivery(write(tmp_path, text), ImportOptions(importer=layout.importer))
    assert "day" in str(refusal.value).lower()


def test_an_api_answer_in_json_is_read_like_its_table(tmp_path: Path) -> None:
    layout = LAYOUTS["pinterest api"]
    amount = "SPEND_IN_MICRO_DOLLAR"
    texts = [layout.row(fact) for fact in FACTS]
    rows = [{**row, amount: int(row[amount])} for row in texts]
    got = read_delivery(write(tmp_path, json.dumps(rows), "pinterest.json"))
    assert exact(got.frame["spend"]) == SPEND


SNAPCHAT_API = "campaign_id,start_time,end_time,impressions,swipes,spend\n"


def test_hours_and_days_with_an_end_are_read_by_their_start(tmp_path: Path) -> None:
    hours = "".join(
        f"c,2026-09-01T{hour:02}:00:00.000+02:00,"
        f"2026-09-0{1 + (hour == 23)}T{(hour + 1) % 24:02}:00:00.000+02:00,10,1,1000000\n"
        for hour in range(24)
    )
    got = read_delivery(
        write(tmp_path, SNAPCHAT_API + hours), ImportOptions(timezone="Europe/Berlin")
    )
    assert got.frame["date"].dt.strftime("%Y-%m-%d").tolist() == ["2026-09-01"]
    assert got.frame["spend"].tolist() == [24.0]
    day = "c,2026-09-01T00:00:00.000+02:00,2026-09-02T00:00:00.000+02:00,10,1,5000000\n"
    got = read_delivery(write(tmp_path, SNAPCHAT_API + day), ImportOptions(timezone="UTC"))
    assert got.frame["date"].dt.strftime("%Y-%m-%d").tolist() == ["2026-09-01"]


@pytest.mark.parametrize("end", ["2026-10-01T00:00:00.000+02:00", "2026-09-03T00:00:00.000+02:00"])
def test_a_total_over_days_is_not_put_on_its_first_day(end: str, tmp_path: Path) -> None:
    row = f"c,2026-09-01T00:00:00.000+02:00,{end},10,1,5000000\n"
    with pytest.raises(RefusedFile, match="span several days"):
        read_delivery(write(tmp_path, SNAPCHAT_API + row))


@pytest.mark.parametrize(
    "header", ["Date,Campaign name,Cost,Impressions", "Datum,Kampagne,Kosten,Impressionen"]
)
def test_a_table_of_no_known_platform_is_asked_about(header: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match=r"--importer.*--map"):
        read_delivery(write(tmp_path, header + "\n2026-09-01,A,1.00,10\n"))
