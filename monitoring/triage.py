"""Triage: why do the last weeks look different, and what does that ask for?

Causes are ruled out in the order of how much they spoil the rest: a broken feed first (nothing can
be learned from it), then what is known to come (seasons, events), then the mix, then the response.
What moved and fits none of these, and moved far, is a shift of the traffic; the rest is noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from monitoring.causes.cause import ACT_OF, RANK, AlarmAct, Cause, Finding, Triage
from monitoring.causes.demand import DemandConfig, DemandShift, covariate_effects, demand
from monitoring.causes.mix_shift import Mix, MixConfig, mixes
from monitoring.causes.spurious_drivers import drivers
from monitoring.drift.evidently_drift import DriftConfig
from monitoring.feeds.fault import FaultConfig
from monitoring.feeds.feed_faults import faults
from monitoring.panel import WatchConfig, Watched, mean_of
from monitoring.response.change import ChannelClaims, channels
from monitoring.response.e_detector import Detected, detect
from monitoring.response.slopes import ALL, SlopeLimits
from monitoring.verdicts import DriftVerdict, HealthVerdict


@dataclass(frozen=True, slots=True)
class TriageConfig:
    """All limits of the triage, each explained where it is used. ``far``: a feature that passes so
    many times its threshold is a shift of the traffic even if no other cause is seen, if its level
    moved by ``material`` (a logarithm): where prices hardly vary from day to day, a distance in
    their standard deviations is large before it means anything."""

    watch: WatchConfig = field(default_factory=WatchConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    faults: FaultConfig = field(default_factory=FaultConfig)
    demand: DemandConfig = field(default_factory=DemandConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    response: SlopeLimits = field(default_factory=SlopeLimits)
    far: float = 2.0
    material: float = 0.15


def triage(
    frames: Mapping[str, pd.DataFrame],
    *,
    seen: Watched,
    drift: DriftVerdict,
    health: HealthVerdict | None = None,
    learns: bool = True,
    config: TriageConfig | None = None,
) -> Triage:
    """Sort what the last weeks show.

    Parameters
    ----------
    frames : the feeds performance, holdout and sales, as known
    seen : the same laid out by ``monitoring.panel.watch``, with measured and predicted lifts
    drift : how far the features moved, by Evidently
    health : its paused cells are broken feeds, too
    learns : whether there is randomized evidence that a model could be trained on

    Returns
    -------
    Triage
        Findings in the order of causes. Where a feed is broken, what was also seen is listed and
        asks for nothing until the feed is mended.
    """
    rule = config or TriageConfig()
    sales = frames.get("sales")
    broken = [*faults(frames, seen, rule.faults), *_unhealthy(health)]
    moved = demand(seen, sales)
    shifted = [] if broken else [m for m in _mixes(seen, sales) if m.moved(rule.mix)]
    changed = [] if broken else channels(seen, rule.response)
    alone = None if broken else detect(seen, rule.response)
    found = [*broken, *_demand(seen, moved, rule.demand)]
    found += [_mix(seen, one) for one in shifted[:1]]
    found += _response(
        seen,
        changed,
        alone,
        known=_known(moved, rule.demand),
        shifted=bool(shifted),
        least=rule.response.least_chance,
    )
    found = _without_what_response_did(seen, found, moved)
    found += _traffic(drift, found, rule)
    found.sort(key=lambda one: RANK[one.cause])
    if not learns:
        found = [replace(f, learns=ACT_OF[f.cause] is not AlarmAct.RETRAIN) for f in found]
    return Triage(
        seen.as_of, found[0] if found else None, tuple(found), tuple(_noted(seen, sales, drift))
    )


def broken_alone(
    frames: Mapping[str, pd.DataFrame],
    *,
    seen: Watched,
    health: HealthVerdict | None = None,
    config: TriageConfig | None = None,
) -> Triage:
    """The part of :func:`triage` that stops budgets: broken feeds, and no other cause."""
    rule = config or TriageConfig()
    broken = [*faults(frames, seen, rule.faults), *_unhealthy(health)]
    return Triage(seen.as_of, broken[0] if broken else None, tuple(broken))


def _unhealthy(health: HealthVerdict | None) -> list[Finding]:
    if health is None or not health.paused:
        return []
    cells = tuple(health.paused)
    first = cells[0]
    more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    words = f"{first}{more}: {health.paused[first]}."
    return [Finding(Cause.FEED, "unsound", words, tuple(str(c) for c in cells[:10]), None, cells)]


def _known(moved: DemandShift, rule: DemandConfig) -> int:
    """The sign of a move of demand that a season or an event explains; 0 without one."""
    if moved.change is None or not moved.moved(rule):
        return 0
    return int(np.sign(moved.change.size)) if moved.season(rule) or moved.event(rule) else 0


def _demand(seen: Watched, moved: DemandShift, rule: DemandConfig) -> list[Finding]:
    if moved.change is None or not moved.moved(rule):
        return []
    size, day = float(np.expm1(moved.change.size)), seen.day(moved.change.start)
    numbers = {"change": round(size, 4), "z": round(moved.change.z, 2)}
    words = f"Sales of all segments moved by {size:+z.0%} since {day}"
    if event := moved.event(rule):
        part = float(np.expm1(moved.events[event]))
        says = f"{words}; {event} explains {part:+z.0%} of it."
        numbers |= {"explained": round(part, 4)}
        return [Finding(Cause.EVENT, event, says, ("demand",), day, evidence=numbers)]
    if moved.season(rule):
        before = float(np.expm1(moved.before))
        says = f"{words}; the same weeks a year before moved by {before:+z.0%}."
        numbers |= {"year_before": round(before, 4)}
        return [Finding(Cause.SEASON, "yearly", says, ("demand",), day, evidence=numbers)]
    lasting = seen.days - moved.change.start >= 7
    if abs(moved.change.size) < rule.unexplained or not lasting:
        return []
    if not moved.unlike_the_year_before(rule):
        says = f"{words}: no further from the year before than sales of a few weeks vary."
        return [Finding(Cause.NOISE, "demand", says, ("demand",), day, evidence=numbers)]
    says = f"{words}, and neither the year before nor a known event explains it."
    return [Finding(Cause.MIX, "demand", says, ("demand",), day, evidence=numbers)]


def _mixes(seen: Watched, sales: pd.DataFrame | None) -> list[Mix]:
    """Mixes with the part of sales that known events explain taken out."""
    explained = np.zeros_like(seen.sold)
    effects = covariate_effects(sales) if sales is not None and len(sales) else {}
    for name, effect in effects.items():
        if name in seen.covariates:
            explained = explained + effect * np.nan_to_num(seen.covariates[name])
    return mixes(seen, explained)


def _mix(seen: Watched, one: Mix) -> Finding:
    gains = one.since - one.before
    up, down = int(np.argmax(gains)), int(np.argmin(gains))
    day = seen.day(one.change.start)
    words = (
        f"{one.distance:.0%} of {one.total} are in other segments than before, since {day}: most "
        f"gained {seen.segments[up]} ({gains[up]:+z.1%} of all), most lost {seen.segments[down]} "
        f"({gains[down]:+z.1%})."
    )
    numbers = {"distance": round(one.distance, 4), "z": round(one.change.z, 2)}
    return Finding(Cause.MIX, "segments", words, (one.total,), day, evidence=numbers)


def _response(
    seen: Watched,
    changed: list[ChannelClaims],
    alone: Detected | None,
    *,
    known: int,
    shifted: bool,
    least: float,
) -> list[Finding]:
    """Changed responses and attributions. What all channels did together while demand moved the
    same way for a known reason, or while the mix shifted, is that reason's."""
    if not np.isfinite(seen.lift).any():
        return [_suspected(seen, c) for c in changed]
    likely = [c for c in changed if c.chance >= least]
    other = [c for c in changed if c.chance < least]
    sides = {c.effect > 0 for c in likely}
    many = 2 * len(likely) > len(seen.channels) > 1 or [c.name for c in likely] == [ALL]
    together = many and len(sides) == 1
    if together and (shifted or known == (1 if sides == {True} else -1)):
        likely = []
    found = []
    for up in (False, True):
        some = [c for c in likely if (c.effect > 0) == up]
        if some:
            found.append(_changed(seen, some, up=up))
    crossed = alone is not None and alone.crossed and not (known or shifted)
    if alone is not None and crossed and not likely:
        found.append(_detected(seen, alone))
    found += [_attribution(seen, c) for c in other]
    return found


