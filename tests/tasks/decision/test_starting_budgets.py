"""The first budgets of a workspace: what is spent, what is set on a platform, what stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.files.outbox import as_csv
from liftloop.adapters.names.aliases import join_names
from liftloop.core.policy import BudgetLine, Cell
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.holds import holds_on
from tasks.decision.reallocate import budgets_before, propose_once
from tasks.decision.replay import replay
from tasks.decision.rollout import settle_once
from tasks.evidence.ingest import intake_of
from tasks.operate.budget_acts import set_budgets

DAY = date(2026, 3, 2)
DAYS = pd.date_range("2026-01-05", "2026-03-01")
Amounts = Callable[[pd.Timestamp], float | None]


def spend(**channels: Amounts) -> pd.DataFrame:
    rows = [
        (day.date(), "eu", channel, amount, 100, 5, 1, 50, f"{day.date()}T23:59:59Z")
        for channel, of in channels.items()
        for day in DAYS
        if (amount := of(day)) is not None
    ]
    names = ["date", "segment", "channel", "spend", "impressions", "clicks", "conversions"]
    return pd.DataFrame(rows, columns=[*names, "revenue", "reported_at"]).assign(
        reported_at=lambda frame: pd.to_datetime(frame["reported_at"]) + pd.Timedelta(seconds=1)
    )


class Shop:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @property
    def loop(self) -> Loop:
        return open_loop(self.workspace.root)

    def set(self, text: str, *, old: str | None = None) -> None:
        said = self.workspace.config.read_text(encoding="utf-8")
        new = said + text if old is None else said.replace(old, text, 1)
        self.workspace.config.write_text(new, encoding="utf-8")

    def take_in(self, frame: pd.DataFrame, name: str = "performance") -> None:
        path = self.workspace.inbox / f"{name}.csv"
        frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        loop = self.loop
        taken = deliver(intake_of(loop), path)
        assert taken.stored == len(frame), taken.sentence

    def before(self) -> dict[str, Decimal]:
        policy, _ = budgets_before(self.loop, DAY, source="holdout")
        assert policy is not None
        return {cell.channel: amount for cell, amount in policy.budgets}


@pytest.fixture
def shop(tmp_path: Path, workspace_model: Workspace) -> Shop:
    root = tmp_path / "shop"
    shutil.copytree(workspace_model.root, root)
    return Shop(Workspace(root))


def began(day: str, amount: float) -> Amounts:
    return lambda at: amount if at >= pd.Timestamp(day) else None


def ended(day: str, amount: float) -> Amounts:
    return lambda at: amount if at < pd.Timestamp(day) else None


def always(amount: float) -> Amounts:
    return lambda at: amount


def test_the_first_decision_starts_from_what_is_spent_and_says_the_gap(shop: Shop) -> None:
    shop.set('total = "11160.00"', old='#total = "100000.00"')
    shop.take_in(
        spend(
            search=always(5000.0),
            video=began("2026-02-27", 1165.0),
            display=ended("2026-02-15", 551.80),
            social=always(810.0),
        )
    )
    assert shop.before() == {
        "display": Decimal("0.00"),
        "search": Decimal("5000.00"),
        "social": Decimal("810.00"),
        "video": Decimal("1165.00"),
    }
    proposed = propose_once(shop.loop, DAY, source="holdout")
    settled = settle_once(shop.loop, DAY, proposed["id"])
    assert "4,185.00 more a day than is spent now (6,975.00)" in settled["reason"]
    assert replay(str(shop.workspace.root), settled["id"]).same


def test_a_channel_that_is_silent_for_days_is_named(shop: Shop) -> None:
    last = (DAY - timedelta(days=6)).isoformat()
    shop.take_in(
        spend(
            search=always(100.0),
            display=ended((DAY - timedelta(days=5)).isoformat(), 40.0),
        )
    )
    assert shop.before()["display"] == Decimal("40.00")
    proposed = propose_once(shop.loop, DAY, source="holdout")
    assert f"Nothing is reported of eu x display since {last} (40.00)" in proposed["reason"]
    settled = settle_once(shop.loop, DAY, proposed["id"])
    assert replay(str(shop.workspace.root), settled["id"]).same


def test_what_stopped_does_not_start_again_by_itself(shop: Shop, tmp_path: Path) -> None:
    shop.take_in(spend(search=always(100.0), display=ended("2026-02-15", 551.80)))
    policy, _ = budgets_before(shop.loop, DAY, source="holdout")
    assert policy is not None
    held = holds_on(shop.loop, DAY, policy, source="holdout")
    assert "stays at 0" in held.reason_of(Cell("eu", "display"))
    assert "stays at 0" not in held.reason_of(Cell("eu", "search"))
    file = tmp_path / "budgets.csv"
    file.write_text("segment,channel,daily_budget\neu,search,80.00\neu,display,20.00\n")
    set_budgets(str(shop.workspace.root), file, start=DAY, actor="ann")
    held = holds_on(shop.loop, DAY, policy, source="holdout")
    assert "stays at 0" not in held.reason_of(Cell("eu", "display"))


def test_a_platforms_own_figure_counts_for_more_than_what_was_spent(shop: Shop) -> None:
    shop.take_in(
        spend(search=always(100.0), social=always(50.0), display=ended("2026-02-10", 30.0))
    )
    lines = [
        BudgetLine(
            "d-1",
            "p-1",
            DAY,
            "eu",
            channel,
            Decimal(amount),
            Decimal(0),
            "full",
            None,
            None,
            None,
            "",
            f"k-{channel}",
        )
        for channel, amount in (("search", "120.00"), ("display", "30.00"))
    ]
    (shop.workspace.root / "set.csv").write_bytes(as_csv(lines))
    shop.set(
        '\n[[platforms.targets]]\nname = "ads"\nkind = "files"\npath = "set.csv"\nspends = true\n'
    )
    proposed = propose_once(shop.loop, DAY, source="holdout")
    settled = settle_once(shop.loop, DAY, proposed["id"])
    assert settled["state"] == "in_force"
    policy, origin = budgets_before(shop.loop, date(2026, 3, 9), source="holdout")
    assert policy is not None and origin == "decided"
    assert {cell.channel: amount for cell, amount in policy.budgets} == {
        "display": Decimal("0.00"),  # it stopped, whatever is set
        "search": Decimal("120.00"),
        "social": Decimal("50.00"),
    }


def test_a_name_that_changed_is_said_before_a_decision_and_joined_in_its_budgets(
    shop: Shop,
) -> None:
    shop.take_in(
        spend(
            search=ended("2026-02-26", 90.0), Search=began("2026-02-26", 90.0), social=always(10.0)
        )
    )
    proposed = propose_once(shop.loop, DAY, source="holdout")
    assert "liftloop names join" in proposed["reason"]
    first = settle_once(shop.loop, DAY, proposed["id"])
    join_names(shop.workspace, "Search", "search", kinds=["channel"], at=shop.loop.now())
    joined, _ = budgets_before(shop.loop, date(2026, 3, 9), source="holdout")
    assert joined is not None
    assert {cell.channel for cell in joined.cells} == {"search", "social"}
    proposed = propose_once(shop.loop, date(2026, 3, 9), source="holdout")
    assert "names join" not in proposed["reason"]
    second = settle_once(shop.loop, date(2026, 3, 9), proposed["id"])
    for decided in (first, second):
        assert replay(str(shop.workspace.root), decided["id"]).same


@pytest.mark.parametrize("currency", ["JPY", "CLP"])
def test_first_budgets_are_whole_where_there_are_no_cents(shop: Shop, currency: str) -> None:
    shop.set(f'currency = "{currency}"', old='currency = "USD"')
    shop.take_in(spend(search=lambda at: 1000.0 + at.day % 3, social=always(333.0)))
    assert all(amount == amount.to_integral_value() for amount in shop.before().values())
