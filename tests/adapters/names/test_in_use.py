"""A country and a platform keep the name a workspace has them under; money never gets a second."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.names.in_use import NamesInUse, names_in_use
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 10, 1, tzinfo=UTC)
META = "Reporting starts,Reporting ends,Day,Country,Campaign name,Impressions,Amount spent (USD)\n"
GOOGLE = "Day,Campaign,Campaign ID,Campaign type,Cost,Impr.,Clicks\n"
TYPES = (
    "2026-09-01,Brand,1,Search,10.00,100,1\n"
    "2026-09-01,Max,2,Performance Max,20.50,100,1\n"
    "2026-09-01,Shop,3,Shopping,5.25,100,1\n"
    "2026-09-01,Clips,4,Video,4.00,100,1\n"
    "2026-09-01,Feed,5,Demand Gen,3.00,100,1\n"
)
SPLIT = {
    "google_ads_search": 10.0,
    "google_ads_performance_max": 20.5,
    "google_ads_shopping": 5.25,
    "google_ads_video": 4.0,
    "google_ads_demand_gen": 3.0,
}
UNTYPED = "Day,Campaign,Campaign ID,Cost,Impr.,Clicks\n2026-09-02,Brand,1,7.00,100,1\n"

Take = Callable[..., DeliverySummary]


@pytest.fixture
def workspace(tmp_path: Path, sqlite_model: Path) -> Workspace:
    place = Workspace(tmp_path / "shop")
    for folder in place.folders:
        folder.mkdir(parents=True)
    shutil.copy(sqlite_model, place.ledger)
    return place


@pytest.fixture
def take(workspace: Workspace) -> Take:
    engine = open_ledger(f"sqlite:///{workspace.ledger}")

    def deliver_text(name: str, text: str, **options: Any) -> DeliverySummary:
        path = workspace.inbox / name
        path.write_text(text, encoding="utf-8")
        return deliver(
            Intake(workspace, engine, Account()),
            path,
            options=ImportOptions(**options),
            received_at=NOW,
        )

    return deliver_text


def spend_by(workspace: Workspace, column: str) -> dict[str, float]:
    facts = read_facts(workspace, "performance", as_of=None, timezone="UTC")
    return {str(name): float(spend) for name, spend in facts.groupby(column)["spend"].sum().items()}


def meta(*rows: tuple[str, str]) -> str:
    return META + "".join(
        f"2026-09-0{day},2026-09-0{day},2026-09-0{day},{country},Sale,100,10\n"
        for day, country in rows
    )


def test_names_and_codes_of_a_country_are_one_segment(workspace: Workspace, take: Take) -> None:
    take("a.csv", meta(("1", "GB"), ("2", "United Kingdom"), ("3", "UK"), ("4", "Germany")))
    assert spend_by(workspace, "segment") == {"GB": 30.0, "DE": 10.0}
    assert names_in_use(workspace) == NamesInUse(("DE", "GB"), ("meta",))


def test_a_country_keeps_the_name_facts_have_it_under(workspace: Workspace, take: Take) -> None:
    take("google.csv", UNTYPED, segment="UK")
    take("meta.csv", meta(("1", "GB"), ("2", "United Kingdom"), ("3", "FR")))
    assert spend_by(workspace, "segment") == {"UK": 27.0, "FR": 10.0}


def test_campaign_types_become_channels(workspace: Workspace, take: Take) -> None:
    summary = take("google.csv", GOOGLE + TYPES)
    assert spend_by(workspace, "channel") == SPLIT
    assert "google_ads_demand_gen, google_ads_performance_max" in " ".join(summary.notes)


def test_the_channel_stated_stands_for_all_campaigns(workspace: Workspace, take: Take) -> None:
    take("google.csv", GOOGLE + TYPES, channel="google")
    assert spend_by(workspace, "channel") == {"google": 42.75}


def test_a_platform_that_is_one_channel_stays_one(workspace: Workspace, take: Take) -> None:
    take("old.csv", UNTYPED)
    summary = take("new.csv", GOOGLE + TYPES)
    assert spend_by(workspace, "channel") == {"google_ads": 49.75}
    assert "all of the platform's campaigns under google_ads" in " ".join(summary.notes)


def test_a_report_without_types_is_not_added_beside_those_with(
    workspace: Workspace, take: Take
) -> None:
    take("typed.csv", GOOGLE + TYPES)
    refused = take("untyped.csv", UNTYPED).refused
    assert refused is not None
    assert "campaign type" in refused
    assert "--channel google_ads" in refused
    assert spend_by(workspace, "channel") == SPLIT
    take("untyped.csv", UNTYPED, channel="google_ads_search")
    assert spend_by(workspace, "channel")["google_ads_search"] == 17.0


def test_a_file_delivered_again_stays_the_same_delivery(workspace: Workspace, take: Take) -> None:
    take("a.csv", meta(("1", "GB")))
    take("b.csv", meta(("2", "FR")))
    assert take("a.csv", meta(("1", "GB"))).duplicate


def test_an_api_row_says_its_campaign_type_too(workspace: Workspace, take: Take) -> None:
    take(
        "api.csv",
        "segments.date,campaign.id,campaign.name,campaign.advertising_channel_type,"
        "metrics.cost_micros,metrics.impressions,metrics.clicks\n"
        "2026-09-01,1,Brand,SEARCH,10000000,100,1\n"
        "2026-09-01,2,Max,PERFORMANCE_MAX,20500000,100,1\n",
    )
    assert spend_by(workspace, "channel") == {
        "google_ads_search": 10.0,
        "google_ads_performance_max": 20.5,
    }


SHOP = "Day,Orders,Gross sales,Net sales,Total sales\n2026-09-01,3,100,100,{}\n"
PAYMENTS = (
    "id,Created (UTC),Amount,Amount Refunded,Currency,Status\nch_1,2026-09-01 10:00,{},0,usd,Paid\n"
)


def revenue(workspace: Workspace) -> float:
    facts = read_facts(workspace, "sales", as_of=None, timezone="UTC")
    return float(facts["revenue"].sum())


def test_sales_of_a_second_source_are_asked_about_and_never_replace_in_silence(
    workspace: Workspace, take: Take
) -> None:
    take("shop.csv", SHOP.format("120.00"), segment="UK")
    refused = take("stripe.csv", PAYMENTS.format("30.00"), segment="UK").refused
    assert refused is not None
    assert "120.00 of sales are stored from shopify, and this stripe export says 30.00" in refused
    assert revenue(workspace) == 120.0
    take("stripe.csv", PAYMENTS.format("30.00"), segment="UK", stands="replace")
    assert revenue(workspace) == 30.0
    take("other.csv", PAYMENTS.format("8.00"), segment="FR")
    assert revenue(workspace) == 38.0


def test_a_second_source_that_says_the_same_and_a_later_export_of_one_are_taken(
    workspace: Workspace, take: Take
) -> None:
    take("shop.csv", SHOP.format("120.00"))
    assert take("stripe.csv", PAYMENTS.format("120.00")).refused is None
    take("later.csv", PAYMENTS.format("121.50"))
    assert revenue(workspace) == 121.5


def test_all_sales_beside_the_same_by_country_are_asked_about(
    workspace: Workspace, take: Take
) -> None:
    by_country = SHOP.replace("Day,", "Billing country,Day,").replace("2026", "United Kingdom,2026")
    take("shop.csv", by_country.format("120.00"))
    refused = take("stripe.csv", PAYMENTS.format("120.00")).refused
    assert refused is not None
    assert "120.00 of the same days are stored in GB from shopify" in refused
    assert revenue(workspace) == 120.0
    take("stripe.csv", PAYMENTS.format("7.00"), stands="beside")
    assert revenue(workspace) == 127.0