def _without_what_response_did(
    seen: Watched, found: list[Finding], moved: DemandShift
) -> list[Finding]:
    """A move of sales that a changed response brings about is no shift of demand."""
    if moved.change is None:
        return found
    start = moved.change.start
    earned = np.nansum(mean_of(seen.predicted[start:], 0), axis=0)
    whole = float(np.nansum(mean_of(seen.sold[start:], 0)))
    brought = 0.0
    for one in found:
        if one.cause is Cause.RESPONSE and "effect" in one.evidence:
            hit = [
                c
                for c, name in enumerate(seen.channels)
                if name in one.subjects or one.subjects == ("all channels",)
            ]
            brought += float(one.evidence["effect"] or 0.0) * float(earned[hit].sum())
    if whole <= 0 or brought * moved.change.size <= 0:
        return found
    if abs(brought) / whole < 0.3 * abs(moved.change.size):
        return found
    return [one for one in found if (one.cause, one.name) != (Cause.MIX, "demand")]


def _changed(seen: Watched, some: list[ChannelClaims], *, up: bool) -> Finding:
    everywhere = some[0].name == ALL or len(some) == len(seen.channels) > 1
    names = "all channels" if everywhere else ", ".join(c.name for c in some)
    effect = float(np.mean([c.effect for c in some]))
    start = min(c.start for c in some)
    before = np.mean([c.before.value for c in some])
    since = np.mean([c.since.value for c in some])
    chance = min(c.chance for c in some)
    told = f"measured over predicted lifts went from {before:.2f} to {since:.2f}"
    if not all(np.isfinite(c.since.standard_error) for c in some):
        told = "lifts are too few to say more"
    words = (
        f"The response of {names} is {'up' if up else 'down'} by about {abs(effect):.0%} since "
        f"{seen.day(start)}: claims left the path that spend and sales explain, and {told} "
        f"(chance that it is the response and not the way of counting: {chance:.0%})."
    )
    furthest: float = max((c.claims.z for c in some), key=abs)
    numbers: dict[str, float | int | str | None] = {
        "effect": round(effect, 4),
        "chance": round(chance, 4),
        "before": round(float(before), 4),
        "since": round(float(since), 4),
        "z": round(furthest, 2),
    }
    subjects = ("all channels",) if everywhere else tuple(c.name for c in some)
    return Finding(
        Cause.RESPONSE, "up" if up else "down", words, subjects, seen.day(start), evidence=numbers
    )


