"""One source for the sales of a segment's day.

A shop's export, its payments and GA4 each tell all sales of a day in their own way. The later one
would stand in place of the earlier one without a word; where their amounts differ it is asked which
of them counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from pyarrow import compute
from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.facts.delta import open_table, table_path
from liftloop.adapters.importers import Imported
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Delivery
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.deliveries.questions import Stands
from liftloop.settings.workspace import Workspace

# A total beside its parts: names of totals, days at least, share of the days, and how alike
TOTAL_NAMES = {"all", "total", "totals", "overall", "sum", "*"}
FEWEST_DAYS, MOST_OF, ALIKE_SUM, NEARLY = 7, 0.8, 0.002, 0.9
_ALIKE = 0.005  # a share of the stored revenue up to which two sources say the same


def refuse_other_source(
    workspace: Workspace, engine: Engine, imported: Imported, *, file: str, stands: Stands
) -> None:
    """Ask before an export of sales replaces those of another source.

    Parameters
    ----------
    stands
        "replace" settles it: the export counts from now on. "beside": its sales in other segments
        are other sales.

    Raises
    ------
    RefusedFile
        When other revenue is stored for the same days and segments from another importer, or the
        same days are stored as a whole and told by segment (or the other way round).
    """
    own = imported.importer
    if imported.feed != "sales" or own == "contract" or own.startswith("map:"):
        return
    if stands == "replace" or imported.frame.empty:
        return
    rows = imported.frame.dropna(subset=["date", "segment"])
    stored = stored_rows(workspace, engine, "sales", rows["date"], ["date", "segment", "revenue"])
    if stored.empty:
        return
    foreign = stored[(stored["importer"] != own) & stored["date"].isin(rows["date"])]
    if stands != "beside":
        _refuse_whole_beside_parts(rows, foreign, own=own, file=file)
    others = foreign.merge(
        rows[["date", "segment", "revenue"]], on=["date", "segment"], suffixes=("", "_new")
    )
    before, after = float(others["revenue"].sum()), float(others["revenue_new"].sum())
    apart = float((others["revenue_new"] - others["revenue"]).abs().sum())
    if others.empty or apart <= _ALIKE * max(abs(before), abs(after)):
        return
    days = sorted({f"{day:%Y-%m-%d}" for day in others["date"]})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    segments = ", ".join(sorted(others["segment"].unique())[:5])
    raise RefusedFile(
        file,
        f"for {span} in {segments} {before:,.2f} of sales are stored from "
        f"{', '.join(sorted(others['importer'].unique()))}, and this {own} export says "
        f"{after:,.2f}: sales of two sources are never added.",
        fix="say --replace if this export is the one that counts for these days, or give other "
        "sales a segment of their own with --segment.",
        column="revenue",
    )


def refuse_total_beside_parts(
    workspace: Workspace, engine: Engine, imported: Imported, *, file: str, stands: Stands
) -> None:
    """Ask before sales of all segments together are stored as one more segment.

    A segment is taken for the total of the others when its revenue is the sum of theirs on most of
    the days of the file, by the file and what is stored of these days; where it is called a total
    ("all"), when it has nearly as much or more on most days.

    Parameters
    ----------
    stands
        "beside" settles it: it is a segment like any other.

    Raises
    ------
    RefusedFile
        When such a segment is there, or would be.
    """
    if imported.feed != "sales" or stands == "beside" or imported.frame.empty:
        return
    names = ["date", "segment", "revenue"]
    rows = imported.frame[names].dropna()
    rows = rows.assign(
        revenue=pd.to_numeric(rows["revenue"], errors="coerce"),
        segment=rows["segment"].astype(str),
        date=pd.to_datetime(rows["date"], errors="coerce"),
    ).dropna()
    if rows.empty:
        return
    stored = stored_rows(workspace, engine, "sales", rows["date"], names)[names]
    stored = stored[stored["date"].isin(rows["date"].unique())]
    both = pd.concat([stored, rows]).drop_duplicates(["date", "segment"], keep="last")
    total = total_segment(both)
    if total is None:
        return
    name, days, of, alike = total
    what = "the sum of all others" if alike else "about as much as all others together"
    raise RefusedFile(
        file,
        f"the segment {name} has {what} on {days} of {of} days: a total beside its parts, with "
        "which all sales would count twice.",
        fix=f"leave the rows of {name} out, or say --beside if it is a market of its own.",
        column="segment",
    )


def total_segment(rows: pd.DataFrame) -> tuple[str, int, int, bool] | None:
    """The segment that is the total of the others: its name, on how many days, of how many, and
    whether it is their sum; None where there is none.

    Parameters
    ----------
    rows
        date, segment, revenue; one row a day and segment.
    """
    wide = rows.pivot_table(index="date", columns="segment", values="revenue", aggfunc="sum")
    for name in wide.columns[np.argsort(-wide.sum().to_numpy())][:2]:
        others = wide.drop(columns=name)
        there = wide[name].notna() & others.notna().any(axis=1) & (wide[name] > 0)
        called = str(name).strip().lower() in TOTAL_NAMES
        parts = others[there].notna().any().sum()
        days = int(there.sum())
        if days < FEWEST_DAYS or parts < (1 if called else 2):
            continue
        own, rest = wide[name][there], others[there].sum(axis=1)
        same = int(((own - rest).abs() <= ALIKE_SUM * own).sum())
        if same >= MOST_OF * days:
            return str(name), same, days, True
        much = int((own >= NEARLY * rest).sum())
        if called and much >= MOST_OF * days:
            return str(name), much, days, False
    return None


def _refuse_whole_beside_parts(
    rows: pd.DataFrame, foreign: pd.DataFrame, *, own: str, file: str
) -> None:
    """Ask where one source has all sales in one and the other has them by segment."""
    new, old = set(rows["segment"]), set(foreign["segment"])
    if not old or (new == {"all"}) == (old == {"all"}):
        return
    raise RefusedFile(
        file,
        f"it has sales of {float(rows['revenue'].sum()):,.2f} in {', '.join(sorted(new)[:5])}, "
        f"and {float(foreign['revenue'].sum()):,.2f} of the same days are stored in "
        f"{', '.join(sorted(old)[:5])} from {', '.join(sorted(foreign['importer'].unique()))}: "
        "the same sales, or more of them?",
        fix=f"leave the {own} export out if they are the same; say --beside if they are other "
        "sales, or give them their segment with --segment.",
        column="segment",
    )


def stored_rows(
    workspace: Workspace,
    engine: Engine,
    feed: str,
    days: pd.Series,
    columns: Sequence[str],
    *,
    among: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows in force from the first to the last of ``days``, with ``columns`` (``date`` among them,
    of the type of ``days``) and ``importer``, the one of the delivery each is from; those of the
    deliveries ``among`` alone where they are named."""
    table = open_table(table_path(workspace.facts, feed, "current"))
    if table is None:
        return pd.DataFrame(columns=[*columns, "importer"])
    where = (compute.field("date") >= days.min().date()) & (
        compute.field("date") <= days.max().date()
    )
    if among is not None:
        where &= compute.field("delivery").isin(list(among))
    frame: pd.DataFrame = table.read(where, columns=[*columns, "delivery"]).to_pandas()
    importers = _importers(engine, frame["delivery"].unique())
    return frame.drop(columns="delivery").assign(
        date=pd.to_datetime(frame["date"]).astype(days.dtype),
        importer=frame["delivery"].map(importers).fillna("another delivery"),
    )


def _importers(engine: Engine, deliveries: Iterable[str]) -> dict[str, str]:
    with session(engine, read_only=True) as opened:
        found = opened.exec(
            select(Delivery.id, Delivery.importer).where(col(Delivery.id).in_(list(deliveries)))
        ).all()
    return {str(name): str(importer) for name, importer in found}
