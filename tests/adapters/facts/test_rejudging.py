"""A changed ``[account]``: what waits in quarantine comes back, once; what is stored stays true."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from liftloop.adapters.doctor.account_checks import doctor_on_account, refuse_renamed_money
from liftloop.adapters.facts import deliveries, recording, rejudging, storing
from liftloop.adapters.facts.archived_deliveries import finish_pending
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.quarantine import open_rows
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.readmission import readmit
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.rejudging import judge_again
from liftloop.adapters.facts.summaries import DeliverySummary, summary_lines
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.adapters.ledger.tables import AuditEntry, Delivery, QuarantinedRow
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.core.feeds.context import Account, Rate
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DOLLARS, POUNDS = Account(), Account("GBP", "Europe/London")
NAMES = "date,segment,channel,campaign,spend,impressions,clicks,conversions,revenue,currency\n"
GOOGLE = "date,campaign_name,cost_micros,impressions,clicks,currency_code\n"
HOURS = "CAMPAIGN_ID,STAT_TIME_HOUR,SPEND,IMPRESSIONS,CLICKS,CONVERSION,CURRENCY\n"


@dataclass
class Shop:
    """A workspace, its ledger, and the account as the configuration has it."""

    workspace: Workspace
    engine: Engine
    account: Account = DOLLARS

    def take(self, name: str, text: str, **more: Any) -> DeliverySummary:
        path = self.workspace.inbox / name
        path.write_text(text, encoding="utf-8")
        return deliver(self.intake, path, **{"received_at": NOW, **more})

    @property
    def intake(self) -> Intake:
        return Intake(self.workspace, self.engine, self.account)

    def judge(self) -> list[DeliverySummary]:
        return judge_again(self.intake, received_at=NOW)

    def check(self) -> None:
        refuse_renamed_money(self.workspace, engine=self.engine, account=self.account)

    def spend(self) -> dict[tuple[str, str], float]:
        """Stored spend by day and segment."""
        facts = read_facts(
            self.workspace, "performance", as_of=None, timezone=self.account.timezone
        )
        sums = facts.groupby([facts["date"].dt.strftime("%m-%d"), "segment"])["spend"].sum()
        rows = sums.reset_index().itertuples(index=False, name=None)
        return {(day, segment): round(spend, 2) for day, segment, spend in rows}

    def rows(self, table: Any) -> list[dict[str, Any]]:
        with session(self.engine, read_only=True) as opened:
            return [row.model_dump() for row in opened.exec(select(table)).all()]

    def add_up(self) -> None:
        """Every row received is in exactly one place."""
        for row in self.rows(Delivery):
            assert row["received"] == row["stored"] + row["superseded"] + row["quarantined"]
        ends = {row["state"] for row in self.rows(QuarantinedRow)}
        assert ends <= {"open", "readmitted", "discarded", "superseded"}


@pytest.fixture
def open_shop(tmp_path: Path, sqlite_model: Path) -> Callable[[str], Shop]:
    def make(name: str) -> Shop:
        workspace = Workspace(tmp_path / name)
        for folder in workspace.folders:
            folder.mkdir(parents=True)
        shutil.copy(sqlite_model, workspace.ledger)
        return Shop(workspace, open_ledger(f"sqlite:///{workspace.ledger}"))

    return make


@pytest.fixture
def shop(open_shop: Callable[[str], Shop]) -> Shop:
    return open_shop("shop")


def google(currency: str, cost: int = 12_500_000, day: int = 1) -> str:
    return f"2026-03-0{day},brand,{cost},100,5,{currency}\n"


def test_a_file_in_another_currency_names_the_fix(shop: Shop) -> None:
    taken = shop.take("google.csv", GOOGLE + google("GBP"))
    assert (taken.stored, taken.quarantined) == (0, 1)
    assert 'set currency = "GBP" under [account] in liftloop.toml' in taken.sentence
    assert "[[account.rates]]" in taken.sentence
    assert "liftloop ingest" in taken.sentence


def test_a_few_foreign_rows_ask_for_a_rate_alone(shop: Shop) -> None:
    text = NAMES + "".join(
        f"2026-03-0{day},a,search,c,10,10,1,0,0,{'EUR' if day == 1 else 'USD'}\n"
        for day in range(1, 9)
    )
    taken = shop.take("performance.csv", text)
    assert (taken.stored, taken.quarantined) == (7, 1)
    assert "1 row is in EUR" in taken.sentence
    assert "add a rate for EUR" in taken.sentence
    assert "set currency" not in taken.sentence


def test_after_the_currency_is_set_the_same_rows_are_stored_once(shop: Shop) -> None:
    text = GOOGLE + google("GBP")
    shop.take("google.csv", text)
    assert shop.judge() == []
    shop.account = POUNDS
    (back,) = shop.judge()
    assert (back.filename, back.stored, back.quarantined) == ("google.csv", 1, 0)
    assert "currency is GBP (USD before)" in back.notes[0]
    assert shop.judge() == []
    assert shop.take("google.csv", text).duplicate
    assert readmit(shop.intake) == []
    assert shop.spend() == {("03-01", "all"): 12.5}
    assert open_rows(shop.engine).empty
    assert [row["act"] for row in shop.rows(AuditEntry)] == ["receive", "rejudge", "receive"]
    shop.add_up()


def test_a_rate_that_was_added_brings_the_rows_of_a_mixed_file_back(shop: Shop) -> None:
    rows = "2026-03-01,a,search,c,10,10,1,0,0,USD\n2026-03-02,a,search,c,10,10,1,0,0,EUR\n"
    shop.take("performance.csv", NAMES + rows)
    shop.account = Account(rates=(Rate("EUR", Decimal("1.5")),))
    (back,) = shop.judge()
    assert (back.received, back.stored) == (1, 1)
    assert "the rates were changed" in back.notes[0]
    assert shop.spend() == {("03-01", "a"): 10.0, ("03-02", "a"): 15.0}
    shop.add_up()


def test_rows_that_come_back_hide_nothing_that_came_since(shop: Shop) -> None:
    shop.take("performance.csv", NAMES + "2026-03-01,a,search,c,10,10,1,0,0,GBP\n")
    shop.account, later = POUNDS, NOW + timedelta(days=1)
    row = "2026-03-01,a,search,c,12,10,1,0,0,GBP\n"
    shop.take("performance.csv", NAMES + row, received_at=later)
    (back,) = shop.judge()
    assert (back.stored, back.superseded) == (0, 1)
    assert shop.spend() == {("03-01", "a"): 12.0}


def test_hours_are_summed_to_days_of_the_zone_that_is_set_now(shop: Shop) -> None:
    shop.take("tiktok.csv", HOURS + "1,2026-03-01T23:30:00+00:00,10,100,5,0,JPY\n")
    shop.account = Account("JPY", "Asia/Tokyo")
    shop.judge()
    assert shop.spend() == {("03-02", "all"): 10.0}


def test_a_day_that_had_begun_in_the_zone_set_now_comes_back(shop: Shop) -> None:
    late = NOW.replace(hour=23)
    rows = "2026-03-11,a,search,c,10,10,1,0,0,\n2026-03-12,a,search,c,10,10,1,0,0,\n"
    shop.take("performance.csv", NAMES + rows, received_at=late)
    shop.account = Account("USD", "Asia/Tokyo")
    shop.judge()
    assert shop.spend() == {("03-11", "a"): 10.0}
    assert len(open_rows(shop.engine)) == 1


@pytest.mark.parametrize("segment_first", [False, True])
def test_a_file_read_again_for_a_segment_is_stored_under_it_alone(
    shop: Shop, segment_first: bool
) -> None:
    text = GOOGLE + google("GBP")
    options = ImportOptions(segment="UK")
    shop.take("google.csv", text)
    if segment_first:  # and again in quarantine, before the currency is set
        shop.take("google.csv", text, options=options)
    shop.account = POUNDS
    shop.judge()
    shop.take("google.csv", text, options=options)
    readmit(shop.intake)
    shop.judge()
    assert shop.spend() == {("03-01", "UK"): 12.5}
    assert open_rows(shop.engine).empty
    shop.add_up()


def test_readmission_passes_over_rows_whose_file_was_read_again(shop: Shop) -> None:
    """As a ledger has them that was written before readings closed each other's rows."""
    text = GOOGLE + google("GBP")
    first = shop.take("google.csv", text)
    shop.account = POUNDS
    shop.take("google.csv", text, options=ImportOptions(segment="UK"))
    with session(shop.engine) as opened:
        row = opened.get_one(QuarantinedRow, (first.delivery_id, 1))
        row.state, row.resolved_by = "open", None
    assert readmit(shop.intake) == []
    assert shop.spend() == {("03-01", "UK"): 12.5}
    assert {row["state"] for row in shop.rows(QuarantinedRow)} == {"superseded"}


