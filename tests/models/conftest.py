"""A small market whose curves are known, as the frames that the response models take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from liftloop.core.curves.saturating import bent_shape
from liftloop.core.policy import Cell
from models.lift.evidence import Evidence, effective, gather

Array = NDArray[np.float64]
START = pd.Timestamp(2026, 1, 5)
SIZE = 1000.0  # what an average cell spends a day
RETURNS = (3.0, 2.0, 1.2, 0.8, 2.5)
SCALES = (1.0, 0.6, 1.5, 1.0, 0.8)


@dataclass(slots=True, kw_only=True)
class SmallMarket:
    """Cells (segments x channels) with curves ``m K h(a / K)`` of one bend. Budgets change every
    week by about 30 %; a lift is seen with a standard error of ``noise`` average cells' spend.
    Claims: ``factors`` times what is earned by spend ``^ tilt``, plus ``organic`` of all sales.

    ``jump`` and ``claim_jump``: (channel, week from which it holds, change of the logarithm).
    """

    segments: int = 10
    channels: int = 4
    weeks: int = 20
    seed: int = 0
    noise: float = 0.5
    bend: float = 2.0
    carryover: float = 0.3
    returns: Sequence[float] = RETURNS
    factors: Sequence[float] = (1.5, 2.0, 1.2, 3.0, 1.8)
    organic: float = 0.02
    claim_noise: float = 0.1
    own_claims: float = 0.0
    tilt: float = 0.0
    jump: tuple[int, int, float] | None = None
    claim_jump: tuple[int, int, float] | None = None
    unit: float = 1.0
    daily: pd.DataFrame = field(init=False)
    lifts: pd.DataFrame = field(init=False)
    claims: pd.DataFrame = field(init=False)
    channel: NDArray[np.intp] = field(init=False)  # of each cell; by segment, then channel
    usual: Array = field(init=False)  # spend of the last four weeks, a day
    m: Array = field(init=False)
    k: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        n, channels, weeks = self.segments * self.channels, self.channels, self.weeks
        channel = np.tile(np.arange(channels), self.segments)
        m = np.array(self.returns)[channel] * np.exp(rng.normal(0, 0.3, n))
        k = SIZE * np.array(SCALES)[channel] * np.exp(rng.normal(0, 0.2, n))
        usual = SIZE * np.exp(rng.normal(0, 0.4, n))
        spend = np.repeat(usual * np.exp(rng.normal(0, 0.3, (weeks, n))), 7, axis=0)
        level = effective(spend, np.full(n, self.carryover)).reshape(weeks, 7, n).mean(axis=1)
        earned = m * k * bent_shape(level / k, np.full(n, self.bend))
        earned = earned * self._step(self.jump, channel)
        noise = np.full((weeks, n), self.noise * SIZE)
        seen = earned + noise * rng.standard_normal((weeks, n))
        sold = 15.0 * SIZE * channels * (1 + 0.05 * rng.standard_normal((weeks, self.segments)))
        sold = np.repeat(sold, channels, axis=1)
        factor = np.array(self.factors)[channel] * np.exp(self.own_claims * rng.normal(size=n))
        factor = factor * self._step(self.claim_jump, channel)
        more = (level / usual) ** self.tilt
        claimed = more * (factor * earned + self.organic * sold)
        claimed = claimed * np.exp(self.claim_noise * rng.standard_normal((weeks, n)))
        pairs = pd.MultiIndex.from_product(
            [[f"s{i}" for i in range(self.segments)], [f"c{j}" for j in range(channels)]],
            names=["segment", "channel"],
        )
        start = START + pd.to_timedelta(7 * np.arange(weeks), unit="D")
        place = {
            "segment": np.tile(pairs.get_level_values(0).to_numpy(), weeks),
            "channel": np.tile(pairs.get_level_values(1).to_numpy(), weeks),
            "period_start": np.repeat(start, n),
            "period_end": np.repeat(start + pd.Timedelta(days=6), n),
        }
        self.daily = pd.DataFrame(
            self.unit * spend,
            index=pd.date_range(START, periods=7 * weeks, name="date"),
            columns=pairs,
        )
        self.lifts = pd.DataFrame(
            place
            | {
                "spend": self.unit * spend.reshape(weeks, 7, n).mean(axis=1).ravel(),
                "lift": self.unit * seen.ravel(),
                "standard_error": self.unit * noise.ravel(),
            }
        )
        self.claims = pd.DataFrame(
            place | {"claimed": self.unit * claimed.ravel(), "sold": self.unit * sold.ravel()}
        )
        self.m, self.k, self.channel = m, self.unit * k, channel
        self.usual = self.unit * spend[-28:].mean(axis=0)

    def _step(self, jump: tuple[int, int, float] | None, channel: NDArray[np.intp]) -> Array:
        """What a jump does, (weeks, cells)."""
        if jump is None:
            return np.ones((self.weeks, len(channel)))
        where, week, change = jump
        after = np.arange(self.weeks) >= week
        return np.asarray(np.exp(change * after[:, None] * (channel == where)[None, :]))

    @property
    def cells(self) -> list[Cell]:
        segments, channels = (self.daily.columns.get_level_values(k) for k in (0, 1))
        return [Cell(str(s), str(c)) for s, c in zip(segments, channels, strict=True)]

    def revenue(self, spend: Array) -> Array:
        """What cells earn a day at steady ``spend``, today."""
        bend = np.full(len(self.k), self.bend)
        earned = self.m * self.k * bent_shape(spend / self.k, bend)
        return np.asarray(earned * self._step(self.jump, self.channel)[-1])

    def gathered(self, *, claims: pd.DataFrame | None = None, **more: Any) -> Evidence:
        given = {"fade_per_day": 0.0, "experiments": None} | more
        return gather(lifts=self.lifts, daily=self.daily, claims=claims, **given)


@pytest.fixture(scope="session")
def small_market() -> Callable[..., SmallMarket]:
    """Makes a market; its arguments are the fields of SmallMarket."""
    return SmallMarket
