"""Lifts against the forecast, looked at daily: an e-detector that holds its false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array
from monitoring.panel import Watched
from monitoring.response.slopes import ALL, Slope, SlopeLimits, slope


@dataclass(frozen=True, slots=True)
class Detected:
    """What lifts alone show: the e-detector's value against its limit, for the ``subject`` (a
    channel, or ``*`` for all together) and day that carry it, with the slopes around it."""

    value: float
    limit: float
    subject: str
    start: int
    before: Slope
    since: Slope

    @property
    def crossed(self) -> bool:
        return self.value >= self.limit


def detect(seen: Watched, config: SlopeLimits | None = None) -> Detected | None:
    """An e-detector on lifts against the champion's forecast, for every channel and for all
    together.

    For each day of the current weeks the lifts since then are weighed by a Bayes factor: a level
    that jumped by a normal relative change against the level of the days before, whose doubt is
    inside. The sum over days, averaged over subjects, is a Shiryaev-Roberts e-detector (Shin,
    Ramdas and Rinaldo 2024, definition 2.2): reaching ``run_length`` takes so many days on average
    when nothing changed, whatever the looks. None without lifts or forecasts.
    """
    rule = config or SlopeLimits()
    subjects = [*(seen.channels if len(seen.channels) > 1 else ()), ALL]
    total, best = 0.0, None
    for subject in subjects:
        pick = slice(None) if subject == ALL else [seen.channels.index(subject)]
        lift, noise, said = (a[:, :, pick] for a in (seen.lift, seen.noise, seen.predicted))
        factors, levels = _factors(lift, noise, said, seen.reference, rule)
        if factors is None:
            continue
        total += float(factors.sum())
        place = int(np.argmax(factors))
        if best is None or factors[place] > best[0]:
            best = (float(factors[place]), subject, seen.reference + place, levels)
    if best is None:
        return None
    _, subject, start, _ = best
    pick = slice(None) if subject == ALL else [seen.channels.index(subject)]
    parts = [a[:, :, pick] for a in (seen.lift, seen.noise, seen.predicted)]
    return Detected(
        total / len(subjects),
        rule.run_length,
        subject,
        start,
        slope(*(a[:start] for a in parts)),
        slope(*(a[start:] for a in parts)),
    )


def _factors(
    lift: Array, noise: Array, said: Array, reference: int, rule: SlopeLimits
) -> tuple[Array | None, Array]:
    """Bayes factor of a jump at each current day, shape (current days,)."""
    known = np.isfinite(lift) & np.isfinite(said) & (noise > 0)
    weight = np.where(known, noise, 1.0) ** -2.0 * known
    strength = np.where(known, said, 0.0) ** 2 * weight
    pull = np.where(known, lift * said, 0.0) * weight
    strength, pull = strength.sum(axis=(1, 2)), pull.sum(axis=(1, 2))
    if strength[:reference].sum() <= 0 or strength[reference:].sum() <= 0:
        return None, strength
    prior = rule.level**-2.0
    past = prior + np.cumsum(strength)[reference - 1 : -1]
    level = (prior + np.cumsum(pull)[reference - 1 : -1]) / past
    later = strength[reference:][::-1].cumsum()[::-1]
    lean = pull[reference:][::-1].cumsum()[::-1] - level * later

    def marginal(variance: Array) -> Array:
        pulled = 0.5 * lean**2 * variance / (1 + variance * later)
        return np.asarray(-0.5 * np.log1p(variance * later) + pulled)

    jumped = marginal(1 / past + (rule.jump * level) ** 2)
    return np.exp(np.clip(jumped - marginal(1 / past), -50, 50)), level
