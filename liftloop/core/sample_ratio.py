"""Sample-ratio mismatch: do the holdouts' arms keep the ratio they had?

When they do not, who is in which arm has come to depend on something, and lifts can no longer be
trusted. The test is the Dirichlet mixture of Lindon and Malek (2022), "Anytime-valid inference for
multinomial count data" (NeurIPS 35), theorem 2.1: the e-value exceeds 1/alpha ever with probability
at most alpha, so looking daily costs nothing. Two things differ from textbook counts and are taken
care of: user-days are not independent (the same people come back), so counts are divided by the
variance inflation of the weekly shares before the start; and the historic ratio is itself an
estimate, so counts shrink by N_before / (N_before + N_after). The e-values of the cells are
averaged, which is an e-value whatever their dependence (Vovk and Wang 2021, "E-values:
calibration, combination and applications", section 3).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlogy

from liftloop.core.guardrails import GuardrailVerdict, review
from liftloop.core.policy import Cell

CONCENTRATION = 1000.0  # the mixture looks for shares that are off by a few percent
BEFORE_DAYS = 56
NAME = "sample ratio"


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """User-days of a cell's arms before the start and since. ``inflation`` (>= 1) is how much more
    the control's weekly share varied before than independent users would make it."""

    cell: Cell
    treated_before: float
    control_before: float
    treated: float
    control: float
    inflation: float = 1.0

    @property
    def share_before(self) -> float:
        return self.control_before / (self.control_before + self.treated_before)

    @property
    def share(self) -> float:
        return self.control / (self.control + self.treated)


def arm_counts(
    holdout: pd.DataFrame, *, segments: Collection[str], started_on: date, as_of: date
) -> tuple[ArmCounts, ...]:
    """The arms of every cell of ``segments`` that has both before the start and since."""
    when = pd.to_datetime(holdout.date)
    begin = pd.Timestamp(started_on)
    near = (when >= begin - timedelta(days=BEFORE_DAYS)) & (when < pd.Timestamp(as_of))
    mine = holdout[near & holdout.segment.isin(list(segments))]
    week = np.floor_divide((pd.to_datetime(mine.date) - begin).dt.days, 7)
    users = mine.users.astype(float).groupby(
        [mine.segment.astype(str), mine.channel.astype(str), week, mine.arm.astype(str)]
    )
    table = users.sum().unstack("arm").reindex(columns=["treated", "control"]).dropna()
    found = []
    for (segment, channel), cell in table.groupby(level=[0, 1]):
        weeks = cell.index.get_level_values(2)
        before, after = cell[weeks < 0], cell[weeks >= 0]
        if before.empty or after.empty:
            continue
        found.append(
            ArmCounts(
                Cell(str(segment), str(channel)),
                float(before.treated.sum()),
                float(before.control.sum()),
                float(after.treated.sum()),
                float(after.control.sum()),
                _inflation(before),
            )
        )
    return tuple(found)


def _inflation(weeks: pd.DataFrame) -> float:
    """Chi-square of the weekly shares over its degrees of freedom, at least 1."""
    total = weeks.treated + weeks.control
    share = weeks.control.sum() / total.sum()
    if len(weeks) < 2 or not 0 < share < 1:
        return 1.0
    chi_square = float(((weeks.control - share * total) ** 2 / (total * share * (1 - share))).sum())
    return max(chi_square / (len(weeks) - 1), 1.0)


def mismatch_log_e_value(counts: ArmCounts, *, concentration: float = CONCENTRATION) -> float:
    """Log of the e-value against "the arms keep their historic ratio"."""
    before = counts.treated_before + counts.control_before
    after = counts.treated + counts.control
    worth = before / (before + after) / counts.inflation
    seen = worth * np.array([counts.treated, counts.control])
    expected = np.array([1 - counts.share_before, counts.share_before])
    prior = concentration * expected
    return float(
        gammaln(prior.sum())
        - gammaln(prior.sum() + seen.sum())
        + (gammaln(prior + seen) - gammaln(prior)).sum()
        - xlogy(seen, expected).sum()
    )


def judge_sample_ratio(counts: Sequence[ArmCounts], *, alpha: float) -> GuardrailVerdict:
    """The guardrail on the holdouts' arms. A mismatch blocks promotion and is told; it neither
    rolls back by itself nor hides another guardrail.

    Parameters
    ----------
    alpha : probability to be told ever of a mismatch where there is none
    """
    usable = [c for c in counts if 0 < c.share_before < 1 and c.treated + c.control > 0]
    if not usable:
        return review(NAME, "No holdout has both arms before the start and since.")
    logs = {c: mismatch_log_e_value(c) for c in usable}
    worst = max(usable, key=lambda c: logs[c])
    mean = sum(math.exp(min(value, 700.0)) for value in logs.values()) / len(usable)
    numbers: dict[str, float | str] = {
        "cells": float(len(usable)),
        "e_value": mean,
        "threshold": 1 / alpha,
        "worst_cell": str(worst.cell),
        "share_before": worst.share_before,
        "share": worst.share,
    }
    if mean >= 1 / alpha:
        return GuardrailVerdict(
            NAME,
            "review",
            "hold",
            f"The holdout of {worst.cell} has {worst.share:.2%} of the users in its control arm, "
            f"where it had {worst.share_before:.2%}: who is withheld has changed, and lifts cannot "
            "be trusted until that is explained. This blocks promotion.",
            numbers,
        )
    words = f"The arms of all {len(usable)} holdouts keep their ratio."
    return GuardrailVerdict(NAME, "pass", "promote", words, numbers)
