"""Bad rows of every kind, end to end: from the inbox through importers and contracts.

A row that breaks a rule lies in quarantine under the rule's name, as it was received, and its good
neighbours are stored. Files that are bad as a whole: ``test_bad_files.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.quarantine import open_rows
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.settings.workspace import Workspace

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
HEADS = {
    "performance": "date,segment,channel,spend,impressions,clicks,conversions,revenue",
    "holdout": "date,segment,channel,arm,users,converters,conversions,revenue,revenue_sq",
    "units": "experiment,unit_id,segment,channel,arm,assigned_on,converted,conversions,revenue",
    "sales": "date,segment,orders,revenue",
    "events": "event_id,occurred_at,segment,revenue",
    "experiments": "experiment,segments,channel,start,end,spend_delta,incremental_revenue,"
    "standard_error",
    "variants": "test,date,segment,channel,variant,units,conversions,revenue",
}
GOOD = {  # @ makes the key of each row its own
    "performance": "2026-03-01,s@,meta,1.50,100,3,0.5,9",
    "holdout": "2026-03-01,s@,meta,treated,100,3,3,90,3000",
    "units": "e,u@,north,mail,treated,2026-03-01,1,1,9",
    "sales": "2026-03-01,s@,4,90.5",
    "events": "v@,2026-03-01T09:30:00Z,north,9.5",
    "experiments": "e@,north;south,meta,2026-02-01,2026-02-28,1000,1500,300",
    "variants": "hero,2026-03-01,s@,meta,new,1000,50,2000",
}


# --- rows: the bad one goes to quarantine, its neighbours are stored ---


@dataclass(frozen=True)
class Row:
    """The cell to change in a good row (or the whole row), and the rule it breaks."""

    feed: str
    column: str
    cell: str
    rule: str
    extra: str = ""  # a further column, empty in the good rows
    also: tuple[str, ...] = ()  # rules broken besides, by name


ROWS = {
    "a negative spend": Row("performance", "spend", "-1.50", "spend_not_negative"),
    "NaN": Row("performance", "spend", "NaN", "not_a_number"),
    "infinity": Row("performance", "spend", "inf", "not_finite"),
    "minus infinity": Row("sales", "revenue", "-Infinity", "not_finite"),
    "a number no float holds": Row("performance", "spend", "99999999999999999999", "too_large"),
    "a word for a number": Row("performance", "spend", "abc", "not_a_number"),
    "a spreadsheet's error": Row("performance", "spend", "#DIV/0!", "not_a_number"),
    "a formula for a number": Row("performance", "spend", "=1+1", "not_a_number"),
    "a thousands separator": Row("performance", "spend", '"1,234.50"', "not_a_number"),
    "a decimal comma": Row("performance", "spend", '"1,5"', "not_a_number"),
    "a currency sign": Row("performance", "spend", "$1.50", "not_a_number"),
    "no spend": Row("performance", "spend", "", "missing_value"),
    "no segment": Row("performance", "segment", "", "missing_value"),
    "blanks for a segment": Row("performance", "segment", "   ", "missing_value"),
    "30 February": Row("performance", "date", "2026-02-30", "not_a_date"),
    "month 13": Row("performance", "date", "2026-13-01", "not_a_date"),
    "a month for a day": Row("performance", "date", "2026-03", "not_a_date"),
    "a day with a time": Row("performance", "date", "2026-03-01T10:00:00", "date_with_a_time"),
    "a day in the future": Row("performance", "date", "2099-03-01", "date_not_in_future"),
    "a day in the past of computers": Row("performance", "date", "1970-01-01", "date_since_1990"),
    "the year 9999": Row("performance", "date", "9999-12-31", "date_not_in_future"),
    "the year 0001": Row("performance", "date", "0001-01-01", "date_since_1990"),
    "a name of 10,000 characters": Row("performance", "channel", "x" * 10_000, "name_too_long"),
    "a line end in a name": Row(
        "performance", "channel", '"me\nta"', "name_with_control_characters"
    ),
    "a name that reads backwards": Row(
        "performance", "channel", "me\u202eat", "name_with_control_characters"
    ),
    "a bell in a name": Row("performance", "channel", "me\x07ta", "name_with_control_characters"),
    "another currency": Row("performance", "currency", "JPY", "currency_has_rate", "currency"),
    "no currency at all": Row(
        "performance", "currency", "dollars", "currency_is_three_letters", "currency"
    ),
    "reported in the future": Row(
        "performance",
        "reported_at",
        "2027-01-01T00:00:00Z",
        "reported_at_not_in_future",
        "reported_at",
    ),
    "no instant": Row("sales", "reported_at", "yesterday", "not_an_instant", "reported_at"),
    "a third arm": Row("holdout", "arm", "placebo", "arm_treated_or_control"),
    "no users": Row("holdout", "", "2026-03-01,bad,meta,treated,0,0,0,0,0", "users_positive"),
    "more converters than users": Row("holdout", "converters", "101", "converters_at_most_users"),
    "negative squares": Row(
        "holdout",
        "revenue_sq",
        "-1",
        "revenue_sq_fits_revenue",
        also=("revenue_sq_not_negative",),
    ),
    "squares below the square of the sum": Row(
        "holdout", "revenue_sq", "1", "revenue_sq_fits_revenue"
    ),
    "converted twice": Row("units", "converted", "2", "converted_0_or_1"),
    "a treated user of no channel": Row("units", "channel", "", "treated_names_a_channel"),
    "a certain propensity": Row(
        "units", "propensity", "1", "propensity_between_0_and_1", "propensity"
    ),
    "a negative cost": Row("units", "cost", "-0.10", "cost_not_negative", "cost"),
    "a covariate that is a word": Row("units", "x_age", "old", "not_a_number", "x_age"),
    "negative orders": Row("sales", "orders", "-1", "orders_not_negative"),
    "an event without an id": Row("events", "event_id", "", "missing_value"),
    "an event of tomorrow": Row(
        "events", "occurred_at", "2026-10-03T00:00:00Z", "date_not_in_future"
    ),
    "an instant that is a bare number": Row(
        "events", "occurred_at", "1767225600", "not_an_instant"
    ),
    "an instant in no hour": Row("events", "occurred_at", "2026-03-01T25:00:00Z", "not_an_instant"),
    "a test that ends before it starts": Row(
        "experiments", "start", "2026-03-15", "start_not_after_end"
    ),
    "a standard error of zero": Row(
        "experiments", "standard_error", "0", "standard_error_positive"
    ),
    "a variant without units": Row("variants", "units", "0", "units_positive"),
    "a variant without a name": Row("variants", "variant", "", "missing_value"),
    "a nameless segment": Row("experiments", "segments", "north;;", "segments_all_named"),
    "too many fields": Row("sales", "", "2026-03-01,s,1,2,3", "broken_row"),
    "too few fields": Row("sales", "", "2026-03-01,s", "broken_row"),
    "an unclosed quote": Row("sales", "", '2026-03-01,"s,1,2', "broken_row"),
}


# rows whose spend is sound: stored, without what broke a rule
ATTRIBUTION = {
    "a negative revenue": Row("performance", "revenue", "-9", "revenue_not_negative"),
    "negative clicks": Row("performance", "clicks", "-3", "clicks_not_negative"),
    "negative impressions": Row(
        "performance",
        "",
        "2026-03-01,bad,meta,1,-1,-1,0,0",
        "clicks_not_negative",
        also=("impressions_not_negative",),
    ),
    "negative conversions": Row("performance", "conversions", "-1", "conversions_not_negative"),
    "clicks above impressions": Row("performance", "clicks", "101", "clicks_at_most_impressions"),
    "an overflow": Row("performance", "revenue", "1e400", "not_finite"),
    "a count no integer holds": Row(
        "performance", "impressions", "99999999999999999999", "too_large"
    ),
    "hexadecimal": Row("performance", "impressions", "0x64", "not_a_number"),
    "underscores in a number": Row("performance", "impressions", "1_000", "not_a_number"),
    "half an impression": Row("performance", "impressions", "100.5", "not_a_whole_number"),
}


def _csv(bad: Row) -> str:
    names = HEADS[bad.feed].split(",") + ([bad.extra] if bad.extra else [])
    good = GOOD[bad.feed] + ("," if bad.extra else "")
    cells = good.replace("@", "bad").split(",")
    if bad.column:
        cells[names.index(bad.column)] = bad.cell
    rows = [good.replace("@", str(i)) for i in range(5)]
    rows.insert(3, ",".join(cells) if bad.column else bad.cell)
    return "\n".join([",".join(names), *rows]) + "\n"


@pytest.mark.parametrize("what", ROWS)
def test_a_bad_row_lies_in_quarantine_and_its_neighbours_are_stored(
    what: str, fresh_workspace: Workspace
) -> None:
    bad = ROWS[what]
    path = fresh_workspace.inbox / f"{bad.feed}.csv"
    path.write_text(_csv(bad), encoding="utf-8")
    summary = _deliver(fresh_workspace, path)
    assert summary.refused is None
    assert (summary.received, summary.stored, summary.superseded) == (6, 5, 0)
    assert summary.rules == tuple((rule, 1) for rule in (bad.rule, *bad.also))
    assert bad.rule in summary.sentence
    rows = open_rows(_engine(fresh_workspace))
    assert rows["row_number"].tolist() == [4]
    assert sorted(rows["rules"].iloc[0].split(";")) == [bad.rule, *bad.also]
    assert json.loads(rows["row"].iloc[0])  # what was received stays readable
    facts = read_facts(fresh_workspace, bad.feed, as_of=None, timezone="UTC")
    assert len(facts) == 5
    assert not any("bad" in str(value) for value in facts.to_numpy().ravel())
    assert not path.exists()


@pytest.mark.parametrize("what", ATTRIBUTION)
def test_a_row_with_broken_attribution_keeps_its_spend(
    what: str, fresh_workspace: Workspace
) -> None:
    bad = ATTRIBUTION[what]
    path = fresh_workspace.inbox / f"{bad.feed}.csv"
    path.write_text(_csv(bad), encoding="utf-8")
    summary = _deliver(fresh_workspace, path)
    assert (summary.refused, summary.stored, summary.quarantined) == (None, 6, 0)
    facts = read_facts(fresh_workspace, bad.feed, as_of=None, timezone="UTC")
    assert facts["spend"].nunique() == 1 or not bad.column
    broken = facts[["impressions", "clicks", "conversions", "revenue"]].isna()
    assert broken.any(axis=1).sum() == 1
    for rule in (bad.rule, *bad.also):
        assert any(rule in note for note in summary.notes)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_edges_of_the_calendar_break_no_zone(
    moment: str, zone: str, fresh_workspace: Workspace
) -> None:
    path = fresh_workspace.inbox / "events.csv"
    good = GOOD["events"].replace("@", "1")
    path.write_text(f"{HEADS['events']}\nv2,{moment},a,9\n{good}\n", encoding="utf-8")
    summary = deliver(
        Intake(fresh_workspace, _engine(fresh_workspace), Account(timezone=zone)),
        path,
        received_at=NOW,
    )
    assert (summary.stored, summary.quarantined) == (1, 1)
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(f"{HEADS['sales']}\n{moment[:10]},a,4,9\n{GOOD['sales']}\n", encoding="utf-8")
    summary = deliver(
        Intake(fresh_workspace, _engine(fresh_workspace), Account(timezone=zone)),
        path,
        received_at=NOW,
    )
    assert (summary.stored, summary.quarantined) == (1, 1)


# --- odd but sound: stored as it stands, and never run or followed ---


@pytest.mark.parametrize(
    "name",
    [
        '=HYPERLINK("http://x")',
        "../../etc/passwd",
        "; DROP TABLE delivery; --",
        "<script>",
        "{{ 7 * 7 }}",
        "%s%n",
        "NULL",
        "C:\\Windows",
    ],
)
def test_a_tricky_name_is_only_a_name(name: str, fresh_workspace: Workspace) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(f"{HEADS['sales']}\n2026-03-01,{quoted},4,90.5\n", encoding="utf-8")
    assert _deliver(fresh_workspace, path).stored == 1
    facts = read_facts(fresh_workspace, "sales", as_of=None, timezone="UTC")
    assert facts["segment"].tolist() == [name]


def test_one_key_twice_in_a_file_is_superseded_not_lost(fresh_workspace: Workspace) -> None:
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(f"{HEADS['sales']}\n2026-03-01,a,4,90\n2026-03-01,a,5,91\n", encoding="utf-8")
    summary = _deliver(fresh_workspace, path)
    assert (summary.received, summary.stored, summary.superseded) == (2, 1, 1)
    facts = read_facts(fresh_workspace, "sales", as_of=None, timezone="UTC")
    assert facts["orders"].tolist() == [5.0]


def test_every_feed_has_its_bad_rows() -> None:
    assert {bad.feed for bad in ROWS.values()} == set(FEEDS)


def _engine(workspace: Workspace) -> Any:
    return open_ledger(f"sqlite:///{workspace.ledger}")


def _deliver(workspace: Workspace, path: Path, **options: Any) -> Any:
    summary = deliver(
        Intake(workspace, _engine(workspace), Account()),
        path,
        received_at=NOW,
        options=ImportOptions(**options),
    )
    assert summary.received == summary.stored + summary.superseded + summary.quarantined
    return summary
