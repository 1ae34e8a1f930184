"""Rows of weeks or months beside rows of days: the same money in two reports.

A mapping spreads a week over its days. Where days of the same cells are stored from a report by
day, or the other way round, the later delivery would stand in place of measured days, or count
beside them under another name: it is asked which of the two counts.
"""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.files.sales_sources import stored_rows
from liftloop.adapters.importers import PERIODS, Imported
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.deliveries.overlap import ALL
from liftloop.core.feeds.deliveries.questions import Stands
from liftloop.core.money.currencies import amount_words
from liftloop.settings.workspace import Workspace

_MONEY = {"performance": "spend", "sales": "revenue"}
_ALIKE = 0.02  # relative difference of a channel's periods up to which they are the same money
_LEAST = 3  # periods that must agree
_Frame = pd.DataFrame


def refuse_periods_beside_days(
    workspace: Workspace, engine: Engine, imported: Imported, *, file: str, stands: Stands
) -> None:
    """Ask before rows of periods meet rows of days.

    Parameters
    ----------
    stands
        An answer ("replace", "beside") settles it.

    Raises
    ------
    RefusedFile
        When one of the two, what is delivered or what is stored, was spread from periods, and both
        tell days of the same cells, or of another channel with the same amounts a period.
    """
    money = _MONEY.get(imported.feed)
    if money is None or stands or imported.frame.empty:
        return
    by_period = imported.importer.endswith(PERIODS)
    spread = _spread_deliveries(engine, imported.feed)
    if not by_period and not spread:
        return
    cell = ["segment", "channel"] if imported.feed == "performance" else ["segment"]
    rows = _readable(imported.frame, cell, money)
    if rows.empty:
        return
    others = stored_rows(
        workspace,
        engine,
        imported.feed,
        rows["date"],
        ["date", *cell, money],
        among=None if by_period else spread,
    )
    if by_period:
        others = others[~others["importer"].str.endswith(PERIODS)]
    others = others[others["date"].isin(rows["date"])]
    if others.empty:
        return
    met = _met(rows, others, cell)
    if met[money].abs().sum() > 0:
        raise _same_cells(rows, met, cell, money, imported, file)
    if imported.periods and imported.feed == "performance":
        _refuse_other_names(rows, others, imported, file)


def _spread_deliveries(engine: Engine, feed: str) -> list[str]:
    """Deliveries of rows that a mapping spread from periods."""
    with session(engine, read_only=True) as opened:
        ids = opened.exec(
            select(Delivery.id)
            .where(Delivery.feed == feed)
            .where(col(Delivery.importer).endswith(PERIODS))
        ).all()
    return list(ids)


def _readable(frame: _Frame, cell: list[str], money: str) -> _Frame:
    rows = frame if "_broken" not in frame else frame[frame["_broken"].isna()]
    rows = rows[["date", *cell, money]]
    return rows.assign(
        **{money: pd.to_numeric(rows[money], errors="coerce")},
        date=pd.to_datetime(rows["date"], errors="coerce", format="ISO8601"),
    ).dropna()


def _met(rows: _Frame, others: _Frame, cell: list[str]) -> _Frame:
    """The stored rows of a day and cell that is delivered; ``all`` is every segment."""
    exact = others.merge(rows[["date", *cell]].drop_duplicates(), on=["date", *cell])
    key = ["date", *cell[1:]]
    whole = rows.loc[rows["segment"] == ALL, key].drop_duplicates()
    parts = others[others["segment"] != ALL].merge(whole, on=key)
    of_parts = rows.loc[rows["segment"] != ALL, key].drop_duplicates()
    wholes = others[others["segment"] == ALL].merge(of_parts, on=key)
    return pd.concat([exact, parts, wholes], ignore_index=True)


def _same_cells(
    rows: _Frame, met: _Frame, cell: list[str], money: str, imported: Imported, file: str
) -> RefusedFile:
    days = met["date"].drop_duplicates()
    mine = rows[rows["date"].isin(days)]
    if "channel" in cell:
        mine = mine[mine["channel"].isin(met["channel"])]
    named = sorted({" ".join(names) for names in met[cell].itertuples(index=False)})
    listed = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    by, other = ("periods", "day") if imported.periods else ("day", "periods")
    where = f"from {', '.join(sorted(met['importer'].unique()))}"
    more = (
        "--beside with --account NAME if it is other spend"
        if imported.feed == "performance"
        else "give other sales a segment of their own with --segment"
    )
    return RefusedFile(
        file,
        f"it has {amount_words(float(mine[money].sum()), '')} of {money} by {by} for "
        f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}, and "
        f"{amount_words(float(met[money].sum()), '')} of the same days is stored by {other} "
        f"({listed}; {where}): a report by day and one by week or month are never added.",
        fix=f"leave it out if the stored rows are the better ones, say --replace if this file "
        f"shall count instead of them, {more}.",
        column=money,
    )


def _refuse_other_names(rows: _Frame, others: _Frame, imported: Imported, file: str) -> None:
    """Ask where a channel under another name has the same spend in all of the periods."""
    starts = pd.Series([pd.Timestamp(first) for first, _ in imported.periods])
    last = {pd.Timestamp(first): pd.Timestamp(end) for first, end in imported.periods}
    new, old = (_by_period(frame, starts, last) for frame in (rows, others))
    for name, mine in new.items():
        for stored, theirs in old.items():
            both = mine.index.intersection(theirs.index)
            amount = float(mine[both].sum())
            apart = float((mine[both] - theirs[both]).abs().sum())
            if len(both) >= _LEAST and amount > 0 and apart <= _ALIKE * amount:
                raise RefusedFile(
                    file,
                    f"its channel {name!r} has the spend of {stored!r} in each of {len(both)} "
                    f"periods ({amount_words(amount, '')}), which is stored by day: the same "
                    "money under two names?",
                    fix=f'give it that name in the mapping ([values.channel] "{name}" = '
                    f'"{stored}") and say --replace, or --beside if it is other spend.',
                    column="channel",
                )


def _by_period(
    frame: _Frame, starts: pd.Series, last: dict[pd.Timestamp, pd.Timestamp]
) -> dict[str, pd.Series]:
    """Channel -> spend of each period all of whose days have a row of it."""
    place = starts.searchsorted(frame["date"], side="right") - 1
    frame = frame.assign(start=starts.iloc[place.clip(0)].to_numpy())[place >= 0]
    frame = frame[frame["date"] <= frame["start"].map(last)]
    sums = frame.groupby(["channel", "start"]).agg(spend=("spend", "sum"), days=("date", "nunique"))
    length = sums.index.get_level_values("start").map(lambda at: (last[at] - at).days + 1)
    sums = sums[sums["days"].to_numpy() == length.to_numpy()]
    return {str(name): part.droplevel(0)["spend"] for name, part in sums.groupby(level="channel")}
