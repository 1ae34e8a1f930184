"""A market with saturating, carried-over responses, randomized holdouts and platforms that brag.

The truth of a cell (segment s, channel c) on day t, from its spend x:

* steady response  f(x) = m K x^h / (K^h + x^h), with m following a slow random walk;
* incremental revenue earned on day t  r_t = (1 - g) f_t(x_t) + g r_(t-1), g the channel's
  carry-over: an impulse of spend earns f(x) in all, a share 1 - g of it on its own day.

A segment sells its organic revenue plus its cells' incremental revenue. In every channel, and
independently between channels, a random 10 % of a segment's users is withheld; so both arms of a
channel hold the same mix of users withheld from other channels, and the difference between arms is
that channel's effect alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array
from liftloop.markets.constants import HillConstants
from liftloop.markets.feeds import Days, holdout_feed, performance_feed, sales_feed
from liftloop.markets.streams import RandomStreams

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Nature:
    """What stays as it is for the market's life. Shapes (S,), (C,) or (S, C)."""

    size: Array  # (S,), sums to 1
    users: Array  # (S,), whole numbers
    saturation: Array  # (S, C), K: money a day
    exponent: Array  # (S, C), h
    effect: Array  # (S, C), m at the beginning of history
    carryover: Array  # (C,), g
    overclaim: Array  # (C,)
    organic_claimed: Array  # (C,)
    cost_per_thousand: Array  # (C,), money
    click_rate: Array  # (C,)


