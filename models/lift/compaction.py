"""Old evidence in larger pieces, where there is too much of it to be fitted in a minute.

A lift of last year says what a cell earned then; whether it comes as four weeks or as their mean
hardly matters, for budgets rarely changed much inside them. Recent weeks stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from liftloop.core.arrays import Array, Index
from models.lift.evidence import Claims, Evidence

MOST_ROWS = 150_000
RECENT_DAYS, BLOCK_DAYS = 91, 28


def compacted(evidence: Evidence, *, most_rows: int = MOST_ROWS) -> Evidence:
    """``evidence`` with lifts and claims older than 13 weeks joined to blocks of four, if there are
    more than ``most_rows`` lifts; else as it is.

    Joined lifts are the mean weighted by precision, with the noise of that mean; ``row`` is the
    last of a block. Joined claims are plain means that count as one, for neighbouring weeks err
    alike.
    """
    if len(evidence.lift) <= most_rows:
        return evidence
    days = len(evidence.spend)
    block, n = _blocks(evidence.cell, evidence.last, days)
    precision = evidence.noise**-2.0
    total = cast(Array, np.bincount(block, weights=precision, minlength=n))
    cell, first, last = _places(block, n, evidence.cell, evidence.first, evidence.last)
    row = np.zeros(n, dtype=np.intp)
    row[block] = evidence.row
    return replace(
        evidence,
        cell=cell,
        first=first,
        last=last,
        lift=np.bincount(block, weights=precision * evidence.lift, minlength=n) / total,
        noise=total**-0.5,
        weight=np.bincount(block, weights=precision * evidence.weight, minlength=n) / total,
        row=row,
        demand=_demand(evidence.demand, block, precision, total),
        claims=_claims(evidence.claims, days) if evidence.claims is not None else None,
    )


def _claims(claims: Claims, days: int) -> Claims:
    block, n = _blocks(claims.cell, claims.last, days)
    count = np.bincount(block, minlength=n)
    cell, first, last = _places(block, n, claims.cell, claims.first, claims.last)
    means = {
        name: np.bincount(block, weights=getattr(claims, name), minlength=n) / count
        for name in ("claimed", "sold", "weight")
    }
    demand = _demand(claims.demand, block, np.ones(len(block)), count)
    return replace(claims, cell=cell, first=first, last=last, demand=demand, **means)


def _demand(
    demand: Array | None, block: Index, weight: Array, total: Array | Index
) -> Array | None:
    if demand is None:
        return None
    return np.asarray(np.bincount(block, weights=weight * demand, minlength=len(total)) / total)


def _blocks(cell: Index, last: Index, days: int) -> tuple[Index, int]:
    """The piece each row belongs to, ordered by cell and time, and how many there are."""
    age = days - 1 - last
    piece = np.where(age < RECENT_DAYS, age, RECENT_DAYS + (age - RECENT_DAYS) // BLOCK_DAYS)
    name = cell * (days + RECENT_DAYS + 1) + (days + RECENT_DAYS - piece)
    known, block = np.unique(name, return_inverse=True)
    return np.asarray(block, dtype=np.intp), len(known)


def _places(
    block: Index, n: int, cell: Index, first: Index, last: Index
) -> tuple[Index, Index, Index]:
    """Cell, first and last day of each piece."""
    begin = np.full(n, np.iinfo(np.intp).max, dtype=np.intp)
    end = np.zeros(n, dtype=np.intp)
    np.minimum.at(begin, block, first)
    np.maximum.at(end, block, last)
    owner = np.zeros(n, dtype=np.intp)
    owner[block] = cell
    return owner, begin, end
