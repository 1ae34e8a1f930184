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
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import Array, coded, days_of
from liftloop.core.guardrails.verdict import GuardrailVerdict, review
from liftloop.core.policy import Cell

CONCENTRATION = 1000.0  # the mixture looks for shares that are off by a few percent
BEFORE_DAYS = 56
LEAST_WEEKS = 2
SURE_OF_MEMORY = 2.0  # standard errors from which neighbouring weeks count as alike
MOST_MEMORY = 0.8
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
    days = days_of(holdout["date"])
    begin = np.datetime64(started_on, "D")
    near = (days >= begin - np.timedelta64(BEFORE_DAYS, "D")) & (days < np.datetime64(as_of, "D"))
    mine = holdout[near & holdout["segment"].isin(list(segments)).to_numpy()]
    week = np.floor_divide((days_of(mine["date"]) - begin).astype(np.int64), 7)
    (segment, segment_names), (channel, channel_names) = (
        coded(mine[name]) for name in ("segment", "channel")
    )
    first = int(week.min(initial=0))
    shape = (len(segment_names), len(channel_names), int(week.max(initial=0)) - first + 1)
    table = np.full((*shape, 2), np.nan)
    for arm, name in enumerate(("treated", "control")):
        here = (mine["arm"] == name).to_numpy()
        place = np.ravel_multi_index((segment[here], channel[here], week[here] - first), shape)
        users = mine["users"].to_numpy(float)[here]
        size = int(np.prod(shape))
        total = np.bincount(place, weights=users, minlength=size)
        seen = np.bincount(place, minlength=size) > 0
        table[..., arm] = np.where(seen, total, np.nan).reshape(shape)
    weeks = np.arange(shape[2]) + first
    cells: dict[Cell, tuple[Array, Array]] = {}
    for s, c in np.ndindex(*shape[:2]):
        both = np.isfinite(table[s, c]).all(axis=1)
        before, after = table[s, c][both & (weeks < 0)], table[s, c][both & (weeks >= 0)]
        if len(before) and len(after):
            cells[Cell(str(segment_names[s]), str(channel_names[c]))] = before, after
    wider = inflations([(before[:, 0], before[:, 1]) for before, _ in cells.values()])
    return tuple(
        ArmCounts(
            cell,
            float(before[:, 0].sum()),
            float(before[:, 1].sum()),
            float(after[:, 0].sum()),
            float(after[:, 1].sum()),
            inflation,
        )
        for (cell, (before, after)), inflation in zip(cells.items(), wider, strict=True)
    )


def inflations(weeks: Sequence[tuple[Array, Array]]) -> list[float]:
    """How much more each cell's control share varies than that of independent users, >= 1.

    From user-days of the treated and the control arm by week: chi-square over its degrees of
    freedom. A few weeks tell one cell's variance badly, and of many cells some seem steady by luck,
    so none is held to vary less than half of the cells do. Where neighbouring weeks are alike, over
    all cells and beyond chance, the mean of many weeks varies by (1 + r) / (1 - r) more still.
    """
    found, alike, pairs = [], 0.0, 0
    for treated, control in weeks:
        total = treated + control
        share = control.sum() / total.sum()
        if len(total) < LEAST_WEEKS or not 0 < share < 1:
            found.append(1.0)
            continue
        missed = (control - share * total) / np.sqrt(total * share * (1 - share))
        squares = float((missed**2).sum())
        found.append(max(squares / (len(total) - 1), 1.0))
        if squares > 0:  # the mean was taken out of them, which makes neighbours unlike by 1 / n
            alike += float((missed[1:] * missed[:-1]).sum()) / squares * len(total) + 1
            pairs += len(total) - 1
    memory = alike / pairs if pairs and alike > SURE_OF_MEMORY * math.sqrt(pairs) else 0.0
    memory = min(memory, MOST_MEMORY)
    usual = float(np.median(found)) if found else 1.0
    return [max(own, usual) * (1 + memory) / (1 - memory) for own in found]


def multinomial_log_e_values(
    counts: Array, expected: Array, *, concentration: float = CONCENTRATION
) -> Array:
    """Log of each row's e-value against "the counts have these shares" (theorem 2.1).

    Parameters
    ----------
    counts : shape (n, k), of independent users; they need not be whole
    expected : shares, shape (n, k), each row sums to 1

    Returns
    -------
    Shape (n,).
    """
    from scipy.special import gammaln, xlogy

    prior = concentration * expected
    return np.asarray(
        gammaln(prior.sum(axis=1))
        - gammaln(prior.sum(axis=1) + counts.sum(axis=1))
        + (gammaln(prior + counts) - gammaln(prior)).sum(axis=1)
        - xlogy(counts, expected).sum(axis=1)
    )


def mismatch_log_e_values(
    counts: Sequence[ArmCounts], *, concentration: float = CONCENTRATION
) -> Array:
    """Log of each cell's e-value against "the arms keep their historic ratio", (n_cells,)."""
    before = np.array([c.treated_before + c.control_before for c in counts])
    seen = np.array([(c.treated, c.control) for c in counts])
    worth = before / (before + seen.sum(axis=1)) / np.array([c.inflation for c in counts])
    share = np.array([c.share_before for c in counts])
    return multinomial_log_e_values(
        worth[:, None] * seen, np.stack([1 - share, share], axis=1), concentration=concentration
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
    logs = mismatch_log_e_values(usable)
    worst = usable[int(logs.argmax())]
    mean = float(np.exp(np.minimum(logs, 700.0)).mean())
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
