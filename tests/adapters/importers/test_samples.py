"""Every sample export, against sums computed here from its true rows with csv and json alone."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.validate import sift

pytestmark = pytest.mark.real
MILLION = Decimal(1_000_000)
MAPS = Path(__file__).resolve().parents[3] / "examples" / "maps"


def _rows(path: Path, skip: int = 0) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        for _ in range(skip):
            next(stream)
        return [row for row in csv.DictReader(stream) if any(row.values())]


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


@dataclass(frozen=True)
class Truth:
    rows: int
    spend: Decimal
    impressions: int
    clicks: int
    spans_days: bool = False


def _csv_truth(
    rows: list[dict[str, str]], spend: str, impressions: str, clicks: str | None, **more: Any
) -> Truth:
    per = more.pop("per", Decimal(1))
    return Truth(
        len(rows),
        sum((Decimal(row[spend].replace(",", "")) / per for row in rows), Decimal(0)),
        sum(_whole(row[impressions]) for row in rows),
        sum(_whole(row[clicks]) for row in rows) if clicks else 0,
        **more,
    )


def facebook(path: Path) -> Truth:
    return _csv_truth(_rows(path), "spend", "impressions", "inline_link_clicks")


def google_ui(path: Path) -> Truth:
    rows = [r for r in _rows(path, skip=2) if not r["Campaign status"].startswith("Total:")]
    return _csv_truth(rows, "Cost", "Impr.", "Interactions", spans_days=True)


def google_api(path: Path) -> Truth:
    return _csv_truth(_rows(path), "cost_micros", "impressions", "clicks", per=MILLION)


def linkedin(path: Path) -> Truth:
    rows = [r for r in _rows(path, skip=3) if r["Start Date (in UTC)"] != "Total"]
    return _csv_truth(rows, "Total Spent", "Impressions", "Clicks")


def meta_ui(path: Path) -> Truth:
    rows = [r for r in _rows(path) if r["Campaign name"]]
    return _csv_truth(rows, "Amount spent (USD)", "Impressions", None, spans_days=True)


def meta_api(path: Path) -> Truth:
    rows = json.loads(path.read_text())["data"]
    return Truth(
        len(rows),
        sum((Decimal(row["spend"]) for row in rows), Decimal(0)),
        sum(int(row["impressions"]) for row in rows),
        sum(int(row["clicks"]) for row in rows),
        spans_days=True,
    )


def microsoft(path: Path) -> Truth:
    return _csv_truth(_rows(path), "spend", "impressions", "clicks")


def snapchat(path: Path) -> Truth:
    return _csv_truth(_rows(path), "spend", "impressions", "swipes", per=MILLION)


def tiktok(path: Path) -> Truth:
    return _csv_truth(_rows(path), "SPEND", "IMPRESSIONS", "CLICKS")


SAMPLES = {
    "facebook_ads_basic_ad_data.csv": ("meta_api", facebook),
    "google_ads_campaign_report_utf8.csv": ("google_ads", google_ui),
    "google_ads_campaign_stats_data.csv": ("google_ads_api", google_api),
    "linkedin_campaign_performance.csv": ("linkedin", linkedin),
    "meta_ads_manager_campaigns.csv": ("meta", meta_ui),
    "meta_insights_api.json": ("meta_api", meta_api),
    "microsoft_ads_campaign_performance_daily_report_data.csv": ("microsoft_ads", microsoft),
    "snapchat_campaign_hourly_report_data.csv": ("snapchat", snapchat),
    "tiktok_campaign_report_hourly_data.csv": ("tiktok", tiktok),
}


def exact_spend(frame: Any) -> Decimal:
    return sum((Decimal(str(value)) for value in frame["spend"]), Decimal(0))


@pytest.mark.parametrize("name", SAMPLES)
def test_totals_equal_an_independent_sum_of_the_true_rows(name: str, real_data: Path) -> None:
    path = real_data / "exports" / name
    importer, count = SAMPLES[name]
    truth = count(path)
    got = read_delivery(path, ImportOptions(spread=truth.spans_days))
    assert (got.feed, got.importer, got.rows_read) == ("performance", importer, truth.rows)
    assert exact_spend(got.frame) == truth.spend
    assert int(got.frame["impressions"].sum()) == truth.impressions
    assert int(got.frame["clicks"].sum()) == truth.clicks
    assert "_broken" not in got.frame


@pytest.mark.parametrize(
    "name", [n for n, (_, c) in SAMPLES.items() if c in (google_ui, meta_ui, meta_api)]
)
def test_a_report_over_several_days_is_refused_with_the_advice_to_segment_it(
    name: str, real_data: Path
) -> None:
    with pytest.raises(RefusedFile, match=r"span several days.*--spread"):
        read_delivery(real_data / "exports" / name)


def test_every_file_of_the_samples_is_tested(real_data: Path) -> None:
    there = {p.name for p in (real_data / "exports").iterdir() if p.suffix in (".csv", ".json")}
    assert there == set(SAMPLES)


def test_the_google_report_reads_the_same_as_utf16_with_tabs(
    real_data: Path, tmp_path: Path
) -> None:
    sample = real_data / "exports" / "google_ads_campaign_report_utf8.csv"
    with sample.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    copy = tmp_path / "Campaign report.csv"
    with copy.open("w", encoding="utf-16", newline="") as stream:
        csv.writer(stream, delimiter="\t").writerows(rows)
    plain, wide = (read_delivery(path, ImportOptions(spread=True)) for path in (sample, copy))
    assert plain.frame.equals(wide.frame)
    assert plain.rows_read == wide.rows_read == 2


def test_the_google_report_is_spread_over_the_days_of_its_preamble(real_data: Path) -> None:
    got = read_delivery(
        real_data / "exports" / "google_ads_campaign_report_utf8.csv", ImportOptions(spread=True)
    ).frame
    assert got["date"].min().date() == date(2025, 7, 8)
    assert got["date"].max().date() == date(2025, 7, 31)
    assert len(got) == 2 * 24
    assert set(got["currency"]) == {"INR"}
    assert (got["clicks"] <= got["impressions"]).all()


def test_snapchat_hours_become_one_account_day(real_data: Path) -> None:
    got = read_delivery(real_data / "exports" / "snapchat_campaign_hourly_report_data.csv")
    assert got.frame["date"].dt.date.tolist() == [date(2022, 5, 29)]
    assert got.frame["spend"].tolist() == [1.013488]
    assert got.rows_read == 10


def test_facebook_ads_keep_their_ad_as_creative(real_data: Path) -> None:
    got = read_delivery(real_data / "exports" / "facebook_ads_basic_ad_data.csv").frame
    assert set(got["campaign"]) == {"all"}
    assert "6215762744671" in set(got["creative"])


def test_meta_purchases_are_taken_once(real_data: Path) -> None:
    got = read_delivery(
        real_data / "exports" / "meta_insights_api.json", ImportOptions(spread=True)
    ).frame
    assert round(got["conversions"].sum(), 6) == 12
    assert exact(got["revenue"]) == Decimal("731860.00")


def exact(column: Any) -> Decimal:
    return sum((Decimal(str(value)) for value in column), Decimal(0))


def test_hillstrom_enters_the_units_feed(real_data: Path) -> None:
    got = read_delivery(
        real_data / "hillstrom.csv.gz", ImportOptions(mapping=MAPS / "hillstrom.toml")
    )
    frame = got.frame
    assert (got.feed, got.importer, got.rows_read, len(frame)) == (
        "units",
        "map:hillstrom",
        64_000,
        64_000,
    )
    assert frame["unit_id"].is_unique
    assert frame["channel"].value_counts().to_dict() == {
        "womens_email": 21_387,
        "mens_email": 21_307,
    }
    control = frame["arm"] == "control"
    assert int(control.sum()) == 21_306
    assert frame.loc[control, "channel"].isna().all()
    assert set(frame.loc[control, "cost"]) == {0.0}
    assert set(frame.loc[~control, "cost"]) == {0.1}
    assert int(frame["converted"].sum()) == 578
    mens = frame["channel"] == "mens_email"
    lift = frame.loc[mens, "y_visit"].mean() - frame.loc[control, "y_visit"].mean()
    assert round(100 * lift, 2) == 7.66
    assert any("0.10" in note for note in got.notes)
    sifted = sift("units", frame, account=Account(), received_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert len(sifted.accepted) == 64_000


def test_company_x_enters_performance_and_its_two_impossible_rows_are_quarantined(
    real_data: Path,
) -> None:
    import gzip

    with gzip.open(real_data / "company_x_display.csv.gz", "rt", newline="") as stream:
        true = list(csv.DictReader(stream))
    got = read_delivery(
        real_data / "company_x_display.csv.gz",
        ImportOptions(mapping=MAPS / "company_x.toml"),
    )
    frame = got.frame
    keys = ["date", "segment", "channel", "campaign", "creative"]
    assert got.rows_read == len(frame) == len(true) == 15_403
    assert not frame.duplicated(keys).any()
    assert exact(frame["spend"]) == sum((Decimal(r["revenue"]) for r in true), Decimal(0))
    assert int(frame["clicks"].sum()) == sum(int(r["clicks"]) for r in true)
    unplaced = frame["creative"].str.endswith(" / unknown")
    assert int(unplaced.sum()) == sum(r["placement"] == "#N/A" for r in true) == 413
    sifted = sift(
        "performance", frame, account=Account(), received_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert (len(sifted.accepted), len(sifted.rejected)) == (15_403, 0)
    assert [(one.column, one.rows) for one in sifted.missing] == [("clicks", 2)]
