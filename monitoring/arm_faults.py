"""Holdouts whose arms are out of their usual ratio now: what they measure cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

import numpy as np
import pandas as pd

from liftloop.core.arms.checks import check_holdout
from liftloop.core.arms.findings import ArmFinding
from monitoring.causes import Finding
from monitoring.fault import FaultConfig, fault, label_of
from monitoring.watched import Watched

LEAST_DAYS = 3  # of the recent ones: a day's late batch ends by itself
ON_PURPOSE = (
    "If the share was changed on purpose, deliver the days since then under another stratum."
)


def broken_arms(
    frames: Mapping[str, pd.DataFrame], seen: Watched, rule: FaultConfig
) -> Iterator[Finding]:
    """Cells whose holdout is broken in the last ``rule.recent_days`` days, one finding a check.

    Older stretches are only left out of what is learned: the days since teach again.
    """
    holdout = frames.get("holdout")
    if holdout is None or holdout.empty:
        return
    begin = seen.as_of - timedelta(days=rule.recent_days)
    known = np.isfinite(seen.users).any(axis=0)
    groups: dict[str, list[ArmFinding]] = {}
    for one in check_holdout(holdout, as_of=seen.as_of):
        assert one.first is not None and one.last is not None  # a holdout's findings have days
        recent = (one.last - max(one.first, begin)).days + 1
        if recent >= LEAST_DAYS and one.segment in seen.segments and one.channel in seen.channels:
            groups.setdefault(one.check, []).append(one)
    for check, found in groups.items():
        hit = np.zeros(known.shape, dtype=bool)
        for one in found:
            hit[seen.segments.index(one.segment), seen.channels.index(one.channel)] = True
        first = min(one.first for one in found if one.first is not None)
        rest = len({(one.segment, one.channel) for one in found}) - 1
        cells = "cell" if rest == 1 else "cells"
        more = f" The same holds for {rest} more {cells}." if rest else ""
        words = f"{found[0].sentence}{more} {ON_PURPOSE}"
        start = seen.days - (seen.as_of - first).days
        worst = max(float(one.numbers["z"]) for one in found)
        yield fault(
            seen, "holdout", f"arms ({check})", label_of(seen, hit, known), hit, words, start,
            z=worst,
        )  # fmt: skip
