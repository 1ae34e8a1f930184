"""Which shared parameters each cell's own ones are drawn to, and how tightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.evidence import Evidence
from models.prior import RETURN, TILT, Level

Array = NDArray[np.float64]
SMALL = 1_000_000  # entries up to which a dense matrix is quicker


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The shared parameters (G,): for each of a cell's d parameters a mean, an effect of every
    channel and, where its prior has one, of every segment.

    ``design`` (d C, G) adds up what a cell is drawn to, ``across`` is its transpose; ``center`` and
    ``precision`` (G,) are the prior's. ``heavy`` are the channels' effects on the return,
    ``tilted`` those of the tilt.
    """

    design: csr_array | Array
    across: csr_array
    center: Array
    precision: Array
    heavy: slice
    tilted: NDArray[np.intp]

    @classmethod
    def of(cls, evidence: Evidence, levels: Sequence[Level]) -> Layout:
        """Lay the parameters out."""
        n, d = len(evidence.cells), len(levels)
        channels, segments = len(evidence.channels), len(evidence.segments)
        rows, columns, precision, center, tilted = [], [], [], [], []
        heavy, begin = slice(0, 0), 0
        for p, level in enumerate(levels):
            blocks = [(np.zeros(n, dtype=int), 1, level.sd_mean)]
            blocks.append((evidence.channel_of, channels, level.channel))
            if level.segment > 0:
                blocks.append((evidence.segment_of, segments, level.segment))
            for part, (where, count, sd) in enumerate(blocks):
                rows.append(d * np.arange(n) + p)
                columns.append(begin + where)
                precision.append(np.full(count, sd**-2.0))
                center.append(np.full(count, level.mean if part == 0 else 0.0))
                if p == RETURN and part == 1:
                    heavy = slice(begin, begin + count)
                if p == TILT:
                    tilted.append(np.arange(begin, begin + count))
                begin += count
        ones = np.ones(sum(len(r) for r in rows))
        places = (np.concatenate(rows), np.concatenate(columns))
        design = csr_array((ones, places), shape=(d * n, begin))
        return cls(
            design=design.toarray() if d * n * begin <= SMALL else design,
            across=design.T.tocsr(),
            center=np.concatenate(center),
            precision=np.concatenate(precision),
            heavy=heavy,
            tilted=np.concatenate(tilted) if tilted else np.zeros(0, dtype=np.intp),
        )
