"""One spend that is there twice because the report shows it under two views (attribution settings,
conversion actions): asked about, since adding it would double the money."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from liftloop.adapters.importers.repeats import Rows, codes
from liftloop.core.errors import RefusedFile

_SHOWN = 3
_BREAKDOWNS = 12  # values of a column that each may be a breakdown of the whole


def refuse_doubled_spend(rows: Rows, group: np.ndarray, *, parts: Collection[str] = ()) -> None:
    """Refuse a table in which one spend seems to stand in several rows.

    Rows of one day and campaign with equal spend, impressions and clicks are one spend when all
    that tells them apart is an attribution setting, a conversion action, or a column that is not
    known to part a whole. Devices, hours, countries... part one, and their rows are added.

    Parameters
    ----------
    group : shape (n_rows,)
        Equal for rows that would be summed to one.
    parts
        Columns (or measures) of which it was said that rows differing in them are added.

    Raises
    ------
    RefusedFile
        Naming the column, the rows and the options that settle it.
    """
    _, first, counts = np.unique(group, return_inverse=True, return_counts=True)
    several = counts[first] > 1
    if not several.any():
        return
    some, group = rows.only(several), group[several]
    _ask_about_breakdowns(some, group, parts)
    stated = [name for name in some.named("view", "unknown", "description") if name in parts]
    apart = some.named("day", "part") + stated
    group = codes(some.cells.assign(_group=group), ["_group", *apart])
    basis = [name for name in ("spend", "impressions", "clicks") if name in some.numbers]
    if "spend" not in basis:
        return
    paid = (some.numbers["spend"] > 0).to_numpy()
    alike = some.numbers[basis].assign(_group=group)
    double = alike.duplicated(keep=False).to_numpy() & paid
    if not double.any():
        return
    _ask_about_views(some, group, double, parts)
    _ask_about_measures(some, group, double, parts)


def _ask_about_breakdowns(rows: Rows, group: np.ndarray, parts: Collection[str]) -> None:
    """Refuse a table that has all of its spend once under each value of a column (targeting types:
    by gender, and again by device)."""
    basis = [name for name in ("spend", "impressions") if name in rows.numbers]
    if len(basis) < 2:
        return
    for name in rows.named("view", "unknown"):
        values = rows.cells[name].fillna("").rename("value")
        if name in parts or not 2 <= values.nunique() <= _BREAKDOWNS:
            continue
        table = rows.numbers[basis].assign(_group=group, _value=values)
        sums = table.groupby(["_group", "_value"]).agg(["sum", "count"])
        ends = sums.groupby("_group").agg(["min", "max", "count"])
        both = ends[("spend", "sum", "count")] > 1
        if not both.any() or ends.loc[both, ("spend", "count", "max")].max() < 2:
            continue
        ends = ends[both]
        rounding = 0.01 * ends[("spend", "count", "max")]
        same = ends["spend", "sum", "max"] - ends["spend", "sum", "min"] <= rounding
        same &= ends["impressions", "sum", "max"] == ends["impressions", "sum", "min"]
        if same.all() and (ends["spend", "sum", "max"] > 0).any():
            raise _refusal(rows, name, np.isin(group, ends.index[same]))


def _ask_about_views(
    rows: Rows, group: np.ndarray, double: np.ndarray, parts: Collection[str]
) -> None:
    for role in ("view", "unknown", "description"):
        for name in rows.named(role):
            if name in parts:
                continue
            values = rows.cells[name].fillna("").groupby(group).transform("nunique").to_numpy()
            here = double & (values > 1)
            if not here.any():
                continue
            groups = np.unique(group[values > 1])
            if role != "view" and len(np.unique(group[here])) < len(groups):
                continue  # elsewhere its values have spends of their own: they part a whole
            raise _refusal(rows, name, here)


def _ask_about_measures(
    rows: Rows, group: np.ndarray, double: np.ndarray, parts: Collection[str]
) -> None:
    told_apart = rows.named("view", "unknown", "description")
    again = codes(rows.cells.assign(_group=group), ["_group", *told_apart])
    same = rows.numbers.assign(_again=again)
    basis = [name for name in ("spend", "impressions", "clicks") if name in rows.numbers]
    double = double & same.duplicated([*basis, "_again"], keep=False).to_numpy()
    for name in rows.numbers.columns:
        if name in basis or name in parts:
            continue
        counted = rows.numbers[name].groupby(again)
        # Where one of them has none, they may be two ads of one size.
        apart = (counted.transform("nunique") > 1) & (counted.transform("min") > 0)
        here = double & apart.to_numpy()
        if here.any():
            one = rows.numbers[here].iloc[0]
            raise RefusedFile(
                rows.file,
                f"{int(here.sum())} rows have the same day, campaign, spend (such as "
                f"{one['spend']:,.2f}), impressions and clicks, and differ in {name} alone: it "
                "looks like one spend under several attribution settings.",
                fix="export one attribution setting, or the column that tells the rows apart; if "
                f'they are parts to be added, say so with --parts "{name}".',
                column=name,
            )


def _refusal(rows: Rows, name: str, here: np.ndarray) -> RefusedFile:
    values = [str(v) for v in pd.unique(rows.cells.loc[here, name].fillna(""))]
    shown = ", ".join(repr(value) for value in values[:_SHOWN])
    once = rows.numbers.loc[here, "spend"].sum() / max(len(values), 1)
    return RefusedFile(
        rows.file,
        f"{int(here.sum())} rows show the same spend, impressions and clicks under several values "
        f"of {name!r} ({shown}) and differ in it alone: one spend of {once:,.2f} seems to be "
        f"there {len(values)} times.",
        fix=f'keep one of them with --where "{name}={values[0]}"; if they are parts to be added, '
        f'say so with --parts "{name}".',
        column=name,
    )
