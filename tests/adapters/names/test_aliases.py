from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import FactsPart, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.ledger.migrate import upgrade
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.names.aliases import FILE, Aliases, join_names, load_aliases
from liftloop.adapters.names.checks import doctor_on_names, look_alike_sentences
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.context import Account
from liftloop.core.policy import Cell, Policy
from liftloop.settings.workspace import Workspace

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Shop:
    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        for folder in self.workspace.folders:
            folder.mkdir(parents=True)
        upgrade(f"sqlite:///{self.workspace.ledger}")
        self.count = 0

    def take_in(self, feed: str, text: str) -> DeliverySummary:
        self.count += 1
        path = self.workspace.inbox / f"{feed}-{self.count}.csv"
        path.write_text(text, encoding="utf-8")
        engine = open_ledger(f"sqlite:///{self.workspace.ledger}")
        return deliver(Intake(self.workspace, engine, Account()), path, received_at=AT)

    def spend(self, names: Aliases | None = None) -> dict[tuple[str, str], float]:
        facts = read_facts(
            self.workspace,
            "performance",
            as_of=None,
            timezone="UTC",
            part=FactsPart(names=names if names is not None else load_aliases(self.workspace)),
        )
        sums = facts.groupby([facts["date"].dt.strftime("%d"), "channel"])["spend"].sum()
        rows = sums.reset_index().itertuples(index=False, name=None)
        return {(day, channel): spend for day, channel, spend in rows}


def performance(*rows: tuple[str, str, float]) -> str:
    head = "date,segment,channel,spend,impressions,clicks,conversions,revenue\n"
    return head + "".join(f"2026-01-{d},eu,{c},{spend},10,1,0,0\n" for d, c, spend in rows)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


def test_a_name_that_changes_its_case_is_said_and_joined(shop: Shop) -> None:
    first = shop.take_in("performance", performance(("01", "search", 5), ("02", "search", 6)))
    assert first.notes == ()
    second = shop.take_in("performance", performance(("03", "Search", 7)))
    (note,) = second.notes
    assert "'Search'" in note and "liftloop names join Search search --as channel" in note
    (finding,) = doctor_on_names(shop.workspace)
    assert finding[2].endswith("liftloop names join Search search --as channel")
    join_names(shop.workspace, "Search", "search", kinds=["channel"], at=AT)
    assert shop.spend() == {("01", "search"): 5, ("02", "search"): 6, ("03", "search"): 7}
    assert shop.spend(Aliases())[("03", "Search")] == 7  # what was delivered stays
    assert list(doctor_on_names(shop.workspace)) == []
    assert shop.take_in("performance", performance(("04", "Search", 8))).notes == ()
    assert shop.spend()[("04", "search")] == 8


def test_a_day_delivered_again_under_the_new_name_counts_once(shop: Shop) -> None:
    shop.take_in("performance", performance(("01", "search", 5), ("02", "search", 6)))
    shop.take_in("performance", performance(("02", "Search", 9)))
    join_names(shop.workspace, "Search", "search", kinds=["channel"], at=AT)
    assert shop.spend() == {("01", "search"): 5, ("02", "search"): 9}


def test_both_names_in_one_delivery_are_parts_of_the_day(shop: Shop) -> None:
    delivered = shop.take_in(
        "performance", performance(("01", "search", 5), ("01", "Search", 0.25))
    )
    assert len(delivered.notes) == 1
    join_names(shop.workspace, "Search", "search", kinds=["channel"], at=AT)
    assert shop.spend() == {("01", "search"): 5.25}


@pytest.mark.parametrize("other", ["se\u0430rch", "\uff33earch", "sea-rch"])
def test_letters_that_look_alike_are_named(shop: Shop, other: str) -> None:
    shop.take_in("performance", performance(("01", "search", 5)))
    (note,) = shop.take_in("performance", performance(("02", other, 5))).notes
    assert "looks like 'search'" in note
    frame = pd.DataFrame({"channel": ["search", other], "segment": ["eu", "eu"]})
    assert len(look_alike_sentences([frame])) == 1


def test_a_lift_test_of_a_cell_without_facts_is_said(shop: Shop) -> None:
    shop.take_in("performance", performance(("01", "search", 5)))
    head = "experiment,segments,channel,start,end,spend_delta,incremental_revenue,standard_error\n"
    tests = (
        "a,eu,search,2026-01-01,2026-01-07,10,20,5\nb,eu;us,Search,2026-01-01,2026-01-07,1,2,5\n"
    )
    (note,) = shop.take_in("experiments", head + tests).notes
    assert note.startswith("The lift test b is of") and "join Search search --as channel" in note
    findings = list(doctor_on_names(shop.workspace))
    assert len(findings) == 1 and "lift test b" in findings[0][1]


def test_a_replay_does_not_know_of_a_later_join(shop: Shop) -> None:
    names = join_names(shop.workspace, "A", "a", kinds=["segment"], at=AT)
    assert names.at(AT) == Aliases() and names.at(None) == load_aliases(shop.workspace) == names
    assert names.at(datetime(2026, 3, 2, tzinfo=UTC)) == names


def test_budgets_of_joined_names_are_summed(shop: Shop) -> None:
    names = join_names(shop.workspace, "Search", "search", kinds=["channel"], at=AT)
    before = Policy.of(
        {Cell("eu", "Search"): Decimal("18.00"), Cell("eu", "search"): Decimal("82.00")}
    )
    assert names.policy(before).as_dict() == {Cell("eu", "search"): Decimal("100.00")}


def test_names_in_a_circle_are_refused(shop: Shop) -> None:
    join_names(shop.workspace, "a", "b", kinds=["segment"], at=AT)
    join_names(shop.workspace, "b", "c", kinds=["segment"], at=AT)
    assert load_aliases(shop.workspace).names("segment") == {"a": "c", "b": "c"}
    with pytest.raises(ConfigurationError):
        join_names(shop.workspace, "c", "c", kinds=["segment"], at=AT)
    join_names(shop.workspace, "c", "a", kinds=["segment"], at=AT)  # they are one already
    (shop.workspace.root / FILE).write_text(
        '[[alias]]\nkind = "segment"\nname = "a"\nis = "b"\n'
        '[[alias]]\nkind = "segment"\nname = "b"\nis = "a"\n'
    )
    with pytest.raises(ConfigurationError, match="joined to itself"):
        load_aliases(shop.workspace)


def test_a_file_that_is_no_list_of_names_is_refused(shop: Shop) -> None:
    (shop.workspace.root / FILE).write_text('[[alias]]\nkind = "market"\nname = "a"\nis = "b"\n')
    with pytest.raises(ConfigurationError, match="kind is segment or channel"):
        load_aliases(shop.workspace)
