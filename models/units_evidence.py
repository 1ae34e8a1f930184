"""A user-level test as a lift test of its cells: the two doors to one quantity meet here."""

from __future__ import annotations

import pandas as pd

from models.contrasts import Contrast, contrasts
from models.incrementality import AipwConfig, aipw, effect_rows

COLUMNS = (
    "experiment",
    "segments",
    "channel",
    "start",
    "end",
    "spend_delta",
    "incremental_revenue",
    "standard_error",
)


def tests_from_units(units: pd.DataFrame, *, seed: int = 0, threads: int = 1) -> pd.DataFrame:
    """The ``units`` feed as rows of the ``experiments`` feed, one a test and cell.

    The incremental revenue of a cell is its doubly robust effect per user times its treated users,
    for the money spent on them; the test is dated by its assignment. A test whose costs are not
    known says nothing about spend, and is left out.
    """
    rows = []
    for contrast in contrasts(units) if len(units) else []:
        scores = aipw(contrast, "revenue", config=AipwConfig(seed=seed, threads=threads))
        rows += [
            test
            for effect in effect_rows(contrast, "revenue", scores)
            if (test := _test(contrast, effect)) is not None
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _test(contrast: Contrast, effect: dict[str, object]) -> dict[str, object] | None:
    segment = str(effect["segment"])
    if segment == "all":
        if len(contrast.segments) > 1:
            return None  # the segments are told one by one
        segment = contrast.segments[0]
    mine = contrast.treated & (contrast.segment == segment)
    spent = float(contrast.cost[mine].sum())
    error = float(effect["standard_error"]) * int(mine.sum())  # type: ignore[arg-type]
    if not spent > 0 or not error > 0:
        return None
    return {
        "experiment": f"{contrast.experiment}/{contrast.channel}/{segment}",
        "segments": segment,
        "channel": contrast.channel,
        "start": contrast.assigned_on,
        "end": contrast.assigned_on,
        "spend_delta": spent,
        "incremental_revenue": float(effect["ate"]) * int(mine.sum()),  # type: ignore[arg-type]
        "standard_error": error,
    }
