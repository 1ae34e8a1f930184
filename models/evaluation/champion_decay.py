"""What a champion in use predicted of the lifts measured since it was trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.inference.champion_decay import MeasuredRatio
from models.evaluation.checks import level_of
from models.evaluation.predicted_lifts import PredictedLifts, only, predict_lifts
from models.lift.evidence import Evidence


def levels_since(
    curves: ResponseCurves, evidence: Evidence, *, row: int
) -> tuple[MeasuredRatio, ...]:
    """Measured over predicted lift of the periods that begin at row ``row`` of the days or later:
    of all, and of each channel."""
    seen = predict_lifts(curves, later(evidence, row))
    found = [MeasuredRatio("all cells", *level_of(seen))]
    for number, name in enumerate(evidence.channels):
        rows = seen.channel == number
        if rows.any():
            found.append(MeasuredRatio(name, *level_of(_rows(seen, rows))))
    return tuple(found)


def later(evidence: Evidence, row: int) -> Evidence:
    """The evidence of periods of which no day is before row ``row``."""
    return only(evidence, evidence.first >= row)


def log_likelihood(curves: ResponseCurves, evidence: Evidence, *, row: int) -> float:
    """Of the lifts of periods since ``row``, under the curves' predictions: normal, with the
    draws' mean and variance and each lift's own noise. The greater predicted better."""
    seen = predict_lifts(curves, later(evidence, row))
    variance = seen.noise**2 + seen.sd**2
    gap = seen.measured - seen.mean
    return float(-0.5 * (gap**2 / variance + np.log(variance)).sum())


def _rows(seen: PredictedLifts, keep: NDArray[np.bool_]) -> PredictedLifts:
    return PredictedLifts(
        **{n: getattr(seen, n)[keep] for n in PredictedLifts.__dataclass_fields__}
    )
