"""The last days of every cell, laid out day by cell: what each feed told, and whether it is sound.

A day of performance is sound that is told, whose clicks have impressions, and whose spend is in the
usual unit; a day of holdout, that has both arms with about as many users as such a weekday has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array, Index, Mask, cell_places, days_of, joined, whole_sums
from liftloop.core.policy import Cell, Policy

WRONG_UNIT = 20.0  # cents for euros are 100
USERS_FACTOR = 3.0  # from what such a weekday usually has


@dataclass(frozen=True, slots=True, eq=False)
class FeedDays:
    """One feed's last T days of C cells, the last yesterday.

    Attributes
    ----------
    told, sound : (T, C)
    wrong : what makes a told day unsound -> where, (T, C)
    first, last : first and last told day of each cell ever, as rows of ``told`` (C,): below 0
        before its first row; ``NEVER`` where nothing was ever told
    """

    told: Mask
    sound: Mask
    wrong: dict[str, Mask]
    first: Index
    last: Index

    @property
    def ever(self) -> Mask:
        return np.asarray(self.last > NEVER)

    def late(self) -> Index:
        """Days since the last sound one, (C,); where none of the last T is sound, since the last
        told one before them, and at least T."""
        count = len(self.sound)
        back = np.where(self.sound.any(axis=0), self.sound[::-1].argmax(axis=0), count)
        return np.asarray(np.where(back < count, back, np.maximum(count - 1 - self.last, count)))

    def since_gap(self, longest: int) -> Index:
        """Sound days since the last gap of more than ``longest`` days, (C,); T where there was none
        since the cell's first day."""
        count, cells = self.sound.shape
        run, since = np.zeros(cells, dtype=np.intp), np.full(cells, count, dtype=np.intp)
        begun = self.first < 0
        for day in self.sound:
            back = day & begun & (run > longest)
            since = np.where(back, 0, since)
            since = np.where(day & (since < count), since + 1, since)
            run, begun = np.where(day, 0, run + 1), begun | day
        return since


NEVER = -(10**6)


@dataclass(frozen=True, slots=True, eq=False)
class RecentDays:
    """What is known of the last days: ``first`` day; ``spend`` (T, C); ``users`` of both arms;
    ``paid`` days since the budgets in force took effect (T,)."""

    first: date
    cells: tuple[Cell, ...]
    performance: FeedDays
    holdout: FeedDays | None
    spend: Array
    users: Array
    paid: Mask

    def day(self, row: int) -> date:
        return self.first + timedelta(days=int(row))


@dataclass(frozen=True, slots=True, eq=False)
class CellFeeds:
    """The feeds that tell of cells day by day, as known on one day.

    Attributes
    ----------
    performance : spend, impressions and clicks
    holdout : users by arm; only asked of cells that have ever had it; None: there is none
    sales : orders by segment; vouch for a cell without holdout whose performance is late; None:
        there are none
    """

    performance: pd.DataFrame
    holdout: pd.DataFrame | None = None
    sales: pd.DataFrame | None = None


def recent_days(
    feeds: CellFeeds,
    *,
    policy: Policy,
    as_of: date,
    in_force_since: date | None,
    days: int,
    believable: float,
) -> RecentDays:
    """Lay out the ``days`` days before ``as_of``. Spend within a factor ``believable`` of the
    budget in force is in the right unit, whatever an impression costs."""
    first = as_of - timedelta(days=days)
    count = (as_of - in_force_since).days if in_force_since else 0
    paid = np.arange(days) >= days - max(count, 0)
    names = pd.MultiIndex.from_tuples(
        [(c.segment, c.channel) for c in policy.cells], names=["segment", "channel"]
    )
    budget = np.array([float(amount) for _, amount in policy.budgets])
    spent = _Laid(feeds.performance, names, first, days, ("spend", "impressions", "clicks"))
    spend, shown, clicks = (spent.sums[n] for n in ("spend", "impressions", "clicks"))
    wrong = {
        "is in a wrong unit": _wrong_unit(spend, shown, budget, paid, believable),
        "has clicks without impressions": (clicks > 0) & (shown == 0),
    }
    held, holdout = None, feeds.holdout
    users = np.zeros_like(spend)
    if holdout is not None and len(holdout):
        arms = _both_arms(holdout, names, first, days)
        users = arms.sums["users"]
        held = arms.days_with({"has other users than usual": _odd_users(users)})
    return RecentDays(first, policy.cells, spent.days_with(wrong), held, spend, users, paid)


