"""Did the response change? Measured against foretold lifts, and what platforms claim as a witness.

A channel's lifts are noisy and unbiased; what its platform claims is precise and moves for two
reasons, the response or the way it is counted. So the claims say *when and by how much* something
changed, and the randomized lifts say *what*: the odds of a change of response against a change of
attribution, given the lifts before and since (the same comparison as in ``models.breaks``). Lifts
alone are watched beside it by an e-detector, which holds its false alarms however often one looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitoring.claims_path import Claimed, Path, path, together
from monitoring.slopes import ALL, ResponseConfig, Slope, slope
from monitoring.watched import Watched


@dataclass(frozen=True, slots=True)
class Channel:
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


def channels(seen: Watched, config: ResponseConfig | None = None) -> list[Channel]:
    """Each channel whose claims, if any, left their path by more than noise, with the judgement of
    the lifts; channels that did not change are left out.

    Where they moved alike, or none is sure by itself, all are judged together, as one channel of
    the name ``*``. What one channel's change brings to sales must not look like a change of the
    others' claims beside sales: the clearest is judged first, and the others without its part.
    """
    rule = config or ResponseConfig()
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


def _each(seen: Watched, rule: ResponseConfig) -> tuple[list[Path], list[Channel]]:
    """The channels that claim something, and those of them whose claims left their path."""
    paths = [p for c in range(len(seen.channels)) if (p := path(seen, c, rule)) is not None]
    found = [_judged(seen, [p.channel], p.claimed(seen.reference), rule) for p in paths]
    return paths, [one for one in found if one is not None]


def _without_its_sales(seen: Watched, one: Channel) -> Watched:
    """What was seen, less what the change of one channel's response brought to each segment's
    sales; at most nine tenths of them."""
    brought = np.zeros_like(seen.sold)
    foretold = np.nan_to_num(seen.foretold[one.start :, :, seen.channels.index(one.name)])
    brought[one.start :] = one.effect * foretold
    return replace(seen, sold=seen.sold - np.minimum(brought, 0.9 * seen.sold))


def _alike(each: Sequence[Claimed], whole: Claimed) -> bool:
    """Whether all channels moved as one, by their spread around the whole (Cochran's Q at 1 %)."""
    from scipy import stats

    spread = sum(((c.effect - whole.effect) / c.effect_error) ** 2 for c in each)
    return len(each) > 1 and spread < float(stats.chi2.ppf(0.99, len(each) - 1))


def _judged(
    seen: Watched, which: Sequence[int], claims: Claimed | None, rule: ResponseConfig
) -> Channel | None:
    """The judgement of lifts on claims that left their path; None where they did not."""
    if claims is None or abs(claims.z) < rule.claims_z:
        return None
    if abs(claims.effect) < rule.material:
        return None
    parts = [a[:, :, list(which)] for a in (seen.lift, seen.noise, seen.foretold)]
    before = slope(*(a[: claims.change.start] for a in parts))
    since = slope(*(a[claims.change.start :] for a in parts))
    odds = rule.prior_odds if len(which) == 1 else rule.prior_odds_all
    chance = chance_of_response(before, since, claims, rule, odds=odds)
    name = seen.channels[which[0]] if len(which) == 1 else ALL
    return Channel(name, claims.change.start, claims, before, since, chance)


def chance_of_response(
    before: Slope, since: Slope, claims: Claimed, config: ResponseConfig, *, odds: float
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
