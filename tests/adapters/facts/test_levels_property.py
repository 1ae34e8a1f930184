"""Random deliveries of one known market on any level: stored spend is the truth, or it is asked."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftloop.adapters.facts.delta import as_batch
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.storing import plan, store
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.deliveries.replacing import Sender
from liftloop.core.feeds.validate import sift
from liftloop.settings.workspace import Workspace

RECEIVED = datetime(2026, 3, 10, tzinfo=UTC)
FIRST = date(2026, 2, 1)
# (account, campaign id, campaign, ad set, ad id, ad, segment), each with spend on every day
ADS: list[tuple[str, ...]] = [
    ("main", "7", "brand", "70", "701", "video", "UK"),
    ("main", "7", "brand", "71", "702", "video 2", "UK"),
    ("main", "8", "generic", "80", "801", "text", "DE"),
    ("main", "8", "generic", "80", "802", "image", "UK"),
]
SECOND: list[tuple[str, ...]] = [("second", "9", "winter", "90", "901", "snow", "UK")]
COLUMNS = ["account", "campaign_id", "campaign", "adset_id", "ad_id", "creative", "segment"]


@dataclass(frozen=True)
class Report:
    """What a report tells of the market: which days, on which level, with what of the identity."""

    first: int
    days: int
    campaigns: bool
    ads: bool
    countries: bool
    ids: bool
    account: bool
    renamed: bool

    def rows(self, ads: list[tuple[str, ...]]) -> pd.DataFrame:
        """The rows of a day and ad, summed to the level of the report."""
        rows = [
            dict(zip(COLUMNS, ad, strict=True))
            | {"date": FIRST + timedelta(days=day), "spend": spend_of(ad, day)}
            for day in range(self.first, self.first + self.days)
            for ad in ads
        ]
        frame = pd.DataFrame(rows)
        if not (self.ids and self.campaigns):
            frame[["campaign_id", "adset_id", "ad_id"]] = ""
        if self.renamed and self.ids:
            frame["campaign"] += " again"
        if not self.campaigns:
            frame[["campaign", "creative"]] = "all"
        elif not self.ads:
            frame["creative"] = "all"
            frame[["adset_id", "ad_id"]] = ""
        if not self.countries:
            frame["segment"] = "all"
        if not self.account:
            frame["account"] = ""
        sums = frame.groupby(["date", *COLUMNS], as_index=False)[["spend"]].sum().round(2)
        return sums.assign(channel="social", impressions=10, clicks=1, conversions=0.0, revenue=0.0)


def spend_of(ad: tuple[str, ...], day: int) -> float:
    return 10.0 + 3 * int(ad[4]) % 17 + day


reports = st.builds(
    Report,
    first=st.integers(0, 2),
    days=st.integers(1, 3),
    campaigns=st.booleans(),
    ads=st.booleans(),
    countries=st.booleans(),
    ids=st.booleans(),
    account=st.booleans(),
    renamed=st.just(False),
)
renamed = st.builds(
    Report,
    first=st.integers(0, 2),
    days=st.integers(1, 3),
    campaigns=st.just(True),
    ads=st.booleans(),
    countries=st.booleans(),
    ids=st.just(True),
    account=st.booleans(),
    renamed=st.booleans(),
)


@dataclass
class Books:
    """A workspace, and the days of each account that were delivered."""

    workspace: Workspace
    taken: int = 0

    def take(self, frame: pd.DataFrame, kind: Any) -> bool:
        """Store a frame unless it is asked about; whether it was stored."""
        self.taken += 1
        at = RECEIVED + timedelta(seconds=self.taken)
        accepted = sift("performance", frame, account=Account(), received_at=at).accepted
        name = f"delivery-{self.taken}"
        batch = as_batch(FEEDS["performance"], accepted, delivery=name, received_at=at)
        planned = plan(self.workspace, "performance", batch, Sender(kind))
        if planned.replacing.question is not None:
            return False
        store(self.workspace, planned, delivery=name)
        return True

    def spend(self, as_of: date | None = None) -> float:
        found = read_facts(self.workspace, "performance", as_of=as_of, timezone="UTC")
        return round(float(found["spend"].sum()), 2)


def truth(days: set[int], ads: list[tuple[str, ...]]) -> float:
    return round(sum(spend_of(ad, day) for day in days for ad in ads), 2)


def covered(report: Report) -> set[int]:
    return set(range(report.first, report.first + report.days))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(reports, min_size=1, max_size=4), st.sampled_from(["contract", "export"]))
def test_one_account_on_any_levels_is_stored_once(deliveries: list[Report], kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books, days = Books(Workspace(Path(folder))), set()
        for report in deliveries:
            if books.take(report.rows(ADS), kind):
                days |= covered(report)
            assert books.spend() == truth(days, ADS)
        assert books.spend(date(2026, 3, 1)) == truth(days, ADS)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(renamed, min_size=1, max_size=4))
def test_names_that_change_under_ids_are_stored_once(deliveries: list[Report]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books, days = Books(Workspace(Path(folder))), set()
        for report in deliveries:
            if books.take(report.rows(ADS), "export"):
                days |= covered(report)
            assert books.spend() == truth(days, ADS)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(reports, st.booleans()), min_size=1, max_size=4))
def test_two_accounts_are_both_stored_or_one_is_asked_about(
    deliveries: list[tuple[Report, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Workspace(Path(folder)))
        days: dict[bool, set[int]] = {False: set(), True: set()}
        for report, second in deliveries:
            if books.take(report.rows(SECOND if second else ADS), "export"):
                days[second] |= covered(report)
            expected = truth(days[False], ADS) + truth(days[True], SECOND)
            assert books.spend() == round(expected, 2)