def test_another_file_of_the_same_days_keeps_its_rows_in_quarantine(shop: Shop) -> None:
    shop.take("google.csv", GOOGLE + google("GBP"))
    shop.take("google.csv", GOOGLE + google("GBP", day=2))
    assert len(open_rows(shop.engine)) == 2


class Crash(BaseException):
    """The process is gone."""


def _gone(*args: Any, **kwargs: Any) -> Any:
    raise Crash


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (deliveries, "save_reading"),
        (deliveries, "store_delivery"),
        (recording, "store"),
        (storing, "_commit_current"),
        (recording, "mark_stored"),
        (rejudging, "long_key"),
    ],
)
def test_judging_again_may_be_killed_anywhere(
    open_shop: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    ends = []
    for name in ("whole", "killed"):
        shop = open_shop(name)
        shop.take("tiktok.csv", HOURS + "1,2026-03-01T23:30:00+00:00,10,100,5,0,JPY\n")
        shop.take("performance.csv", NAMES + "2026-03-01,a,search,c,10,10,1,0,0,JPY\n")
        shop.account = Account("JPY", "Asia/Tokyo")
        if name == "killed":
            with monkeypatch.context() as patched:
                patched.setattr(owner, step, _gone)
                with pytest.raises(Crash):
                    shop.judge()
        shop.judge()
        finish_pending(shop.workspace, engine=shop.engine)
        ends.append((shop.spend(), shop.rows(Delivery), shop.rows(QuarantinedRow)))
    assert ends[0] == ends[1]
    assert ends[0][0] == {("03-01", "a"): 10.0, ("03-02", "all"): 10.0}


def test_stored_money_is_not_renamed_by_a_changed_currency(shop: Shop) -> None:
    rows = "2026-03-01,a,search,c,10,10,1,0,0,USD\n2026-03-02,a,search,c,7,10,1,0,0,GBP\n"
    shop.take("performance.csv", NAMES + rows)
    shop.account = POUNDS
    with pytest.raises(ConfigurationError, match=r"1 stored rows .* are in USD \(10\.00\)") as said:
        shop.check()
    assert 'set currency = "USD" again' in said.value.fix
    shop.account = DOLLARS
    shop.check()


def test_rows_that_name_no_currency_are_the_accounts(shop: Shop) -> None:
    shop.take("performance.csv", NAMES + "2026-03-01,a,search,c,10,10,1,0,0,\n")
    shop.account = POUNDS
    shop.check()
    shop.check()
    acts = [row["act"] for row in shop.rows(AuditEntry)]
    assert acts == ["receive", "account"]


def test_notes_are_shown_once_and_long_lists_are_cut() -> None:
    notes = tuple(f"note {n}" for n in range(12))
    one = DeliverySummary("a.csv", "d-1", "sales", received=1, stored=1, notes=("x", "x", "y"))
    many = DeliverySummary("b.csv", "d-2", "sales", received=1, stored=1, notes=notes)
    again = DeliverySummary("c.csv", "d-3", "sales", received=1, stored=1, notes=notes)
    known = DeliverySummary("d.csv", "d-4", "sales", notes=("x",), duplicate=True)
    lines = list(summary_lines([one, many, again, known]))
    assert lines[:3] == ["a.csv: 1 sales row, 1 stored.", "  x", "  y"]
    assert lines[4:12] == [*(f"  note {n}" for n in range(7)), "  and 5 more: --json"]
    assert lines[12:] == [
        "c.csv: 1 sales row, 1 stored.",
        "  The same 12 notes as for b.csv.",
        "d.csv: taken in before, nothing changed (d-4).",
    ]


def test_readmitted_money_is_not_renamed_by_a_changed_currency(shop: Shop) -> None:
    shop.account = Account("EUR")
    shop.take("google.csv", GOOGLE + google("USD") + google("EUR", day=2))
    shop.account = Account(
        "EUR", rates=(Rate("USD", Decimal("0.5"), NOW.date().replace(day=1), NOW.date()),)
    )
    assert readmit(shop.intake, received_at=NOW)
    assert shop.spend() == {("03-01", "all"): 6.25, ("03-02", "all"): 12.5}
    shop.account = Account("USD")
    with pytest.raises(ConfigurationError) as refused:
        shop.check()
    assert "google.csv and 1 other deliveries" in str(refused.value)


def test_streamed_money_is_not_renamed_by_a_changed_currency(shop: Shop) -> None:
    row = (
        '{"date":"2026-03-01","segment":"all","channel":"search","spend":"5","impressions":"9",'
        '"clicks":"1","conversions":"0","revenue":"0","currency":"USD","_entry":"1772400000000-0"}'
    )
    taken = shop.take("performance-1772400000000-0-1.entries.jsonl", row + "\n")
    assert taken.stored == 1
    shop.account = POUNDS
    with pytest.raises(ConfigurationError, match=r"are in USD \(5\.00\)"):
        shop.check()


def test_a_changed_rate_is_said_once_at_ingest_and_by_the_doctor(shop: Shop) -> None:
    def rates(value: str) -> tuple[Rate, ...]:
        return (Rate("GBP", Decimal(value), NOW.date().replace(day=1), NOW.date()),)

    shop.account = Account(rates=rates("1.25"))
    shop.take("google.csv", GOOGLE + google("GBP"))
    shop.account = Account(rates=rates("1.30"))
    said = shop.take("google-2.csv", GOOGLE + google("GBP", day=2)).notes
    assert any("Since the last delivery the rate of GBP was changed" in note for note in said)
    found = list(doctor_on_account(shop.workspace, shop.engine, shop.account))
    assert [one[2] for one in found] == ["liftloop ingest google.csv --replace"]
    assert "1 stored rows of google.csv in GBP (12.50)" in found[0][1]
    again = shop.take("google-3.csv", GOOGLE + google("GBP", day=3)).notes
    assert not any("Since the last delivery" in note for note in again)
    options = ImportOptions(stands="replace")
    shop.take("google.csv", GOOGLE + google("GBP"), options=options)
    assert shop.spend()["03-01", "all"] == 16.25


def test_a_changed_zone_names_the_files_whose_days_are_others(shop: Shop) -> None:
    shop.take("tiktok.csv", HOURS + "1,2026-03-01T23:00:00+00:00,5,100,5,1,USD\n")
    shop.take("google.csv", GOOGLE + google("USD"))
    shop.account = replace(shop.account, timezone="Asia/Tokyo")
    found = list(doctor_on_account(shop.workspace, shop.engine, shop.account))
    named = [detail.split()[0] for _, detail, _ in found]
    assert named == ["tiktok.csv"]


def test_mended_rows_on_another_level_are_settled_by_an_answer(shop: Shop) -> None:
    shop.take("performance-1.csv", NAMES + "2026-03-01,all,search,brand,30,9,1,0,0,USD\n")
    ads = "2026-03-01,UK,search,brand,50,9,1,0,0,GBP\n"
    assert shop.take("performance-2.csv", NAMES + ads).quarantined == 1
    shop.account = Account(
        rates=(Rate("GBP", Decimal("1"), NOW.date().replace(day=1), NOW.date()),)
    )

    def back(**more: Any) -> list[DeliverySummary]:
        return readmit(shop.intake, received_at=NOW, **more)

    with pytest.raises(RefusedFile, match="liftloop quarantine readmit with --replace"):
        back()
    assert shop.spend() == {("03-01", "all"): 30}
    assert back(stands="beside")[0].stored == 1
    assert shop.spend() == {("03-01", "UK"): 50, ("03-01", "all"): 30}


def test_the_counts_of_missing_attribution_are_in_the_summary(shop: Shop) -> None:
    bad = "2026-03-01,all,search,brand,30,9,10,0,-1,USD\n"
    bad += "2026-03-02,all,search,brand,3,9,1,0,-5,USD\n"
    taken = shop.take("performance-1.csv", NAMES + bad)
    assert {(one["column"], one["rows"]) for one in taken.as_dict()["missing"]} == {
        ("clicks", 1),
        ("revenue", 2),
    }
