"""The base market behind feeds as they really are: late, missing, sent twice, restated, broken."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from liftloop.markets.hill import HillMarket

CELL = ["date", "segment", "channel"]


class BrokenFeedsMarket(HillMarket):
    """What happens is, under the same budgets, exactly what happens in :class:`HillMarket` of the
    same seed; what is told of it goes wrong, a segment's day in each feed by its own luck:

    * 8 % are reported, and delivered, one to eight days late; 2 % never;
    * 10 % of performance days are first told 10 to 30 % too low, and restated a week later;
    * 3 % of cell-days have no control arm in the holdout feed;
    * 2 % of rows are broken: text for a number, negative spend, more clicks than impressions, more
      converters than users, an arm of an unknown name, no date;
    * in every fourth delivery of a feed all rows of the delivery before come again;
    * in every ninth, the performance file has its spend in words (1,234.50 USD) and is refused; in
      another ninth one segment's spend is in cents. Both are sent as they should be a week later.
    """

    def __init__(self, seed: int, **given: Any) -> None:
        super().__init__(seed, **given)
        self._deliveries = 0
        self._late: dict[str, list[pd.DataFrame]] = {}
        self._before: dict[str, pd.DataFrame] = {}
        self._told = self._spoil(super().history())

    def history(self) -> dict[str, pd.DataFrame]:
        return {feed: frame.copy() for feed, frame in self._told.items()}

    def step(self, budgets: pd.DataFrame, days: int) -> dict[str, pd.DataFrame]:
        return self._spoil(super().step(budgets, days))

    def _spoil(self, feeds: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        self._deliveries += 1
        return {feed: self._spoil_one(feed, frame) for feed, frame in feeds.items()}

    def _spoil_one(self, feed: str, sound: pd.DataFrame) -> pd.DataFrame:
        stream = self._streams.at(f"broken {feed}", self._today.toordinal())
        place, days = pd.factorize(
            pd.MultiIndex.from_arrays([sound["date"], sound["segment"]]), sort=False
        )
        luck = stream.random((4, len(days)))[:, place]
        delay = stream.integers(1, 9, len(days))[place]
        cell_luck = stream.random(len(sound))
        late = luck[0] < 0.08
        told = sound.assign(
            reported_at=sound["reported_at"] + pd.to_timedelta(np.where(late, delay, 0), unit="D")
        )
        told = told[luck[1] >= 0.02]
        restated = None
        if feed == "performance":
            told, restated = _understate(told, luck[2][told.index], stream)
        if feed == "holdout":
            told = _lose_controls(told, stream)
        told = _break_rows(feed, told, cell_luck[told.index], stream)
        return self._deliver(feed, told, restated, stream)

    def _deliver(
        self,
        feed: str,
        told: pd.DataFrame,
        restated: pd.DataFrame | None,
        stream: np.random.Generator,
    ) -> pd.DataFrame:
        """What is due now: this step's rows and those held back earlier, less what is late."""
        later = [*self._late.get(feed, []), told, *([] if restated is None else [restated])]
        mail = pd.concat(later, ignore_index=True)
        tomorrow = pd.Timestamp(self._today + timedelta(days=1), tz="UTC")
        due = (mail["reported_at"] < tomorrow).to_numpy()
        now, held = mail[due], [mail[~due]]
        again = self._before.get(feed)
        self._before[feed] = now
        if again is not None and self._deliveries % 4 == 0:
            now = pd.concat([now, again], ignore_index=True)
        if feed == "performance" and self._deliveries % 9 in (5, 8):
            week = pd.Timedelta(days=7)
            held.append(self._before[feed].assign(reported_at=lambda f: f["reported_at"] + week))
            now = _in_words(now) if self._deliveries % 9 == 5 else _in_cents(now, stream)
        self._late[feed] = held
        return now.reset_index(drop=True)


def _understate(
    told: pd.DataFrame, luck: np.ndarray, stream: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """First reports that are too low, and the true rows, reported a week later."""
    chosen = luck < 0.10
    share = np.where(chosen, stream.uniform(0.7, 0.9, len(told)), 1.0)
    final = told[chosen]
    final = final.assign(reported_at=final["reported_at"] + pd.Timedelta(days=7))
    first = told.assign(
        spend=(told["spend"] * share).round(2), revenue=(told["revenue"] * share).round(2)
    )
    return first, final


def _lose_controls(told: pd.DataFrame, stream: np.random.Generator) -> pd.DataFrame:
    place, cells = pd.factorize(pd.MultiIndex.from_frame(told[CELL]), sort=False)
    lost = (stream.random(len(cells)) < 0.03)[place] & (told["arm"] == "control").to_numpy()
    return told[~lost]


def _break_rows(
    feed: str, told: pd.DataFrame, luck: np.ndarray, stream: np.random.Generator
) -> pd.DataFrame:
    """2 % of the rows, each broken in one of its feed's ways."""
    broken = told.astype(object).reset_index(drop=True)
    rows = np.flatnonzero(luck < 0.02)
    ways = {
        "performance": [("spend", "n/a"), ("spend", -5.0), ("clicks", 10**9), ("date", None)],
        "holdout": [("revenue", "#REF!"), ("converters", 10**9), ("arm", "both"), ("users", 0)],
        "sales": [("revenue", "-"), ("orders", -3), ("segment", None)],
    }[feed]
    for row, way in zip(rows, stream.integers(0, len(ways), len(rows)), strict=True):
        column, value = ways[way]
        broken.loc[row, column] = value
    return broken.assign(reported_at=pd.to_datetime(broken["reported_at"], utc=True))


def _in_words(now: pd.DataFrame) -> pd.DataFrame:
    return now.assign(spend=[f"{amount} USD" for amount in now["spend"]])


def _in_cents(now: pd.DataFrame, stream: np.random.Generator) -> pd.DataFrame:
    names = sorted({name for name in now["segment"] if isinstance(name, str)})
    one = names[int(stream.integers(0, len(names)))]
    amounts = [
        amount * 100 if segment == one and isinstance(amount, float) else amount
        for segment, amount in zip(now["segment"], now["spend"], strict=True)
    ]
    return now.assign(spend=pd.Series(amounts, dtype=object, index=now.index))
