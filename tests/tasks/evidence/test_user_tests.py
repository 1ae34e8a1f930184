"""User-level tests in the ordinary loop: taken in, asked about, learned from, decided on."""

from __future__ import annotations

import shutil
from collections.abc import Set
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import content_hash, read_facts
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.app.backtest.known import empty_feed
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.core.policy import Cell, Policy
from liftloop.settings.schema import parse_settings
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.holds import holds_on
from tasks.decision.reallocate import budgets_before, propose_once
from tasks.decision.rollout import settle_once
from tasks.evidence.ingest import intake_of
from tasks.model.curves import load_model_curves
from tasks.model.train import promote_once, train_once

AS_OF = date(2026, 4, 6)
DAY = pd.Timestamp("2026-03-09")
RETURNS = {
    ("north", "email"): 3.0,
    ("south", "email"): 3.0,
    ("north", "sms"): -0.5,
    ("south", "sms"): -0.5,
}


def users(n: int = 3000, *, returns: dict[tuple[str, str], float] | None = None) -> pd.DataFrame:
    """Users at 0.50 each; what a unit of money returns is that of their cell."""
    rng = np.random.default_rng(4)
    parts = []
    for (segment, channel), returned in (returns or RETURNS).items():
        treated = np.arange(n) % 2 == 0
        revenue = rng.normal(2.0, 1.0, n) + returned * 0.5 * treated
        parts.append(
            pd.DataFrame(
                {
                    "experiment": f"spring {channel}",
                    "unit_id": [f"{segment}-{channel}-{i}" for i in range(n)],
                    "segment": segment,
                    "channel": channel,
                    "arm": np.where(treated, "treated", "control"),
                    "assigned_on": DAY.date(),
                    "cost": np.where(treated, 0.5, 0.0),
                    "converted": 1,
                    "conversions": 1,
                    "revenue": revenue.round(2),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


class Shop:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.trained: dict[str, Any] = {}

    @property
    def loop(self) -> Loop:
        return open_loop(self.workspace.root)

    def set(self, old: str, new: str) -> None:
        text = self.workspace.config.read_text(encoding="utf-8")
        assert old in text
        self.workspace.config.write_text(text.replace(old, new, 1), encoding="utf-8")

    def take_in(
        self, frame: pd.DataFrame, name: str = "units", options: ImportOptions | None = None
    ) -> DeliverySummary:
        path = self.workspace.inbox / f"{name}.csv"
        frame.to_csv(path, index=False)
        loop = self.loop
        asked = replace(
            options or ImportOptions(), default_outcome_days=loop.settings.data.outcome_days or 0
        )
        return deliver(
            intake_of(loop),
            path,
            options=asked,
        )

    def days(self) -> Set[float]:
        units = read_facts(self.workspace, "units", as_of=None, timezone="UTC")
        return set(units["outcome_days"])

    def cycle(self) -> dict[str, Any]:
        loop = self.loop
        self.trained = promote_once(loop, train_once(loop, AS_OF, source="holdout", reason="test"))
        return propose_once(loop, AS_OF, source="holdout")


@pytest.fixture
def shop(tmp_path: Path, workspace_model: Workspace) -> Shop:
    shutil.copytree(workspace_model.root, tmp_path / "shop")
    shop = Shop(Workspace(tmp_path / "shop"))
    shop.set("tuning_trials = 20", "tuning_trials = 0")
    shop.set("draws = 200", "draws = 100")
    return shop


def test_the_window_is_asked_for_and_the_option_answers(shop: Shop) -> None:
    taken = shop.take_in(users(40))
    assert taken.stored == 160
    (asked,) = [note for note in taken.notes if "--outcome-days" in str(note)]
    assert "spring email, spring sms" in str(asked)
    assert "liftloop ingest units.csv --outcome-days N" in str(asked)
    again = shop.take_in(users(40), options=ImportOptions(outcome_days=14))
    assert not again.duplicate
    assert not any("--outcome-days" in str(note) for note in again.notes)
    assert shop.days() == {14.0}


def test_a_column_says_it_and_an_option_fills_its_empty_cells(shop: Shop) -> None:
    rows = users(40)
    days = pd.Series([7.0, None] * 80)
    shop.take_in(rows.assign(outcome_days=days), options=ImportOptions(outcome_days=21))
    assert shop.days() == {7.0, 21.0}
    wrong = shop.take_in(rows.assign(outcome_days=0, unit_id=lambda f: "w" + f["unit_id"]))
    assert (wrong.stored, wrong.quarantined) == (0, 160)


def test_with_the_setting_nothing_is_asked_and_nothing_is_stored(shop: Shop) -> None:
    shop.set("#outcome_days = 14", "outcome_days = 14")
    taken = shop.take_in(users(40))
    assert not any("--outcome-days" in str(note) for note in taken.notes)
    assert np.isnan([*shop.days()]).all()


def test_a_window_that_no_row_has_changes_no_hash() -> None:
    rows = users(4)
    assert content_hash(rows.assign(outcome_days=np.nan)) == content_hash(rows)
    assert content_hash(rows.assign(outcome_days=7.0)) != content_hash(rows)


def test_settings_without_the_new_keys_keep_their_hash(shop: Shop) -> None:
    deciding = shop.loop.deciding_settings()
    assert "outcome_days" not in deciding["data"]
    assert "targeted" not in deciding["budget"]
    shop.set("#outcome_days = 14", "outcome_days = 14")
    assert shop.loop.deciding_settings()["data"]["outcome_days"] == 14


def test_tests_alone_give_first_budgets_a_model_and_a_plan_within_the_limits(shop: Shop) -> None:
    shop.take_in(users(), options=ImportOptions(outcome_days=14))
    before, origin = budgets_before(shop.loop, AS_OF, source="holdout")
    assert before is not None
    assert origin == "observed"
    # 1,500 treated users at 0.50 over 14 days
    assert set(before.as_dict().values()) == {Decimal("53.57"), Decimal("53.58")}
    assert not holds_on(shop.loop, AS_OF, before, source="holdout").frozen
    proposed = shop.cycle()
    assert proposed["id"], proposed["reason"]
    settled = settle_once(shop.loop, AS_OF, proposed["id"])
    assert settled["id"]
    with session(shop.loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name="response")
    assert champion is not None, shop.trained["sentence"]
    curves = load_model_curves(shop.loop, champion)
    spend = np.full(len(curves.cells), 53.57)
    returned = dict(zip(curves.cells, curves.mean_revenue(spend) / 53.57, strict=True))
    # standard errors of a cell: sqrt(4 / 3000) / 0.5 = 0.07
    assert returned[Cell("north", "email")] == pytest.approx(3.0, abs=0.4)
    assert returned[Cell("north", "sms")] == pytest.approx(-0.5, abs=0.3)
    assert "Moving" in proposed["reason"] or "budgets stay" in proposed["reason"]


def test_without_a_window_or_reported_spend_the_decision_asks(shop: Shop) -> None:
    shop.take_in(users())
    assert budgets_before(shop.loop, AS_OF, source="holdout")[0] is None
    search = reported(("north", "search"))
    shop.take_in(search, "performance")
    before, _ = budgets_before(shop.loop, AS_OF, source="holdout")
    assert before is not None
    assert [cell.channel for cell in before.cells] == ["search"]
    reason = shop.cycle()["reason"]
    assert "Over how many days" in reason
    assert "outcome_days = N under [data]" in reason


def reported(*cells: tuple[str, str], spend: float = 200.0) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    parts = []
    for segment, channel in cells:
        days = pd.date_range("2026-01-05", "2026-04-05")
        money = (spend * np.exp(rng.normal(0, 0.05, len(days)))).round(2)
        parts.append(
            pd.DataFrame(
                {
                    "date": days.date,
                    "segment": segment,
                    "channel": channel,
                    "spend": money,
                    "impressions": (money * 40).astype(int),
                    "clicks": money.astype(int),
                    "conversions": money.round() / 50,
                    "revenue": money * 2,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def held_out(*cells: tuple[str, str]) -> pd.DataFrame:
    """Daily arms of 4,000 and 1,000 users; the ads add 0.1 a user, 400 a day."""
    rng = np.random.default_rng(11)
    rows = []
    for segment, channel in cells:
        for day in pd.date_range("2026-01-05", "2026-04-05"):
            for arm, n, mean in (("treated", 4000, 1.1), ("control", 1000, 1.0)):
                revenue = rng.normal(mean * n, np.sqrt(n))
                squares = n * (1.0 + mean**2)
                rows.append(
                    (
                        day.date(),
                        segment,
                        channel,
                        arm,
                        n,
                        n // 10,
                        n // 10,
                        revenue,
                        max(squares, revenue**2 / n),
                    )
                )
    names = ["date", "segment", "channel", "arm", "users", "converters", "conversions", "revenue"]
    return pd.DataFrame(rows, columns=[*names, "revenue_sq"])


def test_holdouts_and_tests_of_users_decide_in_one_backtest_cycle() -> None:
    feeds = {
        name: empty_feed(name)
        for name in ("performance", "holdout", "sales", "experiments", "units")
    }
    search = [("north", "search"), ("south", "search")]
    feeds["performance"] = reported(*search).assign(date=lambda f: pd.to_datetime(f["date"]))
    feeds["holdout"] = held_out(*search).assign(
        date=lambda f: pd.to_datetime(f["date"]), stratum="all"
    )
    units = users().assign(assigned_on=DAY, outcome_days=14.0)
    feeds["units"] = units
    settings = parse_settings(
        {
            "rollout": {"enabled": False},
            "model": {"threads": 1, "tuning_trials": 0, "draws": 100},
            "guardrails": {"channel_share": 1.0},
        },
        source="test",
    )
    tested = {Cell(*pair): Decimal("53.57") for pair in RETURNS}
    budgets = Policy.of({**{Cell(*pair): Decimal("200.00") for pair in search}, **tested})
    loop = MemoryLoop(settings, budgets)
    after = loop.cycle(AS_OF, feeds).as_dict()
    assert loop.curves is not None
    assert set(loop.curves.cells) == set(budgets.cells)
    assert loop.decided[-1].kind == "move", loop.decided[-1].reason
    # what loses gives, and nothing moves by more than a step
    assert all(after[Cell(s, "sms")] < Decimal("53.57") for s in ("north", "south"))
    assert sum(after.values()) == budgets.total
    step = Decimal("0.25") * max(Decimal("53.57"), budgets.total / 60)
    assert all(abs(after[c] - tested[c]) <= step + Decimal("0.01") for c in tested)


@pytest.mark.slow
def test_hillstrom_learns_and_plans_in_the_plain_cycle(shop: Shop, real_data: Path) -> None:
    rows = pd.read_csv(real_data / "hillstrom.csv.gz").sample(20_000, random_state=1)
    path = shop.workspace.inbox / "hillstrom.csv"
    rows.to_csv(path, index=False)
    mapping = Path(__file__).parents[3] / "examples" / "maps" / "hillstrom.toml"
    loop = shop.loop
    taken = deliver(
        intake_of(loop),
        path,
        options=ImportOptions(mapping=mapping),
    )
    assert taken.stored == 20_000
    assert shop.days() == {14.0}
    day = date(2008, 4, 4)
    trained = promote_once(loop, train_once(loop, day, source="holdout", reason="test"))
    assert trained["champion"], trained["sentence"]
    before, _ = budgets_before(loop, day, source="holdout")
    assert before is not None
    assert len(before.cells) == 6
    # every mail costs 0.10, over 14 days
    mails = (rows["segment"] != "No E-Mail").sum()
    assert float(before.total) == pytest.approx(mails * 0.10 / 14, abs=0.01)
    proposed = propose_once(loop, day, source="holdout")
    assert proposed["id"], proposed["reason"]
    settled = settle_once(loop, day, proposed["id"])
    assert settled["id"]