def _detected(seen: Watched, alone: Detected) -> Finding:
    subject = "all channels" if alone.subject == "*" else alone.subject
    up = alone.since.value > alone.before.value
    words = (
        f"Measured lifts of {subject} left the forecast since {seen.day(alone.start)}: measured "
        f"over predicted went from {alone.before.value:.2f} to {alone.since.value:.2f} "
        f"(± {alone.since.standard_error:.2f})."
    )
    numbers = {
        "e_value": round(alone.value, 1),
        "limit": alone.limit,
        "before": round(alone.before.value, 4),
        "since": round(alone.since.value, 4),
    }
    return Finding(
        Cause.RESPONSE,
        "up" if up else "down",
        words,
        (subject,),
        seen.day(alone.start),
        evidence=numbers,
    )


def _suspected(seen: Watched, c: ChannelClaims) -> Finding:
    """Without lifts nothing tells a changed response from another way of counting."""
    name = "all channels" if c.name == ALL else c.name
    words = (
        f"What {name} claims left its path since {seen.day(c.start)}, as a response "
        f"{c.effect:+z.0%} would. Without a holdout nothing says whether the response or the way "
        "of counting changed."
    )
    return Finding(
        Cause.NOISE,
        "claims",
        words,
        (name,),
        seen.day(c.start),
        evidence={"effect": round(c.effect, 4)},
    )


def _attribution(seen: Watched, c: ChannelClaims) -> Finding:
    words = (
        f"What {c.name} claims left its path since {seen.day(c.start)}, as a response "
        f"{c.effect:+z.0%} would; the measured lifts speak against it (chance {c.chance:.0%}): the "
        "way of counting changed."
    )
    numbers = {"effect": round(c.effect, 4), "chance": round(c.chance, 4)}
    return Finding(
        Cause.ATTRIBUTION, "claims", words, (c.name,), seen.day(c.start), evidence=numbers
    )


NAMES = {
    "spend_share": "how spend is split",
    "cpm": "the price of impressions",
    "ctr": "clicks per impression",
    "cpc": "the price of a click",
    "conversion_rate": "conversions per click",
    "revenue_per_conversion": "revenue per conversion",
    "control_revenue": "sales without ads",
}


def _traffic(drift: DriftVerdict, found: list[Finding], rule: TriageConfig) -> list[Finding]:
    """What Evidently saw and nothing above explains."""
    if not drift.drifted:
        return []
    told = [c for c in drift.columns if c.triggers and c.drifted and c.distance is not None]
    numbers = {c.column: round(c.distance or 0.0, 4) for c in told}
    names = ", ".join(f"{NAMES.get(c.column, c.column)} ({c.distance:.2f})" for c in told)
    far = any(
        (c.distance or 0.0) >= rule.far * c.threshold and abs(c.level) >= rule.material
        for c in told
    )
    if any(one.cause is not Cause.NOISE for one in found):
        words = f"Features moved with it: {names}."
        return [Finding(Cause.NOISE, "features", words, ("features",), evidence=numbers)]
    if far:
        words = f"Moved, and neither season nor mix nor response explains it: {names}."
        return [Finding(Cause.MIX, "traffic", words, ("features",), evidence=numbers)]
    words = f"Features moved a little, and neither lifts nor claims follow: {names}."
    return [Finding(Cause.NOISE, "features", words, ("features",), evidence=numbers)]


def _noted(seen: Watched, sales: pd.DataFrame | None, drift: DriftVerdict) -> list[str]:
    noted = [one.sentence for one in drivers(sales, as_of=seen.as_of) if one.spurious]
    if not np.isfinite(seen.lift).any():
        noted.append("No holdout: a changed response can only be suspected.")
    elif not np.isfinite(seen.predicted).any():
        noted.append("No champion: errors of its forecast cannot be judged.")
    if not np.isfinite(mean_of(seen.sold_before, 1)).any():
        first = seen.as_of - timedelta(days=364)
        noted.append(f"Sales before {first} are not known: a yearly season cannot be recognized.")
    if not drift.measurable:
        noted.append(drift.summary)
    return noted
