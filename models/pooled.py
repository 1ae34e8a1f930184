"""The interpretable member of the ensemble: two numbers a cell, pooled over channels and segments.

Michaelis-Menten curves fitted to holdout lifts alone by penalized least squares with a Laplace
posterior; fixed carry-over, fixed spreads, evidence that fades by 0.7 % a day. It ignores sales and
claims and assumes its family: what the other members have to beat.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from models.prior import Level, Prior
from models.response import ResponseConfig, ResponseFit, fit_response

MICHAELIS_MENTEN = float(np.log(2.0))
FIXED = Level(MICHAELIS_MENTEN, 1e-3, 1e-3, 1e-3, MICHAELIS_MENTEN, MICHAELIS_MENTEN)
POOLED = ResponseConfig(
    fade_per_day=0.007,
    prior=Prior(bend=FIXED, scale=replace(Prior().scale, own=0.2)),
    carryover_grid=(0.3,),
    spread_rounds=0,
    breaks=None,
)


def fit_pooled(
    *,
    lifts: pd.DataFrame,
    daily_spend: pd.DataFrame,
    experiments: pd.DataFrame | None = None,
    config: ResponseConfig = POOLED,
) -> ResponseFit:
    """Fit the baseline; arguments and errors as of ``models.response.fit_response``."""
    return fit_response(
        lifts=lifts, daily_spend=daily_spend, experiments=experiments, config=config
    )
