"""What a backtest knows on a day is what production would know, from the same deliveries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.backtest.known import KnownFacts
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.market import as_policy, budgets_frame
from liftloop.core.feeds.context import Account
from liftloop.core.policy import Policy
from liftloop.markets.broken_feeds import BrokenFeedsMarket
from liftloop.markets.constants import HillConstants
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop, view
from tasks.decision.reallocate import budgets_before, propose_once
from tasks.decision.rollout import settle_once
from tasks.evidence.ingest import intake_of
from tasks.model.train import promote_once, train_once

SMALL = HillConstants(
    segments=("north", "south", "west"),
    channels=("search", "video"),
    history_days=35,
    revenue_sd=1.0,
    holdout_share=0.4,
)
FEEDS = ["performance", "holdout", "sales"]
MONDAY = date(2026, 1, 5)


def sales(day: int, revenue: object, reported: datetime | None = None) -> pd.DataFrame:
    row: dict[str, Any] = {
        "date": date(2026, 1, day),
        "segment": "north",
        "orders": 1,
        "revenue": revenue,
    }
    if reported is not None:
        row["reported_at"] = reported
    return pd.DataFrame([row])


def at(day: int, hour: int = 5) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def book() -> KnownFacts:
    return KnownFacts(Account(), history_days=730)


def revenue(facts: KnownFacts, day: int) -> list[float]:
    return facts.known(date(2026, 1, day))["sales"]["revenue"].tolist()


def test_the_row_reported_later_wins_whatever_the_order_of_delivery() -> None:
    facts = book()
    facts.deliver({"sales": sales(5, 20.0, at(8))}, on=date(2026, 1, 9))
    assert revenue(facts, 9) == [20.0]
    facts.deliver({"sales": sales(5, 10.0, at(6))}, on=date(2026, 1, 10))
    assert revenue(facts, 10) == [20.0]


def test_of_rows_reported_at_one_instant_the_one_received_last_wins() -> None:
    facts = book()
    both = pd.concat([sales(5, 1.0, at(6)), sales(5, 2.0, at(6))])
    facts.deliver({"sales": both}, on=date(2026, 1, 8))
    assert revenue(facts, 8) == [2.0]
    facts.deliver({"sales": sales(5, 3.0, at(6))}, on=date(2026, 1, 9))
    assert revenue(facts, 9) == [3.0]


def test_the_same_delivery_twice_changes_nothing() -> None:
    facts = book()
    for day in (8, 9):
        facts.deliver({"sales": sales(5, 7.0, at(6))}, on=date(2026, 1, day))
    assert revenue(facts, 9) == [7.0]
    assert facts.received.rows == facts.received.stored == 2


def test_a_restatement_is_known_from_the_day_after_it_was_reported() -> None:
    facts = book()
    told = pd.concat([sales(5, 1.0, at(6)), sales(5, 2.0, at(20))])
    facts.deliver({"sales": told}, on=date(2026, 1, 8))
    assert facts.received.waiting == 1
    assert revenue(facts, 8) == [1.0]
    assert revenue(facts, 20) == [1.0]
    assert revenue(facts, 21) == [2.0]
    assert facts.received.waiting == 0


def test_a_row_without_reported_at_counts_as_reported_on_the_day_after_its_date() -> None:
    facts = book()
    facts.deliver({"sales": pd.concat([sales(5, 1.0), sales(6, 2.0)])}, on=date(2026, 1, 7))
    assert revenue(facts, 7) == [1.0]  # the 6th counts as reported on the 7th, not before it
    assert revenue(facts, 8) == [1.0, 2.0]


def test_days_after_the_machines_today_are_no_future_to_a_simulated_clock() -> None:
    later = datetime.now(UTC).year + 5
    row = sales(5, 4.0).assign(date=date(later, 1, 5))
    facts = book()
    facts.deliver({"sales": row}, on=date(later, 1, 7))
    assert facts.known(date(later, 1, 7))["sales"]["revenue"].tolist() == [4.0]
    assert facts.received.quarantined == 0


def test_a_day_after_the_simulated_one_is_quarantined() -> None:
    facts = book()
    facts.deliver({"sales": sales(20, 4.0, at(6))}, on=date(2026, 1, 7))
    assert facts.received.rules == {"date_not_in_future": 1}


def test_broken_rows_are_counted_and_a_wrong_unit_refuses_the_whole_file() -> None:
    facts = book()
    mixed = pd.concat([sales(5, 1.0), sales(6, "n/a")], ignore_index=True)
    facts.deliver({"sales": mixed}, on=date(2026, 1, 9))
    facts.deliver({"sales": sales(7, "12 USD")}, on=date(2026, 1, 9))
    assert revenue(facts, 9) == [1.0]
    assert (facts.received.rows, facts.received.quarantined, facts.received.refused) == (3, 1, 1)
    assert "revenue" in facts.received.refusals[0]


def test_events_stand_in_where_no_sales_were_delivered() -> None:
    facts = book()
    events = pd.DataFrame(
        {
            "event_id": ["a", "b", "c"],
            "occurred_at": [at(5), at(5, 9), at(6)],
            "segment": "north",
            "revenue": [2.0, 3.0, 9.0],
        }
    )
    facts.deliver({"sales": sales(6, 4.0), "events": events}, on=date(2026, 1, 8))
    assert revenue(facts, 8) == [5.0, 4.0]


def test_a_feed_nobody_delivered_is_empty_and_typed() -> None:
    empty = book().known(MONDAY)
    assert all(frame.empty for frame in empty.values())
    assert empty["performance"]["spend"].dtype == "float64"


class Workshop:
    """A real workspace that gets the deliveries of a market with broken feeds."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        text = workspace.config.read_text(encoding="utf-8")
        changes = {"tuning_trials = 20": "tuning_trials = 0", "enabled = true": "enabled = false"}
        for old, new in changes.items():
            assert f"\n{old}" in text
            text = text.replace(f"\n{old}", f"\n{new}", 1)
        workspace.config.write_text(text, encoding="utf-8")

    @property
    def loop(self) -> Loop:
        return open_loop(self.workspace.root)

    def deliver(self, feeds: dict[str, pd.DataFrame], day: date) -> None:
        for feed, frame in feeds.items():
            path = self.workspace.inbox / f"{feed}-{day}.jsonl"
            text = frame.assign(reported_at=frame["reported_at"].astype(str))
            text.to_json(path, orient="records", lines=True, date_format="iso")
            deliver(
                intake_of(self.loop),
                path,
            )

    def decide(self, day: date) -> Policy:
        loop = self.loop
        promote_once(loop, train_once(loop, day, source="holdout", reason="test"))
        settled = settle_once(loop, day, propose_once(loop, day, source="holdout")["id"])
        assert settled["state"] == "in_force", settled
        found, _ = budgets_before(loop, day + timedelta(days=1), source="holdout")
        assert found is not None
        return found


