"""Is what was foretold what was measured? The slope of measured on foretold incremental revenue,
for each channel and each segment, in the weeks before and now."""

from __future__ import annotations

import numpy as np
import pandas as pd

from monitoring.slopes import slope
from monitoring.watched import Watched

MOST_SEGMENTS = 30


def calibration(seen: Watched) -> pd.DataFrame:
    """One row for all, for each channel and each segment (at most 30, those with most evidence).

    Returns
    -------
    DataFrame
        of ("all", "channel", "segment"), name, before and now (slopes; 1 is right, below 1 the
        champion promises too much) with their standard errors (inf without evidence), and z: the
        change in standard errors of the difference.
    """
    parts = [("all", "all", slice(None), slice(None))]
    parts += [("channel", name, slice(None), [c]) for c, name in enumerate(seen.channels)]
    parts += [("segment", name, [s], slice(None)) for s, name in enumerate(seen.segments)]
    rows = []
    for of, name, which, channel in parts:
        lift, noise, said = (
            a[:, which][:, :, channel] for a in (seen.lift, seen.noise, seen.foretold)
        )
        cut = seen.reference
        before = slope(lift[:cut], noise[:cut], said[:cut])
        now = slope(lift[cut:], noise[cut:], said[cut:])
        spread = float(np.hypot(before.standard_error, now.standard_error))
        z = (now.value - before.value) / spread if np.isfinite(spread) else 0.0
        rows.append(
            (of, name, before.value, before.standard_error, now.value, now.standard_error, z)
        )
    columns = ["of", "name", "before", "before_error", "now", "now_error", "z"]
    table = pd.DataFrame(rows, columns=columns)
    segments = table[table["of"] == "segment"].nsmallest(MOST_SEGMENTS, "now_error").index
    return table[(table["of"] != "segment") | table.index.isin(segments)].reset_index(drop=True)
