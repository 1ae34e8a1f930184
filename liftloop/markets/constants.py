"""The constants of the simulated market, in one frozen place, so that a family of markets is a
family of constants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class HillConstants:
    """All a :class:`~liftloop.markets.hill.HillMarket` is made from, besides its seed.

    Money is in the account currency a day; shares are of one; spreads are standard deviations of
    logarithms unless said otherwise.
    """

    segments: tuple[str, ...] = tuple(f"segment_{number:02d}" for number in range(1, 11))
    channels: tuple[str, ...] = ("search", "social", "video", "display", "audio")
    total_daily_budget: Decimal = Decimal("100000.00")
    start: date = date(2026, 1, 5)
    history_days: int = 56
    history_jitter: float = 0.2
    jitter_days: int = 7  # how long a historic budget stood before somebody changed it

    # Organic revenue: size x weekday x (segment noise + common shock)
    organic_revenue: float = 1_500_000.0
    weekday: tuple[float, ...] = (0.98, 0.95, 0.95, 0.98, 1.06, 1.12, 0.96)  # Monday first, mean 1
    segment_noise: float = 0.06  # standard deviation of a segment-day, share of its revenue
    noise_memory: float = 0.5  # AR(1) coefficient of that noise
    common_shock: float = 0.02  # one draw a day that hits all segments

    # Who and where: segment sizes and the budgets somebody once chose
    size_spread: float = 0.6
    split_concentration: float = 2.5  # Dirichlet, per segment over channels

    # Response: m K x^h / (K^h + x^h), carried over from day to day
    return_at_zero: float = 2.4  # m before effects: revenue of the first unit of spend (h = 1)
    channel_effect_spread: float = 0.6
    cell_effect_spread: float = 0.35
    effect_walk: float = 0.004  # a day, per cell
    channel_walk: float = 0.0  # a day, all cells of a channel together
    jump_day: int | None = None  # days after start; from then on every channel's effects are others
    jump_spread: float = 0.5
    channel_saturation_spread: float = 0.4
    cell_saturation_spread: float = 0.2
    exponent: tuple[float, float] = (0.8, 1.3)
    carryover: tuple[float, float] = (0.0, 0.6)
    spend_tolerance: float = 0.03  # realized spend is within this share of the budget

    # Holdouts: in every channel a random part of a segment's users is withheld
    users: int = 2_000_000
    holdout_share: float = 0.1
    revenue_sd: float = 7.0  # per user and day
    pre_correlation: float = 0.3  # of a user's revenue on a day with the mean before the test

    # What platforms claim: incremental x bias of the channel + a share of what is organic
    overclaim: tuple[float, float] = (0.1, 0.5)  # mean and spread of the bias's logarithm
    organic_claimed: tuple[float, float] = (0.0, 0.08)
    claim_noise: float = 0.05
    useless_channels: int = 0  # so many, drawn at random, have no effect at all
    useless_claimed: tuple[float, float] = (0.12, 0.20)  # share of organic revenue they claim

    @property
    def shape(self) -> tuple[int, int]:
        """(segments, channels): the shape of every array over cells."""
        return len(self.segments), len(self.channels)