def test_broken_feeds_lead_production_and_backtest_to_the_same_facts_and_budgets(
    fresh_workspace: Workspace,
) -> None:
    """Late, missing, repeated, restated, broken: for three cycles, to Delta and to memory."""
    market = BrokenFeedsMarket(3, constants=SMALL)
    shop, facts, day = Workshop(fresh_workspace), book(), market.start
    feeds = market.history()
    loop: MemoryLoop | None = None
    for _ in range(3):
        shop.deliver(feeds, day)
        facts.deliver(feeds, on=day)
        stored = view(shop.loop, day, FEEDS)
        known = facts.known(day)
        for feed in FEEDS:
            mine = known[feed].drop(columns="reported_at")
            pd.testing.assert_frame_equal(
                mine, stored[feed][mine.columns], check_dtype=False, obj=f"{feed} {day}"
            )
        if loop is None:
            first, _ = budgets_before(shop.loop, day, source="holdout")
            assert first is not None
            loop = MemoryLoop(_one_thread(shop.loop), first)
        chosen = loop.cycle(day, known)
        assert shop.decide(day) == chosen
        feeds = market.step(budgets_frame(chosen), 7)
        day += timedelta(days=7)
    assert facts.received.quarantined > 0
    assert loop is not None and {d.kind for d in loop.decided} >= {"move"}


def _one_thread(loop: Loop) -> Any:
    rules = loop.settings.model.model_copy(update={"threads": 1})
    return loop.settings.model_copy(update={"model": rules})


def test_a_policy_survives_being_a_frame() -> None:
    market = BrokenFeedsMarket(0, constants=replace(SMALL, history_days=7))
    policy = as_policy(market.incumbent)
    assert as_policy(budgets_frame(policy)) == policy
    assert policy.total == market.total_daily_budget


@pytest.mark.parametrize("feed", FEEDS)
def test_broken_feeds_are_broken_in_every_feed(feed: str) -> None:
    facts, market = book(), BrokenFeedsMarket(0, constants=SMALL)
    facts.deliver({feed: market.history()[feed]}, on=market.start)
    assert facts.received.quarantined > 0


def spent(day: int, spend: float, **more: Any) -> dict[str, Any]:
    plain = {"date": date(2026, 1, day), "segment": "north", "channel": "search", "spend": spend}
    return {**plain, "impressions": 9, "clicks": 1, "conversions": 1, "revenue": 1, **more}


def performance(facts: KnownFacts, day: int) -> float:
    return float(facts.known(date(2026, 1, day))["performance"]["spend"].sum())


def test_a_market_that_reports_one_money_on_two_levels_spends_it_once() -> None:
    facts = book()
    campaigns = [spent(day, 30.0, campaign="brand") for day in (5, 6)]
    ads = [spent(5, 10.0, campaign="brand", creative=name) for name in "abc"]
    facts.deliver({"performance": pd.DataFrame(campaigns)}, on=date(2026, 1, 7))
    assert performance(facts, 8) == 60
    facts.deliver({"performance": pd.DataFrame(ads)}, on=date(2026, 1, 9))
    assert performance(facts, 10) == 60
    facts.deliver({"performance": pd.DataFrame(campaigns)}, on=date(2026, 1, 11))
    assert performance(facts, 12) == 60


def test_accounts_and_ids_of_a_market_are_told_apart() -> None:
    facts = book()
    rows = [
        spent(5, 30.0, account="a", campaign_id="7", campaign="brand"),
        spent(5, 5.0, account="b", campaign_id="8", campaign="brand"),
    ]
    facts.deliver({"performance": pd.DataFrame([spent(4, 1.0)])}, on=date(2026, 1, 6))
    facts.deliver({"performance": pd.DataFrame(rows)}, on=date(2026, 1, 7))
    assert performance(facts, 8) == 36
    rows[0]["campaign"] = "brand again"
    facts.deliver({"performance": pd.DataFrame(rows)}, on=date(2026, 1, 9))
    assert performance(facts, 10) == 36
