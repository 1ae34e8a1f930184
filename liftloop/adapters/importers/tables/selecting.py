"""Which rows of a table are counted: not a row twice, not an earlier sync, not a total beside its
parts, and not one spend under two views."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.importers.tables.levels import leave_out_totals
from liftloop.adapters.importers.tables.repeats import (
    Rows,
    codes,
    exact_repeats,
    latest_syncs,
)
from liftloop.adapters.importers.tables.roles import same_entity
from liftloop.core.arrays import Mask
from liftloop.core.errors import RefusedFile

_SHOWN = 3
_BREAKDOWNS = 12  # values of a column that each may be a breakdown of the whole
_CORRECTED = 1.1  # times what it was, up to which a number may be the same one reported later
_LEAST = 1.0  # spend below which two rows are alike by chance


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


def refuse_other_versions(
    rows: Rows, group: NDArray[np.int64], identified: Mask, *, parts: Collection[str] = ()
) -> None:
    """Refuse a table with several rows of one ad (or campaign) and day that no column tells apart.

    Where an id says what a row is, two rows of it are two reports of the same. Where only a name
    does, they may be two ads of one name: asked about when each is a little more than another in
    every number, as a day reported again is.

    Parameters
    ----------
    group : shape (n_rows,)
        Equal for rows that would be summed to one.
    identified : shape (n_rows,)
        Rows whose finest detail has an id.
    parts
        Columns or measures of which it was said that rows differing in them are added.

    Raises
    ------
    RefusedFile
        With the amounts and the options that settle it.
    """
    if "spend" not in rows.numbers or set(parts) & set(rows.numbers.columns):
        return
    _, first, counts = np.unique(group, return_inverse=True, return_counts=True)
    paid = (rows.numbers["spend"] > 0).to_numpy() & (counts[first] > 1)
    if not paid.any():
        return
    some, group, identified = rows.only(paid), group[paid], identified[paid]
    stated = [name for name in some.named("view", "description") if name in parts]
    apart = some.named("day", "part", "view", "unknown")
    apart = [name for name in apart if name in parts or not same_entity(name, apart)] + stated
    same = codes(some.cells.assign(_group=group), ["_group", *apart])
    again = pd.Series(same).duplicated(keep=False).to_numpy()
    asked = again & identified
    if not asked.any() and _grown(some.only(again), same[again]):
        asked = again
    if not asked.any():
        return
    one = some.numbers["spend"].to_numpy()[same == same[asked][0]]
    raise RefusedFile(
        rows.file,
        f"{int(asked.sum()):,} rows ({some.amount(asked)}) are of the same ad or campaign and day "
        f"as others, and nothing but their numbers differs (such as {one[0]:,.2f} and "
        f"{one[1]:,.2f} spend): they look like one row reported more than once.",
        fix="keep the latest report of each day (a column loaded_at says which one that is); if "
        'they are parts to be added, say so with --parts "spend".',
        column="spend",
    )


def _grown(rows: Rows, same: NDArray[np.int64]) -> bool:
    """Whether of all rows that are ``same`` as others one is at least the other in every number,
    and its spend a little more."""
    if not len(same):
        return False
    spend = rows.numbers["spend"]
    table = rows.numbers.assign(_same=same).sort_values(["_same", *rows.numbers.columns])
    steps = table.groupby("_same").diff().dropna()
    if (steps < 0).any(axis=None):
        return False
    ends = spend.groupby(same).agg(["min", "max"])
    more = (ends["max"] > ends["min"]) & (ends["max"] <= _CORRECTED * ends["min"])
    return bool((more & (ends["min"] >= _LEAST)).all())


def select_rows(
    rows: Rows,
    group: NDArray[np.int64],
    *,
    identified: Mask | None,
    parts: Collection[str] = (),
) -> tuple[Mask, list[str]]:
    """(rows to count, notes with counts and amounts).

    Parameters
    ----------
    group : shape (n_rows,)
        Equal for rows that would be summed to one.
    identified : shape (n_rows,)
        Rows whose finest detail (ad, ad set, campaign) has an id; None where it was said that rows
        of one group are parts.
    parts
        Columns of which it was said that rows differing in them alone are parts, to be added.

    Raises
    ------
    RefusedFile
        When it cannot be told what is to be counted; the message has the options that settle it.
    """
    keep = np.ones(len(rows.cells), bool)
    notes: list[str] = []
    steps: list[Callable[[Rows], tuple[Mask, list[str]]]] = [exact_repeats, latest_syncs]
    if "spend" in rows.numbers:  # an order without a country is no total of those with one
        steps.append(lambda left: leave_out_totals(left, parts))
    for step in steps:
        places = np.flatnonzero(keep)
        chosen, said = step(rows.only(keep))
        keep[places[~chosen]] = False
        notes += said
    left = rows.only(keep)
    refuse_doubled_spend(left, group[keep], parts=parts)
    if identified is not None:
        refuse_other_versions(left, group[keep], identified[keep], parts=parts)
    return keep, notes
