"""What user-level tests cost and on which days: money over the outcome window, not on one day.

The outcomes of a user are those of ``outcome_days`` days from the assignment on, and so is the
money spent on the user: users assigned on several days have each their own window.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import days_of
from liftloop.core.policy import Cell

CAMPAIGN = "units"  # of rows of spend that come from a user-level test
KEYS = ["experiment", "segment", "channel"]
CONFLICT_SHARE = 0.8  # of a test's money: a performance feed that has less contradicts it
SHOWN = 3


def unit_costs(units: pd.DataFrame, *, outcome_days: int | None = None) -> pd.DataFrame:
    """What the treated users of each test and assignment day cost.

    Parameters
    ----------
    units
        The feed. Not changed.
    outcome_days
        Of rows whose experiment records none anywhere; None: not recorded.

    Returns
    -------
    One row an experiment, segment, channel and assigned_on (datetime64[us]), sorted: ``users``
    treated; ``cost`` of all of them above what as many control users cost, in account currency,
    above 0; ``outcome_days`` (NaN where not recorded). A test without costs has no rows.
    """
    columns = [*KEYS, "assigned_on", "outcome_days", "users", "cost"]
    if units.empty or "cost" not in units:
        return _none(columns)
    plain = pd.DataFrame(
        {
            **{name: _text(units[name]) for name in KEYS},
            "assigned_on": days_of(units["assigned_on"]).astype("datetime64[us]"),
            "outcome_days": recorded_days(units, outcome_days),
            "cost": units["cost"].to_numpy(dtype=np.float64, na_value=np.nan),
        }
    )
    treated = (units["arm"].astype(str) == "treated").to_numpy()
    control = plain[~treated].assign(cost=plain.loc[~treated, "cost"].fillna(0.0))
    own = control.groupby(KEYS)["cost"].mean()
    shared = control[control["channel"] == ""].groupby(["experiment", "segment"])["cost"].mean()
    rows = plain[treated]
    # a treated user whose cost is not recorded is taken to cost what the others of the test cost
    mean = rows.groupby(KEYS)["cost"].transform("mean")
    spent = rows["cost"].fillna(mean)
    otherwise = _looked_up(own, rows[KEYS]).fillna(_looked_up(shared, rows[KEYS[:2]])).fillna(0.0)
    rows = rows.assign(cost=spent - otherwise)
    found = rows.groupby([*KEYS, "assigned_on"], as_index=False, sort=True).agg(
        outcome_days=("outcome_days", "max"), users=("cost", "size"), cost=("cost", "sum")
    )
    total = found.groupby(KEYS)["cost"].transform("sum")
    return found.loc[total > 0, columns].reset_index(drop=True)


def recorded_days(units: pd.DataFrame, outcome_days: int | None) -> pd.Series:
    """Days of each row's outcome window: its own, else its experiment's longest, else
    ``outcome_days``; NaN where nothing says it. The index is 0 to n - 1."""
    if "outcome_days" in units:
        own = pd.Series(units["outcome_days"].to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        own = pd.Series(np.nan, index=range(len(units)))
    of_test = own.groupby(_text(units["experiment"])).transform("max")
    return own.fillna(of_test).fillna(np.nan if outcome_days is None else float(outcome_days))


def daily_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The money of tests whose window is recorded, spread evenly over it: KEYS, date
    (datetime64[us]) and spend, one row a test, cell and day."""
    known = costs[costs["outcome_days"].notna()]
    if known.empty:
        return _none([*KEYS, "date", "spend"])
    days = known["outcome_days"].to_numpy(dtype=np.float64).astype(np.int64)
    rows = known.loc[known.index.repeat(days)]
    step = np.concatenate([np.arange(n) for n in days])
    dates = days_of(rows["assigned_on"]) + step.astype("timedelta64[D]")
    spread = rows[KEYS].assign(
        date=dates.astype("datetime64[us]"),
        spend=(rows["cost"] / rows["outcome_days"]).to_numpy(dtype=np.float64),
    )
    # with its keys as columns it is a frame
    return cast(
        pd.DataFrame, spread.groupby([*KEYS, "date"], as_index=False, sort=True)["spend"].sum()
    )


def with_unit_spend(performance: pd.DataFrame, costs: pd.DataFrame, *, as_of: date) -> pd.DataFrame:
    """``performance``, with rows of spend for the cells that only user-level tests tell of.

    Such a cell has a row on each day from its first test to the last day that is known of any cell,
    of 0 where no window was open; neither impressions nor attributed revenue (NaN: not known).
    ``performance`` itself where there is no such cell.
    """
    money = daily_costs(costs)
    money = money[(money["date"] < pd.Timestamp(as_of)).to_numpy()]
    reported = _cells(performance)
    alone = [pair not in reported for pair in zip(money["segment"], money["channel"], strict=True)]
    money = money[np.array(alone, dtype=bool)]
    if money.empty:
        return performance
    dates = pd.Series(days_of(performance["date"]).astype("datetime64[us]"))
    last = max([money["date"].max(), *dates[dates < pd.Timestamp(as_of)].nlargest(1)])
    parts = []
    for cell, rows in money.groupby(["segment", "channel"]):
        segment, channel = cast(tuple[str, str], cell)
        spend = rows.groupby("date")["spend"].sum()
        days = pd.date_range(spend.index.min(), last, name="date", unit="us")
        spend = spend.reindex(days, fill_value=0.0)
        parts.append(spend.reset_index().assign(segment=segment, channel=channel))
    rows = pd.concat(parts, ignore_index=True).assign(campaign=CAMPAIGN, impressions=0, clicks=0)
    if performance.empty:
        return rows.reindex(columns=[*performance.columns]).assign(spend=rows["spend"])
    return pd.concat(
        [performance, rows[[c for c in performance.columns if c in rows]]], ignore_index=True
    )


