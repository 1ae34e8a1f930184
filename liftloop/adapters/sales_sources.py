"""One source for the sales of a segment's day.

A shop's export, its payments and GA4 each tell all sales of a day in their own way. The later one
would stand in place of the earlier one without a word; where their amounts differ it is asked which
of them counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from pyarrow import compute
from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.delta import open_table, table_path
from liftloop.adapters.importers import Imported
from liftloop.adapters.ledger import session
from liftloop.adapters.tables import Delivery
from liftloop.adapters.workspace import Workspace
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.questions import Stands

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
