"""How a cell's money is split among its variants tomorrow: Thompson sampling in daily batches.

A variant's share is the posterior probability that it earns most per unit of spend, or per unit
where units cost alike (Thompson 1933; in batches and by probabilities Scott 2010, "A modern
Bayesian look at the multi-armed bandit"). Where the question is which variant is best, it is the
top-two rule of Russo (2016), "Simple Bayesian algorithms for best arm identification".

What learning may cost is bounded as in conservative bandits (Wu, Shariff, Lattimore and Szepesvari
2016): the shares keep so near to an even split that what it would have earned over the horizon is
not missed by more than ``shortfall``, by a lower bound of the gain so far and of tomorrow's, unless
a lower bound of tomorrow's gain alone is above that split.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from liftloop.core.arrays import Z90, Array, Mask
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.discounted_effects import DiscountedEffects, fit_effects
from liftloop.core.variant_tests.splits.new_variants import (
    NewVariantRule,
    Standing,
    least_shares,
    standings,
    without_the_gone,
)

_TOP_TWO = 0.5  # Russo's beta: how often the first of the two is taken
_GUARD_DRAWS = 100
_GUARD_QUANTILE = 0.05
_USED = 0.5  # of the shortfall that may be planned with; what drifts unseen takes the rest
_LEVEL_DAYS = 14  # days that tell what a unit of spend earns at present


class Aim(StrEnum):
    """What the split is for."""

    EARN = "earn most while it runs"
    FIND_BEST = "find the best variant"


class Per(StrEnum):
    """What a variant's outcome is divided by."""

    SPEND = "spend"
    UNITS = "units"


@dataclass(frozen=True, slots=True)
class ShareRule:
    """Limits and aim of a split.

    Attributes
    ----------
    per
        Spend where a unit's price differs between variants, units where units cost alike.
    margin
        Profit per unit of the outcome before spend, > 0.
    floor
        Smallest share of every variant that takes part; half an even share at most.
    largest_step
        How far a share moves a day, in (0, 1].
    shortfall
        Fraction of what an even split earns over ``horizon_days`` that may be missed.
    """

    per: Per = Per.SPEND
    aim: Aim = Aim.EARN
    margin: float = 1.0
    floor: float = 0.01
    largest_step: float = 0.15
    shortfall: float = 0.02
    horizon_days: int = 84
    draws: int = 2000
    new: NewVariantRule = field(default_factory=NewVariantRule)

    def __post_init__(self) -> None:
        if not (0 <= self.floor < 1 and 0 < self.largest_step <= 1 and self.margin > 0):
            raise ValueError("A floor is in [0, 1), a step in (0, 1], a margin above 0.")

    def exposure(self, observed: VariantDays) -> Array:
        """What outcomes are divided by, shape (v, d)."""
        return observed.spend if self.per is Per.SPEND else observed.units


@dataclass(frozen=True, slots=True)
class VariantShare:
    """One variant's share of tomorrow's money and why.

    Attributes
    ----------
    share
        In [0, 1]; those of all variants sum to 1.
    probability_best
        That it earns most per unit of spend (or per unit) tomorrow, among those that take part.
    profit, low, high
        Profit per unit of spend (value * margin / spend - 1), or value * margin per unit, with the
        90 % interval; NaN where nothing is known yet.
    """

    variant: str
    share: float
    probability_best: float
    profit: float
    low: float
    high: float
    standing: Standing


@dataclass(frozen=True, slots=True)
class NextShares:
    """Tomorrow's split.

    Attributes
    ----------
    variants
        In the order of the facts.
    discount
        How much of a day's evidence is left a day later; 1 forgets nothing.
    spread
        Standard deviation between variants of the log of what they earn.
    gain_so_far
        Estimated gain over an even split so far, as a fraction of what that would have earned.
    guarded
        How much of the way from an even split the shortfall's guard allowed; 1 is all of it.
    """

    variants: tuple[VariantShare, ...]
    discount: float
    spread: float
    gain_so_far: float
    guarded: float

    @property
    def by_variant(self) -> dict[str, float]:
        """Share by variant."""
        return {one.variant: one.share for one in self.variants}


def next_shares(
    observed: VariantDays,
    rule: ShareRule,
    *,
    seed: int,
    before: Mapping[str, float] | None = None,
    gone: Collection[str] = (),
) -> NextShares:
    """Shares of the day after the last observed one; the same facts and seed give the same shares.

    Parameters
    ----------
    before : shares in force, from which ``rule.largest_step`` counts; None: those of the last day's
        exposure, or even ones where there was none
    gone : variants that are declared gone

    Raises
    ------
    ValueError
        Where all variants are gone.
    """
    effects = fit_effects(observed, rule.exposure(observed))
    drawn = effects.draw(rule.draws, np.random.default_rng(seed))
    return shares_of_draws(EffectDraws(observed, effects, drawn), rule, before=before, gone=gone)


@dataclass(frozen=True, slots=True)
class EffectDraws:
    """Facts, what they say of the effects, and draws of tomorrow's effects (n, v)."""

    observed: VariantDays
    effects: DiscountedEffects
    drawn: Array


