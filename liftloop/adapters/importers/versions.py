"""Rows that say of one thing what another row says of it, with other numbers: an earlier report of
it, or a part without the column that tells it apart. Which, is asked; they are never added."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.importers.repeats import Mask, Rows, codes
from liftloop.adapters.importers.roles import same_entity
from liftloop.core.errors import RefusedFile

_CORRECTED = 1.1  # times what it was, up to which a number may be the same one reported later
_LEAST = 1.0  # spend below which two rows are alike by chance


def refuse_other_versions(
    rows: Rows, group: NDArray[np.int64], identified: Mask, *, parts: Collection[str] = ()
) -> None:
    """Refuse a table with several rows of one ad (or campaign) and day that no column tells apart.

    Where an id says what a row is, two rows of it are two reports of the same. Where only a name
    does, they may be two ads of one name: asked about when each is a little more than another in
    every number, as a day reported again is.

    Parameters
    ----------
    group : shape (n_rows,)
        Equal for rows that would be summed to one.
    identified : shape (n_rows,)
        Rows whose finest detail has an id.
    parts
        Columns or measures of which it was said that rows differing in them are added.

    Raises
    ------
    RefusedFile
        With the amounts and the options that settle it.
    """
    if "spend" not in rows.numbers or set(parts) & set(rows.numbers.columns):
        return
    _, first, counts = np.unique(group, return_inverse=True, return_counts=True)
    paid = (rows.numbers["spend"] > 0).to_numpy() & (counts[first] > 1)
    if not paid.any():
        return
    some, group, identified = rows.only(paid), group[paid], identified[paid]
    stated = [name for name in some.named("view", "description") if name in parts]
    apart = some.named("day", "part", "view", "unknown")
    apart = [name for name in apart if name in parts or not same_entity(name, apart)] + stated
    same = codes(some.cells.assign(_group=group), ["_group", *apart])
    again = pd.Series(same).duplicated(keep=False).to_numpy()
    asked = again & identified
    if not asked.any() and _grown(some.only(again), same[again]):
        asked = again
    if not asked.any():
        return
    one = some.numbers["spend"].to_numpy()[same == same[asked][0]]
    raise RefusedFile(
        rows.file,
        f"{int(asked.sum()):,} rows ({some.amount(asked)}) are of the same ad or campaign and day "
        f"as others, and nothing but their numbers differs (such as {one[0]:,.2f} and "
        f"{one[1]:,.2f} spend): they look like one row reported more than once.",
        fix="keep the latest report of each day (a column loaded_at says which one that is); if "
        'they are parts to be added, say so with --parts "spend".',
        column="spend",
    )


def _grown(rows: Rows, same: NDArray[np.int64]) -> bool:
    """Whether of all rows that are ``same`` as others one is at least the other in every number,
    and its spend a little more."""
    if not len(same):
        return False
    spend = rows.numbers["spend"]
    table = rows.numbers.assign(_same=same).sort_values(["_same", *rows.numbers.columns])
    steps = table.groupby("_same").diff().dropna()
    if (steps < 0).any(axis=None):
        return False
    ends = spend.groupby(same).agg(["min", "max"])
    more = (ends["max"] > ends["min"]) & (ends["max"] <= _CORRECTED * ends["min"])
    return bool((more & (ends["min"] >= _LEAST)).all())
