"""Wide tables and tables by week under a map: exact sums, one name a column, one answer a doubt."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import facts_version, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.adapters.importers.maps.wildcards import stands_for
from liftloop.adapters.ledger.records import open_ledger
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.deliveries.questions import Stands
from liftloop.settings.workspace import Workspace

MAPS = Path(__file__).parents[3] / "examples" / "maps"
NOW = datetime(2026, 10, 1, tzinfo=UTC)
MONDAY = date(2025, 1, 6)
ZEROS = "clicks = 0\nconversions = 0\nrevenue = 0\n"
WIDE = f"""
feed = "performance"
[period]
start = "week"
days = 7
[rename]
"*_spend" = "spend"
[constants]
segment = "all"
impressions = 0
{ZEROS}"""


def read(folder: Path, table: str, mapping: str) -> Imported:
    (folder / "table.csv").write_text(table, encoding="utf-8")
    (folder / "mine.toml").write_text(mapping, encoding="utf-8")
    return read_delivery(folder / "table.csv", ImportOptions(mapping=folder / "mine.toml"))


def cents(values: pd.Series) -> Decimal:
    return sum((Decimal(str(value)) for value in values), Decimal(0))


def weeks(count: int) -> list[date]:
    return [MONDAY + timedelta(weeks=n) for n in range(count)]


def robyn(chance: Random, count: int) -> tuple[str, dict[str, Decimal]]:
    """A table of Robyn's layout, and what it has of each channel's spend and of revenue."""
    names = ("tv", "ooh", "print", "facebook", "search")
    sums = dict.fromkeys((*names, "revenue", "impressions"), Decimal(0))
    lines = [
        '"DATE","revenue","tv_S","ooh_S","print_S","facebook_I","search_clicks_P","search_S",'
        '"competitor_sales_B","facebook_S","events","newsletter"'
    ]
    for week in weeks(count):
        money = {name: Decimal(chance.randrange(9_000_000)) / 100 for name in (*names, "revenue")}
        shown = chance.randrange(9_000_000) + chance.choice((0.2, 0.4))
        for name, amount in money.items():
            sums[name] += amount
        sums["impressions"] += round(shown)
        lines.append(
            f"{week},{money['revenue']},{money['tv']},{money['ooh']},{money['print']},{shown},"
            f"{chance.random()},{money['search']},{chance.randrange(10**7)},{money['facebook']},"
            f'"na",{chance.randrange(20_000)}'
        )
    return "\n".join(lines) + "\n", sums


def test_robyns_layout_comes_in_to_the_cent_as_spend_and_as_sales(tmp_path: Path) -> None:
    table, sums = robyn(Random(1), 30)
    path = tmp_path / "dt_simulated_weekly.csv"
    path.write_text(table)
    spend = read_delivery(path, ImportOptions(mapping=MAPS / "robyn_spend.toml"))
    by_channel = {str(name): cents(part["spend"]) for name, part in spend.frame.groupby("channel")}
    assert by_channel == {name: sums[name] for name in by_channel}
    assert set(by_channel) == {"tv", "ooh", "print", "facebook", "search"}
    assert len(spend.frame) == 30 * 7 * 5
    assert int(spend.frame["impressions"].sum()) == sums["impressions"]
    assert (spend.frame.loc[spend.frame["channel"] != "facebook", "impressions"] == 0).all()
    sales = read_delivery(path, ImportOptions(mapping=MAPS / "robyn_sales.toml"))
    assert cents(sales.frame["revenue"]) == sums["revenue"]
    covariates = [name for name in sales.frame if str(name).startswith("x_")]
    assert covariates == ["x_competitor_sales_b", "x_newsletter"]
    assert "Columns without numbers were left aside: events." in sales.notes
    assert len(sales.frame) == sales.frame["date"].nunique() == 210


def test_pymcs_layout_comes_in_as_spend_and_as_sales_with_its_events(tmp_path: Path) -> None:
    chance, lines = Random(2), ["date_week,y,x1,x2,event_1,event_2,dayofyear,t"]
    first, second, revenue = Decimal(0), Decimal(0), Decimal(0)
    for n, week in enumerate(weeks(20)):
        x1, x2 = (Decimal(chance.randrange(1_000_000)) / 1_000_000 for _ in range(2))
        y = Decimal(chance.randrange(600_000)) / 100
        first, second, revenue = first + x1 * 10_000, second + x2 * 10_000, revenue + y
        lines.append(f"{week},{y},{x1},{x2},0.0,{float(n == 3)},{week:%j},{n}")
    path = tmp_path / "mmm_example.csv"
    path.write_text("\n".join(lines))
    spend = read_delivery(path, ImportOptions(mapping=MAPS / "pymc_spend.toml")).frame
    by_channel = {str(name): cents(part["spend"]) for name, part in spend.groupby("channel")}
    assert by_channel == {"x1": first, "x2": second}
    sales = read_delivery(path, ImportOptions(mapping=MAPS / "pymc_sales.toml")).frame
    assert cents(sales["revenue"]) == revenue
    assert sales["x_event_2"].sum() == 7  # the flag holds on each day of its week
    assert [name for name in sales if str(name).startswith("x_")] == ["x_event_1", "x_event_2"]


def test_meridians_layout_comes_in_by_geo(tmp_path: Path) -> None:
    chance = Random(3)
    lines = [
        ",geo,time,Channel0_impression,Channel1_impression,Competitor_Sales_control,"
        "Channel0_spend,Channel1_spend,Organic_channel0_impression,conversions,"
        "revenue_per_conversion,population"
    ]
    sums: dict[tuple[str, str], Decimal] = {}
    orders = dict.fromkeys(("Geo0", "Geo1", "Geo2"), 0)
    for n, (week, geo) in enumerate((week, geo) for week in weeks(12) for geo in orders):
        spent = [Decimal(chance.randrange(2_000_000)) / 100 for _ in range(2)]
        for at, amount in enumerate(spent):
            key = geo, f"Channel{at}"
            sums[key] = sums.get(key, Decimal(0)) + amount
        sold = chance.randrange(5000)
        orders[geo] += sold
        lines.append(
            f"{n},{geo},{week},{chance.random() * 1e6},{chance.random() * 1e6},{chance.random()},"
            f"{spent[0]},{spent[1]},{chance.random() * 1e6},{sold},0.02,{10_000}"
        )
    path = tmp_path / "geo_media.csv"
    path.write_text("\n".join(lines))
    spend = read_delivery(path, ImportOptions(mapping=MAPS / "meridian_spend.toml"))
    got = {
        (str(geo), str(channel)): cents(part["spend"])
        for (geo, channel), part in spend.frame.groupby(["segment", "channel"])
    }
    assert got == sums
    assert any("left aside: Organic_channel0_impression" in note for note in spend.notes)
    sales = read_delivery(path, ImportOptions(mapping=MAPS / "meridian_sales.toml")).frame
    assert sales.groupby("segment")["orders"].sum().to_dict() == orders
    assert (sales["orders"] % 1 == 0).all()
    assert {"x_population", "x_competitor_sales"} <= set(sales)


@settings(max_examples=60, deadline=None)
@given(
    money=st.integers(0, 10**9),
    shown=st.integers(0, 10**9),
    share=st.floats(0, 1),
    days=st.integers(1, 366),
)
def test_the_days_of_a_row_sum_to_the_row(
    money: int, shown: int, share: float, days: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clicks = int(shown * share)
    table = f"week,tv_spend,i,c\n2025-03-01,{Decimal(money) / 100},{shown},{clicks}\n"
    mapping = WIDE.replace("days = 7", f"days = {days}").replace("impressions = 0", "")
    mapping = mapping.replace("clicks = 0\n", "") + '[derived]\nimpressions = "i"\nclicks = "c"\n'
    frame = read(tmp_path_factory.mktemp("wide"), table, mapping).frame
    assert cents(frame["spend"]) == Decimal(money) / 100
    assert (frame["impressions"].sum(), frame["clicks"].sum()) == (shown, clicks)
    assert (frame["clicks"] <= frame["impressions"]).all()
    assert frame["date"].is_unique
    assert len(frame) == days


@pytest.mark.parametrize(
    ("period", "day", "first", "last"),
    [
        ('start = "week"\nevery = "week"', "2025-01-06", "2025-01-06", "2025-01-12"),
        ('end = "week"\nevery = "week"', "2025-01-12", "2025-01-06", "2025-01-12"),
        ('start = "week"\nevery = "month"', "2024-02-01", "2024-02-01", "2024-02-29"),
        ('end = "week"\nevery = "month"', "2024-02-29", "2024-02-01", "2024-02-29"),
        ('end = "week"\nevery = "quarter"', "2025-03-31", "2025-01-01", "2025-03-31"),
        ('start = "week"\ndays = 10', "2025-01-06", "2025-01-06", "2025-01-15"),
        (
            'start = \'day(week, "%m/%Y")\'\nevery = "month"',
            "12/2024",
            "2024-12-01",
            "2024-12-31",
        ),
    ],
)
def test_a_period_is_told_by_its_first_or_its_last_day(
    period: str, day: str, first: str, last: str, tmp_path: Path
) -> None:
    mapping = WIDE.replace('start = "week"\ndays = 7', period)
    got = read(tmp_path, f"week,tv_spend\n{day},100.00\n", mapping)
    assert got.periods == ((date.fromisoformat(first), date.fromisoformat(last)),)
    assert cents(got.frame["spend"]) == 100


def test_a_period_may_be_told_by_both_of_its_days(tmp_path: Path) -> None:
    mapping = WIDE.replace("days = 7", 'end = "until"')
    table = "week,until,tv_spend\n2025-01-06,2025-01-12,7\n2025-01-13,2025-01-14,7\n"
    frame = read(tmp_path, table, mapping).frame
    assert frame["spend"].tolist() == [1.0] * 7 + [3.5] * 2


def test_a_row_that_cannot_be_spread_waits_whole_and_its_neighbours_are_spread(
    tmp_path: Path,
) -> None:
    table = (
        "week,tv_spend,ooh_spend\n2025-01-06,70,x\n2025-13-01,70,7\n2025-01-20,-7,7\n"
        "2025-01-27,7,\n"
    )
    frame = read(tmp_path, table, WIDE).frame
    broken = frame[frame["_broken"].notna()]
    assert len(broken) == 5
    assert "spend is -7" in " ".join(broken["_broken"])
    assert "no period" in " ".join(broken["_broken"])
    sound = frame[frame["_broken"].isna()]
    assert len(sound) == 3 * 7
    assert cents(sound["spend"]) == 84


def test_attributed_numbers_that_break_a_rule_are_missing_on_each_day(tmp_path: Path) -> None:
    mapping = WIDE.replace("clicks = 0\n", "").replace("impressions = 0", "impressions = 10")
    mapping = mapping.replace('"spend"\n', '"spend"\nclicked = "clicks"\n')
    got = read(tmp_path, "week,tv_spend,clicked\n2025-01-06,7,11\n", mapping)
    assert got.frame["clicks"].isna().all()
    assert got.frame["spend"].sum() == 7
    assert any("no usable number in clicks" in note for note in got.notes)


def test_gaps_between_periods_are_named(tmp_path: Path) -> None:
    table = "week,tv_spend\n2025-01-06,7\n2025-01-20,7\n2025-01-27,7\n"
    notes = read(tmp_path, table, WIDE).notes
    assert any("2025-01-13 to 2025-01-19 (7 days)" in note for note in notes)


@pytest.mark.parametrize(
    "table",
    [
        "week,tv_spend\n2025-01-06,7\n2025-01-10,7\n",
        "week,tv_spend\n2025-01-10,7\n2025-01-06,7\n2025-01-20,7\n",
    ],
)
def test_periods_that_overlap_are_refused_with_their_distance(table: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="periods overlap: 2025-01-06") as refusal:
        read(tmp_path, table, WIDE)
    assert "4 days apart" in str(refusal.value)


def test_rows_of_one_period_are_summed_before_they_count(tmp_path: Path) -> None:
    table = "week,tv_spend,part\n2025-01-06,7.01,a\n2025-01-06,1.02,b\n"
    frame = read(tmp_path, table, "aggregate = true\n" + WIDE).frame
    assert len(frame) == 7
    assert cents(frame["spend"]) == Decimal("8.03")


def test_two_columns_that_come_under_one_name_are_parts_or_refused(tmp_path: Path) -> None:
    table = "week,tv_spend,cable_spend\n2025-01-06,7,14\n"
    mapping = WIDE + '[values.channel]\ncable = "tv"\n'
    with pytest.raises(RefusedFile, match="both come as all tv"):
        read(tmp_path, table, mapping)
    frame = read(tmp_path, table, "aggregate = true\n" + mapping).frame
    assert cents(frame["spend"]) == 21
    assert len(frame) == 7


def test_the_star_may_be_the_segment(tmp_path: Path) -> None:
    mapping = """
