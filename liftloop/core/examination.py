"""The examination a new model must pass before it is in force."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

LEAST_COVERAGE = 0.6  # of the 90 % intervals, on the last weeks the fit did not see
WORST_MISFIT = 4.0  # weighted mean square of the residuals, 1 where noise alone is left


@dataclass(frozen=True, slots=True)
class Examination:
    """Whether a model passed, and the sentence for it."""

    passed: bool
    sentence: str


def examine(metrics: str, *, door: str) -> Examination:
    """Examine a training by its metrics (JSON text).

    A model of the holdout door must explain its evidence about as well as noise lets it, and its
    90 % prediction intervals must hold most of the last weeks, which a fit was kept from seeing. A
    metric that is not finite never passes; coverage is absent where there are too few weeks.
    """
    said = json.loads(metrics)
    if door == "units":
        return Examination(True, "Its effects are doubly robust estimates of a randomized test.")
    if not said.get("lifts") and said.get("tests"):
        return Examination(True, "It is in force: it rests on lift tests run elsewhere alone.")
    misfit = said.get("misfit", math.nan)
    if not misfit <= WORST_MISFIT:
        return Examination(
            False,
            f"It stays out of force: its curves miss the lifts they were fitted to (misfit "
            f"{misfit:.2f}, at most {WORST_MISFIT:g} passes).",
        )
    coverage = said.get("coverage_90")
    if coverage is not None and not coverage >= LEAST_COVERAGE:
        return Examination(
            False,
            f"It stays out of force: only {coverage:.0%} of the last weeks' lifts lie in its 90 % "
            f"intervals, fewer than {LEAST_COVERAGE:.0%}.",
        )
    seen = ""
    if coverage is not None:
        seen = f", and {coverage:.0%} of the last weeks' lifts in its 90 % intervals"
    return Examination(True, f"It is in force: misfit {misfit:.2f}{seen}.")
