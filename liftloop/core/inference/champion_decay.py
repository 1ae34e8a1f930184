"""Whether a champion in use still predicts: an e-value on its error of level, looked at each week.

After a training, lifts arrive that it did not see. For a group of them (all, or one channel's) the
ratio of measured to predicted lift is estimated from everything since, with a standard error that
holds the measuring and the champion's own uncertainty. Under "the ratio is within the tolerance of
1" each one-sided normal-mixture e-value of ``liftloop.core.inference.sequential`` exceeds 1/alpha
ever with probability at most alpha (Howard et al. 2021, section 3.2; Ville). A mean of e-values is
an e-value, however they depend on each other (Vovk & Wang 2021, "E-values: calibration, combination
and applications", Annals of Statistics 49, proposition 3.1): so both sides and all groups are
looked at with one guarantee, and looking every week costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from liftloop.core.inference.sequential import loss_log_e_value, mixture_precision

USUAL_ERROR = 0.5  # the mixture is tightest for levels that are off by about this much


@dataclass(frozen=True, slots=True)
class MeasuredRatio:
    """Measured over predicted lift of a group, with its standard error; 1 is right."""

    group: str
    ratio: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Decay:
    """Whether a champion's calibration is shown to have gone, and the sentence for it."""

    decayed: bool
    e_value: float
    sentence: str
    group: str = ""
    ratio: float = math.nan


def judge_decay(levels: Sequence[MeasuredRatio], *, tolerance: float, alpha: float) -> Decay:
    """The verdict on what a champion predicted since its training.

    Parameters
    ----------
    levels
        One for all lifts together and one a channel. What is not finite is left out.
    tolerance
        How far from 1 a ratio may be: nobody is demoted for less.
    alpha
        Probability that a champion within the tolerance is ever called decayed.
    """
    known = [
        level
        for level in levels
        if math.isfinite(level.ratio) and 0 < level.standard_error < math.inf
    ]
    if not known:
        return Decay(False, 1.0, "No later lift says whether the champion still predicts.")
    singles = [_e_value(level, tolerance) for level in known]
    mean = sum(singles) / len(singles)
    worst = max(zip(singles, known, strict=True), key=lambda pair: pair[0])[1]
    told = (
        f"since its training, measured lifts of {worst.group} were {worst.ratio:.2f} times what it "
        f"predicted (e-value {mean:.3g}, {1 / alpha:.0f} shows decay)"
    )
    if mean < 1 / alpha:
        return Decay(False, mean, f"The champion holds: {told}.", worst.group, worst.ratio)
    return Decay(True, mean, f"The champion has decayed: {told}.", worst.group, worst.ratio)


def _e_value(level: MeasuredRatio, tolerance: float) -> float:
    """Of both sides: too little measured, and too much."""
    rho = mixture_precision(USUAL_ERROR)
    error = level.ratio - 1.0
    sides = [
        loss_log_e_value(value, level.standard_error, rho=rho, tolerated=tolerance)
        for value in (error, -error)
    ]
    return sum(math.exp(min(side, 700.0)) for side in sides) / len(sides)