feed = "sales"
[rename]
day = "date"
"revenue_*" = "revenue"
"orders_*" = "orders"
"""
    table = "day,revenue_DE,orders_DE,revenue_AT,orders_AT\n2025-01-06,5,1,6,2\n"
    frame = read(tmp_path, table, mapping).frame
    assert frame[["segment", "revenue", "orders"]].to_numpy().tolist() == [
        ["DE", 5, 1],
        ["AT", 6, 2],
    ]


def test_a_column_of_exactly_that_name_is_no_wildcard(tmp_path: Path) -> None:
    mapping = WIDE.replace('"*_spend" = "spend"', '"spend*" = "spend"')
    mapping = mapping.replace('segment = "all"', 'segment = "all"\nchannel = "tv"')
    frame = read(tmp_path, "week,spend*,spend_total\n2025-01-06,7,9\n", mapping).frame
    assert cents(frame["spend"]) == 7


@given(before=st.text("ab_", max_size=3), star=st.text("ab_", max_size=3))
def test_a_star_stands_for_at_least_one_character(before: str, star: str) -> None:
    found = stands_for(f"{before}*_spend", f"{before}{star}_spend")
    assert found == (star or None)


BAD_MAPS = {
    "a wildcard that fits no column": (('"*_spend"', '"*_cost"'), "no column fits '*_cost'"),
    "two that fit one column": (
        ('"spend"\n', '"spend"\n"tv_*" = "impressions"\n'),
        "fits '*_spend' (spend) and 'tv_*'",
    ),
    "two stars in one name": (('"*_spend"', '"*_*"'), "needs one *"),
    "a family without a star": (('"spend"\n', '"spend"\nweek = "x_*"\n'), "needs one *"),
    "a family the feed has not": (('"spend"\n', '"spend"\n"*" = "x_*"\n'), "no column 'x_a'"),
    "a star nobody names": (
        ('segment = "all"', 'segment = "all"\nchannel = "tv"'),
        "nothing says what the * of a row",
    ),
    "a column it does not give": (("impressions = 0\n", ""), "gives no impressions"),
    "a list that is none": (("feed =", 'ignore = "tv"\nfeed ='), "ignore is no list"),
    "nothing to ignore": (("feed =", 'ignore = ["radio*"]\nfeed ='), "no column fits 'radio*'"),
    "a period of no column": (('start = "week"', ""), "names no column of the first"),
    "a period of another table": (('start = "week"', 'start = "day"'), "no column 'day'"),
    "a period without days": (("days = 7", ""), "does not say how many days"),
    "a period with two lengths": (("days = 7", 'days = 7\nevery = "week"'), "in two ways"),
    "no days": (("days = 7", "days = 0"), "days is 0"),
    "half a day": (("days = 7", "days = 0.5"), "days is 0.5"),
    "days in words": (("days = 7", 'days = "7"'), "days is '7'"),
    "another rhythm": (("days = 7", 'every = "fortnight"'), "every is 'fortnight'"),
    "an unknown key": (("days = 7", "weeks = 1"), "unknown key 'weeks'"),
    "a period that is no table": (('[period]\nstart = "week"\ndays = 7', "period = 7"), "[period]"),
    "a day beside the period": (
        ('segment = "all"', 'segment = "all"\ndate = "2025-01-06"'),
        "both give the date",
    ),
}


@pytest.mark.parametrize("what", BAD_MAPS)
def test_a_wrong_period_or_wildcard_is_refused_with_the_key_and_the_fix(
    what: str, tmp_path: Path
) -> None:
    change, says = BAD_MAPS[what]
    assert change[0] in WIDE
    with pytest.raises((ConfigurationError, RefusedFile)) as refusal:
        read(tmp_path, "week,tv_spend,ooh_spend\n2025-01-06,7,8\n", WIDE.replace(*change, 1))
    assert says in str(refusal.value)
    assert "Fix: " in str(refusal.value)


def test_a_channel_without_the_column_of_another_needs_a_constant(tmp_path: Path) -> None:
    table = "week,tv_spend,radio_spend,tv_views\n2025-01-06,7,7,70\n"
    mapping = WIDE.replace('"spend"\n', '"spend"\n"*_views" = "impressions"\n')
    with pytest.raises(RefusedFile, match="'radio_spend' has no impressions beside it"):
        read(tmp_path, table, mapping.replace("impressions = 0\n", ""))
    frame = read(tmp_path, table, mapping).frame
    assert frame.groupby("channel")["impressions"].sum().to_dict() == {"tv": 70, "radio": 0}


def test_covariates_with_one_name_are_refused(tmp_path: Path) -> None:
    mapping = """
