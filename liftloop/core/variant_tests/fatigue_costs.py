"""What a tired creative costs: when a refresh pays, and a cap on how often people see it.

The response per thousand impressions is ``fresh * exp(-slope * exposure)``. A creative that is
refreshed whenever it has been shown x thousand times earns ``fresh (1 - exp(-slope x)) / slope``
a cycle and costs one refresh; the average per impression is largest where the next impression
earns what the average does (renewal reward: Barlow and Hunter 1960, "Optimum preventive maintenance
policies"), which is where ``1 - exp(-b) - b exp(-b) = cost * slope / fresh`` with ``b = slope x``.

A cap pays where the money earns more elsewhere than by one more impression of this creative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.variant_tests.fatigue import CreativeFacts, CreativeFatigue

_RECENT_DAYS = 14  # that tell what a creative is shown and costs at present
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class FatigueMoney:
    """What money decisions about tired creatives need.

    Attributes
    ----------
    refresh_cost
        Of a new version of a creative, account currency.
    margin
        Profit per unit of the outcome before spend, > 0.
    elsewhere
        Profit per unit of spend that the money earns elsewhere; None: the mean of the siblings, and
        0 where there are none.
    days
        Days ahead that a cap's cost is counted over.
    """

    refresh_cost: float
    margin: float = 1.0
    elsewhere: float | None = None
    days: int = 28
    draws: int = 2000


@dataclass(frozen=True, slots=True)
class Refresh:
    """When a refresh pays.

    Attributes
    ----------
    in_days, low, high
        Days from the last one at the present pace, 0 for now: median and 90 % interval; infinity
        where it never pays.
    probability
        That it ever pays.
    lost_a_day
        What the creative earns less a day than when it was fresh, account currency before spend.
    """

    in_days: float
    low: float
    high: float
    probability: float
    lost_a_day: float


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """A cap on a creative's impressions and what it costs over the days ahead.

    Attributes
    ----------
    thousand_impressions
        From which exposure on the money earns more elsewhere.
    per_person
        The same as impressions per person the cell can reach; NaN where their number is unknown.
    value_lost
        Outcomes times margin that the impressions above the cap had brought, account currency.
    profit_gained, low, high
        Profit of their money elsewhere less theirs, median and 90 % interval; account currency.
    """

    thousand_impressions: float
    per_person: float
    value_lost: float
    profit_gained: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Present:
    """A creative at present: exposure and impressions a day in thousands, spend a day, and by draw
    the slope and the value of a thousand impressions before anyone had seen it."""

    exposure: float
    pace: float
    spend: float
    slopes: Array
    fresh: Array

    def value(self, exposure: Array) -> Array:
        """Value a day at an exposure, (draws, …)."""
        return np.asarray(self.pace * (self.fresh * np.exp(-np.outer(exposure, self.slopes))).T)


def _present(
    facts: CreativeFacts, fatigue: CreativeFatigue, money: FatigueMoney, seed: int
) -> _Present | None:
    i = facts.creatives.index(fatigue.creative)
    window = slice(-_RECENT_DAYS, None)
    matured = next(iter(facts.strata.values())).matured[window]
    units, spend, value = (facts.total(name)[i, window] for name in ("units", "spend", "value"))
    exposed = facts.exposure[i]
    known = units * matured / 1000
    if known.sum() <= 0 or not np.isfinite(fatigue.slope) or value.sum() <= 0:
        return None
    rng = np.random.default_rng(seed)
    slopes = fatigue.slope + fatigue.slope_error * rng.standard_normal(money.draws)
    slopes = np.maximum(slopes, 0.0)  # what rises with exposure needs no refresh
    left = np.exp(-np.outer(exposed[window], slopes))
    fresh = money.margin * value.sum() / (known @ left)
    shown = facts.total("units")[i]
    latest = float(exposed[-1] + shown[-1] / 2000)
    return _Present(latest, float(units.mean()) / 1000, float(spend.mean()), slopes, fresh)


def _cycle(share: Array) -> Array:
    """``b`` of ``1 - exp(-b) - b exp(-b) = share`` by bisection; infinity from 1 on."""
    low, high = np.zeros(len(share)), np.full(len(share), 40.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = -np.expm1(-middle) - middle * np.exp(-middle) >= share
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(share >= 1 - 1e-12, np.inf, high)


def when_to_refresh(
    facts: CreativeFacts, fatigue: CreativeFatigue, money: FatigueMoney, *, seed: int
) -> Refresh | None:
    """When a refresh of the creative pays, if it keeps being shown as over the last two weeks; None
    where nothing is known of its slope or it is not shown.

    A refreshed creative is taken to start where this one did.
    """
    present = _present(facts, fatigue, money, seed)
    if present is None:
        return None
    tires = present.slopes > 0
    slopes = np.where(tires, present.slopes, 1.0)
    cycle = _cycle(money.refresh_cost * slopes / present.fresh)
    days = np.maximum(cycle / slopes - present.exposure, 0.0) / present.pace
    days = np.where(tires, days, np.inf)
    low, middle, high = np.quantile(days, _QUANTILES, method="nearest")
    lost = present.value(np.zeros(1)) - present.value(np.array([present.exposure]))
    ever = float(np.isfinite(days).mean())
    return Refresh(float(middle), float(low), float(high), ever, float(np.median(lost)))


def _elsewhere(facts: CreativeFacts, creative: str, money: FatigueMoney) -> float:
    if money.elsewhere is not None:
        return money.elsewhere
    others = [i for i, name in enumerate(facts.creatives) if name != creative]
    window = slice(-_RECENT_DAYS, None)
    matured = next(iter(facts.strata.values())).matured[window]
    spend = float((facts.total("spend")[others][:, window] * matured).sum())
    value = money.margin * float(facts.total("value")[others][:, window].sum())
    return value / spend - 1 if spend > 0 else 0.0


def frequency_cap(
    facts: CreativeFacts, fatigue: CreativeFatigue, money: FatigueMoney, *, seed: int
) -> FrequencyCap | None:
    """The exposure from which a creative's next impression earns less than its money does
    elsewhere, and what stopping there costs or gains over the days ahead; None as above, and where
    impressions cost nothing.

    What the money earns elsewhere is taken to stay: a cap that frees much should be decided with
    the siblings' own curves.
    """
    present = _present(facts, fatigue, money, seed)
    if present is None or present.spend <= 0:
        return None
    other = _elsewhere(facts, fatigue.creative, money)
    price = present.spend / present.pace
    least = price * max(1 + other, 1e-9)  # value of a thousand impressions that is worth its price
    room = np.maximum(np.log(present.fresh / least), 0.0)
    caps = np.where(room > 0, room / np.maximum(present.slopes, 1e-300), 0.0)
    cap = float(np.median(caps))
    ahead = present.exposure + present.pace * np.arange(0.5, money.days)
    capped = ahead > cap
    lost = (present.value(ahead) * capped).sum(axis=1)
    gained = (least * capped).sum() * present.pace - lost
    low, middle, high = np.quantile(gained, _QUANTILES)
    people = facts.audience
    return FrequencyCap(
        cap,
        cap * 1000 / people if people else float("nan"),
        float(np.median(lost)),
        float(middle),
        float(low),
        float(high),
    )
