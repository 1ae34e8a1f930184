"""What the world reports of a market's days: the feeds performance, holdout and sales.

All arrays have the axes (day, segment, channel); rows come out in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from liftloop.markets.constants import HillConstants
from liftloop.markets.streams import RandomStreams

if TYPE_CHECKING:
    from liftloop.markets.hill import Nature

REPORTED = time(5, 0, tzinfo=UTC)  # the next morning
REPEAT_ORDERS = 0.04  # orders beyond the first of a customer's day


@dataclass(frozen=True, slots=True)
class Days:
    """What happened on D days: spend and expected incremental revenue (D, S, C), organic revenue
    (D, S). ``lost`` is what a segment would not have sold without one channel: it differs from
    ``incremental`` where channels lift or eat each other."""

    dates: list[date]
    spend: Array
    incremental: Array
    lost: Array
    organic: Array

    @property
    def sold(self) -> Array:
        """Revenue from every source, (D, S), in whole cents."""
        return np.asarray(np.round(self.organic + self.incremental.sum(axis=2), 2))


@dataclass(frozen=True, slots=True)
class Orders:
    """Order values that give a user-day the wanted mean and variance.

    With a share p of users buying for a mean a and a variance a^2 / 2, a user-day has the mean p a
    and the second moment 3/2 p a^2; ``a`` follows from both.
    """

    value: float

    @classmethod
    def of(cls, constants: HillConstants) -> Orders:
        mean = constants.organic_revenue / constants.users
        return cls(2 / 3 * (constants.revenue_sd**2 + mean**2) / mean)

    @property
    def second_moment(self) -> float:
        """Mean squared value of an order."""
        return 1.5 * self.value**2

    def buyers(self, *, revenue: Array, usual: Array, luck: Array) -> Array:
        """Buyers behind ``revenue`` where ``usual`` was due: the regression of a Poisson count on
        the sum of that many orders, with its residual noise."""
        slope = self.value / self.second_moment
        left = np.maximum(usual, 0.0) / self.value * (1 - self.value**2 / self.second_moment)
        return usual / self.value + slope * (revenue - usual) + np.sqrt(left) * luck


def performance_feed(
    days: Days, constants: HillConstants, nature: Nature, streams: RandomStreams
) -> pd.DataFrame:
    """What the platforms report: exact spend, and revenue they claim for themselves."""
    luck = np.stack(
        [streams.normal("platform", (3, *constants.shape), day.toordinal()) for day in days.dates]
    )
    claimed = (
        days.incremental * nature.overclaim + days.organic[:, :, None] * nature.organic_claimed
    ) * np.exp(constants.claim_noise * luck[:, 0])
    claimed = np.where(days.spend > 0, claimed, days.incremental * nature.overclaim)
    impressions = np.round(1000 * days.spend / nature.cost_per_thousand * np.exp(0.05 * luck[:, 1]))
    clicks = np.round(impressions * np.minimum(nature.click_rate * np.exp(0.08 * luck[:, 2]), 1))
    frame = _cell_days(days.dates, constants)
    return frame.assign(
        campaign="all",
        creative="all",
        spend=days.spend.ravel(),
        impressions=impressions.ravel().astype("int64"),
        clicks=clicks.ravel().astype("int64"),
        conversions=np.round(claimed / Orders.of(constants).value, 2).ravel(),
        revenue=np.round(claimed, 2).ravel(),
        reported_at=reported_at(frame["date"]),
    )


def sales_feed(
    days: Days, constants: HillConstants, nature: Nature, streams: RandomStreams
) -> pd.DataFrame:
    """First-party orders and revenue of each segment."""
    segments = len(constants.segments)
    luck = np.stack([streams.normal("orders", (segments,), day.toordinal()) for day in days.dates])
    buyers = Orders.of(constants).buyers(revenue=days.sold, usual=days.sold, luck=luck)
    dates = pd.Series(np.repeat(np.array(days.dates, dtype=object), segments))
    return pd.DataFrame(
        {
            "date": dates,
            "segment": np.tile(constants.segments, len(days.dates)),
            "orders": np.round(np.maximum(buyers, 0) * (1 + REPEAT_ORDERS)).ravel().astype("int64"),
            "revenue": days.sold.ravel(),
            "reported_at": reported_at(dates),
        }
    )


def holdout_feed(
    days: Days, constants: HillConstants, nature: Nature, streams: RandomStreams
) -> pd.DataFrame:
    """Outcomes of the users withheld from a channel (control) and of all others (treated).

    The two arms of a channel share out the segment's sales. The control arm is a simple random
    sample, so its sum misses its mean with the variance sd^2 n_c n_t / n, and the difference of
    the arms' means has the variance sd^2 (1/n_c + 1/n_t). ``x_pre``, the arm's mean revenue per
    user and day before the test, carries a part of the same luck.
    """
    luck = np.stack(
        [streams.normal("holdout", (6, *constants.shape), day.toordinal()) for day in days.dates]
    )
    users = nature.users[None, :, None]
    withheld = np.clip(np.round(users * constants.holdout_share), 1, users - 1)
    exposed = users - withheld
    base = (days.sold[:, :, None] - days.lost) / users  # per user, without the channel
    share = constants.pre_correlation
    draw = share * luck[:, 0] + np.sqrt(1 - share**2) * luck[:, 1]
    miss = constants.revenue_sd * np.sqrt(withheld * exposed / users) * draw
    control = np.round(withheld * base + miss, 2)
    treated = days.sold[:, :, None] - control

    typical = constants.organic_revenue / constants.users
    imbalance = 0.3 * constants.revenue_sd * np.sqrt(exposed / (withheld * users)) * luck[:, 0]
    orders = Orders.of(constants)
    arms = [
        _Arm(
            "treated",
            users=exposed,
            revenue=treated,
            usual=exposed * base + days.lost,
            before=typical - imbalance * withheld / exposed,
            luck=luck[:, 2:4],
        ),
        _Arm(
            "control",
            users=withheld,
            revenue=control,
            usual=withheld * base,
            before=typical + imbalance,
            luck=luck[:, 4:6],
        ),
    ]
    frame = _cell_days(days.dates, constants)
    both = pd.concat([frame.assign(**arm.columns(orders)) for arm in arms], ignore_index=True)
    both = both.sort_values(["date", "segment", "channel", "arm"], kind="stable", ignore_index=True)
    return both.assign(reported_at=reported_at(both["date"]))


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """One arm of every holdout, shape (D, S, C) or what broadcasts to it.

    ``revenue`` is what the arm's ``users`` bought for, ``usual`` what was due without chance;
    ``before`` is revenue a user and day before the test; ``luck`` (D, 2, S, C) standard normal: of
    the buyers, and of their orders' squares.
    """

    name: str
    users: Array
    revenue: Array
    usual: Array
    before: Array
    luck: Array

    def columns(self, orders: Orders) -> dict[str, Any]:
        """The feed's columns. ``revenue_sq`` respects Cauchy-Schwarz: revenue^2 <= converters x
        sum."""
        revenue, shape = self.revenue, self.revenue.shape
        users = np.broadcast_to(self.users, shape)
        buyers = orders.buyers(revenue=revenue, usual=self.usual, luck=self.luck[:, 0])
        buyers = np.clip(np.round(buyers), np.where(revenue != 0, 1, 0), users)
        spread = np.sqrt(np.maximum(buyers, 1)) * 1.2 * self.luck[:, 1]
        squares = orders.second_moment * np.maximum(buyers + spread, 0)
        least = revenue**2 / np.maximum(buyers, 1)
        return {
            "arm": self.name,
            "stratum": "all",
            "users": users.ravel().astype("int64"),
            "converters": buyers.ravel().astype("int64"),
            "conversions": np.round(buyers * (1 + REPEAT_ORDERS)).ravel(),
            "revenue": revenue.round(2).ravel(),
            "revenue_sq": np.ceil(np.maximum(squares, least * 1.001) * 100).ravel() / 100,
            "x_pre": np.broadcast_to(self.before, shape).ravel(),
        }


def _cell_days(dates: list[date], constants: HillConstants) -> pd.DataFrame:
    segments, channels = constants.shape
    return pd.DataFrame(
        {
            "date": np.repeat(np.array(dates, dtype=object), segments * channels),
            "segment": np.tile(np.repeat(constants.segments, channels), len(dates)),
            "channel": np.tile(constants.channels, segments * len(dates)),
        }
    )


def reported_at(dates: pd.Series) -> pd.Series:
    """The morning after each day, 05:00 UTC."""
    known = {day: datetime.combine(day + timedelta(days=1), REPORTED) for day in dates.unique()}
    return pd.to_datetime(dates.map(known), utc=True)