feed = "sales"
[rename]
week = "date"
sold = "revenue"
"*" = "x_*"
[constants]
segment = "all"
orders = 0
"""
    table = "week,sold,x_price,Holiday Index\n2025-01-06,7,1,2\n"
    assert list(read(tmp_path, table, mapping).frame)[-2:] == ["x_price", "x_holiday_index"]
    with pytest.raises(RefusedFile, match="would both be x_price"):
        read(tmp_path, "week,sold,x_price,Price\n2025-01-06,7,1,2\n", mapping)
    derived = mapping.replace('"*" = "x_*"\n', "") + "[derived]\n'x_*' = 'round(col(\"*\"), 0)'\n"
    got = read(tmp_path, "week,sold,price\n2025-01-06,7,1.4\n", derived).frame
    assert got["x_price"].tolist() == [1]


Take = Callable[..., DeliverySummary]


@pytest.fixture
def workspace(tmp_path: Path, sqlite_model: Path) -> Workspace:
    place = Workspace(tmp_path / "shop")
    for folder in place.folders:
        folder.mkdir(parents=True)
    shutil.copy(sqlite_model, place.ledger)
    return place


@pytest.fixture
def take(workspace: Workspace, tmp_path: Path) -> Take:
    engine = open_ledger(f"sqlite:///{workspace.ledger}")

    def deliver_text(text: str, *, mapping: str = "", stands: Stands = "") -> DeliverySummary:
        path = workspace.inbox / "performance.csv"
        path.write_text(text, encoding="utf-8")
        where = tmp_path / "weekly.toml"
        where.write_text(mapping, encoding="utf-8")
        options = ImportOptions(mapping=where if mapping else None, stands=stands)
        return deliver(Intake(workspace, engine, Account()), path, options=options, received_at=NOW)

    return deliver_text


def stored(workspace: Workspace) -> dict[str, Decimal]:
    facts = read_facts(workspace, "performance", as_of=None, timezone="UTC")
    return {str(name): cents(part["spend"]) for name, part in facts.groupby("channel")}


def weekly(*amounts: str, start: date = MONDAY, column: str = "tv_spend") -> str:
    rows = [f"{start + timedelta(weeks=n)},{amount}" for n, amount in enumerate(amounts)]
    return "\n".join([f"week,{column}", *rows]) + "\n"


DAILY = "date,segment,channel,campaign,spend,impressions,clicks,conversions,revenue\n"


def daily(*amounts: float, channel: str = "tv", campaign: str = "all") -> str:
    rows = [
        f"{MONDAY + timedelta(days=n)},all,{channel},{campaign},{amount},0,0,0,0"
        for n, amount in enumerate(amounts)
    ]
    return DAILY + "\n".join(rows) + "\n"


def test_a_weekly_file_again_changes_nothing_and_a_later_one_restates(
    workspace: Workspace, take: Take
) -> None:
    assert take(weekly("70.01", "71.00"), mapping=WIDE).stored == 14
    version = facts_version(workspace, "performance")
    assert take(weekly("70.01", "71.00"), mapping=WIDE).duplicate
    assert facts_version(workspace, "performance") == version
    later = weekly("71.50", "80.00", start=MONDAY + timedelta(weeks=1))
    assert not take(later, mapping=WIDE).refused
    assert stored(workspace) == {"tv": Decimal("221.51")}


def test_two_maps_take_spend_and_sales_out_of_one_file(workspace: Workspace, take: Take) -> None:
    table = "week,tv_spend,sold\n2025-01-06,70.01,700.05\n"
    sales = """
