"""New rows that tell stored money under other names: another channel, segment or campaign.

Two signs of it. The figures are the same: row by row the spend, impressions and clicks of stored
rows of those days that the delivery does not restate. Or a campaign's id, of which all that is
stored of a day is under one channel, comes under another one. Either may be right (two markets do
not spend alike to the cent, but a campaign may move), so the delivery is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
from pyarrow import compute

from liftloop.core.feeds.deliveries.questions import Question
from liftloop.core.feeds.deliveries.restating import Ints, KeyBook
from liftloop.core.feeds.identity import IDS, id_of
from liftloop.core.money.currencies import amount_words as money

FIGURES = ("spend", "impressions", "clicks")
LEAST = 3  # different figures; fewer may be alike by chance
SHARE = 0.8  # of the delivery's new rows with spend, that have the figures of stored ones
NAMES = ("channel", "segment", "account", "campaign")
_DAYS = np.dtype("M8[D]")


@dataclass(frozen=True)
class Repeated:
    """Pairs of a stored row and a new one that tell the same, among a part of the stored rows.

    Attributes
    ----------
    places, by : shape (n,)
        Places of the stored rows and of the delivery's rows.
    rows
        Of each pair the ``date``, the figures, and both rows' names (``channel`` and
        ``channel_new``, ...).
    """

    places: Ints
    by: Ints
    rows: pd.DataFrame

    @classmethod
    def figures(cls, batch: Any, stored: Any, new: Ints, free: Ints) -> Repeated:
        """Rows with equal day and figures: of the delivery's at ``new``, and the stored at
        ``free``. Each row is in one pair at most."""
        mine, theirs = _figures(batch, new), _figures(stored, free)
        book = KeyBook.of(mine, ("date", *FIGURES))
        codes = book.find(theirs)
        left = pd.DataFrame({"code": book.codes, "by": new})
        right = pd.DataFrame({"code": codes, "places": free})[codes >= 0]
        for side in (left, right):
            side["nth"] = side.groupby("code").cumcount()
        return cls._of(batch, stored, left.merge(right, on=["code", "nth"]))

    @classmethod
    def channels(cls, batch: Any, stored: Any, new: Ints, free: Ints) -> Repeated:
        """Rows of one campaign id and day whose channel differs, where the stored rows of the
        campaign have one channel a day, and the delivery has none of it under that channel."""
        left = _campaigns(batch, "by").iloc[new]
        right = _campaigns(stored, "places")
        key = ["date", "account", "campaign_id"]
        left, right = (side[side["campaign_id"] != ""] for side in (left, right))
        daily = right.groupby(key)["channel"].nunique().reset_index()
        shared = daily.loc[daily["channel"] > 1, "campaign_id"]
        right = right[np.isin(right["places"], free) & ~right["campaign_id"].isin(shared)]
        left = left[~left["campaign_id"].isin(shared)].drop_duplicates([*key, "channel"])
        pairs = left.merge(right, on=key, suffixes=("_new", ""))
        alike = (pairs["account"] != "") | (pairs["campaign"] == pairs["campaign_new"])
        pairs = pairs[(pairs["channel"] != pairs["channel_new"]) & alike]
        return cls._of(batch, stored, pairs.drop_duplicates("places"))

    @classmethod
    def _of(cls, batch: Any, stored: Any, pairs: pd.DataFrame) -> Repeated:
        by, places = (pairs[name].to_numpy(dtype=np.int64) for name in ("by", "places"))
        mine, theirs = batch.take(arrow.array(by)), stored.take(arrow.array(places))
        columns = {name: theirs[name].to_numpy(zero_copy_only=False) for name in ("date", *FIGURES)}
        for name in NAMES:
            columns[name] = id_of(theirs, name).to_numpy(zero_copy_only=False)
            columns[f"{name}_new"] = id_of(mine, name).to_numpy(zero_copy_only=False)
        return cls(places, by, pd.DataFrame(columns))


def doubt_of_figures(found: list[Repeated], new_rows: int, least: int = LEAST) -> Question | None:
    """The question, where nearly all of a delivery's ``new_rows`` rows with spend are repeated,
    and have at least ``least`` different figures."""
    rows = _joined(found)
    different = 0 if rows.empty else len(rows[list(FIGURES)].drop_duplicates())
    if different < least or len(rows) < SHARE * new_rows:
        return None
    return Question(
        f"{len(rows):,} of its {new_rows:,} new rows have the spend ({money(rows['spend'].sum())} "
        f"in all), impressions and clicks of stored rows of the same days, under other names "
        f"({_changes(rows)}).",
        "--replace if it tells the same money under new names, --beside if it is more money.",
    )


def doubt_of_channels(found: list[Repeated]) -> Question | None:
    """The question, where campaigns come under another channel than is stored of their days."""
    rows = _joined(found)
    if rows.empty:
        return None
    campaigns = rows["campaign"].drop_duplicates()
    named = ", ".join(map(str, campaigns.head(LEAST))) + (", ..." if len(campaigns) > LEAST else "")
    return Question(
        f"campaigns ({named}) come under another channel ({_changes(rows)}) than the "
        f"{money(rows['spend'].sum())} that are stored under their ids for the same days.",
        "--replace if they moved to the new channel, --beside if a campaign has several channels.",
    )


def _figures(table: Any, places: Ints) -> Any:
    """Day and figures of the rows at ``places``; what is missing counts as equal."""
    rows = table.select(["date", *FIGURES]).take(arrow.array(places))
    for name in FIGURES:
        at = rows.column_names.index(name)
        rows = rows.set_column(at, name, compute.fill_null(rows[name], -1))
    return rows


def _campaigns(table: Any, place: str) -> pd.DataFrame:
    columns = {
        name: id_of(table, name).to_pandas().astype("str")
        for name in ("channel", "account", "campaign", IDS["campaign"])
    }
    frame = pd.DataFrame(columns)
    frame["date"] = np.asarray(table["date"].to_numpy(zero_copy_only=False)).astype(_DAYS)
    frame[place] = np.arange(len(frame))
    return frame


def _joined(found: list[Repeated]) -> pd.DataFrame:
    parts = [one.rows for one in found if len(one.rows)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _changes(rows: pd.DataFrame) -> str:
    """The names that differ, for a sentence: "channel pmax for google"."""
    words = []
    for name in NAMES:
        differs = rows[name] != rows[f"{name}_new"]
        if differs.any():
            first = rows[differs].iloc[0]
            new, old = (first[side] or "without a name" for side in (f"{name}_new", name))
            words.append(f"{name} {new} for {old}")
    return ", ".join(words)