def cells_without_reports(costs: pd.DataFrame, performance: pd.DataFrame) -> frozenset[Cell]:
    """The cells of which user-level tests tell, and performance does not."""
    reported = _cells(performance)
    pairs = zip(costs["segment"], costs["channel"], strict=True)
    return frozenset(Cell(*pair) for pair in pairs if pair not in reported)


def latest_levels(
    costs: pd.DataFrame, performance: pd.DataFrame, *, as_of: date, recent_days: int
) -> Mapping[Cell, float]:
    """What the latest test of each cell that only tests tell of spent a day, account currency.

    A cell whose window is not recorded has none. Where performance tells of other cells, a test
    that ended more than ``recent_days`` before ``as_of`` is no budget in force.
    """
    cells = cells_without_reports(costs, performance)
    found: dict[Cell, tuple[pd.Timestamp, str, float]] = {}
    for (name, segment, channel), days in daily_costs(costs).groupby(KEYS):
        cell, end = Cell(str(segment), str(channel)), days["date"].max()
        old = len(performance) and end < pd.Timestamp(as_of) - pd.Timedelta(days=recent_days)
        begun = days["date"].min() < pd.Timestamp(as_of)
        if cell in cells and begun and not old:
            found[cell] = max(found.get(cell, (end, "", 0.0)), (end, str(name), days.spend.mean()))
    return {cell: found[cell][2] for cell in sorted(found)}


def unit_test_sentences(
    costs: pd.DataFrame, performance: pd.DataFrame, *, as_of: date
) -> tuple[str, ...]:
    """What a person should know of the tests' money and windows: a window that is not recorded or
    not over, and money of a test that performance does not have."""
    said = []
    unknown = sorted(set(costs.loc[costs["outcome_days"].isna(), "experiment"]))
    if unknown:
        said.append(
            f"Over how many days outcomes and cost of the user-level test {_named(unknown)} count "
            "is not recorded: what its money returned is used, what it was a day is not known. Say "
            "it: liftloop ingest FILE --outcome-days N, or outcome_days = N under [data] in "
            "liftloop.toml."
        )
    known = costs[costs["outcome_days"].notna()]
    over = known["assigned_on"] + pd.to_timedelta(known["outcome_days"].astype(float), unit="D")
    for name, end in over.groupby(known["experiment"]).min().items():
        if end > pd.Timestamp(as_of):
            said.append(
                f"The user-level test {name} counts from {end.date()} on: its outcome window is "
                "not over."
            )
    return (*said, *_conflicts(costs, performance, as_of))


def _conflicts(costs: pd.DataFrame, performance: pd.DataFrame, as_of: date) -> list[str]:
    """Tests whose money is not in the performance of their cell."""
    money = daily_costs(costs)
    reported = _cells(performance)
    if money.empty or not reported:
        return []
    dates = days_of(performance["date"]).astype("datetime64[us]")
    spent = (
        performance["spend"]
        .groupby([_text(performance["segment"]), _text(performance["channel"]), dates])
        .sum()
    )
    days = pd.date_range(dates.min(), min(dates.max(), pd.Timestamp(as_of) - pd.Timedelta(days=1)))
    said = []
    for (name, segment, channel), rows in money.groupby(KEYS):
        inside = rows[rows["date"].isin(days)]
        if (segment, channel) not in reported or inside.empty:
            continue
        keys = pd.MultiIndex.from_product([[segment], [channel], inside["date"]])
        there, asked = float(spent.reindex(keys).sum()), float(inside["spend"].sum())
        if there < CONFLICT_SHARE * asked:
            said.append(
                f"The user-level test {name} spent {asked:,.2f} on {segment} x {channel} from "
                f"{inside['date'].min().date()} to {inside['date'].max().date()}, and performance "
                f"has {there:,.2f} of that cell and time: one of the two feeds is wrong. The "
                "test's own cost counts."
            )
    more = f"{len(said) - SHOWN} more user-level tests spent money that performance does not have."
    return said if len(said) <= SHOWN else [*said[:SHOWN], more]


def _cells(performance: pd.DataFrame) -> set[tuple[str, str]]:
    pairs = performance[["segment", "channel"]].drop_duplicates().astype(str)
    return set(zip(pairs["segment"], pairs["channel"], strict=True))


def _none(columns: list[str]) -> pd.DataFrame:
    kinds = dict.fromkeys(KEYS, "str") | dict.fromkeys(["date", "assigned_on"], "datetime64[us]")
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "float64")) for name in columns})


def _text(column: pd.Series) -> NDArray[np.object_]:
    plain = column.astype("object").where(column.notna(), "")
    return plain.map(lambda text: str(text).strip()).to_numpy(dtype=object)


def _looked_up(values: pd.Series, keys: pd.DataFrame) -> pd.Series:
    """``values`` by ``keys`` (rows of their index), with the index of ``keys``."""
    at = pd.MultiIndex.from_frame(keys)
    return pd.Series(values.reindex(at).to_numpy(dtype=np.float64), index=keys.index)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