class HillMarket:
    """The market of the project's evidence: 10 segments, 5 channels, 100,000 a day.

    Parameters
    ----------
    seed
        Names everything random. The same seed draws the same noise whatever the budgets are.
    constants
        Another market of the same kind; by default the class's own ``constants``.
    """

    constants: HillConstants = HillConstants()

    def __init__(self, seed: int, *, constants: HillConstants | None = None) -> None:
        self.constants = constants or type(self).constants
        self.start: date = self.constants.start
        self.total_daily_budget: Decimal = self.constants.total_daily_budget
        self.config: dict[str, Any] = {}
        self._streams = RandomStreams(seed)
        self._nature = make_nature(self.constants, self._streams)
        self._incumbent = self._historic_split()
        self.incumbent = self._as_budgets(self._incumbent)
        self._today = self.start - timedelta(days=self.constants.history_days)
        self._walk = np.zeros(self.constants.shape)
        self._jump = np.exp(
            self.constants.jump_spread
            * self._streams.normal("jump", (len(self.constants.channels),))
        )
        self._organic_noise = self._first_organic_noise()
        self._earned = self.contributions(self._incumbent)  # as if it had run for long
        self._names = self._cells()
        self._order = [self._names[name].tolist() for name in self._names]
        self._truth: list[tuple[date, Array]] = []
        self._history = self._run([self._jittered(day) for day in self._history_days()])

    # -- the market's contract ------------------------------------------------------------------

    def history(self) -> dict[str, pd.DataFrame]:
        """The feeds performance, holdout and sales for the days before ``start``."""
        return {feed: frame.copy() for feed, frame in self._history.items()}

    def step(self, budgets: pd.DataFrame, days: int) -> dict[str, pd.DataFrame]:
        """Spend ``budgets`` for the next ``days`` days; a cell without a row spends nothing.

        Raises
        ------
        ValueError
            If a cell is unknown or named twice, or a budget is negative or no number.
        """
        if days < 1:
            raise ValueError(f"a step has at least one day, not {days}")
        return self._run([self._as_array(budgets)] * days)

    def truth(self) -> pd.DataFrame:
        """Expected incremental revenue of every day so far, history included, by the day it is
        earned: date, segment, channel, incremental_revenue."""
        cells = self._names
        frame = cells.loc[np.tile(cells.index, len(self._truth))].reset_index(drop=True)
        frame.insert(0, "date", np.repeat([day for day, _ in self._truth], len(cells)))
        frame["incremental_revenue"] = np.concatenate([r.ravel() for _, r in self._truth])
        return frame

    def expected(self, budgets: pd.DataFrame) -> pd.DataFrame:
        """segment, channel, incremental_revenue per day if ``budgets`` stood for ever and nothing
        else changed."""
        earned = self.contributions(self._as_array(budgets))[0]
        told = self._names.copy(deep=False)
        told["incremental_revenue"] = earned.ravel()  # asked often: quicker than assign
        return told

    # -- what a family of markets may change ----------------------------------------------------

    def response(self, spend: Array) -> Array:
        """Steady incremental revenue a day at daily ``spend``, both (S, C), under today's effects:
        the Hill function m K x^h / (K^h + x^h)."""
        nature = self._nature
        level = (spend / nature.saturation) ** nature.exponent
        return self.effects() * nature.saturation * level / (1 + level)

    def contributions(self, spend: Array) -> tuple[Array, Array]:
        """Steady revenue a day at daily ``spend``, (S, C) each: what is each cell's, summing to the
        whole, and what would be lost without it. The same unless channels meddle with each
        other."""
        earned = self.response(spend)
        return earned, earned

    def delivered(self, budget: Array) -> Array:
        """What platforms mean to spend today of ``budget``, both (S, C)."""
        return budget

    def effects(self) -> Array:
        """Today's m, (S, C)."""
        today = self._nature.effect * np.exp(self._walk)
        day = self.constants.jump_day
        jumped = day is not None and self._today >= self.start + timedelta(days=day)
        return today * self._jump if jumped else today

    # -- how a day passes -----------------------------------------------------------------------

    def _run(self, budgets: list[Array]) -> dict[str, pd.DataFrame]:
        """Live through ``len(budgets)`` days, one (S, C) array of budgets each."""
        passed = [self._pass_day(budget) for budget in budgets]
        days = Days(
            dates=[one[0] for one in passed],
            spend=np.stack([one[1] for one in passed]),
            incremental=np.stack([one[2] for one in passed]),
            lost=np.stack([one[3] for one in passed]),
            organic=np.stack([one[4] for one in passed]),
        )
        made = (days, self.constants, self._nature, self._streams)
        return {
            "performance": performance_feed(*made),
            "holdout": holdout_feed(*made),
            "sales": sales_feed(*made),
        }

    def _pass_day(self, budget: Array) -> tuple[date, Array, Array, Array, Array]:
        constants, day = self.constants, self._today.toordinal()
        self._walk = self._walk + constants.effect_walk * self._streams.normal(
            "effect walk", constants.shape, day
        )
        if constants.channel_walk:
            self._walk = self._walk + constants.channel_walk * self._streams.normal(
                "channel walk", constants.shape[1:], day
            )
        luck = 2 * self._streams.uniform("realized spend", constants.shape, day) - 1
        spend = np.round(self.delivered(budget) * (1 + constants.spend_tolerance * luck), 2)
        kept = self._nature.carryover
        earned, lost = (
            (1 - kept) * fresh + kept * before
            for fresh, before in zip(self.contributions(spend), self._earned, strict=True)
        )
        self._earned = earned, lost
        organic = self._pass_organic_day(day)
        today, self._today = self._today, self._today + timedelta(days=1)
        self._truth.append((today, earned))
        return today, spend, earned, lost, organic

    def _pass_organic_day(self, day: int) -> Array:
        """Organic revenue of each segment, (S,); its noise is an AR(1) with a common shock."""
        constants = self.constants
        memory = constants.noise_memory
        fresh = self._streams.normal("organic noise", (len(constants.segments),), day)
        self._organic_noise = (
            memory * self._organic_noise + constants.segment_noise * np.sqrt(1 - memory**2) * fresh
        )
        shock = constants.common_shock * self._streams.normal("common shock", (1,), day)
        usual = constants.organic_revenue * constants.weekday[self._today.weekday()]
        return usual * self._nature.size * np.maximum(1 + self._organic_noise + shock, 0.0)

    def _first_organic_noise(self) -> Array:
        shape = (len(self.constants.segments),)
        return self.constants.segment_noise * self._streams.normal("first organic noise", shape)

    # -- budgets ----------------------------------------------------------------------------------

    def _historic_split(self) -> Array:
        """The budgets somebody once chose, (S, C), whole cents that sum to the total."""
        constants = self.constants
        segments, channels = constants.shape
        stream = self._streams.at("historic split")
        split = stream.dirichlet([constants.split_concentration] * channels, size=segments)
        return exact_cents(self._nature.size[:, None] * split, constants.total_daily_budget)

    def _history_days(self) -> list[date]:
        return [self._today + timedelta(days=n) for n in range(self.constants.history_days)]

    def _jittered(self, day: date) -> Array:
        constants = self.constants
        block = (self.start - day - timedelta(days=1)).days // constants.jitter_days
        luck = self._streams.normal("history jitter", constants.shape, block)
        jittered = self._incumbent * np.exp(constants.history_jitter * luck)
        return exact_cents(jittered, constants.total_daily_budget)

    def _cells(self) -> pd.DataFrame:
        constants = self.constants
        return pd.DataFrame(
            {
                "segment": np.repeat(constants.segments, len(constants.channels)),
                "channel": np.tile(constants.channels, len(constants.segments)),
            }
        )

    def _as_budgets(self, amounts: Array) -> pd.DataFrame:
        exact = [Decimal(str(amount)).quantize(CENT) for amount in amounts.ravel()]
        return self._cells().assign(daily_budget=pd.Series(exact, dtype=object))

    def _as_array(self, budgets: pd.DataFrame) -> Array:
        if [budgets[name].tolist() for name in self._names] == self._order:
            whole = budgets["daily_budget"].to_numpy(dtype=np.float64)
            if ((whole >= 0) & (whole < np.inf)).all():  # what is wrong is told below
                return whole.reshape(self.constants.shape)
        amounts = np.zeros(self.constants.shape)
        seen: set[tuple[str, str]] = set()
        where: Mapping[str, int] = {name: n for n, name in enumerate(self.constants.segments)}
        which: Mapping[str, int] = {name: n for n, name in enumerate(self.constants.channels)}
        columns = (budgets["segment"], budgets["channel"], budgets["daily_budget"])
        for segment, channel, amount in zip(*columns, strict=True):
            if segment not in where or channel not in which:
                raise ValueError(f"this market has no cell {segment} x {channel}")
            if (segment, channel) in seen:
                raise ValueError(f"the cell {segment} x {channel} has two budgets")
            if not 0 <= float(amount) < np.inf:
                raise ValueError(f"{amount} is no budget for {segment} x {channel}")
            seen.add((segment, channel))
            amounts[where[segment], which[channel]] = float(amount)
        return amounts