class _Laid:
    """A feed's rows, summed by day and cell. ``near`` are those of the last days (n_near,), ``at``
    their places in ``told``, laid flat."""

    def __init__(
        self,
        feed: pd.DataFrame,
        names: pd.MultiIndex,
        first: date,
        days: int,
        columns: tuple[str, ...],
    ) -> None:
        row = (days_of(feed["date"]) - np.datetime64(first, "D")).astype(np.intp)
        place = cell_places(feed["segment"], feed["channel"], names) if len(feed) else row
        known = (place >= 0) & (row < days)
        self.first = np.full(len(names), -NEVER, dtype=np.intp)
        self.last = np.full(len(names), NEVER, dtype=np.intp)
        np.minimum.at(self.first, place[known], row[known])
        np.maximum.at(self.last, place[known], row[known])
        self.near = np.flatnonzero(known & (row >= 0))
        self.at = joined((row[self.near], days), (place[self.near], len(names)))
        self.told = np.zeros((days, len(names)), dtype=bool)
        self.told.flat[self.at] = True
        self.sums = {name: np.zeros(self.told.shape) for name in columns}
        numbers = {c: feed[c].to_numpy(dtype=np.float64)[self.near] for c in columns if c in feed}
        for name, values in whole_sums(self.at, **numbers).items() if numbers else ():
            self.sums[name][self.told] = values

    def told_by(self, rows: Mask) -> Mask:
        """Where some of the feed's ``rows`` (n,) tell, (T, C)."""
        found = np.zeros_like(self.told)
        found.flat[self.at[rows[self.near]]] = True
        return found

    def days_with(self, wrong: dict[str, Mask]) -> FeedDays:
        found = {name: mask & self.told for name, mask in wrong.items() if mask.any()}
        sound = self.told.copy()
        for mask in found.values():
            sound &= ~mask
        return FeedDays(self.told, sound, found, self.first, self.last)


def _both_arms(holdout: pd.DataFrame, names: pd.MultiIndex, first: date, days: int) -> _Laid:
    """The holdout with only those days told that have both arms, where arms are named."""
    whole = _Laid(holdout, names, first, days, ("users",))
    if "arm" in holdout.columns:
        for arm in ("treated", "control"):
            whole.told &= whole.told_by((holdout["arm"] == arm).to_numpy())
    return whole


def _wrong_unit(spend: Array, shown: Array, budget: Array, paid: Mask, believable: float) -> Mask:
    """Days whose price of an impression is many times the cell's median, and whose spend does not
    agree with the budget in force either."""
    priced = (spend > 0) & (shown > 0)
    price = np.where(priced, spend / np.where(priced, shown, 1.0), np.nan)
    usual = _median(price)
    off = (price > WRONG_UNIT * usual) | (price * WRONG_UNIT < usual)
    agrees = (spend <= believable * budget) & (spend * believable >= budget) & paid[:, None]
    return np.asarray(off & ~agrees)


def _odd_users(users: Array) -> Mask:
    """Days with many times, or a small part, of the users that the same weekday usually has."""
    odd = np.zeros(users.shape, dtype=bool)
    for weekday in range(7):
        same = users[weekday::7]
        usual = _median(np.where(same > 0, same, np.nan))
        far = (same > USERS_FACTOR * usual) | (same * USERS_FACTOR < usual)
        odd[weekday::7] = far & (same > 0)
    return odd


def _median(values: Array) -> Array:
    """Of each column's values, those that are nan left out; nan where there is no other."""
    ordered, cell = np.sort(values, axis=0), np.arange(values.shape[1])  # nan comes last
    count = values.shape[0] - np.isnan(values).sum(axis=0)
    return np.asarray((ordered[(count - 1) // 2, cell] + ordered[count // 2, cell]) / 2)
