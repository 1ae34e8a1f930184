"""Demand of a horizon's days, as a weight on every cell's response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.curves import Array
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Demand by cell and day; days past the end have the mean of the last period.

    Attributes
    ----------
    index
        Demand against the year's mean, (n_cells, n_days).
    weight
        What the response is multiplied by, (n_cells, n_days): (index / reference) ** elasticity.
    error
        Standard error of log weight, (n_cells, n_days).
    segment
        The number of each cell's segment, (n_cells,).
    seed
        For the draws.
    """

    index: Array
    weight: Array
    error: Array
    segment: NDArray[np.intp]
    seed: int

    @classmethod
    def of(
        cls,
        season: pd.DataFrame | None,
        *,
        cells: Sequence[Cell],
        start: date,
        days: int,
        beyond: int,
        last: int,
        elasticity: float,
        seed: int,
    ) -> Demand:
        """From a frame of date, segment, index and perhaps standard_error and reference (the demand
        the curves speak of; 1 without).

        ``days`` of the horizon, ``beyond`` after it; the mean of the ``last`` days goes on there.

        Raises
        ------
        ConfigurationError
            For an index that is not positive.
        """
        names = sorted({cell.segment for cell in cells})
        number = {name: place for place, name in enumerate(names)}
        segment = np.array([number[cell.segment] for cell in cells], dtype=np.intp)
        index, error = np.ones((len(names), days)), np.zeros((len(names), days))
        reference = np.ones((len(names), days))
        if season is not None and len(season):
            dates = [pd.Timestamp(start + timedelta(days=day)) for day in range(days)]
            index = _wide(season, "index", names, dates, missing=1.0)
            if "reference" in season:
                reference = _wide(season, "reference", names, dates, missing=1.0)
            if not ((index > 0) & (reference > 0)).all():
                raise ConfigurationError(
                    "A season index is not above 0.", fix="correct the index; 1 is the usual day."
                )
            if "standard_error" in season:
                error = _wide(season, "standard_error", names, dates, missing=0.0) / index

        def whole(values: Array) -> Array:
            rest = np.repeat(values[:, -last:].mean(axis=1)[:, None], beyond, axis=1)
            return np.asarray(np.concatenate([values, rest], axis=1)[segment])

        weight = (index / reference) ** elasticity
        return cls(whole(index), whole(weight), whole(abs(elasticity) * error), segment, seed)

    def drawn(self, day: int, draws: int) -> Array:
        """Weights of a day in each draw (n_draws, n_cells). A draw errs alike on all days of a
        segment, so that the error of a total is not averaged away."""
        shape = (draws, int(self.segment.max()) + 1)
        normal = np.random.default_rng(self.seed).standard_normal(shape)[:, self.segment]
        error = self.error[:, day]
        return np.asarray(self.weight[:, day] * np.exp(error * normal - error**2 / 2))

    def mean(self, spend: Array, span: slice) -> float:
        """The mean demand of some days, weighted by ``spend`` (n_cells,)."""
        level = self.index[:, span].mean(axis=1)
        return float(np.average(level, weights=spend)) if spend.sum() > 0 else float(level.mean())


def _wide(
    season: pd.DataFrame,
    column: str,
    names: Sequence[str],
    dates: Sequence[pd.Timestamp],
    *,
    missing: float,
) -> Array:
    wide = season.assign(date=pd.to_datetime(season["date"])).pivot(
        index="segment", columns="date", values=column
    )
    wide = wide.reindex(index=list(names), columns=list(dates)).astype(float).fillna(missing)
    return np.asarray(wide.to_numpy(dtype=np.float64))