feed = "sales"
[period]
start = "week"
days = 7
[rename]
sold = "revenue"
[constants]
segment = "all"
orders = 0
"""
    assert (take(table, mapping=WIDE).stored, take(table, mapping=sales).stored) == (7, 7)
    assert stored(workspace) == {"tv": Decimal("70.01")}
    sold = read_facts(workspace, "sales", as_of=None, timezone="UTC")["revenue"]
    assert cents(sold) == Decimal("700.05")


@pytest.mark.parametrize("campaign", ["all", "brand"])
def test_a_weekly_report_beside_a_daily_one_is_asked_about(
    campaign: str, workspace: Workspace, take: Take
) -> None:
    take(daily(*[10.0] * 6, 12.0, campaign=campaign))
    said = take(weekly("72.00", "70.00"), mapping=WIDE).refused
    assert said is not None
    assert "142.00 of spend by periods" not in said  # the second week is nobody's yet
    assert "72.00 of spend by periods for 2025-01-06 to 2025-01-12" in said
    assert "72.00 of the same days is stored by day" in said
    assert "--replace" in said
    assert stored(workspace) == {"tv": Decimal(72)}
    assert not take(weekly("72.00", "70.00"), mapping=WIDE, stands="replace").refused
    assert stored(workspace) == {"tv": Decimal(142)}


def test_a_daily_report_beside_a_weekly_one_is_asked_about(
    workspace: Workspace, take: Take
) -> None:
    take(weekly("70.00"), mapping=WIDE)
    said = take(daily(11.0, 12.0)).refused
    assert said is not None
    assert "23.00 of spend by day" in said
    assert "20.00 of the same days is stored by periods" in said
    assert not take(daily(11.0, 12.0), stands="replace").refused


def test_the_same_weeks_under_another_name_are_asked_about(
    workspace: Workspace, take: Take
) -> None:
    chance = Random(5)
    days = [chance.randrange(5000) / 100 for _ in range(28)]
    take(daily(*days, channel="television"))
    table = weekly(*(f"{sum(days[n : n + 7]):.2f}" for n in range(0, 28, 7)))
    said = take(table, mapping=WIDE).refused
    assert said is not None
    assert "'tv' has the spend of 'television' in each of 4 periods" in said
    other = weekly(*(f"{2 * sum(days[n : n + 7]):.2f}" for n in range(0, 28, 7)))
    assert not take(other, mapping=WIDE).refused


def test_weekly_sales_of_all_beside_daily_ones_of_a_segment_are_asked_about(
    workspace: Workspace, take: Take, tmp_path: Path
) -> None:
    engine = open_ledger(f"sqlite:///{workspace.ledger}")
    path = workspace.inbox / "sales.csv"
    path.write_text("date,segment,orders,revenue\n2025-01-06,DE,1,10\n")
    deliver(Intake(workspace, engine, Account()), path, received_at=NOW)
    sales = WIDE.replace("performance", "sales").replace('"*_spend" = "spend"', 'sold = "revenue"')
    sales = sales.replace("impressions = 0\n" + ZEROS, "orders = 0\n")
    said = take("week,sold\n2025-01-06,70\n", mapping=sales).refused
    assert said is not None
    assert "10.00 of the same days is stored by day (DE; from contract)" in said
