"""Which of the differences found by tests that run together may be believed: the e-BH procedure.

Wang and Ramdas (2022), "False discovery rate control with e-values", Journal of the Royal
Statistical Society B 84, theorem 2: of K e-values, the k largest are discoveries for the greatest k
whose k-th is at least K / (k alpha). The expected share of false ones is at most alpha whatever the
dependence, and at any time at which one looks. A difference once found stays found: its e-value
is then kept as it was (a stopped e-process is one still). The set of all that were ever found keeps
every e-value at K / (k alpha) or more for its own size k, which is all the proof needs
(self-consistency, proposition 2 there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from liftloop.core.arrays import Array, Mask
from liftloop.core.variant_tests.reading import ReadingVerdict, TestReading, judged

FALSE_DISCOVERIES = 0.05


def discoveries(log_e_values: Array, *, alpha: float = FALSE_DISCOVERIES) -> Mask:
    """The hypotheses that e-BH rejects.

    Parameters
    ----------
    log_e_values
        One a hypothesis, shape (k,).
    alpha
        Greatest expected share of false ones among them.

    Returns
    -------
    Shape (k,).
    """
    count = len(log_e_values)
    order = np.argsort(-log_e_values, kind="stable")
    needed = math.log(count / alpha) - np.log(np.arange(1, count + 1)) if count else np.zeros(0)
    passed = np.flatnonzero(log_e_values[order] >= needed)
    found = np.zeros(count, dtype=np.bool_)
    if len(passed):
        found[order[: passed[-1] + 1]] = True
    return found


def corrected(
    readings: Mapping[str, TestReading],
    *,
    ended: Sequence[float] = (),
    alpha: float = FALSE_DISCOVERIES,
) -> dict[str, TestReading]:
    """Readings of tests that run together, of which only discoveries stay conclusive.

    A difference that its own test calls conclusive and e-BH does not is too early again; one that
    its own test does not call conclusive supports no other (its e-value counts as 0).

    Parameters
    ----------
    readings
        By name, of all tests that run now, conclusive or not.
    ended
        Log e-values of the differences of tests that began while one of these ran and have ended
        since, each as it was when its test ended.
    """
    logs = [
        effect.log_e_value if effect.verdict is ReadingVerdict.CONCLUSIVE else -math.inf
        for reading in readings.values()
        for effect in reading.effects
    ]
    found = iter(discoveries(np.array([*logs, *ended]), alpha=alpha).tolist())
    return {
        name: judged(
            replace(
                reading,
                effects=tuple(
                    effect
                    if next(found) or effect.verdict is not ReadingVerdict.CONCLUSIVE
                    else replace(effect, verdict=ReadingVerdict.TOO_EARLY)
                    for effect in reading.effects
                ),
            )
        )
        for name, reading in readings.items()
    }
