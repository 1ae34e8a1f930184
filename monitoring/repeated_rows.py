"""Figures that come twice: a delivery taken in again under another name, or that stood still."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

import numpy as np
import pandas as pd

from monitoring.causes import Finding
from monitoring.fault import FaultConfig, fault, label_of
from monitoring.watched import Watched, days_of

KEYS = {"performance": ["campaign", "creative"], "holdout": ["stratum"]}
TWINS = {
    "performance": ["date", "segment", "channel", "spend", "impressions", "clicks", "revenue"],
    "holdout": ["date", "segment", "channel", "arm", "users", "revenue", "revenue_sq"],
}


def repeated_rows(
    frames: Mapping[str, pd.DataFrame], seen: Watched, rule: FaultConfig
) -> Iterator[Finding]:
    """The same figures under another campaign, creative or stratum: a delivery taken in twice."""
    begin = pd.Timestamp(seen.as_of) - timedelta(days=rule.recent_days)
    for feed, keys in KEYS.items():
        frame = frames[feed]
        columns = [c for c in TWINS[feed] if c in frame.columns]
        if frame.empty or not any(key in frame.columns for key in keys):
            continue
        when = days_of(frame["date"])
        inside = (when >= begin - timedelta(days=28)) & (when < pd.Timestamp(seen.as_of))
        near = frame.loc[inside.to_numpy(), columns].reset_index(drop=True)
        money = pd.to_numeric(near["revenue"], errors="coerce").fillna(0) != 0
        twin = near.duplicated(keep=False) & money
        late = (when[inside.to_numpy()] >= begin).to_numpy()
        if not late.any():
            continue
        before = float(twin[~late].mean()) if (~late).any() else 0.0
        places = near.assign(twin=twin).loc[late].groupby(["segment", "channel"])["twin"].mean()
        hit = np.zeros((len(seen.segments), len(seen.channels)), dtype=bool)
        for (segment, channel), share in places.items():
            if share >= rule.repeated and before < rule.repeated / 2:
                hit[seen.segments.index(str(segment)), seen.channels.index(str(channel))] = True
        if hit.any():
            share = float(twin[late].mean())
            label = label_of(seen, hit, np.isfinite(seen.performance["spend"]).any(axis=0))
            words = (
                f"{feed} of {label} holds the same figures twice in {share:.0%} of its last rows."
            )
            start = seen.days - rule.recent_days
            yield fault(seen, feed, "doubled", label, hit, words, start, share=share)


def stale(seen: Watched, rule: FaultConfig) -> Iterator[Finding]:
    """Figures that repeat those of the day before: a delivery that did not move on."""
    tables = {
        "performance": np.stack([seen.performance[c] for c in ("spend", "impressions", "revenue")]),
        "holdout": np.stack([seen.arm_revenue, seen.arm_conversions, seen.arm_revenue]),
        "sales": np.stack([seen.sold, seen.orders, seen.sold])[:, :, :, None],
    }
    for feed, values in tables.items():
        both = np.isfinite(values[0, 1:]) & np.isfinite(values[0, :-1]) & (values[0, 1:] != 0)
        same = (values[:, 1:] == values[:, :-1]).all(axis=0) & both
        usual = same[: seen.reference - 1].sum() / max(both[: seen.reference - 1].sum(), 1)
        recent = slice(-3, None)
        hit = (same[recent].sum(axis=0) >= 2) & (
            same[recent].sum(axis=0) * 2 > both[recent].sum(axis=0)
        )
        if hit.any() and usual < 0.05:
            label = label_of(seen, hit, np.isfinite(values[0]).any(axis=0))
            words = f"{feed} of {label} repeats the figures of the day before."
            start = seen.days - 3
            yield fault(seen, feed, "stale", label, hit, words, start, share=float(hit.mean()))
