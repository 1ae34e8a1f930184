"""What monitoring says: immutable verdicts with the numbers and the words for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from liftloop.core.policy import Cell

MOST_WORDS = 3


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How far one column moved. ``distance`` is in the method's unit, None when it cannot be
    measured; a column that does not ``trigger`` is shown and never alarms. ``level`` is the
    logarithm of its mean over that of the reference, in the channel where it moved most; 0 where
    chance may have done it."""

    column: str
    method: str
    distance: float | None
    threshold: float
    drifted: bool
    triggers: bool
    note: str = ""
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """Whether the last weeks look like the weeks before.

    ``share`` is the part of the triggering, measurable columns that drifted. ``snapshot`` is
    Evidently's own result, for :func:`monitoring.drift.evidently_drift.as_html`; None when nothing
    was measurable.
    """

    drifted: bool
    columns: tuple[ColumnDrift, ...]
    share: float
    rows_current: int
    rows_reference: int
    sampled: bool
    summary: str
    measurable: bool
    reason: str = ""
    snapshot: Any = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without the snapshot."""
        names = ("column", "method", "distance", "threshold", "drifted", "triggers", "note")
        return {
            "drifted": self.drifted,
            "measurable": self.measurable,
            "reason": self.reason,
            "share": self.share,
            "rows_current": self.rows_current,
            "rows_reference": self.rows_reference,
            "sampled": self.sampled,
            "summary": self.summary,
            "columns": [{name: getattr(c, name) for name in names} for c in self.columns],
        }


@dataclass(frozen=True, slots=True)
class CellHealth:
    """One cell's facts as of a day. ``paused`` says why the cell may not move, or is "";
    ``stands_in``, which default stands in for which late feed, and ``lacking``, for which days of
    it."""

    cell: Cell
    last_day: date | None
    lag_days: int | None
    missing_days: int
    pacing: float | None
    paused: str = ""
    warnings: tuple[str, ...] = ()
    stands_in: tuple[str, ...] = ()
    lacking: Mapping[str, tuple[date, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthVerdict:
    """Which cells may move, and what stands in for those that may not."""

    as_of: date
    cells: tuple[CellHealth, ...]
    default: str
    summary: str

    @property
    def paused(self) -> Mapping[Cell, str]:
        """Cell -> reason, for the cells whose budget is frozen."""
        return {c.cell: c.paused for c in self.cells if c.paused}

    @property
    def defaults(self) -> str:
        """Which default stands in for what, in a sentence; "" where none does. The same words are
        said once, with how many cells they are true of."""
        cells = [c for c in self.cells if c.stands_in and not c.paused]
        if not cells:
            return ""
        words = Counter(text for c in cells for text in c.stands_in)
        one = {text: c.cell for c in reversed(cells) for text in c.stands_in}
        said = [
            f"{count} cells ({text})" if count > 1 else f"{one[text]} ({text})"
            for text, count in words.most_common(MOST_WORDS)
        ]
        more = f", and {len(words) - MOST_WORDS} other cases" if len(words) > MOST_WORDS else ""
        return f"A default stands in for {', '.join(said)}{more}."

    def lacking(self, feed: str) -> Mapping[Cell, tuple[date, ...]]:
        """Cell -> the days of ``feed`` that a default stands in for, of cells that may move."""
        told = {c.cell: c.lacking.get(feed, ()) for c in self.cells if not c.paused}
        return {cell: days for cell, days in told.items() if days}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "as_of": self.as_of.isoformat(),
            "default": self.default,
            "summary": self.summary,
            "cells": [
                {
                    "segment": c.cell.segment,
                    "channel": c.cell.channel,
                    "last_day": c.last_day.isoformat() if c.last_day else None,
                    "lag_days": c.lag_days,
                    "missing_days": c.missing_days,
                    "pacing": c.pacing,
                    "paused": c.paused,
                    "warnings": list(c.warnings),
                    "stands_in": list(c.stands_in),
                }
                for c in self.cells
            ],
        }
