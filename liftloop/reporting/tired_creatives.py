"""Creatives that tire, in words: the fall, when a refresh pays, which cap would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import isnan
from typing import Any

from liftloop.core.variant_tests.fatigue import CreativeFatigue, Finding
from liftloop.core.variant_tests.fatigue_costs import FrequencyCap, Refresh

COLUMNS = ("channel", "creative", "finding", "per 1,000 shown", "lost so far", "refresh", "cap")


@dataclass(frozen=True, slots=True)
class TiredCreative:
    """What is known of a creative of a channel, when a refresh pays and which cap would; None where
    it does not tire, or money decides nothing. ``broke`` is the day on which it fell at once."""

    channel: str
    found: CreativeFatigue
    broke: date | None
    refresh: Refresh | None
    cap: FrequencyCap | None


def row_of(one: TiredCreative) -> tuple[str, ...]:
    """A row of :data:`COLUMNS`."""
    found = one.found
    known = not isnan(found.fall)
    finding = found.finding.value if one.broke is None else f"{found.finding.value}, {one.broke}"
    return (
        one.channel,
        found.creative,
        finding,
        f"{-found.fall:+z.2%} ({-found.high:+z.2%} to {-found.low:+z.2%})" if known else "",
        f"{max(found.fall_observed, 0.0):.0%}" if known else "",
        refresh_words(one.refresh),
        cap_words(one.cap),
    )


def refresh_words(refresh: Refresh | None) -> str:
    """When a refresh pays."""
    if refresh is None:
        return ""
    if refresh.probability < 0.5:
        return "does not pay"
    when = "now" if refresh.in_days < 1 else f"in {refresh.in_days:.0f} days"
    return f"pays {when} (loses {refresh.lost_a_day:,.0f} a day)"


def cap_words(cap: FrequencyCap | None) -> str:
    """Which cap is proposed, and what it gains: only where it likely gains."""
    if cap is None or cap.low <= 0:
        return ""
    if cap.thousand_impressions < 1:
        return f"switch it off: {cap.profit_gained:+,.0f} in four weeks"
    most = (
        f"{cap.thousand_impressions:,.0f},000 impressions"
        if isnan(cap.per_person)
        else f"{cap.per_person:.1f} a person"
    )
    gain = f"{cap.profit_gained:+,.0f} ({cap.low:+,.0f} to {cap.high:+,.0f})"
    return f"at {most}: {gain} in four weeks"


def values_of(one: TiredCreative) -> dict[str, Any]:
    """Plain values, ready for JSON; what is not known is None."""
    found, refresh, cap = one.found, one.refresh, one.cap
    return {
        "channel": one.channel,
        "creative": found.creative,
        "finding": found.finding.value,
        "tires": found.finding is Finding.FALLING,
        "fall_per_thousand": _known(found.fall),
        "low": _known(found.low),
        "high": _known(found.high),
        "broke_on": one.broke.isoformat() if one.broke else None,
        "refresh_in_days": _known(refresh.in_days) if refresh else None,
        "lost_a_day": _known(refresh.lost_a_day) if refresh else None,
        "cap_thousand_impressions": _known(cap.thousand_impressions) if cap else None,
        "cap_per_person": _known(cap.per_person) if cap else None,
        "cap_gain": _known(cap.profit_gained) if cap else None,
    }


def _known(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None
