"""Stored spend over several deliveries: levels, ids, accounts, and what a report no longer has."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from liftloop.adapters.facts.archived_deliveries import finish_pending
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import content_hash, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = "2026-02-01"
Row = dict[str, Any]


def row(spend: float, **more: Any) -> Row:
    plain = {"date": DAY, "segment": "all", "channel": "search", "impressions": 100, "clicks": 10}
    return {**plain, "conversions": 1, "revenue": 50, "spend": spend, **more}


@dataclass
class Shop:
    """A workspace that takes performance rows in as files."""

    workspace: Workspace
    engine: Engine
    taken: int = 0
    last: DeliverySummary | None = None
    texts: list[str] = field(default_factory=list)

    def take(self, *rows: Row, stands: str = "", account: str = "") -> DeliverySummary:
        self.taken += 1
        return self.again(self.file(rows), stands=stands, account=account)

    def file(self, rows: Sequence[Row]) -> Path:
        path = self.workspace.root / f"performance-{self.taken}.csv"
        pd.DataFrame(list(rows)).to_csv(path, index=False)
        return path

    def again(self, path: Path, **options: Any) -> DeliverySummary:
        self.last = deliver(
            Intake(self.workspace, self.engine, Account()),
            path,
            options=ImportOptions(**options),
            received_at=NOW,
        )
        return self.last

    def facts(self, as_of: date | None = None) -> pd.DataFrame:
        return read_facts(self.workspace, "performance", as_of=as_of, timezone="UTC")

    def spend(self, as_of: date | None = None) -> float:
        return round(float(self.facts(as_of)["spend"].sum()), 2)


@pytest.fixture
def shop(tmp_path: Path, sqlite_model: Path) -> Shop:
    workspace = Workspace(tmp_path / "shop")
    for folder in workspace.folders:
        folder.mkdir(parents=True)
    shutil.copy(sqlite_model, workspace.ledger)
    return Shop(workspace, open_ledger(f"sqlite:///{workspace.ledger}"))


CAMPAIGN = [row(30, campaign="brand")]
ADS = [row(10, campaign="brand", creative="a"), row(20, campaign="brand", creative="b")]
IDS = [
    row(10, campaign="brand", campaign_id="7", ad_id="71", creative="a"),
    row(20, campaign="brand", campaign_id="7", ad_id="72", creative="b"),
]
CHANNEL = [row(30)]
COUNTRIES = [
    row(12, campaign="brand", segment="UK"),
    row(18, campaign="brand", segment="DE"),
]
ACCOUNT = [row(30, campaign="brand", account="main")]
ADSETS = [
    row(10, campaign="brand", adset_id="name:cold", creative="a"),
    row(20, campaign="brand", adset_id="name:warm", creative="a"),
]
BARE_ADSETS = [
    row(10, campaign="brand", adset_id="901", creative="a"),
    row(20, campaign="brand", adset_id="902", creative="a"),
]
OLD_IDS = [row(30, campaign="7", campaign_id="")]  # an export of ids alone, before ids had columns
NEW_IDS = [row(30, campaign="brand", campaign_id="7")]
LEVELS = {
    "campaigns": CAMPAIGN,
    "ads": ADS,
    "ids": IDS,
    "channels": CHANNEL,
    "countries": COUNTRIES,
    "account": ACCOUNT,
    "ad sets by name": ADSETS,
    "ad sets by id": BARE_ADSETS,
}
AD_SETS = ("ad sets by name", "ad sets by id")  # both ads of the campaign have one name there
ASKED = {
    *(("countries", later) for later in LEVELS if later != "countries"),  # segments would be lost
    *(pair for name in AD_SETS for pair in (("ads", name), (name, "ads"))),  # two ads "a" for one
}


NAMED_ADS = ("ids", "ad sets by name", "ad sets by id")  # of ads of their own each


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (first, second)
        for first in LEVELS
        for second in LEVELS
        if first == second or not {first, second} <= {*NAMED_ADS}
    ],
)
def test_the_same_money_on_two_levels_counts_once(shop: Shop, first: str, second: str) -> None:
    shop.take(*LEVELS[first])
    taken = shop.take(*LEVELS[second])
    assert bool(taken.refused) == ((first, second) in ASKED), (taken.notes, taken.refused)
    assert shop.spend() == 30


def test_a_level_that_replaced_another_says_so(shop: Shop) -> None:
    shop.take(*CAMPAIGN)
    taken = shop.take(*ADS)
    assert taken.notes[-1] == (
        "1 row stored before (30.00) told the same money on another level of detail and no longer "
        "count: 2 rows of this delivery (30.00) replace them."
    )
    assert (taken.received, taken.stored, taken.superseded) == (2, 2, 0)


def test_levels_take_turns(shop: Shop) -> None:
    for _ in range(2):
        for level in (CAMPAIGN, ADS, COUNTRIES, CAMPAIGN, IDS):
            shop.take(*level)
            assert shop.spend() == 30


def test_an_id_is_the_campaign_and_its_name_a_label(shop: Shop) -> None:
    shop.take(row(30, campaign="brand", campaign_id="7"))
    shop.take(row(30, campaign="brand 2026", campaign_id="7"))
    assert (shop.spend(), shop.facts()["campaign"].tolist()) == (30, ["brand 2026"])


def test_ids_that_were_labels_stay_the_same_rows(shop: Shop) -> None:
    shop.take(*OLD_IDS)
    shop.take(*NEW_IDS)
    assert shop.spend() == 30


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"account": "123-456-7890"}, {"account": "1234567890"}),
        ({"account": "act_12"}, {"account": "12"}),
        ({"account": "Main"}, {"account": "main"}),
        ({"account": "m", "campaign_id": "7.0"}, {"account": "m", "campaign_id": "7"}),
        ({"campaign_id": "7", "ad_id": "71.0"}, {"campaign_id": "7", "ad_id": "71"}),
    ],
)
def test_an_id_is_the_same_however_it_is_written(shop: Shop, first: Row, second: Row) -> None:
    for more in (first, second, first):
        shop.take(row(30, campaign="brand", **more))
        assert shop.spend() == 30
        assert shop.spend(date(2026, 2, 9)) == 30


def test_two_accounts_with_one_campaign_name_are_both_kept(shop: Shop) -> None:
    shop.take(row(30, campaign="brand", account="main"))
    shop.take(row(5, campaign="brand", account="shop b"))
    assert shop.spend() == 35


def test_two_ad_sets_with_one_ad_name_are_both_kept(shop: Shop) -> None:
    shop.take(row(30, creative="video", adset_id="name:a", campaign="brand"))
    shop.take(row(5, creative="video", adset_id="name:b", campaign="brand"))
    assert shop.spend() == 35


def test_another_amount_on_another_level_is_asked_about(shop: Shop) -> None:
    shop.take(*CAMPAIGN)
    other = [row(5, campaign="brand", creative="a"), row(8, campaign="brand", creative="b")]
    asked = shop.take(*other)
    assert asked.refused is not None
    for said in ("13.00", "30.00", "--replace", "--beside", "2026-02-01"):
        assert said in asked.refused
    assert shop.spend() == 30
    path = shop.file(other)
    shop.again(path, stands="beside")
    assert shop.spend() == 43
    shop.again(path, stands="replace")
    assert shop.spend() == 13


def test_a_file_refused_with_a_question_leaves_nothing_behind(shop: Shop) -> None:
    shop.take(*CAMPAIGN)
    before = sorted(shop.workspace.archive.rglob("*"))
    assert shop.take(row(5, campaign="brand", creative="a")).refused
    assert sorted(shop.workspace.archive.rglob("*")) == before


def test_a_row_of_a_mixed_report_that_tells_the_total_replaces_the_parts(shop: Shop) -> None:
    shop.take(row(5, campaign="brand"), row(25, campaign="brand", segment="UK"))
    shop.take(*CAMPAIGN)
    assert shop.spend() == 30


def test_a_row_of_a_mixed_report_can_be_corrected(shop: Shop) -> None:
    shop.take(row(5, campaign="brand"), row(25, campaign="brand", segment="UK"))
    shop.take(row(5.1, campaign="brand"))
    assert shop.spend() == 30.1
    asked = shop.take(row(15, campaign="brand"))
    assert asked.refused
    assert shop.spend() == 30.1


def test_the_past_is_read_on_the_level_of_then(shop: Shop) -> None:
    shop.take(*(one | {"reported_at": "2026-02-03T00:00Z"} for one in CAMPAIGN))
    shop.take(*(one | {"reported_at": "2026-02-06T00:00Z"} for one in ADS))
    known = {day: len(shop.facts(date(2026, 2, day))) for day in (2, 4, 6, 7)}
    assert known == {2: 0, 4: 1, 6: 1, 7: 2}
    assert {shop.spend(date(2026, 2, day)) for day in (4, 6, 7, 9)} == {30}


def test_a_level_reported_earlier_does_not_undo_what_came_since(shop: Shop) -> None:
    shop.take(*(one | {"reported_at": "2026-02-06T00:00Z"} for one in ADS))
    late = shop.take(*(one | {"reported_at": "2026-02-03T00:00Z"} for one in CAMPAIGN))
    assert (late.stored, late.superseded) == (0, 1)
    known = {day: len(shop.facts(date(2026, 2, day))) for day in (2, 4, 6, 7)}
    assert known == {2: 0, 4: 1, 6: 1, 7: 2}
    assert {shop.spend(date(2026, 2, day)) for day in (4, 6, 7, 9)} == {30}


def test_a_complete_report_of_an_account_takes_out_what_it_lacks(shop: Shop) -> None:
    a, b = row(30, campaign="a", account="main"), row(30, campaign="b", account="main")
    shop.take(a, b, row(9, campaign="b", account="other"))
    again = shop.take(a, {**a, "date": "2026-02-02"})
    assert shop.spend() == 69
    assert again.notes[-1] == (
        "No longer in the report of account main, and taken out: b, 30.00 on 1 day."
    )
    assert (shop.spend(date(2026, 2, 3)), shop.spend(date(2026, 2, 4))) == (39, 69)


def test_a_part_of_an_account_takes_nothing_out(shop: Shop) -> None:
    a, b = row(10, campaign="a", account="main"), row(30, campaign="b", account="main")
    shop.take(a, b)
    assert shop.take(a).refused
    assert shop.spend() == 40
    again = shop.take({**a, "spend": 11})
    assert shop.spend() == 41
    assert "kept: b, 30.00 on 1 day" in again.notes[-1]
    shop.again(shop.file([a]), stands="replace")
    assert shop.spend() == 10


def test_a_correction_of_one_row_is_no_complete_report(shop: Shop) -> None:
    a, b = row(30, campaign="a", account="main"), row(10, campaign="b", account="main")
    shop.take(a, b)
    asked = shop.take({**a, "spend": 31})
    assert asked.refused
    assert "b, 10.00 on 1 day" in asked.refused
    shop.again(shop.file([{**a, "spend": 31}]), stands="beside")
    assert shop.spend() == 41


def test_without_an_account_a_row_restates_its_key_alone(shop: Shop) -> None:
    shop.take(row(30, campaign="a"), row(10, campaign="b"))
    shop.take(row(31, campaign="a"))
    assert shop.spend() == 41


def test_what_another_file_told_of_an_account_is_not_missed(shop: Shop) -> None:
    shop.take(row(30, campaign="a", account="main"))
    shop.take(row(20, campaign="b", account="main"))
    shop.take(row(30, campaign="a", account="main"), row(1, campaign="c", account="main"))
    assert shop.spend() == 51


def campaigns(shop: Shop, spend: dict[str, float], **options: Any) -> DeliverySummary:
    shop.taken += 1
    path = shop.workspace.root / f"google-{shop.taken}.csv"
    lines = (f"2026-02-01,{name},{amount},100,10,1,50\n" for name, amount in spend.items())
    path.write_text(GOOGLE + "".join(lines), encoding="utf-8")
    return shop.again(path, **options)


def test_an_export_without_an_account_that_lacks_a_campaign_is_asked_about(shop: Shop) -> None:
    campaigns(shop, {"a": 30, "b": 20})
    asked = campaigns(shop, {"a": 30})
    assert asked.refused is not None
    assert "b, 20.00 on 1 day" in asked.refused
    campaigns(shop, {"a": 30}, stands="beside")
    assert shop.spend() == 50
    campaigns(shop, {"a": 30}, stands="replace")
    assert shop.spend() == 30


def test_an_export_with_less_than_half_of_its_account_is_asked_about(shop: Shop) -> None:
    campaigns(shop, {"a": 10, "b": 20}, account="main")
    asked = campaigns(shop, {"a": 10}, account="main")
    assert asked.refused is not None
    assert "of account main: b, 20.00 on 1 day" in asked.refused
    campaigns(shop, {"a": 10}, account="main", stands="replace")
    assert shop.spend() == 10


def test_exports_of_two_accounts_without_names_do_not_miss_each_other(shop: Shop) -> None:
    for _ in range(2):
        campaigns(shop, {"a": 30, "b": 10})
        campaigns(shop, {"c": 20})
        campaigns(shop, {"a": 30, "b": 10.5})
        assert shop.spend() == 60.5


GOOGLE = "Day,Campaign,Cost,Impr.,Clicks,Conversions,Conv. value\n"


def google(shop: Shop, spend: Sequence[float], **options: Any) -> DeliverySummary:
    shop.taken += 1
    path = shop.workspace.root / f"google-{shop.taken}.csv"
    days = (date(2026, 2, 1) + timedelta(days=at) for at in range(len(spend)))
    lines = (f"{day},brand,{amount},100,10,1,50\n" for day, amount in zip(days, spend, strict=True))
    path.write_text(GOOGLE + "".join(lines), encoding="utf-8")
    return shop.again(path, **options)


def test_an_export_that_changes_settled_days_may_be_of_another_account(shop: Shop) -> None:
    google(shop, [30, 30])
    asked = google(shop, [5, 5])
    assert asked.refused is not None
    assert "--account NAME" in asked.refused
    assert shop.spend() == 60
    google(shop, [5, 5], account="second", stands="beside")
    assert shop.spend() == 70
    google(shop, [5, 6], account="second")
    assert shop.spend() == 71


def test_two_accounts_named_by_option_stay_apart(shop: Shop) -> None:
    google(shop, [30, 30], account="first")
    google(shop, [5, 5], account="second")
    assert shop.spend() == 70


def test_an_export_that_changes_settled_days_little_restates_them(shop: Shop) -> None:
    google(shop, [30, 30])
    google(shop, [30, 31])
    assert shop.spend() == 61


@pytest.mark.parametrize("step", ["history", "current"])
def test_a_crash_while_a_level_is_replaced_ends_like_no_crash(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from liftloop.adapters.facts import storing

    shop.take(*CAMPAIGN)
    name = f"_commit_{step}"

    def dies(*args: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(storing, name, dies)
        with pytest.raises(KeyboardInterrupt):
            shop.take(*ADS)
    assert len(finish_pending(shop.workspace, engine=shop.engine)) == 1
    assert shop.spend() == 30
    assert shop.spend(date(2026, 2, 9)) == 30
    assert len(shop.facts()) == 2
    assert finish_pending(shop.workspace, engine=shop.engine) == ()


def test_an_unknown_account_changes_no_hash(shop: Shop) -> None:
    shop.take(*CAMPAIGN)
    facts = shop.facts()
    assert "account" not in facts
    wider = facts.assign(account="", campaign_id="", adset_id="", ad_id="")
    assert content_hash(wider) == content_hash(facts)
    assert content_hash(wider.assign(account="main")) != content_hash(facts)


DAYS = [f"2026-02-{day:02}" for day in range(1, 10)]


def days_of(names: Sequence[str], **more: Any) -> list[Row]:
    """A row a day and name, each with its own figures."""
    return [
        row(10 + at + nth, date=day, campaign=name, impressions=100 + at, **more)
        for at, day in enumerate(DAYS)
        for nth, name in enumerate(names)
    ]


NEW_NAMES: dict[str, tuple[Sequence[str], Row]] = {
    "campaigns": (["a new", "b new"], {}),
    "one campaign": (["a new", "b"], {}),
    "channel": (["a", "b"], {"channel": "shopping"}),
    "segment": (["a", "b"], {"segment": "UK"}),
}


@pytest.mark.parametrize("new", NEW_NAMES)
def test_the_same_figures_under_new_names_are_asked_about(shop: Shop, new: str) -> None:
    names, more = NEW_NAMES[new]
    shop.take(*days_of(["a", "b"], segment="DE"))
    rows = days_of(names, **{"segment": "DE", **more})
    asked = shop.take(*rows)
    assert asked.refused is not None
    assert "impressions and clicks of stored rows" in asked.refused
    assert shop.spend() == 261
    shop.again(shop.file(rows), stands="replace")
    assert shop.spend() == 261
    assert shop.spend(date(2026, 2, 20)) == 261


def test_new_campaigns_with_figures_of_their_own_are_not_asked_about(shop: Shop) -> None:
    shop.take(*days_of(["a", "b"]))
    shop.take(*({**one, "spend": one["spend"] + 0.01} for one in days_of(["c", "d"])))
    assert shop.spend() == 522.18


def test_figures_that_are_missing_are_compared_as_well(shop: Shop) -> None:
    shop.take(*({**one, "clicks": None} for one in days_of(["a", "b"])))
    rows = [{**one, "clicks": None} for one in days_of(["c", "d"])]
    assert shop.take(*rows).refused
    shop.take(*({**one, "spend": one["spend"] + 0.01} for one in rows))
    assert shop.spend() == 522.18


def test_a_campaign_id_under_another_channel_is_asked_about_once(shop: Shop) -> None:
    ids = {"campaign": "brand", "campaign_id": "7", "account": "main"}
    shop.take(row(30, **ids))
    other = row(12, **ids, channel="shopping")
    asked = shop.take(other)
    assert asked.refused is not None
    assert "(brand) come under another channel (channel shopping for search)" in asked.refused
    shop.again(shop.file([other]), stands="beside")
    assert shop.spend() == 42
    shop.take(row(31, **ids, date="2026-02-02"))
    shop.take({**other, "date": "2026-02-02"})
    assert shop.spend() == 85


def test_replacing_several_accounts_asks_for_one(shop: Shop) -> None:
    shop.take(row(10, campaign="a", account="main"), row(12, campaign="b", account="other"))
    path = shop.file([row(11, campaign="a")])
    asked = shop.again(path, stands="replace")
    assert asked.refused is not None
    assert "2 accounts are stored of its days (main, other)" in asked.refused
    shop.again(path, stands="replace", account="main")
    assert shop.spend() == 23


def test_an_account_that_counts_beside_unnamed_rows_is_asked_about_once(shop: Shop) -> None:
    total = 0
    for at, day in enumerate(["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-02"]):
        shop.take(row(30 + at, date=day, campaign="a"))
        second = shop.file([row(5 + at, date=day, campaign="a")])
        taken = shop.again(second, account="second")
        assert bool(taken.refused) is (at == 0)
        if at == 0:
            shop.again(second, account="second", stands="beside")
        total += 35 + 2 * at
        assert shop.spend() == total


def test_no_past_shows_a_row_beside_what_replaced_it(shop: Shop) -> None:
    shop.take(row(30, campaign="brand", reported_at="2026-02-05T00:00Z"))
    early = "2026-02-01T23:00Z"
    shop.take(ADS[0] | {"reported_at": early}, ADS[1])
    assert {shop.spend(date(2026, 2, day)) for day in (3, 6, 9)} == {30}
    assert len(shop.facts(date(2026, 2, 9))) == 2


def test_a_report_that_lost_its_segments_is_asked_about(shop: Shop) -> None:
    by_country = (row(12, campaign="brand", segment="UK"), row(18, campaign="brand", segment="DE"))
    shop.take(*by_country)
    asked = shop.take(row(30, campaign="brand"))
    assert asked.refused is not None and "30.00" in asked.refused
    assert shop.spend() == 30.0
