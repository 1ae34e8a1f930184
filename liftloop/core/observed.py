"""The policy in force before the loop decided anything: what was spent of late."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pandas as pd

from liftloop.core.policy import Cell, Policy, from_cents, to_cents

WINDOW_DAYS = 28


def observed_policy(
    performance: pd.DataFrame, *, as_of: date, total: Decimal | None = None
) -> Policy | None:
    """Each cell's mean daily spend over the last 28 days with facts, in whole cents.

    Parameters
    ----------
    performance
        The performance facts known on ``as_of``: date, segment, channel, spend.
    as_of
        Only days before it count.
    total
        The total daily budget, if one is set: the means are scaled to it, exact to the cent by
        the largest remainder.

    Returns
    -------
    The policy, or None where nothing was spent.
    """
    known = performance.loc[pd.to_datetime(performance["date"]) < pd.Timestamp(as_of)]
    if known.empty:
        return None
    last = pd.to_datetime(known["date"]).max()
    recent = known.loc[pd.to_datetime(known["date"]) > last - timedelta(days=WINDOW_DAYS)]
    days = pd.to_datetime(recent["date"]).nunique()
    spend = recent.groupby(["segment", "channel"], sort=True)["spend"].sum() / days
    return _scaled(spend, total)


def observed_policy_of_units(units: pd.DataFrame, *, total: Decimal | None = None) -> Policy | None:
    """What a mailing (or any one wave of a user-level test) spent on each cell's treated users.

    Parameters
    ----------
    units
        segment, channel, arm, cost (account currency a user). Here a day stands for one wave.
    total
        As for :func:`observed_policy`.

    Returns
    -------
    The policy, or None where no cost is known.
    """
    treated = units.loc[units["arm"] == "treated"]
    if treated.empty or "cost" not in treated.columns:
        return None
    spent = treated.groupby(["segment", "channel"], sort=True)["cost"].sum()
    return _scaled(spent, total)


def _scaled(spend: pd.Series[float], total: Decimal | None) -> Policy | None:
    """Whole cents in proportion to ``spend``, by (segment, channel), by the largest remainder."""
    if not spend.sum() > 0:
        return None
    target = to_cents(total) if total is not None else to_cents(float(spend.sum()))
    exact = spend / spend.sum() * target
    cents = exact.apply(int)
    short = target - int(cents.sum())
    order = (exact - cents).sort_values(ascending=False, kind="stable").index[:short]
    cents.loc[order] += 1
    names = cents.index.to_frame()
    return Policy.of(
        {
            Cell(str(segment), str(channel)): from_cents(int(value))
            for segment, channel, value in zip(
                names["segment"], names["channel"], cents, strict=True
            )
        }
    )
