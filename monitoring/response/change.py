"""Did the response change? Measured against predicted lifts, and what platforms claim as a witness.

A channel's lifts are noisy and unbiased; what its platform claims is precise and moves for two
reasons, the response or the way it is counted. So the claims say *when and by how much* something
changed, and the randomized lifts say *what*: the odds of a change of response against a change of
attribution, given the lifts before and since (the same comparison as in
``models.response.changepoints``). Lifts alone are watched beside it by an e-detector, which holds
its false alarms however often one looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from liftloop.core.arrays import Array
from monitoring.causes.own_moves import BEND, SURE, inside
from monitoring.panel import Watched, mean_of
from monitoring.response.level_changes import LevelChange, change
from monitoring.response.slopes import ALL, Slope, SlopeLimits, slope

SHARES = np.linspace(0.0, 1.0, 51)
POWERS = np.array([0.4, 0.6, 0.8, 1.0, 1.25, 1.6])
FEWEST = 14  # cell-days
TRUST = 0.3  # how far the elasticity of predicted revenue may be off: two standard deviations


@dataclass(frozen=True, slots=True)
class ChannelClaims:
    """What is known of one channel whose claims left their path: the slopes ``before`` and
    ``since`` the change, and the ``chance`` that the response changed."""

    name: str
    start: int
    claims: Claimed
    before: Slope
    since: Slope
    chance: float

    @property
    def effect(self) -> float:
        """The relative change of the response: what claims say and what lifts say, each weighed by
        its precision."""
        said, weight = self.claims.effect, self.claims.effect_error**-2.0
        if np.isfinite(self.since.standard_error) and self.before.value > 0:
            error = np.hypot(
                self.since.standard_error,
                self.since.value / self.before.value * self.before.standard_error,
            )
            lifts = (self.before.value / error) ** 2
            said = said * weight + (self.since.value / self.before.value - 1) * lifts
            said /= weight + lifts
        return max(float(said), -1.0)


def channels(seen: Watched, config: SlopeLimits | None = None) -> list[ChannelClaims]:
    """Each channel whose claims, if any, left their path by more than noise, with the judgement of
    the lifts; channels that did not change are left out.

    Where they moved alike, or none is sure by itself, all are judged together, as one channel of
    the name ``*``. What one channel's change brings to sales must not look like a change of the
    others' claims beside sales: the clearest is judged first, and the others without its part.
    """
    rule = config or SlopeLimits()
    paths, sure = _each(seen, rule)
    if len(paths) < 2:
        return sure
    each = [p.claimed(seen.reference) for p in paths]
    whole = _judged(seen, range(len(seen.channels)), together(paths).claimed(seen.reference), rule)
    alike = whole is not None and _alike([c for c in each if c is not None], whole.claims)
    if whole is not None and (alike or not sure):
        return [whole]
    likely = [one for one in sure if one.chance >= rule.least_chance]
    if not likely or len(sure) < 2:
        return sure
    first = max(likely, key=lambda one: abs(one.claims.z))
    _, others = _each(_without_its_sales(seen, first), rule)
    return [first, *(one for one in others if one.name != first.name)]


def _each(seen: Watched, rule: SlopeLimits) -> tuple[list[ClaimsPath], list[ChannelClaims]]:
    """The channels that claim something, and those of them whose claims left their path."""
    paths = [p for c in range(len(seen.channels)) if (p := path(seen, c, rule)) is not None]
    found = [_judged(seen, [p.channel], p.claimed(seen.reference), rule) for p in paths]
    return paths, [one for one in found if one is not None]


def _without_its_sales(seen: Watched, one: ChannelClaims) -> Watched:
    """What was seen, less what the change of one channel's response brought to each segment's
    sales; at most nine tenths of them."""
    brought = np.zeros_like(seen.sold)
    predicted = np.nan_to_num(seen.predicted[one.start :, :, seen.channels.index(one.name)])
    brought[one.start :] = one.effect * predicted
    return replace(seen, sold=seen.sold - np.minimum(brought, 0.9 * seen.sold))


def _alike(each: Sequence[Claimed], whole: Claimed) -> bool:
    """Whether all channels moved as one, by their spread around the whole (Cochran's Q at 1 %)."""
    from scipy import stats

    spread = sum(((c.effect - whole.effect) / c.effect_error) ** 2 for c in each)
    return len(each) > 1 and spread < float(stats.chi2.ppf(0.99, len(each) - 1))


def _judged(
    seen: Watched, which: Sequence[int], claims: Claimed | None, rule: SlopeLimits
) -> ChannelClaims | None:
    """The judgement of lifts on claims that left their path; None where they did not."""
    if claims is None or abs(claims.z) < rule.claims_z:
        return None
    if abs(claims.effect) < rule.material:
        return None
    parts = [a[:, :, list(which)] for a in (seen.lift, seen.noise, seen.predicted)]
    before = slope(*(a[: claims.change.start] for a in parts))
    since = slope(*(a[claims.change.start :] for a in parts))
    odds = rule.prior_odds if len(which) == 1 else rule.prior_odds_all
    chance = chance_of_response(before, since, claims, rule, odds=odds)
    name = seen.channels[which[0]] if len(which) == 1 else ALL
    return ChannelClaims(name, claims.change.start, claims, before, since, chance)


def chance_of_response(
    before: Slope, since: Slope, claims: Claimed, config: SlopeLimits, *, odds: float
) -> float:
    """The posterior chance that the response changed by what the claims say, against no change.

    The slope since then is normal around the level before (unchanged response) or around that level
    times 1 + effect (changed); the level comes from the lifts before and from ``config.level``.
    Without lifts it is that of the prior ``odds``.
    """
    weights = np.array([config.level**-2.0, before.standard_error**-2.0])
    level = float(weights @ np.array([1.0, before.value]) / weights.sum())
    doubt = float(weights.sum()) ** -0.5
    trust = config.jump**2 / (config.jump**2 + claims.effect_error**2)
    grown = max(1.0 + trust * claims.effect, 0.0)
    error = claims.effect_error * np.sqrt(trust)

    def log_density(factor: float, extra: float) -> float:
        variance = since.standard_error**2 + (factor * doubt) ** 2 + extra**2
        return float(-0.5 * np.log(variance) - 0.5 * (since.value - factor * level) ** 2 / variance)

    if np.isfinite(since.standard_error):
        against = log_density(grown, level * error) - log_density(1.0, 0.0)
        odds = odds * float(np.exp(np.clip(against, -50, 50)))
    return odds / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class Claimed:
    """How claims left their path, in units of the response: the relative ``change`` of the response
    that would do it, with the ``doubt`` about the ``share`` of claims that moves with spend, and
    the degrees of ``freedom`` with which their noise was learned."""

    change: LevelChange
    share: float
    doubt: float
    freedom: float

    @property
    def effect(self) -> float:
        return self.change.size

    @property
    def z(self) -> float:
        """The change in standard errors, as a normal's: noise that was learned from few cell-days
        makes large ratios by chance (Student's t)."""
        from scipy import stats

        chance = stats.t.logsf(abs(self.change.z), self.freedom)
        return float(np.copysign(stats.norm.isf(np.exp(max(chance, -700.0))), self.change.z))

    @property
    def effect_error(self) -> float:
        return float(np.hypot(self.change.standard_error, self.change.size * self.doubt))


@dataclass(frozen=True, slots=True, eq=False)
class ClaimsPath:
    """A channel's claims, day by day, as the relative change of response that would explain them,
    (D,) with the noise of each day; what is not known is nan."""

    channel: int
    effect: Array
    noise: Array
    share: float
    doubt: float
    freedom: float

    def claimed(self, reference: int) -> Claimed | None:
        found = change(self.effect, self.noise, reference=reference)
        return Claimed(found, self.share, self.doubt, self.freedom) if found else None


def together(paths: Sequence[ClaimsPath]) -> ClaimsPath:
    """All channels as one, each day weighted by how well it is known."""
    weight = np.stack([np.where(np.isfinite(p.effect), p.noise, np.inf) ** -2.0 for p in paths])
    total = weight.sum(axis=0)
    known = total > 0
    pull = (weight * np.nan_to_num(np.stack([p.effect for p in paths]))).sum(axis=0)
    safe = np.where(known, total, 1.0)
    return ClaimsPath(
        -1,
        np.where(known, pull / safe, np.nan),
        np.where(known, safe**-0.5, np.nan),
        float(np.mean([p.share for p in paths])),
        float(np.mean([p.doubt for p in paths])),
        float(np.sum([p.freedom for p in paths])),
    )


def path(seen: Watched, c: int, config: SlopeLimits) -> ClaimsPath | None:
    """How the claims of channel ``c`` left the path that spend and sales explain; None where they
    are missing or hardly move with spend.

    A cell's claims are ``k (w F / F0 + (1 - w) S / S0)``: a share w that goes with the predicted
    incremental revenue F, the rest with the segment's sales S, both over the cell's reference mean.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        told = np.log(seen.performance["revenue"][:, :, c])
    told = np.where(np.isfinite(told), told, np.nan)
    said = seen.predicted[:, :, c]
    if not np.isfinite(said).any():  # no champion: the spend itself
        said = seen.performance["spend"][:, :, c]
    paid = _over_usual(said, seen.reference)
    sold = _over_usual(seen.sold, seen.reference) if np.isfinite(seen.sold).any() else paid * 0 + 1
    early = slice(None, seen.reference)
    share, doubt, power = _share(told[early], paid[early], sold[early])
    if share < config.least_share:
        return None
    paid = paid**power
    expected = share * paid + (1 - share) * sold
    left = told - np.log(np.maximum(expected, 1e-9))
    left = left - _level(left, seen.reference)
    seen_early = np.isfinite(left[early])
    if seen_early.sum() < FEWEST:
        return None
    freedom = float(max(seen_early.sum() - seen_early.any(axis=0).sum(), 1))  # a level each
    spread = max(float(np.sqrt(np.nansum(left[early] ** 2) / freedom)), 1e-4)
    room = _room(seen.performance["spend"][:, :, c], seen.reference)
    left = left - _own_moves(left, room, seen.reference)
    # a cell that went far says little of what else happened
    weight = np.where(np.isfinite(left), spread**2 / (spread**2 + room**2), 0.0)
    known = weight.sum(axis=1)
    sure = np.where(known > 0, known, 1.0)
    days = np.where(known > 0, (weight * np.nan_to_num(left)).sum(axis=1) / sure, np.nan)
    part = float(np.nanmean(share * paid / np.maximum(expected, 1e-9)))
    noise = np.where(known > 0, spread / np.sqrt(sure) / part, np.nan)
    return ClaimsPath(c, np.expm1(days) / part, noise, share, doubt / share, freedom)


def _room(spend: Array, reference: int) -> Array:
    """How far the path may be off (D, S) since the reference: it is known less well the further
    spend went beyond where it was learned; not at all where nothing is spent."""
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.abs(np.log(_over_usual(spend, reference)))
    usual = move[:reference][np.isfinite(move[:reference])]
    reach = SURE * float(np.sqrt(np.mean(usual**2))) if len(usual) else 0.0
    room = np.where(move > reach, TRUST * move + BEND * move**2 / 2, 0.0)
    room[:reference] = 0.0
    return np.asarray(room)


def _own_moves(left: Array, room: Array, reference: int) -> Array:
    """What of ``left`` (D, S) the segments' own moves of spend may have done."""
    since = np.where(np.isfinite(room), left, np.nan)
    since[:reference] = np.nan
    side = np.where(np.isfinite(room), room, 0.0).ravel()
    segment = np.broadcast_to(np.arange(left.shape[1]), left.shape)
    return inside(since.ravel(), side, side, segment.ravel()).reshape(left.shape)


def _over_usual(values: Array, reference: int) -> Array:
    """Each segment's values over their mean in the reference."""
    usual = mean_of(values[:reference], 0)
    return np.asarray(values / np.where(usual > 0, usual, np.nan))


def _level(left: Array, reference: int) -> Array:
    """Each segment's level in the reference; where it has none, that of all."""
    level = mean_of(left[:reference], 0)
    known = np.isfinite(level)
    return np.where(known, level, float(level[known].mean()) if known.any() else 0.0)


def _share(told: Array, paid: Array, sold: Array) -> tuple[float, float, float]:
    """The share of claims that moves with spend, how sure it is, and the power of the predicted
    revenue that fits best: least squares on a grid. The champion's curves may be too steep or too
    flat; without the power that would be taken for the share."""
    known = np.isfinite(told) & np.isfinite(paid) & np.isfinite(sold)
    if known.sum() < FEWEST:
        return 0.0, 1.0, 1.0
    lost = np.empty((len(POWERS), len(SHARES)))
    for j, power in enumerate(POWERS):
        bent = paid**power
        for k, share in enumerate(SHARES):
            left = told - np.log(np.maximum(share * bent + (1 - share) * sold, 1e-9))
            left = np.where(known, left, np.nan)
            lost[j, k] = np.nansum((left - mean_of(left, 0)) ** 2)
    freedom = max(float(known.sum()) - told.shape[1] - 2, 1.0)
    chance = np.exp(-0.5 * (lost - lost.min()) / (lost.min() / freedom + 1e-12))
    chance *= np.exp(-0.5 * (np.log(POWERS) / 0.3) ** 2)[:, None]
    chance /= chance.sum()
    mean = float((chance * SHARES).sum())
    spread = float(np.sqrt((chance * (SHARES - mean) ** 2).sum()))
    return mean, spread, float((chance * POWERS[:, None]).sum())
