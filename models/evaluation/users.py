"""The examination of a user-level model: its targeting policy on users it did not learn from.

A policy reaches a user when margin x predicted uplift > cost. Predictions are out of fold, so every
user is unseen by the fit that predicts it, and the user's doubly robust score, whose mean is the
effect whatever the outcome model, says what reaching it was worth (Athey & Wager 2021, equation 2).
Two policies are compared on the same users: only where they differ does chance come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arrays import Z90, Array
from liftloop.core.guardrails.model_gate import (
    ACCURACY,
    CALIBRATION,
    OUT_OF_TIME,
    PROFIT,
    SANITY,
    STABILITY,
    Challenge,
    GateCheck,
    PlanGain,
    PromotionRules,
    judge_plan,
    unmeasured,
)
from models.evaluation.bootstrap import paired_bounds
from models.evaluation.checks import Z95, off_by
from models.uplift.contrasts import contrasts
from models.uplift.findings import UpliftFinding

SEED = 21
FEWEST_USERS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Targeting:
    """Users of one test with what was predicted of them before they were looked at.

    ``unit_id``, ``scores`` (doubly robust, revenue) and ``predicted`` (revenue uplift) have the
    shape (n,); ``cost`` is what reaching a user costs. ``slope`` and ``slope_error`` are those of
    scores on predictions; nan where users count as responding alike. ``segment`` and ``fold``, of
    shape (n,), are each user's segment and the fold whose fit did not see it; empty where a
    training of an earlier version kept none. So with ``orders``, shape (n, 3): the doubly robust
    score of ``converted``, and what was observed of converted and revenue.
    """

    name: str
    unit_id: NDArray[np.object_]
    scores: Array
    predicted: Array
    cost: float
    slope: float = np.nan
    slope_error: float = np.nan
    segment: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, dtype=object))
    fold: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))
    orders: Array = field(default_factory=lambda: np.empty((0, 3)))

    def reach(self, margin: float) -> NDArray[np.bool_]:
        """Whom the policy reaches, shape (n,)."""
        return np.asarray(margin * self.predicted > self.cost)


def targeting(
    units: pd.DataFrame,
    findings: Sequence[UpliftFinding],
    conversions: Mapping[tuple[str, str], Array] | None = None,
) -> tuple[Targeting, ...]:
    """What ``findings``, learned from ``units``, predict of revenue out of fold. ``conversions``:
    doubly robust scores of ``converted`` by (experiment, channel), where they were learned."""
    by_name = {(one.experiment, one.channel): one for one in contrasts(units)}
    told = []
    for found in findings:
        if found.outcome != "revenue":
            continue
        contrast, held = by_name[found.experiment, found.channel], found.out_of_fold
        paid = contrast.cost[contrast.treated]
        alike = np.full(len(held.scores), float(held.scores.mean()))
        sure = found.verdict.detectable
        converted = (conversions or {}).get((found.experiment, found.channel))
        told.append(
            Targeting(
                name=found.name,
                unit_id=contrast.unit_id,
                scores=np.asarray(held.scores, dtype=np.float64),
                predicted=np.asarray(held.raw, dtype=np.float64) if sure else alike,
                cost=float(np.nanmean(paid)) if np.isfinite(paid).any() else 0.0,
                slope=found.verdict.slope if sure else np.nan,
                slope_error=found.verdict.standard_error if sure else np.nan,
                segment=contrast.segment,
                fold=held.folds,
                orders=np.empty((0, 3))
                if converted is None
                else np.column_stack(
                    [converted, contrast.outcome("converted"), contrast.outcome("revenue")]
                ),
            )
        )
    return tuple(told)


def to_arrays(targets: Sequence[Targeting]) -> dict[str, NDArray[Any]]:
    """Plain arrays of ``targets``, for a store: no pickle is needed to read them back."""
    found: dict[str, NDArray[Any]] = {"names": np.array([one.name for one in targets], dtype=str)}
    for number, one in enumerate(targets):
        found |= {
            f"{number}.unit_id": np.array([str(unit) for unit in one.unit_id], dtype=str),
            f"{number}.scores": one.scores,
            f"{number}.predicted": one.predicted,
            f"{number}.about": np.array([one.cost, one.slope, one.slope_error]),
            f"{number}.segment": np.array([str(name) for name in one.segment], dtype=str),
            f"{number}.fold": np.asarray(one.fold, dtype=np.int8),
            f"{number}.orders": one.orders,
        }
    return found


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[Targeting, ...]:
    """The inverse of :func:`to_arrays`; of nothing, nothing."""
    return tuple(
        Targeting(
            str(name),
            np.asarray(arrays[f"{number}.unit_id"], dtype=object),
            np.asarray(arrays[f"{number}.scores"], dtype=np.float64),
            np.asarray(arrays[f"{number}.predicted"], dtype=np.float64),
            *cast(tuple[float, float, float], tuple(map(float, arrays[f"{number}.about"]))),
            segment=np.asarray(arrays.get(f"{number}.segment", ()), dtype=object),
            fold=np.asarray(arrays.get(f"{number}.fold", ()), dtype=np.int8),
            orders=np.asarray(arrays.get(f"{number}.orders", np.empty((0, 3)))),
        )
        for number, name in enumerate(arrays.get("names", ()))
    )


def examine_users(
    challenger: Sequence[Targeting],
    champion: Sequence[Targeting] | None,
    *,
    margin: float,
    challenge: Challenge,
    rules: PromotionRules,
) -> tuple[GateCheck, ...]:
    """Every check of a user-level model; ``champion`` None: there is none to compare with."""
    checks = [
        _sanity(challenger),
        _accuracy(challenger),
        _calibration(challenger, rules),
        unmeasured(OUT_OF_TIME, "A test assigns its users at one time."),
    ]
    if champion is not None:
        pairs = _paired(challenger, champion)
        checks += [_profit(pairs, margin, challenge, rules), _stability(pairs, margin, rules)]
    return tuple(checks)


def _sanity(challenger: Sequence[Targeting]) -> GateCheck:
    users = sum(len(one.scores) for one in challenger)
    numbers = {"users": float(users), "tests": float(len(challenger))}
    if users < FEWEST_USERS:
        words = f"It rests on {users} users, fewer than {FEWEST_USERS}."
        return GateCheck(SANITY, "fail", words, numbers)
    for one in challenger:
        if not (np.isfinite(one.scores).all() and np.isfinite(one.predicted).all()):
            return GateCheck(SANITY, "fail", f"{one.name}: an effect is not a number.", numbers)
    return GateCheck(SANITY, "pass", "Its effects are finite, on enough users.", numbers)


def _accuracy(challenger: Sequence[Targeting]) -> GateCheck:
    """The doubly robust loss (Kennedy 2023) against that of one effect for everybody."""
    worst, numbers = 0.0, {}
    for one in challenger:
        if len(one.scores) < 2 or np.ptp(one.predicted) == 0:
            continue
        alike = one.scores.mean()
        more = (one.scores - one.predicted) ** 2 - (one.scores - alike) ** 2
        error = float(more.std(ddof=1) / np.sqrt(len(more)))
        z = float(more.mean()) / error if error > 0 else 0.0
        numbers[f"{one.name}/loss_z"] = z
        worst = max(worst, z) if np.isfinite(z) else np.inf
    if worst > Z90:
        return GateCheck(
            ACCURACY,
            "fail",
            f"It predicts unseen users worse than one effect for all does (z = {worst:.1f}).",
            numbers,
        )
    words = "Its effects are doubly robust estimates of a randomized test, no worse on unseen "
    return GateCheck(ACCURACY, "pass", words + "users than one effect for all.", numbers)


def _calibration(challenger: Sequence[Targeting], rules: PromotionRules) -> GateCheck:
    """The slope of scores on predictions, and the mean effect."""
    numbers: dict[str, float] = {}
    for one in challenger:
        if np.isfinite(one.slope):
            numbers |= {f"{one.name}/slope": one.slope, f"{one.name}/slope_error": one.slope_error}
            if not np.isfinite(one.slope_error):
                return unmeasured(CALIBRATION, f"{one.name}: the slope has no error.")
            if off_by(one.slope, one.slope_error, rules.tolerance):
                words = (
                    f"{one.name}: measured effects go with predicted ones by a slope of "
                    f"{one.slope:.2f} (± {Z95 * one.slope_error:.2f})."
                )
                return GateCheck(CALIBRATION, "fail", words, numbers)
    return GateCheck(CALIBRATION, "pass", "Measured effects go with predicted ones.", numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """The same users under two models; ``challenger`` and ``champion`` predict (n,)."""

    scores: Array
    cost: float
    challenger: Array
    champion: Array


def _paired(challenger: Sequence[Targeting], champion: Sequence[Targeting]) -> list[_Pair]:
    """Users both models predicted without having seen them."""
    before = {one.name: one for one in champion}
    pairs = []
    for one in challenger:
        other = before.get(one.name)
        if other is None:
            continue
        place = pd.Index(other.unit_id).get_indexer(pd.Index(one.unit_id))
        both = place >= 0
        if both.any():
            pairs.append(
                _Pair(one.scores[both], one.cost, one.predicted[both], other.predicted[place[both]])
            )
    return pairs


def _profit(
    pairs: Sequence[_Pair], margin: float, challenge: Challenge, rules: PromotionRules
) -> GateCheck:
    if not pairs:
        return unmeasured(PROFIT, "No user is known to both models.")
    gain, base, influence = 0.0, 0.0, []
    for pair in pairs:
        profit = margin * pair.scores - pair.cost
        after, before = (margin * told > pair.cost for told in (pair.challenger, pair.champion))
        differs = (after.astype(float) - before.astype(float)) * profit
        gain += float(differs.sum())
        base += float((before * margin * pair.scores).sum())
        influence.append(differs - differs.mean())
    users = sum(len(pair.scores) for pair in pairs)
    bounds = paired_bounds(
        gain / users,
        np.concatenate(influence) / users,
        alpha=rules.alpha,
        draws=rules.bootstrap,
        seed=SEED,
    )
    measured = PlanGain(gain=bounds.value, low=bounds.low, high=bounds.high, base=base / users)
    return judge_plan(measured, challenge=challenge, rules=rules)


def _stability(pairs: Sequence[_Pair], margin: float, rules: PromotionRules) -> GateCheck:
    users = sum(len(pair.scores) for pair in pairs)
    if users == 0:
        return unmeasured(STABILITY, "No user is known to both models.")
    other = sum(
        int(((margin * p.challenger > p.cost) != (margin * p.champion > p.cost)).sum())
        for p in pairs
    )
    share = other / users
    words = f"It treats {share:.0%} of the users otherwise than the champion does."
    verdict: Literal["pass", "fail"] = "pass" if share <= rules.most_moved else "fail"
    return GateCheck(STABILITY, verdict, words, {"moved_against_champion": share})
