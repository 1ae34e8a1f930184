"""The examination of a curve model, on lifts that were kept from the fits they judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liftloop.core.curves import ResponseCurves
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.examination import (
    ACCURACY,
    CALIBRATION,
    PROFIT,
    Challenge,
    Check,
    PromotionRules,
    fit_check,
    judge_plan,
    unmeasured,
)
from liftloop.core.policy import Cell
from models.evidence import Evidence
from models.examining.bootstrap import paired_bounds
from models.examining.checks import (
    check_accuracy,
    check_calibration,
    check_out_of_time,
    check_sanity,
    check_stability,
)
from models.examining.foretold import Foretold, foretell
from models.examining.parting import HeldOut, Parted
from models.examining.plan_value import contrast_plans

Plan = Callable[[ResponseCurves], Mapping[Cell, float]]
SEED = 20


def examine_curves(
    curves: ResponseCurves,
    parted: Parted,
    *,
    plan: Plan,
    margin: float,
    challenge: Challenge,
    rules: PromotionRules,
    metrics: Mapping[str, float],
    champion: ResponseCurves | None = None,
) -> tuple[Check, ...]:
    """Every check of a challenger's ``curves``.

    Parameters
    ----------
    plan
        The plan that curves lead to: cell -> daily spend.
    margin
        Profit per unit of revenue, before the spend.
    metrics
        The challenger's training's, with its members' weights as ``weight_...``.
    champion
        The champion's own curves, for what its plan would be; None where there is none.
    """
    whole = parted.whole
    unseen = [foretell(fold.challenger, fold.evidence) for fold in parted.folds]
    seen = _together(unseen)
    present = dict(zip(whole.cells, _recent(whole), strict=True))
    checks = [
        check_sanity(
            curves,
            foretell(curves, whole),
            present=np.array([present.get(cell, 0.0) for cell in curves.cells]),
            tests=sum(test.randomized for test in whole.tests),
            weights={n: v for n, v in metrics.items() if n.startswith("weight_")},
            rules=rules,
        )
    ]
    if len(whole.lift) == 0:
        return _on_tests_alone(checks[0], curves, champion, plan, metrics, rules)
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
            checks.append(_check_profit(parted.folds, plan, margin, challenge, rules))
            halves = [plan(fold.challenger) for fold in parted.folds]
            two = {"challenger": plan(curves), "champion": plan(champion)}
            checks.append(check_stability(**two, halves=halves, rules=rules))
        except InfeasibleBudget as conflict:
            checks.append(unmeasured(PROFIT, f"No plan can be made: {conflict}"))
    return tuple(checks)


def _on_tests_alone(
    sane: Check,
    curves: ResponseCurves,
    champion: ResponseCurves | None,
    plan: Plan,
    metrics: Mapping[str, float],
    rules: PromotionRules,
) -> tuple[Check, ...]:
    """Lift tests run elsewhere cannot be parted as weeks can: how much money a new model moves
    against the champion is what can be asked."""
    checks = (sane, fit_check(metrics))
    if champion is None:
        return checks
    two = plan(champion), plan(curves)
    return (*checks, check_stability(challenger=two[1], champion=two[0], halves=two, rules=rules))


def _check_profit(
    folds: Sequence[HeldOut],
    plan: Plan,
    margin: float,
    challenge: Challenge,
    rules: PromotionRules,
) -> Check:
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
    return judge_plan(
        gain=bounds.value,
        low=bounds.low,
        high=bounds.high,
        base=sum(one.base for one in told) / n,
        challenge=challenge,
        rules=rules,
        unseen=max(one.unseen for one in told),
    )


def _recent(evidence: Evidence) -> NDArray[np.float64]:
    """Daily spend of the last four weeks by cell, in money."""
    return np.asarray(evidence.spend[-28:].mean(axis=0) * evidence.size)


def _together(parts: Sequence[Foretold]) -> Foretold | None:
    if not parts:
        return None
    names: Any = Foretold.__dataclass_fields__
    return Foretold(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})
