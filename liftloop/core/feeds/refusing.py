"""When a file is refused whole: a column is missing, there twice, or in a wrong unit throughout."""

from __future__ import annotations

import difflib
import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.coercion import UNREADABLE, Coerced
from liftloop.core.feeds.columns import Column
from liftloop.core.feeds.declared import Feed

Mask = NDArray[np.bool_]
_COVARIATE = re.compile(r"[xyc]_[A-Za-z0-9_]+")


def refuse_wrong_columns(feed: Feed, frame: pd.DataFrame) -> None:
    names = [str(name) for name in frame.columns]
    known = {column.name for column in feed.columns} | {"currency"}
    for name in names:
        free = bool(feed.prefixes) and name.startswith(feed.prefixes)
        if names.count(name) > 1 and (name in known or free):
            raise _refused(feed, "it is there twice.", "keep one of the two.", name)
        if free and not _COVARIATE.fullmatch(name):
            fix = "rename it: letters, digits and underscores after the prefix."
            raise _refused(feed, "its name cannot be kept in a table.", fix, name)
        if free and sum(other.lower() == name.lower() for other in names) > 1:
            fix = "rename one of the two."
            raise _refused(feed, "another differs from it only in upper and lower case.", fix, name)
    for name in feed.required:
        if name not in names:
            raise _missing(feed, name, names)


def _missing(feed: Feed, name: str, names: list[str]) -> RefusedFile:
    """The message names the column and, when one looks like it, the column to rename."""
    alike = difflib.get_close_matches(name, [n.strip().lower() for n in names], 1, 0.75)
    guess = next((n for n in names if alike and n.strip().lower() == alike[0]), None)
    there = ", ".join(names[:12]) or "none"
    fix = f"rename {guess!r} to {name!r}" if guess else f"add {name!r}"
    return _refused(
        feed, f"it is missing (columns there: {there}).", f"{fix}, or use a mapping file.", name
    )


def refuse_wrong_unit(
    feed: Feed, column: Column, given: pd.Series[Any], coerced: Coerced, unsplit: Mask | None
) -> None:
    """Refuse the whole file when not one value of a column can be read as its unit."""
    spared = _or_none(unsplit, len(given))
    if column.required:  # in an optional column an empty cell is a sound one
        spared = spared | _or_none(coerced.empty, len(given))
    present = int((~spared).sum())
    for rule in UNREADABLE:
        mask = coerced.broken.get(rule)
        if mask is None:
            continue
        if not mask.any() or int(mask.sum()) < present:
            continue
        example = str(given[mask].iloc[0])[:60]
        raise _refused(
            feed, f"no value is {_UNITS[rule]} (the first is {example!r}).", _FIXES[rule],
            column.name,
        )  # fmt: skip


def _or_none(mask: Mask | None, rows: int) -> Mask:
    return np.zeros(rows, bool) if mask is None else mask


_UNITS = {
    "not_a_number": "a number",
    "not_a_date": "a date",
    "not_an_instant": "an instant",
}
_FIXES = {
    "not_a_number": "write plain numbers such as 1234.56, or use the platform's importer.",
    "not_a_date": "write days as YYYY-MM-DD, or use the platform's importer.",
    "not_an_instant": "write instants as 2026-01-31T09:30:00Z.",
}


def _refused(feed: Feed, problem: str, fix: str, column: str) -> RefusedFile:
    return RefusedFile(f"the {feed.name} feed", problem, fix=fix, column=column)
