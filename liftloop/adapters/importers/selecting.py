"""Which rows of a table are counted: not a row twice, not an earlier sync, not a total beside its
parts, and not one spend under two views."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from liftloop.adapters.importers.levels import leave_out_totals
from liftloop.adapters.importers.repeats import Mask, Rows, exact_repeats, latest_syncs
from liftloop.adapters.importers.versions import refuse_other_versions
from liftloop.adapters.importers.views import refuse_doubled_spend


def select_rows(
    rows: Rows,
    group: NDArray[np.int64],
    *,
    identified: Mask | None,
    parts: Collection[str] = (),
) -> tuple[Mask, list[str]]:
    """(rows to count, notes with counts and amounts).

    Parameters
    ----------
    group : shape (n_rows,)
        Equal for rows that would be summed to one.
    identified : shape (n_rows,)
        Rows whose finest detail (ad, ad set, campaign) has an id; None where it was said that rows
        of one group are parts.
    parts
        Columns of which it was said that rows differing in them alone are parts, to be added.

    Raises
    ------
    RefusedFile
        When it cannot be told what is to be counted; the message has the options that settle it.
    """
    keep = np.ones(len(rows.cells), bool)
    notes: list[str] = []
    steps: list[Callable[[Rows], tuple[Mask, list[str]]]] = [exact_repeats, latest_syncs]
    if "spend" in rows.numbers:  # an order without a country is no total of those with one
        steps.append(lambda left: leave_out_totals(left, parts))
    for step in steps:
        places = np.flatnonzero(keep)
        chosen, said = step(rows.only(keep))
        keep[places[~chosen]] = False
        notes += said
    left = rows.only(keep)
    refuse_doubled_spend(left, group[keep], parts=parts)
    if identified is not None:
        refuse_other_versions(left, group[keep], identified[keep], parts=parts)
    return keep, notes
