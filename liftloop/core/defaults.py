"""Which values were defaults and no facts: cells and days, ready for a decision's evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from liftloop.core.policy import Cell


def defaulted(
    days: Mapping[Cell, Sequence[date]], *, feed: str, stands_in: str, used_by: str
) -> list[dict[str, Any]]:
    """One entry for all cells that lack the same days: ``feed``, ``stands_in`` (what was taken
    instead), ``used_by`` (what rests on it), ``days`` and ``cells`` (segment, channel).

    Parameters
    ----------
    days : cell -> its days without a fact; a cell without any is left out
    """
    groups: dict[tuple[date, ...], list[Cell]] = {}
    for cell in sorted(days):
        if days[cell]:
            groups.setdefault(tuple(sorted(days[cell])), []).append(cell)
    return [
        {
            "feed": feed,
            "stands_in": stands_in,
            "used_by": used_by,
            "days": [day.isoformat() for day in lacking],
            "cells": [[cell.segment, cell.channel] for cell in cells],
        }
        for lacking, cells in sorted(groups.items())
    ]