def shares_of_draws(
    known: EffectDraws,
    rule: ShareRule,
    *,
    before: Mapping[str, float] | None,
    gone: Collection[str],
) -> NextShares:
    """As :func:`next_shares`, with tomorrow's effects drawn already."""
    observed, drawn = known.observed, known.drawn
    standing = standings(observed, rule.new, gone=gone)
    here = np.array([s is not Standing.GONE for s in standing])
    even = without_the_gone(np.ones(len(here)), standing)
    best = _probability_best(drawn, here)
    wanted = best if rule.aim is Aim.EARN else _top_two(best)
    least = least_shares(standing, rule.new, floor=rule.floor)
    target = _at_least(wanted, least)
    gain, allowed = _guard(known, rule, (even, target))
    target = even + allowed * (target - even)
    before_now = _in_force(before, observed, rule.exposure(observed))
    shares = _step(before_now, target, (least, standing), rule)
    profit = _profit(known, rule)
    variants = tuple(
        VariantShare(name, float(share), float(p), mean, low, high, s)
        for name, share, p, (mean, low, high), s in zip(
            observed.variants, shares, best, profit.tolist(), standing, strict=True
        )
    )
    return NextShares(variants, known.effects.discount, known.effects.spread, gain, allowed)


def _probability_best(drawn: Array, here: Mask) -> Array:
    """Shape (v,), with one draw more for each variant, so that none is ruled out by chance."""
    first = np.argmax(np.where(here, drawn, -np.inf), axis=1)
    count = np.bincount(first, minlength=len(here)) + here
    return np.asarray(count / count.sum())


def _top_two(best: Array) -> Array:
    """How often Russo's top-two sampling takes each variant."""
    odds = best / np.maximum(1 - best, 1e-12)
    second = best * (odds.sum() - odds)
    mixed = _TOP_TWO * best + (1 - _TOP_TWO) * second
    return np.asarray(mixed / mixed.sum())


def _at_least(shares: Array, least: Array) -> Array:
    """``shares`` (v,) with none below ``least``: the others give in proportion to theirs."""
    low = np.zeros(len(shares), dtype=bool)
    found = shares
    for _ in shares:
        low |= found < least
        rest = shares[~low].sum()
        room = 1.0 - least[low].sum()
        found = np.where(low, least, shares * (room / rest if rest > 0 else 0.0))
        if (found >= least - 1e-15).all():
            break
    return np.asarray(found / found.sum())


def _guard(known: EffectDraws, rule: ShareRule, shares: tuple[Array, Array]) -> tuple[float, float]:
    """The estimated gain over even shares so far, and how far to go from even to wanted shares."""
    even, wanted = shares
    observed, effects, drawn = known.observed, known.effects, known.drawn
    window = slice(-rule.horizon_days, None)
    exposure, value = rule.exposure(observed)[:, window], observed.value[:, window]
    value = value.sum(axis=0) / observed.matured[window]
    used = (exposure.sum(axis=0) > 0) & (value > 0)
    if not used.any():
        return 0.0, 1.0
    exposure, value = exposure[:, used], value[used]
    few = drawn[:: max(len(drawn) // _GUARD_DRAWS, 1)]
    errors = few - few.mean(axis=0)
    rates = np.exp(effects.path[:, window][:, used] + errors[:, :, None])
    shown = exposure > 0
    own = (rates * exposure).sum(axis=1) / exposure.sum(axis=0)
    alike = (rates * shown).sum(axis=1) / shown.sum(axis=0)
    earned_alike = value * alike / own
    gains = (value - earned_alike).sum(axis=1)
    total = float(earned_alike.sum(axis=1).mean())
    daily = total / len(value)
    ahead = np.exp(few)
    moved = daily * (ahead @ (wanted - even)) / (ahead @ even)
    allowance = _USED * rule.shortfall * daily * rule.horizon_days
    if np.quantile(moved, _GUARD_QUANTILE) >= 0:
        return float(gains.mean()) / total, 1.0
    for part in (1.0, 0.75, 0.5, 0.25):
        if np.quantile(gains + part * moved, _GUARD_QUANTILE) >= -allowance:
            return float(gains.mean()) / total, part
    return float(gains.mean()) / total, 0.0


def _in_force(
    before: Mapping[str, float] | None, observed: VariantDays, exposure: Array
) -> Array | None:
    if before is not None:
        shares = np.array([before.get(name, 0.0) for name in observed.variants])
    elif exposure.shape[1] == 0:
        return None
    else:
        shares = exposure[:, -1]
    return shares / shares.sum() if shares.sum() > 0 else None


def _step(
    before: Array | None,
    target: Array,
    bounds: tuple[Array, tuple[Standing, ...]],
    rule: ShareRule,
) -> Array:
    """From the shares in force towards ``target``; who comes or goes does so at once."""
    least, standing = bounds
    if before is None:
        return target
    start = _at_least(without_the_gone(before, standing), least)
    farthest = float(np.abs(target - start).max())
    if farthest <= rule.largest_step:
        return target
    return np.asarray(start + rule.largest_step / farthest * (target - start))


def _profit(known: EffectDraws, rule: ShareRule) -> Array:
    """Mean and 90 % interval of each variant's profit per exposure at the days' present level,
    shape (v, 3)."""
    observed, exposure = known.observed, rule.exposure(known.observed)
    window = slice(-_LEVEL_DAYS, None)
    matured = exposure[:, window] * observed.matured[window]
    value = float(observed.value[:, window].sum())
    relative = np.exp(known.drawn)
    base = relative @ matured.sum(axis=1)
    if value <= 0 or not (base > 0).all():
        return np.full((len(exposure), 3), np.nan)
    rate = rule.margin * value * relative / base[:, None]
    level = Z90 * np.sqrt(known.effects.dispersion / value)
    low, high = np.quantile(rate, [0.05, 0.95], axis=0)
    mean = rate.mean(axis=0)
    cost = 1.0 if rule.per is Per.SPEND else 0.0
    low = mean - np.hypot(mean - low, level * mean)
    high = mean + np.hypot(high - mean, level * mean)
    return np.stack([mean, low, high], axis=1) - cost
