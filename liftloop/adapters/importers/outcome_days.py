"""Over how many days outcomes and cost of a user-level test count: filled in, or asked for."""

from __future__ import annotations

import shlex

import pandas as pd

SHOWN = 3


def with_outcome_days(
    frame: pd.DataFrame, *, file: str, stated: int, default: int
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows of ``units`` with the stated days where a row has none, and what to say of the others.

    Parameters
    ----------
    frame
        The rows as read; ``outcome_days`` may be missing. Not changed.
    file
        The delivered file's name, for the command that answers the question.
    stated
        What the person who delivers says, in days; 0: nothing.
    default
        What the settings say, in days; 0: nothing. It is not stored, so that it may be changed.
    """
    empty = (
        frame["outcome_days"].isna()
        if "outcome_days" in frame
        else pd.Series(True, index=frame.index)
    )
    if not empty.any():
        return frame, ()
    if stated:
        if "outcome_days" not in frame or frame["outcome_days"].isna().all():
            return frame.assign(outcome_days=float(stated)), ()
        days = frame["outcome_days"]
        filler = float(stated) if pd.api.types.is_numeric_dtype(days) else str(stated)
        return frame.assign(outcome_days=days.mask(empty, filler)), ()
    if default:
        return frame, ()
    tests = sorted(set(frame.loc[empty, "experiment"].dropna().astype(str)))
    if not tests:
        return frame, ()
    more = f" and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
    return frame, (
        f"Over how many days outcomes and cost of {', '.join(tests[:SHOWN])}{more} count is not "
        "recorded. What the money returned is learned all the same; what it was a day is not. "
        f"Say it: liftloop ingest {shlex.quote(file)} --outcome-days N (N days from assigned_on, "
        "with the other options as before), or outcome_days = N under [data] in liftloop.toml.",
    )