def make_nature(constants: HillConstants, streams: RandomStreams) -> Nature:
    """Draw what lasts. Each quantity has a stream of its own: adding one changes no other."""
    segments, channels = constants.shape
    cells = constants.shape

    def spread(purpose: str, width: float, shape: tuple[int, ...]) -> Array:
        return np.exp(width * streams.normal(purpose, shape))

    def between(purpose: str, bounds: tuple[float, float], shape: tuple[int, ...]) -> Array:
        return bounds[0] + (bounds[1] - bounds[0]) * streams.uniform(purpose, shape)

    size = spread("segment size", constants.size_spread, (segments,))
    size = size / size.sum()
    average = float(constants.total_daily_budget) / channels
    saturation = (
        size[:, None]
        * average
        * spread("channel saturation", constants.channel_saturation_spread, (channels,))
        * spread("cell saturation", constants.cell_saturation_spread, cells)
    )
    effect = (
        constants.return_at_zero
        * spread("channel effect", constants.channel_effect_spread, (channels,))
        * spread("cell effect", constants.cell_effect_spread, cells)
    )
    claimed = between("organic claimed", constants.organic_claimed, (channels,))
    if constants.useless_channels:
        chosen = streams.at("useless channels").permutation(channels)[: constants.useless_channels]
        effect[:, chosen] = 0.0
        heavy = between("useless claimed", constants.useless_claimed, (channels,))
        claimed[chosen] = heavy[chosen]
    bias_mean, bias_spread = constants.overclaim
    return Nature(
        size=size,
        users=np.maximum(np.round(constants.users * size), 2.0),
        saturation=saturation,
        exponent=between("exponent", constants.exponent, cells),
        effect=effect,
        carryover=between("carry-over", constants.carryover, (channels,)),
        overclaim=np.exp(bias_mean) * spread("overclaim", bias_spread, (channels,)),
        organic_claimed=claimed,
        cost_per_thousand=8.0 * spread("cost per thousand", 0.4, (channels,)),
        click_rate=0.012 * spread("click rate", 0.4, (channels,)),
    )


def exact_cents(weights: Array, total: Decimal) -> Array:
    """Split ``total`` in proportion to ``weights``: whole cents, exact by the largest remainder."""
    cents = int(total / CENT)
    exact = weights / weights.sum() * cents
    whole = np.floor(exact)
    short = cents - int(whole.sum())
    order = np.argsort(-(exact - whole), axis=None, kind="stable")[:short]
    whole.ravel()[order] += 1
    return np.asarray(np.round(whole / 100, 2))
