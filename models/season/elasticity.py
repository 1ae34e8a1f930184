"""Whether response follows demand, asked of the randomized evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from models.lift.evidence import Evidence
from models.response.fit import ResponseConfig, find_mode
from models.response.hierarchy import Hierarchy
from models.season.in_the_fit import FitSeason, with_season

# before any evidence: who buys more in season mostly responds more in season as well
PRIOR_ODDS: Mapping[float, float] = {0.0: 0.2, 0.5: 0.3, 1.0: 0.5}


def choose_elasticity(
    evidence: Evidence, season: FitSeason, *, days: pd.DatetimeIndex, config: ResponseConfig
) -> tuple[FitSeason, dict[float, float]]:
    """The season with the elasticity of the highest posterior odds, and the odds.

    Marginal likelihoods are Laplace's, at the same spreads and carry-over. Claims have no say: what
    a platform claims follows demand through the organic sales in it.

    Parameters
    ----------
    evidence
        Gathered without a season.
    days
        The days of ``evidence.spend``.
    """
    lifts = replace(evidence.randomized(), claims=None)
    quick = replace(config, carryover_grid=(config.carryover_mean,), spread_rounds=1, breaks=None)
    state = None
    logs = {}
    for elasticity in sorted(PRIOR_ODDS, key=lambda e: abs(e - 0.5)):
        told = with_season(lifts, replace(season, elasticity=elasticity), days=days)
        model = Hierarchy(told, config.prior)
        state = find_mode(model, quick) if state is None else model.climb(state)
        logs[elasticity] = model.log_evidence(state) + float(np.log(PRIOR_ODDS[elasticity]))
    top = max(logs.values())
    odds = {elasticity: float(np.exp(value - top)) for elasticity, value in logs.items()}
    total = sum(odds.values())
    odds = {elasticity: value / total for elasticity, value in sorted(odds.items())}
    return replace(season, elasticity=max(odds, key=lambda e: odds[e])), odds
