"""A fault of a feed: its limits, and how it is named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from monitoring.causes.cause import Cause, Finding
from monitoring.panel import Watched

Cells = NDArray[np.bool_]  # (segment, channel)


@dataclass(frozen=True, slots=True)
class FaultConfig:
    """What is a fault.

    Attributes
    ----------
    late_days : days without a row, beyond the usual lag, from which a feed is late
    chance : least chance, by the usual completeness, that so many missing rows are no fault
    complete : share of the usual completeness below which the current weeks lack rows
    factor : a ratio that jumps by so much changed its unit
    repeated : share of recent rows that repeat another row, from which a feed is doubled or stale
    recent_days : what is looked at for repeated rows and units
    """

    late_days: int = 3
    chance: float = 1e-4
    complete: float = 0.6
    factor: float = 8.0
    repeated: float = 0.5
    recent_days: int = 7


@dataclass(frozen=True, slots=True, eq=False)
class Affected:
    """The part of a feed that a fault hits.

    Attributes
    ----------
    feed : the feed's name
    label : the shortest name of its cells
    cells : which they are, (segment, channel); of sales (segment, 1)
    """

    feed: str
    label: str
    cells: Cells


def fault(
    seen: Watched, part: Affected, name: str, words: str, start: int, **numbers: float
) -> Finding:
    """A finding on ``part`` from row ``start`` of the watched days on; a fault of sales hits every
    cell of its segments."""
    spread = np.broadcast_to(part.cells, (len(seen.segments), len(seen.channels)))
    cells = tuple(
        cell
        for s, c in np.argwhere(spread)
        for cell in seen.cells(segments=[int(s)], channels=[int(c)])
    )
    since = seen.as_of - timedelta(days=seen.days - min(max(start, 0), seen.days))
    numbers = {key: round(float(value), 4) for key, value in numbers.items()}
    return Finding(Cause.FEED, name, words, (part.feed, part.label), since, cells, numbers)


def label_of(seen: Watched, hit: Cells, known: Cells) -> str:
    """The shortest name of a set of cells."""
    if (hit == known).all():
        return "all cells"
    wide = hit.shape[1] == len(seen.channels)
    whole = [
        name
        for c, name in enumerate(seen.channels)
        if wide and hit[:, c].sum() * 2 > known[:, c].sum()
    ]
    if whole and hit.any(axis=1).sum() * 2 > known.any(axis=1).sum():
        return ", ".join(whole)
    rows = [name for s, name in enumerate(seen.segments) if hit[s].any()]
    return ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
