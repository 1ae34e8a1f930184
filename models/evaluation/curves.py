"""The examination of a curve model, on lifts that were kept from the fits they judge.

What one plan earns over another, measured by randomized lifts that made neither.

Budgets that were never spent cannot be looked up. What can be measured is each cell's level where
it did spend; what must be modelled is the way from there to the plans' budgets, and the *judge*
models it: curves fitted to the held-out evidence alone, so that neither plan's own model has a say.
With m the judge's curve of a cell, y its measured lifts with standard errors s, x' and x the
budgets of the two plans:

    theta = sum(m y / s^2) / sum(m^2 / s^2)      the measured level, in units of the judge's
    value = sum over cells of  margin theta (m(x') - m(x)) - (x' - x)

theta takes the judge's own level out, so the value is linear in the measured lifts; only the
judge's *shape* is believed. (A control variate as in doubly robust evaluation: Dudik, Langford & Li
2011, equation 5, with a ratio in place of the difference.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array, Index
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.guardrails.model_gate import (
    ACCURACY,
    CALIBRATION,
    PROFIT,
    Challenge,
    GateCheck,
    PlanGain,
    PromotionRules,
    fit_check,
    judge_plan,
    unmeasured,
)
from liftloop.core.policy import Cell
from models.evaluation.bootstrap import paired_bounds
from models.evaluation.checks import (
    check_accuracy,
    check_calibration,
    check_out_of_time,
    check_sanity,
    check_stability,
)
from models.evaluation.data_splits import DataSplit, HeldOut
from models.evaluation.predicted_lifts import PredictedLifts, predict_lifts
from models.lift.evidence import Evidence

VAGUE = 1.0  # a level whose standard error is above it takes its channel's


@dataclass(frozen=True, slots=True, eq=False)
class PlanContrast:
    """Profit a day of the challenger's plan over the champion's.

    ``base`` is what the champion's plan earns a day before the spend. ``influence`` and ``cluster``
    are as of ``paired_bounds``; ``unseen`` is the share of the money the plans differ by in cells
    whose channel has no held-out lift.
    """

    value: float
    base: float
    influence: Array
    cluster: Index
    unseen: float


def contrast_plans(
    *,
    judge: ResponseCurves,
    evidence: Evidence,
    challenger: dict[Cell, float],
    champion: dict[Cell, float],
    margin: float,
) -> PlanContrast:
    """The contrast of two plans (cell -> daily spend) on the held-out lifts of ``evidence``.

    A cell that only one plan knows, or that the judge has no curve for, counts as unseen.
    """
    seen = predict_lifts(judge, evidence)
    n_cells, n_channels = len(evidence.cells), len(evidence.channels)
    place = {cell: number for number, cell in enumerate(judge.cells)}
    after, before = _spends(judge, challenger), _spends(judge, champion)
    where = np.array([place.get(cell, -1) for cell in evidence.cells], dtype=np.intp)
    there = np.flatnonzero(where >= 0)
    earned = np.zeros((2, n_cells))
    for row, spend in enumerate((after, before)):
        earned[row, there] = judge.mean_revenue(spend)[where[there]]
    step = margin * (earned[0] - earned[1])

    own, shared = _levels(seen, seen.cell, n_cells), _levels(seen, seen.channel, n_channels)
    channel = evidence.channel_of
    alone = own.information > VAGUE**-2
    measured = alone | (shared.information[channel] > 0)
    theta = np.where(alone, own.theta, shared.theta[channel])
    theta = np.where(measured, theta, 0.0)
    moved = {
        cell: challenger.get(cell, 0.0) - champion.get(cell, 0.0)
        for cell in challenger.keys() | champion.keys()
    }
    known = {cell for number, cell in enumerate(evidence.cells) if measured[number]} & set(place)
    total = sum(abs(amount) for amount in moved.values())
    blind = sum(abs(amount) for cell, amount in moved.items() if cell not in known)
    spared = sum(amount for cell, amount in moved.items() if cell in known)

    left = np.where(alone, 0.0, step)
    by_channel = cast(Array, np.bincount(channel, weights=left, minlength=n_channels))
    influence = own.moved_by(seen, np.where(alone, step, 0.0)) + shared.moved_by(seen, by_channel)
    return PlanContrast(
        value=float((theta * step).sum()) - spared,
        base=float(margin * (theta * earned[1]).sum()),
        influence=influence,
        cluster=seen.cluster,
        unseen=blind / total if total > 0 else 0.0,
    )


def _spends(curves: ResponseCurves, plan: dict[Cell, float]) -> Array:
    return np.array([plan.get(cell, 0.0) for cell in curves.cells], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """The level theta of every group, its information, and where each lift belongs."""

    group: Index
    theta: Array
    information: Array
    lifts: Array

    def moved_by(self, seen: PredictedLifts, step: Array) -> Array:
        """What each lift moves ``sum(theta step)`` by, from its residual; the fewer lifts a group
        has, the more its residuals are too small (n / (n - 1), as of a variance)."""
        n = self.lifts[self.group]
        wide = np.sqrt(n / np.maximum(n - 1, 1.0))
        residual = seen.measured - self.theta[self.group] * seen.mean
        # a single lift has no residual: its own standard error stands in
        residual = np.where(n < 2, seen.noise, residual * wide)
        score = seen.mean / seen.noise**2 / np.maximum(self.information[self.group], 1e-300)
        return np.asarray(step[self.group] * score * residual, dtype=np.float64)


def _levels(seen: PredictedLifts, group: Index, n: int) -> _Levels:
    weight = seen.noise**-2
    information = cast(Array, np.bincount(group, weights=weight * seen.mean**2, minlength=n))
    met = np.bincount(group, weights=weight * seen.mean * seen.measured, minlength=n)
    theta = met / np.maximum(information, 1e-300)
    lifts = np.bincount(group, minlength=n).astype(np.float64)
    return _Levels(group, np.where(information > 0, theta, 0.0), information, lifts)


Plan = Callable[[ResponseCurves], Mapping[Cell, float]]
SEED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Contenders:
    """The challenger's curves, and the champion's, which they are to replace (None: there is none).

    ``metrics`` are those of the challenger's training, with its members' weights as ``weight_...``;
    ``challenge`` says how the challenger differs from the champion.
    """

    challenger: ResponseCurves
    metrics: Mapping[str, float]
    challenge: Challenge
    champion: ResponseCurves | None = None


def examine_curves(
    contenders: Contenders,
    parted: DataSplit,
    *,
    plan: Plan,
    margin: float,
    rules: PromotionRules,
) -> tuple[GateCheck, ...]:
    """Every check of a challenger's curves.

    Parameters
    ----------
    plan
        The plan that curves lead to: cell -> daily spend.
    margin
        Profit per unit of revenue, before the spend.
    """
    whole, metrics = parted.whole, contenders.metrics
    curves, champion = contenders.challenger, contenders.champion
    unseen = [predict_lifts(fold.challenger, fold.evidence) for fold in parted.folds]
    seen = _together(unseen)
    present = dict(zip(whole.cells, _recent(whole), strict=True))
    checks = [
        check_sanity(
            curves,
            predict_lifts(curves, whole),
            present=np.array([present.get(cell, 0.0) for cell in curves.cells]),
            tests=sum(test.randomized for test in whole.tests),
            weights={n: v for n, v in metrics.items() if n.startswith("weight_")},
            rules=rules,
        )
    ]
    if len(whole.lift) == 0:
        return _on_tests_alone(checks[0], contenders, plan, rules)
    fitted = fit_check(metrics)
    if seen is None:
        why = "No lift could be kept from the fit."
        checks += [unmeasured(name, why) for name in (ACCURACY, CALIBRATION)]
    else:
        accurate = check_accuracy(seen)
        checks.append(fitted if fitted.verdict == "fail" else accurate)
        checks.append(check_calibration(seen, rules))
    checks.append(check_out_of_time(parted.later, rules))
    if champion is not None:
        try:
            checks.append(_check_profit(parted.folds, plan, margin, contenders.challenge, rules))
            halves = [plan(fold.challenger) for fold in parted.folds]
            two = {"challenger": plan(curves), "champion": plan(champion)}
            checks.append(check_stability(**two, halves=halves, rules=rules))
        except InfeasibleBudget as conflict:
            checks.append(unmeasured(PROFIT, f"No plan can be made: {conflict}"))
    return tuple(checks)


def _on_tests_alone(
    sane: GateCheck, contenders: Contenders, plan: Plan, rules: PromotionRules
) -> tuple[GateCheck, ...]:
    """Lift tests run elsewhere cannot be parted as weeks can: how much money a new model moves
    against the champion is what can be asked."""
    checks = (sane, fit_check(contenders.metrics))
    if contenders.champion is None:
        return checks
    two = plan(contenders.champion), plan(contenders.challenger)
    return (*checks, check_stability(challenger=two[1], champion=two[0], halves=two, rules=rules))


def _check_profit(
    folds: Sequence[HeldOut],
    plan: Plan,
    margin: float,
    challenge: Challenge,
    rules: PromotionRules,
) -> GateCheck:
    """The paired bootstrap of the plans' contrasts, the mean of the folds."""
    told = [
        contrast_plans(
            judge=fold.judge,
            evidence=fold.evidence,
            challenger=dict(plan(fold.challenger)),
            champion=dict(plan(fold.champion)),
            margin=margin,
        )
        for fold in folds
        if fold.champion is not None
    ]
    if not told:
        return unmeasured(PROFIT, "No lift could be kept from both models.")
    n = len(told)
    starts = np.cumsum([0, *(int(one.cluster.max(initial=-1)) + 1 for one in told)])
    bounds = paired_bounds(
        sum(one.value for one in told) / n,
        np.concatenate([one.influence for one in told]) / n,
        np.concatenate([one.cluster + start for one, start in zip(told, starts, strict=False)]),
        alpha=rules.alpha,
        draws=rules.bootstrap,
        seed=SEED,
    )
    measured = PlanGain(
        gain=bounds.value,
        low=bounds.low,
        high=bounds.high,
        base=sum(one.base for one in told) / n,
        unseen=max(one.unseen for one in told),
    )
    return judge_plan(measured, challenge=challenge, rules=rules)


def _recent(evidence: Evidence) -> NDArray[np.float64]:
    """Daily spend of the last four weeks by cell, in money."""
    return np.asarray(evidence.spend[-28:].mean(axis=0) * evidence.size)


def _together(parts: Sequence[PredictedLifts]) -> PredictedLifts | None:
    if not parts:
        return None
    names: Any = PredictedLifts.__dataclass_fields__
    return PredictedLifts(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})
